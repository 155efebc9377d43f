"""Changed files are refused or mean something right; what a reader must not do is seen.

A few cases; `benchmarks/checks/fuzz.py` goes through ten thousand of each kind.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.checks import guarded
from benchmarks.checks.fuzzed_configurations import Configurations, unlike
from benchmarks.checks.fuzzed_models import Models
from benchmarks.checks.guarded import Outcome, outcomes
from benchmarks.checks.judged import Case, judged

pytest.importorskip("onnx")


@pytest.mark.parametrize(("kind", "n"), [(Configurations, 60), (Models, 200)])
def test_a_changed_file_is_refused_or_right(tmp_path, kind, n):
    found = [outcome for outcome, _ in outcomes(kind(tmp_path, 1), n)]
    assert [outcome.text for outcome in found if outcome.end == "wrong"] == []
    assert [outcome.number for outcome in found] == list(range(n))
    assert {outcome.end for outcome in found} >= {"refused", "unchanged"}


def _raises(error: BaseException) -> None:
    raise error


def _endless() -> None:
    while True:
        pass


def _damages(root: Path) -> None:
    os.system(f"echo >> {root / 'file'}")


READERS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "depths": (lambda root: [][1], "WRONG traceback: IndexError"),
    "memory": (lambda root: _raises(MemoryError()), "WRONG traceback: MemoryError"),
    "no name": (lambda root: guarded.snapshot(root / 7), "WRONG traceback: TypeError"),
    "system": (lambda root: _raises(OSError(2, "gone", "elsewhere")), "WRONG no file named"),
    "program": (lambda root: os.system("true"), "it did"),
    "a file": (lambda root: (root / "new").write_text(""), "it did"),
    "unseen": (_damages, "it did"),
    "endless": (lambda root: _endless(), "WRONG longer than"),
    "crash": (lambda root: os._exit(3), "its process ended by 3"),
    "wrong": (lambda root: "another meaning", "another meaning"),
}


@pytest.mark.parametrize("name", READERS)
def test_what_a_reader_must_not_do_is_seen(tmp_path, monkeypatch, name):
    read, text = READERS[name]
    monkeypatch.setattr(guarded, "LIMIT", 0.5)
    (tmp_path / "file").write_bytes(b"x")

    def case(number: int) -> Outcome:
        return judged(Case(number, "", lambda: read(tmp_path), str, tmp_path, ("file",)))

    ((outcome, _),) = outcomes(case, 1)
    assert outcome.end == "wrong"
    assert outcome.text.startswith(text)


def test_a_value_that_is_not_what_the_text_says_is_seen(tmp_path):
    raw = {"a": 1, "b": {"c": [1, 2.5], "d": "x.npz"}}
    right = {"a": 1.0, "b": {"c": (1, 2.5), "d": str((tmp_path / "x.npz").resolve())}, "e": 0}
    assert unlike(raw, right, tmp_path) == ""
    for key, value in (("c", (1, 2)), ("d", "y.npz")):
        changed = {"a": 1.0, "b": right["b"] | {key: value}}
        assert unlike(raw, changed, tmp_path).startswith(f"b.{key}")
    assert unlike(raw, {"a": True, "b": right["b"]}, tmp_path).startswith("a = ")
