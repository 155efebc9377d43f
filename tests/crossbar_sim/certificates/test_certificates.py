"""Intervals hold the exact currents; the checker accepts what is proved and refuses the rest."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from approx import approx
from crossbar_sim import certify, solve
from crossbar_sim.certificates import checker
from crossbar_sim.certificates.certificate import Certificate
from crossbar_sim.certificates.checker import Refused, check
from crossbar_sim.solvers.solution import Solution
from netlists import Periphery, Wires, array_circuit

#: Number of corruptions that must all be refused.
N_CORRUPTED = 1000
WIRES = [Wires(), Wires(5.2, 1.8, 100.0), Wires(1e-3, 1e-3), Wires(0.0, 3.0), Wires(1e4, 1e3, 50.0)]
ENDS = [Periphery(), Periphery(tia_gain=1e3, r_input=2.0, v_offset_sigma=2e-3)]


def solved(shape=(12, 7), wires=WIRES[1], ends=ENDS[1], *, seed=0, n_vector=3) -> Solution:
    rng = np.random.default_rng(seed)
    g = 10 ** rng.uniform(-7, -4, size=shape) * (rng.random(shape) < 0.7)
    v_in = rng.uniform(-0.2, 0.3, size=(n_vector, shape[0]))
    return solve(array_circuit(g, wires, ends), v_in, nodes=True)


@pytest.mark.parametrize("shape", [(1, 1), (3, 9), (40, 24)])
@pytest.mark.parametrize("wires", WIRES)
@pytest.mark.parametrize("ends", ENDS)
def test_what_is_certified_is_accepted_and_narrow(shape, wires, ends, tmp_path):
    solution = solved(shape, wires, ends)
    certificate = certify(solution)
    certificate.save(tmp_path / "c.npz")
    check(tmp_path / "c.npz")
    assert certificate.outside(solution.i_out) < 1e-9
    assert certificate.width < 1e-9


@pytest.mark.parametrize("wires", WIRES)
@pytest.mark.parametrize("ends", ENDS)
def test_rational_numbers_accept_the_same(wires, ends, tmp_path):
    certify(solved((4, 3), wires, ends)).save(tmp_path / "c.npz")
    check(tmp_path / "c.npz", exact=True)
    assert check(tmp_path / "c.npz")["version"] == 1


def test_the_exact_current_of_a_divider_is_inside():
    """One word line with two cells, solved by hand in rational numbers."""
    circuit = array_circuit(np.array([[1 / 3e4, 1 / 7e3]]), Wires(11.0, 13.0, 17.0))
    certificate = certify(solve(circuit, np.array([[0.25]]), nodes=True))
    cells = [Fraction(float(r)) for r in circuit.elements.branch_ohm if r > 1000]
    first, second = cells[0] + 13, 11 + cells[1] + 13  # up to the virtual grounds
    parallel = first * second / (first + second)
    volts = Fraction(0.25) * parallel / (17 + 11 + parallel)
    for k, current in enumerate((volts / first, volts / second)):
        assert certificate.low[0, k] <= current <= certificate.high[0, k]
    assert certificate.width < 1e-14


@pytest.mark.parametrize("off", [1e-6, -0.3])
def test_voltages_that_are_off_are_refined_and_their_intervals_hold(off):
    solution = solved()
    rough = certify(replace(solution, v_node=solution.v_node * (1 + off)))
    exact = certify(solution)
    assert (rough.low <= exact.high).all()
    assert (rough.high >= exact.low).all()
    assert rough.width < 1e-9


def shifted(c: Certificate, rng: np.random.Generator) -> Certificate:
    """Move an interval by twice its width."""
    place = tuple(rng.integers(n) for n in c.low.shape)
    by = 2 * (c.high[place] - c.low[place]) * rng.choice([-1, 1])
    low, high = c.low.copy(), c.high.copy()
    low[place] += by
    high[place] += by
    return c.with_claims(low, high)


def scaled(name: str, least: float, most: float) -> Callable:
    """Multiply an entry by a factor away from 1."""

    def corrupt(c: Certificate, rng: np.random.Generator) -> Certificate:
        values = np.array(getattr(c, name), dtype=float)
        used = np.flatnonzero(values)
        values.flat[rng.choice(used)] *= 1 + rng.uniform(least, most) * rng.choice([-1, 1])
        return replace(c, **{name: values})

    return corrupt


def exchanged(name: str) -> Callable:
    """Exchange two entries that differ."""

    def corrupt(c: Certificate, rng: np.random.Generator) -> Certificate:
        values = getattr(c, name).copy()
        a = rng.integers(len(values))
        b = rng.choice(np.flatnonzero(values != values[a]))
        values[[a, b]] = values[[b, a]]
        return replace(c, **{name: values})

    return corrupt


def other_resistance(c: Certificate, rng: np.random.Generator) -> Certificate:
    """Change a resistor that carries current; one without any may have any resistance."""
    current = np.abs(c.volts[:, c.head] - c.volts[:, c.tail]).max(axis=0) / c.ohm
    ohm = c.ohm.copy()
    k = rng.choice(np.flatnonzero(current > 1e-4 * current.max()))
    ohm[k] *= 1 + rng.uniform(1e-3, 0.9) * rng.choice([-1, 1])
    return replace(c, ohm=ohm)


def other_input(c: Certificate, rng: np.random.Generator) -> Certificate:
    """Hold another node than a driver's."""
    inputs = c.inputs.copy()
    inputs[rng.integers(len(inputs))] = rng.choice(np.flatnonzero(c.bound))
    return replace(c, inputs=inputs)


