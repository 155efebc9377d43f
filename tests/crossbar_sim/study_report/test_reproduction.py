"""What a page offers does the same again: a study by its command, then a run of its best point."""

import html
import json
import re
import tomllib
from pathlib import Path
from urllib.parse import unquote

import pytest
from made_studies import accuracies, made_search, made_study

from approx import approx
from commands import command
from crossbar_sim.cli.study import _numbered
from crossbar_sim.config import RunConfig, load_config
from crossbar_sim.config.inputs import OBJECT
from crossbar_sim.study.store import Store
from crossbar_sim.study.tables import summary_rows
from crossbar_sim.study_report.found import Found
from crossbar_sim.study_report.reproduction import key_rows, reproduction, single_run

RUN = """
name = "small"
[train]
epochs = 3
[prune]
sparsity = 0.8
rounds = 1
epochs_per_round = 2
[wires]
r_driver = 200.0
[simulation]
n_image = 8  # as many as a trial takes for the energy
"""
STUDY = """
name = "study"
base = "small.toml"
dies = 2
[grid]
"bank.n" = [1, 3]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study, computed by its command, and what that wrote."""
    root = tmp_path_factory.mktemp("study")
    (root / "small.toml").write_text(RUN)
    (root / "study.toml").write_text(STUDY)
    where = ("--store", root / "s.sqlite", "--output", root / "out" / "s", "--jobs", 1)
    done = command("study", root / "study.toml", *where)
    assert done.returncode == 0, done.stderr
    assert "s.html" in done.stderr
    return root


def links(page: Path) -> dict[str, str]:
    """Return the texts that a page offers for download, by file name."""
    text = page.read_text(encoding="utf-8")
    found = re.findall(
        r'href="data:application/toml;charset=utf-8,([^"]*)" download="([^"]*)"', text
    )
    return {name: unquote(html.unescape(link)) for link, name in found}


def test_the_command_writes_the_page_beside_the_other_files(folder):
    names = sorted(path.name for path in (folder / "out").iterdir())
    plots = ["s-accuracy.png", "s-energy.png", "s-mvm_error.png"]
    assert names == [*plots, "s.csv", "s.html", "s.parquet"]
    text = (folder / "out" / "s.html").read_text(encoding="utf-8")
    assert f"crossbar-sim study {folder}/study.toml --store {folder}/s.sqlite" in text


def test_a_run_of_an_offered_file_finds_what_the_trial_found(folder):
    offered = links(folder / "out" / "s.html")
    assert "study-point2.toml" in offered
    file = folder / "study-point2.toml"
    file.write_text(offered[file.name], encoding="utf-8")
    done = command("run", file, "--results", folder / "results")
    assert done.returncode == 0, done.stderr
    report = json.loads((folder / "results" / "study-point2" / "report.json").read_text())
    trial = next(
        record
        for record in Store(folder / "s.sqlite").records()
        if record.point == {"bank.n": 3} and record.die == 1
    )
    assert report["accuracy"][-1]["accuracy"] == trial.metrics["accuracy"]
    assert report["energy"]["analog_total"] == approx(trial.metrics["energy"], rel=1e-4)


def test_files_are_complete_and_differ_in_what_the_points_set(found, tmp_path):
    run = single_run(found, 5)
    file = tmp_path / f"{run.name}.toml"
    file.write_text(reproduction(found, 5)["toml"], encoding="utf-8")
    again = load_config(file)
    assert again == run
    assert (again.name, again.bank.n, again.select.objective) == ("made-point6", 3, "aware")
    assert (again.die.seed, again.seed) == (1, 1)
    raw = tomllib.loads(file.read_text(encoding="utf-8"))
    assert raw["bank"]["n"] == 3
    assert [row["key"] for row in key_rows(found, 5)] == ["bank.n", "select.objective"]


def test_what_was_given_in_python_has_no_command(tmp_path, monkeypatch):
    found = Found(made_study(tmp_path), ("accuracy",))
    given = RunConfig(name="a").network.model_copy(update={"source": OBJECT})
    changed = found.first(0).model_copy(update={"network": given})
    monkeypatch.setattr("crossbar_sim.study_report.reproduction.single_run", lambda *_: changed)
    assert reproduction(found, 0)["command"] is None


def test_rows_in_a_terminal_have_the_numbers_of_the_page(tmp_path):
    def failing(point, rng):
        return None if point["bank.n"] == 2 else accuracies(point, rng)

    study = made_study(tmp_path, failing, grid={"bank.n": [1, 2, 3]})
    rows = _numbered(study, summary_rows(study, ["accuracy"]))
    assert [(row["point"], row["bank.n"]) for row in rows] == [(1, 1), (3, 3)]
    assert next(iter(rows[0])) == "point", "the column that every part of a table repeats"
    search, _ = made_search(tmp_path / "search")
    assert [row["point"] for row in _numbered(search, search.rows())] == [1, 2, 3, 4, 5, 6, 7]
