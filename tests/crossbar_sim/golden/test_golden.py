"""The golden set is what its page says, and a score sees what is wrong with a simulator."""

import json
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from approx import approx
from benchmarks.golden import prover
from benchmarks.golden.by_hand import exact_currents
from benchmarks.golden.generator import RECIPES, one_array
from benchmarks.golden.make import holds_by_hand
from benchmarks.golden.prover import holds, proved
from commands import command
from crossbar_sim import golden_arrays, golden_score, solve
from crossbar_sim.golden import arrays as golden_file
from crossbar_sim.golden.arrays import FILE, GoldenArray, kinds_of
from crossbar_sim.golden.scoring import ANSWERED, FAILED, NOT_MODELLED, Score
from crossbar_sim.golden.simulators import simulator
from tinynets.files.npz import read_npz


@pytest.fixture(scope="module")
def arrays() -> list[GoldenArray]:
    return golden_arrays()


@pytest.fixture(scope="module")
def some(arrays) -> list[GoldenArray]:
    """One small array of most kinds."""
    found = {array.kind: array for array in arrays if array.ohm.size <= 200}
    assert len(found) >= len(RECIPES) - 1
    return list(found.values())


def engine(array: GoldenArray) -> np.ndarray:
    return solve(array.circuit(), array.v_in).i_out


def test_the_set_has_what_its_page_promises(arrays):
    assert len(arrays) == 1000
    assert kinds_of(arrays) == list(RECIPES)
    assert FILE.stat().st_size < 5e6
    shapes = {array.ohm.shape[1:] for array in arrays}
    assert {(1, 1), (256, 256)} <= shapes
    assert {array.r_word for array in arrays} >= {0.0}
    assert max(array.r_word for array in arrays) > 5e5
    assert all((array.low <= array.high).all() for array in arrays)
    assert max(((a.high - a.low) / a.scale).max() for a in arrays) < 1e-15


def test_the_generator_makes_the_same_arrays_to_the_bit(arrays):
    first = {kind: [a.kind for a in arrays].index(kind) for kind in RECIPES}
    for kind, recipe in RECIPES.items():
        for turn in (0, recipe.count - 1):
            stored = arrays[first[kind] + turn]
            made = vars(one_array(stored.name, kind, recipe, turn))
            same = [name for name in made if np.array_equal(made[name], getattr(stored, name))]
            assert set(made) - set(same) == {"low", "high"}, kind


def test_intervals_hold_the_currents_of_the_page_in_rational_numbers(arrays):
    small = [array for array in arrays if array.ohm.size <= 12]
    kinds = {array.kind: array for array in small}
    assert set(kinds) >= {"lines", "shorts", "offsets", "pairs", "everything", "empty lines"}
    for array in kinds.values():
        assert holds_by_hand(array), array.name


def test_a_divider_by_hand():
    """One cell, one word line: five resistors in a row between two sources."""
    ends = {"r_feedback": 1000.0, "r_input": 7.0, "gain": 3.0}
    blank = np.full((1, 1), np.nan)
    ohm, v_in, offset = np.array([[[5000.0]]]), np.array([[0.5]]), np.array([0.25])
    one = GoldenArray(
        "0", "x", ohm, v_in, 3.0, 2.0, 11.0, **ends, v_offset=offset, low=blank, high=blank
    )
    expected = (0.5 - 0.25 * 3 / 4) / (11 + 3 + 5000 + 2 + 7 + 1000 / 4)
    assert float(exact_currents(one)[0][0]) == approx(expected, rel=1e-15)
    assert engine(one)[0, 0] == approx(expected, rel=1e-13)


def test_intervals_are_proved_again_and_others_are_not(some):
    array = next(a for a in some if a.kind == "everything")
    low, high = proved(array)
    assert np.array_equal(low, array.low)
    assert np.array_equal(high, array.high)
    assert holds(array)
    ulp = np.spacing(np.abs(array.low).max())
    assert not holds(replace(array, low=array.low + 4 * ulp, high=array.high + 4 * ulp))


def test_voltages_that_are_not_refined_prove_too_little(some, monkeypatch):
    monkeypatch.setattr(prover, "_NET", 50)
    with pytest.raises(prover.NotProved, match="only known to"):
        proved(next(a for a in some if a.kind == "wires"))


def test_the_engine_is_exact_to_rounding(some):
    found = golden_score(engine, some)
    assert [answer.status for answer in found.answers] == [ANSWERED] * len(some)
    assert found.worst < 1e-8
    assert found.kinds[-1].median < 1e-14
    assert 0 < found.kinds[-1].inside < found.kinds[-1].currents


def test_an_error_of_a_millionth_is_seen(some):
    found = golden_score(lambda array: engine(array) * (1 + 1e-6), some)
    assert found.worst == approx(1e-6, rel=1e-2)
    assert found.kinds[-1].inside <= sum((a.high == 0).sum() for a in some)


