"""Where a foundry's design rules are looked for, and how its files are read."""

import json

import pytest

from netlists.foundry.models import ModelsMissing
from netlists.foundry.rule_files import find_rules

RULES = "ihp-sg13g2/libs.tech/klayout/tech/drc/rule_decks/sg13g2_tech_default.json"
LAYERS = "ihp-sg13g2/libs.tech/klayout/tech/sg13g2.lyp"


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A PDK_ROOT with files of rules and of layers, and an empty cache."""
    monkeypatch.setenv("PDK_ROOT", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for file in (RULES, LAYERS):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    layer = "<properties>\n <name>Some.drawing</name>\n <source>7/3@1</source>\n</properties>"
    (tmp_path / LAYERS).write_text(layer, encoding="utf-8")
    values = {"drc_rules": {"a": 0.16, "b": 4, "c": "No value"}}
    (tmp_path / RULES).write_text(json.dumps(values), encoding="utf-8")
    return tmp_path


def test_values_and_layers_are_those_of_the_files(root):
    found = find_rules("ihp-sg13g2")
    assert found.rules == {"a": 0.16, "b": 4.0}
    assert found.layers == {"Somedrawing": (7, 3)}
    assert found.folder == (root / RULES).parent


def test_missing_rules_say_how_to_get_them(root):
    (root / LAYERS).unlink()
    with pytest.raises(ModelsMissing, match=r"the design rules of ihp-sg13g2 .*foundry\.sh ihp-sg"):
        find_rules("ihp-sg13g2")
    with pytest.raises(ValueError, match=r"the rules of sky130 are in no file"):
        find_rules("sky130")


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        (RULES, "{", "expected the foundry's values in a table 'drc_rules'; got JSONDecodeError"),
        (RULES, "{}", "got KeyError"),
        (RULES, "[]", "got TypeError"),
        (LAYERS, "<xml/>", "expected KLayout's list of layers; got none"),
    ],
)
def test_damaged_files_are_refused(root, file, text, told):
    (root / file).write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=told):
        find_rules("ihp-sg13g2")
