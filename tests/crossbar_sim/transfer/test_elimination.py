"""Three ways to eliminate an array give the matrix that Kirchhoff's law gives."""

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossbar_sim.solvers.nodal import transfer_matrix
from crossbar_sim.transfer.array_lines import Lines
from crossbar_sim.transfer.by_columns import eliminate_columns
from crossbar_sim.transfer.by_devices import eliminate_devices
from crossbar_sim.transfer.by_rows import eliminate_rows
from crossbar_sim.transfer.elimination import cheapest
from crossbar_sim.transfer.symmetric_inverse import invert
from netlists import Wires, array_circuit

WAYS = (eliminate_columns, eliminate_devices, eliminate_rows)
SEGMENT = st.floats(-3, 6).map(lambda decade: 10.0**decade)  # [S]


def lines_of(shape: tuple[int, int], share: float, decades: float, seed: int) -> Lines:
    """Return an array of n_word × n_bit cells, pairs or single, a share of them with devices."""
    rng = np.random.default_rng(seed)
    g = 10.0 ** rng.uniform(-3 - decades, -3, (shape[0], 1 + seed % 2, shape[1]))
    g *= rng.random((shape[0], 1, shape[1])) < share
    g[rng.random(g.shape) < 0.1] = 0.0  # a device on one bit line of the pair only
    return Lines(g.reshape(shape[0], -1), shape[1], 0.3, 0.5, 0.7, 0.4)


def by_kirchhoff(lines: Lines) -> np.ndarray:
    """Return the transfer matrix by the nodal matrix of all nodes, with 40 digits."""
    n_word, n_line = lines.g.shape
    word = np.arange(n_word * lines.n_bit).reshape(n_word, lines.n_bit)
    bit = word.size + np.arange(n_word * n_line).reshape(n_word, n_line)
    nodal = np.full((word.size + bit.size,) * 2, mpmath.mpf(0))

    def connect(a: np.ndarray, b: np.ndarray, g: np.ndarray) -> None:
        for i, j, value in zip(a.ravel(), b.ravel(), np.broadcast_to(g, a.shape).ravel()):
            nodal[[i, j], [i, j]] += mpmath.mpf(float(value))
            nodal[[i, j], [j, i]] -= mpmath.mpf(float(value))

    with mpmath.workdps(40):
        connect(word[:, :-1], word[:, 1:], np.array(lines.g_word))
        connect(bit[:-1], bit[1:], np.array(lines.g_bit))
        connect(np.tile(word, n_line // lines.n_bit), bit, lines.g)
        nodal[word[:, 0], word[:, 0]] += mpmath.mpf(lines.g_first)
        nodal[bit[-1], bit[-1]] += mpmath.mpf(lines.g_end)
        matrix, found = mpmath.matrix(nodal.tolist()), []
        for first in word[:, 0].tolist():
            drive = mpmath.zeros(len(nodal), 1)
            drive[first] = mpmath.mpf(lines.g_first)
            volts = mpmath.lu_solve(matrix, drive)
            found.append([float(lines.g_end * volts[end]) for end in bit[-1].tolist()])
        return np.array(found)


@settings(max_examples=15)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 2)),
    share=st.sampled_from([0.1, 0.5, 1.0]),
    decades=st.integers(0, 6),
    segments=st.tuples(SEGMENT, SEGMENT, SEGMENT, SEGMENT),
    seed=st.integers(0, 10**6),
)
def test_all_ways_obey_kirchhoffs_law(shape, share, decades, segments, seed):
    """Also where a driver of a kilo-ohm is followed by a micro-ohm of wire, and for any cells."""
    first = lines_of(shape, share, decades, seed)
    lines = Lines(first.g, first.n_bit, *segments)
    expected = by_kirchhoff(lines)
    for way in WAYS:
        np.testing.assert_allclose(way(lines), expected, rtol=1e-10, atol=1e-13 * expected.max())


@pytest.mark.parametrize("shape", [(40, 36), (70, 34), (34, 70)])
@pytest.mark.parametrize("share", [0.05, 0.4, 1.0])
def test_arrays_of_several_blocks(shape, share):
    lines = lines_of(shape, share, 3, seed=1)
    found = [way(lines) for way in WAYS]
    assert np.abs(found[0]).max() > 0
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=1e-10, atol=1e-12 * found[0].max())


def test_the_smallest_front_is_chosen():
    for shape, share, way in (
        ((64, 64), 1.0, eliminate_columns),
        ((64, 64), 0.05, eliminate_devices),
        ((256, 4), 1.0, eliminate_rows),
    ):
        assert cheapest(lines_of(shape, share, 1, seed=1)) is way


def test_an_array_without_devices_gives_nothing():
    assert not transfer_matrix(array_circuit(np.zeros((5, 4)), Wires(1, 1))).any()


@pytest.mark.parametrize("n", [1, 31, 32, 33, 100])
def test_the_inverse(n):
    factor = np.random.default_rng(n).normal(size=(n, n))
    matrix = factor @ factor.T + n * np.eye(n)
    found = matrix.copy()
    invert(found)
    np.testing.assert_allclose(found @ matrix, np.eye(n), rtol=0, atol=1e-12)