def wrong(array: GoldenArray, what: str):
    if what == "raises":
        raise ArithmeticError("no luck")
    if what == "leaves":
        raise SystemExit(0)
    if what == "is slow":
        while True:
            time.sleep(0.001)
    if what == "is not modelled":
        raise NotImplementedError("no amplifiers")
    good = engine(array)
    return {
        "NaN": good * np.nan,
        "wrong shape": good.T[:-1],
        "complex": good * 1j,
        "text": "currents",
        "nothing": None,
        "huge": np.full_like(good, 1e305),
    }[what]


@pytest.mark.parametrize(
    ("what", "status", "reason"),
    [
        ("raises", FAILED, "ArithmeticError: no luck"),
        ("leaves", FAILED, "SystemExit: 0"),
        ("is slow", FAILED, "no answer within 0.05 s"),
        ("is not modelled", NOT_MODELLED, "no amplifiers"),
        ("NaN", FAILED, "NaN or infinite"),
        ("wrong shape", FAILED, "expected (2, "),
        ("complex", FAILED, "complex128"),
        ("text", FAILED, "expected real numbers"),
        ("nothing", FAILED, "expected real numbers"),
        ("huge", ANSWERED, ""),
    ],
)
def test_a_bad_answer_is_counted_and_the_rest_goes_on(what, status, reason, some):
    bad, good = some[:2]
    seconds = 0.05 if what == "is slow" else 60.0

    def solver(array):
        return wrong(array, what) if array.name == bad.name else engine(array)

    found = golden_score(solver, [bad, good], seconds=seconds)
    assert [answer.status for answer in found.answers] == [status, ANSWERED]
    assert reason in found.answers[0].reason
    json.dumps(found.report(), allow_nan=False)


def test_a_simulator_sees_no_answer_and_changes_nothing(some):
    def peeks(array: GoldenArray) -> np.ndarray:
        assert np.isnan(array.low).all()
        assert np.isnan(array.high).all()
        array.v_in[:] = 0.0
        return array.low

    found = golden_score(peeks, some[:1])
    assert "read-only" in found.answers[0].reason


@pytest.mark.parametrize("change", ["a bit of ohm", "another version", "a column", "half"])
def test_a_file_that_was_changed_is_refused(change, tmp_path):
    columns = read_npz(FILE)
    if change == "a bit of ohm":
        columns["ohm"][7] = np.nextafter(columns["ohm"][7], np.float32(0))
    elif change == "another version":
        columns["version"] = np.array(2)
    elif change == "a column":
        del columns["gain"]
    path = tmp_path / "golden.npz"
    np.savez(path, **columns)
    if change == "half":
        path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"fetch it again|damaged"):
        golden_arrays(file=path)


def test_an_unknown_kind_is_named():
    with pytest.raises(ValueError, match=r"expected a kind of wires, .*; got 'wire'"):
        golden_arrays("wire")


@pytest.mark.parametrize(
    ("name", "trust", "message"),
    [
        ("quick", True, "expected fast, ngspice, MODULE:FUNCTION"),
        ("own.py:f", False, "say so with --trust"),
        ("own.py:f", True, "own.py failed: FileNotFoundError"),
        ("json:nothing", True, "json has no function 'nothing'"),
    ],
)
def test_a_simulator_that_cannot_be_had(name, trust, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=re.escape(message)):
        simulator(name, trust=trust)


OWN = "import beside\ndef f(array):\n    print('hello')\n    return beside.currents(array)\n"
BESIDE = "def currents(array):\n    return array.v_in @ array.g[0]\n"


def test_the_command_scores_a_file_and_keeps_what_it_found(tmp_path, monkeypatch):
    monkeypatch.setattr(
        golden_file, "golden_arrays", lambda kind=None: golden_arrays("zero inputs")
    )
    (tmp_path / "own.py").write_text(OWN, encoding="utf-8")
    (tmp_path / "beside.py").write_text(BESIDE, encoding="utf-8")
    kept = tmp_path / "score.json"
    words = ("--solver", f"{tmp_path / 'own.py'}:f", "--output", kept)
    refused = command("golden", *words)
    assert (refused.returncode, refused.stdout) == (2, "")
    done = command("golden", *words, "--trust")
    assert done.returncode == 1, "wires are left out"
    assert "hello" not in done.stdout
    assert done.stdout.splitlines()[1].split()[:4] == ["zero", "inputs", "20", "20"]
    report = json.loads(kept.read_text(encoding="utf-8"))
    assert (report["version"], len(report["arrays"])) == (1, 20)
    assert command("golden", *words, "--trust", "--tolerance", "10").returncode == 0


def test_no_answer_at_all_is_no_success():
    def none(array: GoldenArray):
        raise NotImplementedError

    found: Score = golden_score(none, golden_arrays("zero inputs"))
    assert np.isnan(found.worst)
    assert found.report()["kinds"][-1]["worst"] is None
    assert Path(FILE).with_name("README.md").exists()
