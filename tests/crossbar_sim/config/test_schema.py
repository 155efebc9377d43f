"""What a configuration may say: the JSON Schema, and the page of its keys."""

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest

from commands import command
from crossbar_sim.config.schema import KINDS, json_schema, reference

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "examples").rglob("*.toml"))


def kind_of(path: Path) -> str:
    return "study" if "base" in tomllib.loads(path.read_text(encoding="utf-8")) else "run"


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_says_what_it_means(kind: str) -> None:
    schema = json_schema(kind)
    tables = {kind: schema} | schema["$defs"]
    silent = [
        f"{name}.{key}"
        for name, table in tables.items()
        for key, part in table["properties"].items()
        if len(part.get("description", "")) < 5
    ]
    assert len(tables) > 3
    assert silent == []
    json.dumps(schema, allow_nan=False)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_follow_the_schema(path: Path) -> None:
    raw = tomllib.loads(path.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(json_schema(kind_of(path))).validate(raw)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "a", "bnak": {}},
        {"name": "a", "bank": {"n": 0}},
        {"name": "a", "bank": {"n": "six"}},
        {"name": "a", "wires": {"source": "guessed"}},
        {"bank": {"n": 6}},
    ],
)
def test_the_schema_refuses_what_a_run_refuses(wrong: dict) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(json_schema("run")).validate(wrong)


def test_the_page_of_keys_is_that_of_the_tables() -> None:
    kept = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert kept == reference(), "write it again: crossbar-sim schema --markdown"


def test_the_command_prints_a_schema() -> None:
    assert json.loads(command("schema", "study").stdout) == json_schema("study")
