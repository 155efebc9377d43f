"""What all laws have in common, and the command that measures them."""

import csv
import json

import pytest

from benchmarks.pages import laws as page
from commands import command
from crossbar_sim.laws import fixed_size
from crossbar_sim.laws.law import LAWS, Effort, law_named


def test_every_law_says_what_is_known_and_from_where():
    assert list(page.FOUND) == list(LAWS)
    for name in list(LAWS):
        law = law_named(name)
        assert law.name == name
        assert law.question.endswith("?")
        assert any(kind in law.statement for kind in ("Theorem", "Conjecture", "Measurement"))
        assert law.sources
    assert len(LAWS) > 0


def test_an_unknown_law_is_refused_with_all_names():
    with pytest.raises(ValueError, match=r"no law 'x'; choose one of fixed-size"):
        law_named("x")
    done = command("law", "nonsense")
    assert done.returncode == 2
    assert "fixed-size" in done.stderr


@pytest.mark.parametrize("scale", [0, -1, float("nan"), float("inf")])
def test_an_effort_that_is_no_positive_number_is_refused(scale):
    with pytest.raises(ValueError, match=r"effort must be a positive number"):
        Effort(scale)


def test_effort_scales_counts_and_keeps_the_least():
    assert Effort(2.0).count(30) == 60
    assert Effort(1e-3).count(30, least=3) == 3


def test_a_kept_part_is_not_measured_again(tmp_path):
    calls = []
    effort = Effort(parts=tmp_path / "new")
    for name in ("n 4, seed 0", "n 4, seed 0", "n 4, seed 1"):
        found = effort.part(name, lambda: calls.append(1) or {"value": 0.1 + 0.2})
        assert found == {"value": 0.1 + 0.2}
    assert len(calls) == 2
    assert Effort().part("n 4, seed 0", lambda: 7) == 7


def test_a_stopped_law_goes_on_where_it_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(fixed_size, "N_BANK", {8: 10})
    monkeypatch.setattr(fixed_size, "CLOSED", ())
    effort = Effort(0.2, parts=tmp_path)
    whole = fixed_size.measure(effort, 0)
    assert len(list(tmp_path.iterdir())) == 2 * len(fixed_size.BANKS)
    monkeypatch.setattr(fixed_size, "errors", None)  # measures nothing any more
    assert fixed_size.measure(effort, 0) == whole


def test_the_command_lists_the_laws():
    done = command("law")
    assert done.returncode == 0
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == list(LAWS)


def test_the_command_prints_tables_and_writes_what_it_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(fixed_size, "CLOSED", (3,))
    monkeypatch.setattr(fixed_size, "EPS_BITS", (4, 6))
    done = command("law", "fixed-size", "--effort", 0.02, "--seed", 3, "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    tables = done.stdout.strip().split("\n\n")
    assert len(tables) == 2
    kept = json.loads((tmp_path / "law_fixed_size.json").read_text())
    assert kept["seed"] == 3
    first = next(csv.DictReader(tables[0].splitlines()))
    assert first["bank"] == kept["constants"][0]["bank"]
    assert (tmp_path / "law_fixed_size.png").read_bytes().startswith(b"\x89PNG")
