"""A command that fails at some point: files as before, one line, and the next one succeeds.

A few points of one command; `benchmarks/checks/faults.py` goes through all points of all commands.
"""

from benchmarks.checks.faults import Bench, prepare
from benchmarks.checks.injection import KILLED, KINDS


def test_a_command_that_fails_anywhere_leaves_nothing_behind(tmp_path, monkeypatch):
    prepare(tmp_path / "before")
    bench = Bench("map", tmp_path / "before", tmp_path)
    for kind in KINDS:
        for at in (2, 8):
            place, wrong = bench.case(kind, at)
            assert place, "the fault came"
            assert wrong == []
    assert bench.case(KILLED, 1000) == ("", [])
    monkeypatch.setattr("tinynets.files.drafts._remove_abandoned", lambda target: None)
    assert bench.case(KILLED, 5)[1][0].startswith("stray: ['.new."), "it would be seen"