CORRUPTIONS = {
    "interval": shifted,
    "resistance": other_resistance,
    "voltage": scaled("volts", 1e-6, 0.5),
    "offset": scaled("t", 1e-3, 0.9),
    "amplifier": scaled("r_tia", 1e-3, 0.9),
    "bound": scaled("bound", 0.3, 0.9),
    "connection": exchanged("tail"),
    "inputs": other_input,
    "outputs": exchanged("outputs"),
    "lines": exchanged("line"),
}


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_a_corrupted_certificate_is_refused(kind, tmp_path):
    certificate, path = certify(solved((6, 5))), tmp_path / "c.npz"
    certificate.save(path)
    check(path)
    rng = np.random.default_rng([7, *kind.encode()])
    accepted = []
    for k in range(N_CORRUPTED // len(CORRUPTIONS)):
        wrong = CORRUPTIONS[kind](certificate, rng)
        wrong.save(path)
        try:
            check(path)
            accepted.append(k)
        except Refused:
            pass
    assert accepted == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"bound": np.zeros(3)}, "nodes are missing"),
        ({"ohm": np.array([np.nan])}, "ohm is not finite"),
        ({"tail": np.array([1.5])}, "tail is of another type"),
        ({"low": np.zeros((3, 5), np.float32)}, "low is not of doubles"),
        ({"r_tia": np.array(-1.0)}, "r_tia is not a resistance"),
        ({"inputs": np.array([0, 1, 2, 3, 4, 5])}, "two terminals are one node"),
    ],
)
def test_what_is_not_a_certificate_is_refused(change, reason, tmp_path):
    replace(certify(solved((6, 5))), **change).save(tmp_path / "c.npz")
    with pytest.raises(Refused, match=reason):
        check(tmp_path / "c.npz")


def test_a_file_that_would_run_code_is_refused(tmp_path):
    np.savez(tmp_path / "c.npz", version=np.array([print], dtype=object))
    (tmp_path / "text.npz").write_text("no archive")
    for name in ("c.npz", "text.npz", "none.npz"):
        with pytest.raises(Refused):
            check(tmp_path / name)
    np.savez(tmp_path / "d.npz", version=np.array(1))
    with pytest.raises(ValueError, match="certificate of version 1"):
        Certificate.load(tmp_path / "d.npz")


def test_the_checker_stands_alone(tmp_path):
    """It is one file of at most 300 lines, and runs where nothing of this project is."""
    source = Path(checker.__file__).read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 300
    assert "crossbar_sim" not in source.split('"""', 2)[2]
    (tmp_path / "alone.py").write_text(source, encoding="utf-8")
    certificate = certify(solved())
    certificate.save(tmp_path / "right.npz")
    shifted(certificate, np.random.default_rng(0)).save(tmp_path / "wrong.npz")
    command = [sys.executable, "-I", "alone.py"]
    runs = [
        subprocess.run([*command, name], cwd=tmp_path, capture_output=True, text=True, check=False)
        for name in ("right.npz", "wrong.npz")
    ]
    assert [run.returncode for run in runs] == [0, 1]
    assert runs[0].stdout.startswith("accepted: 21 currents, each to ")
    assert runs[1].stdout.startswith("refused: an interval of vector ")
    assert Certificate.load(tmp_path / "right.npz").width == approx(certificate.width)
