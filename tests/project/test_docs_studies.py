"""The page on studies: its snippets run or are valid, and its tables name what there is."""

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crossbar_sim.config import load_config
from crossbar_sim.config.study import Optimise, StudyConfig, with_values
from crossbar_sim.study.metrics import METRICS
from crossbar_sim.study.runner import Study
from tinynets.networks.training import accuracy

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how_to" / "studies.md"
TEXT = PAGE.read_text()
HEAD = {"name": "a", "base": "examples/runs/digits.toml"}
TABLES = [tomllib.loads(block) for block in re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)]


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What the Python snippets define, run in order in a new directory."""
    found: dict = {}
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("studies"))
    try:
        for code in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
            exec(compile(code, str(PAGE), "exec"), found)
        yield found  # the store is named from that directory
    finally:
        os.chdir(before)


def test_the_snippets_do_what_the_text_says(names):
    as_selected, fitted, calibrated = names["study"].summary()
    assert [s.n_die for s in (as_selected, fitted, calibrated)] == [5, 5, 5]
    assert names["gain"].high < 0
    assert calibrated.metric("mvm_error").value < 0.5 * as_selected.metric("mvm_error").value
    # Software leaves the matrix as it is.
    assert fitted.metric("mvm_error") == as_selected.metric("mvm_error")
    data = names["data"]
    scores = [accuracy(names[n], data.x_test, data.y_test) for n in ("pruned", "tuned", "again")]
    assert scores[1] == scores[2] > scores[0] - 0.05


def test_the_table_has_every_metric():
    rows = re.findall(r"^\| (`.*?) \|", TEXT, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named == set(METRICS)


@pytest.mark.parametrize("k", range(len(TABLES)))
def test_the_tables_are_valid(k):
    base = load_config(ROOT / "examples" / "runs" / "digits.toml")
    config = StudyConfig.model_validate(TABLES[0] | TABLES[k] if k == 1 else HEAD | TABLES[k])
    points = config.points()
    if config.optimise:
        assert isinstance(config.optimise, Optimise)
        first = {
            key: choice[0] if isinstance(choice, list) else choice.value(0.5)
            for key, choice in config.optimise.range.items()
        }
        points = [first]
    assert len(points) == [16, 512, 6, 1][k]
    assert len(Study(config, base, None, points).trials) == len(points) * config.dies


def test_every_key_of_the_text_exists():
    base = load_config(ROOT / "examples" / "runs" / "digits.toml")
    found = re.findall(r"`((\w+)\.(\w+))(?: = \w+)?`", TEXT)
    keys = [parts for parts in found if parts[1] in type(base).model_fields]
    assert keys
    for key, table, last in keys:
        assert with_values(base, {key: getattr(getattr(base, table), last)}) == base


def test_every_option_of_the_text_exists():
    from typer.main import get_command

    from crossbar_sim.cli.commands import app

    command = get_command(app).commands["study"]
    options = {name for parameter in command.params for name in parameter.opts}
    assert set() < set(re.findall(r"(?<=[` ])--\w+", TEXT)) <= options
