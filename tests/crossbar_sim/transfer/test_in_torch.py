"""Transfer matrices of many arrays by torch are those of compiled code, on any device."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from crossbar_sim.solvers import batched
from crossbar_sim.solvers.batched import transfer_matrices
from crossbar_sim.solvers.nodal import transfer_matrix
from crossbar_sim.solvers.nodes_in_torch import TorchLines, at_once, nodes_in_torch
from crossbar_sim.transfer.in_torch import Segments, batches, eliminate_in_torch
from elsewhere import GPU, device_named
from netlists import Periphery, Wires
from netlists.circuit import Circuit
from netlists.circuit.circuit import Grid

CPU = torch.device("cpu")
#: (n_side, n_word, n_bit)
SHAPES = [(1, 1, 1), (2, 1, 1), (2, 3, 2), (2, 1, 7), (2, 16, 8), (1, 40, 5), (2, 5, 33)]
#: From none to a megohm, and each of them alone.
WIRES = {
    "none": Wires(),
    "bit lines": Wires(0, 2),
    "word lines": Wires(2, 0),
    "drivers": Wires(0, 0, 50),
    "no word lines": Wires(0, 3, 50),
    "a milliohm": Wires(1e-3, 1e-3),
    "ohms": Wires(2, 3, 100),
    "a kilohm": Wires(1e3, 1e3),
    "a megohm": Wires(1e6, 1e6, 1e6),
}
ENDS = {"ideal": Periphery(), "finite gain": Periphery(tia_gain=300.0, r_input=5.0)}


@pytest.fixture(params=["cpu", "elsewhere", pytest.param("cuda", marks=GPU)])
def device(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    with device_named(request.param) as found:
        yield found


def circuit_of(shape: tuple[int, ...], wires: Wires, ends: Periphery, seed: int = 0) -> Circuit:
    """Return an array of which a third of the cells is empty."""
    rng = np.random.default_rng([seed, *shape])
    g = 10 ** rng.uniform(-6, -4, shape) * (rng.random(shape) < 0.7)
    return Circuit(Grid(g, ("_p", "_n")[: shape[0]], wires), ends)


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10 * np.abs(expected).max())


@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize("wires", WIRES)
def test_they_are_those_of_compiled_code(wires, ends, device):
    circuits = [circuit_of(s, WIRES[wires], ENDS[ends], k) for s in SHAPES for k in (0, 1)]
    found = transfer_matrices(circuits, device)
    assert len(found) == len(circuits)
    for circuit, matrix in zip(circuits, found):
        assert_same(matrix, transfer_matrix(circuit))


@pytest.mark.parametrize("wires", WIRES)
def test_the_elimination_alone_is_as_near(wires):
    """Without the comparison, which would send a wrong matrix to the compiled code."""
    for shape in SHAPES:
        circuits = [circuit_of(shape, WIRES[wires], ENDS["finite gain"], k) for k in (0, 1)]
        ohms = batched._segments(circuits[0])
        assert ohms is not None
        g = torch.from_numpy(np.stack([c.grid.g for c in circuits if c.grid is not None]))
        found = eliminate_in_torch(g, ohms).numpy()
        for circuit, matrix in zip(circuits, found, strict=True):
            assert_same(matrix, transfer_matrix(circuit))
        assert len(found) == 2


def test_a_large_tile_of_pairs(device):
    circuit = circuit_of((2, 64, 64), Wires(1.0, 1.0, 10.0), ENDS["finite gain"])
    (found,) = transfer_matrices([circuit], device)
    assert_same(found, transfer_matrix(circuit))


def test_arrays_without_any_cell():
    for wires in WIRES.values():
        circuit = Circuit(Grid(np.zeros((2, 3, 2)), ("_p", "_n"), wires), Periphery())
        (found,) = transfer_matrices([circuit], CPU)
        assert np.array_equal(found, np.zeros((3, 4)))


def test_memory_is_bounded(monkeypatch):
    """In batches of one the same matrices come as in one batch."""
    circuits = [circuit_of((2, 6, 5), Wires(1, 2), Periphery(), k) for k in range(7)]
    whole = transfer_matrices(circuits, CPU)
    assert [part.stop - part.start for part in batches(7, (2, 6, 5), 24_000)] == [2, 2, 2, 1]
    assert len(list(batches(7, (2, 6, 5), 1))) == 7
    assert [part.stop - part.start for part in at_once(7, (2, 6, 5), 4, 110_000)] == [2, 2, 2, 1]
    monkeypatch.setattr(batched, "at_once", lambda n, shape, n_batch: at_once(n, shape, n_batch, 1))
    monkeypatch.setattr(batched, "batches", lambda n, shape: batches(n, shape, 1))
    parts = transfer_matrices(circuits, CPU)
    assert len(parts) == 7
    for one, other in zip(parts, whole, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-13, atol=0)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Circuit]:
    """The circuits that are left to the engine."""
    circuits = []

    def engine(circuit: Circuit) -> np.ndarray:
        circuits.append(circuit)
        return transfer_matrix(circuit)

    monkeypatch.setattr(batched, "transfer_matrix", engine)
    return circuits


def test_an_array_whose_comparison_fails_is_left_to_the_engine(monkeypatch, asked):
    circuits = [circuit_of((2, 6, 5), Wires(1, 2), Periphery(), k) for k in range(2)]
    transfer_matrices(circuits, CPU)
    assert asked == []
    monkeypatch.setattr(batched, "MATRIX_LIMIT", -1.0)
    found = transfer_matrices(circuits, CPU)
    assert [id(c) for c in asked] == [id(c) for c in circuits]
    assert all(np.array_equal(m, transfer_matrix(c)) for m, c in zip(found, circuits, strict=True))


@pytest.mark.parametrize("ohm", [1e-6, 1e-4])
@pytest.mark.parametrize("driver", [1e3, 1e7])
def test_little_wires_behind_large_drivers_are_no_trouble(ohm, driver, device, asked):
    """Of a matrix of sums, an inverse by pivots would lose what the drivers let through."""
    circuits = [circuit_of((2, 32, 32), Wires(ohm, ohm, driver), ENDS["ideal"], k) for k in (0, 1)]
    found = transfer_matrices(circuits, device)
    assert asked == []
    for circuit, matrix in zip(circuits, found, strict=True):
        assert_same(matrix, transfer_matrix(circuit))


def test_only_the_array_that_does_not_converge_is_left_to_the_engine(monkeypatch, asked):
    """Of a batch: without cells there is nothing to converge."""
    empty = Circuit(Grid(np.zeros((2, 6, 5)), ("_p", "_n"), Wires(1, 2)), Periphery())
    circuits = [empty, circuit_of((2, 6, 5), Wires(1, 2), Periphery()), empty]
    monkeypatch.setattr("crossbar_sim.solvers.nodes_in_torch.MAX_ITERATIONS", 1)
    transfer_matrices(circuits, CPU)
    assert [id(c) for c in asked] == [id(circuits[1])]


@pytest.mark.parametrize("wires", ["ohms", "bit lines"])
def test_a_wrong_matrix_is_noticed(wires, monkeypatch):
    """One cell of one array of a batch off by a millionth; with ideal lines, all arrays."""
    circuits = [circuit_of((2, 6, 5), WIRES[wires], Periphery(), k) for k in range(3)]
    expected = [transfer_matrix(circuit) for circuit in circuits]

    def wrong(g: torch.Tensor, ohms: Segments) -> torch.Tensor:
        found = eliminate_in_torch(g, ohms)
        found[slice(1, 2) if wires == "ohms" else slice(None)] *= 1 + 1e-6
        return found

    monkeypatch.setattr(batched, "eliminate_in_torch", wrong)
    found = transfer_matrices(circuits, CPU)
    assert len(found) == 3
    for matrix, right in zip(found, expected, strict=True):
        assert_same(matrix, right)


def test_a_solution_that_does_not_converge_counts_as_unknown(monkeypatch):
    circuit = circuit_of((2, 6, 5), WIRES["ohms"], Periphery())
    monkeypatch.setattr("crossbar_sim.solvers.nodes_in_torch.MAX_ITERATIONS", 1)
    assert np.array_equal(transfer_matrices([circuit], CPU)[0], transfer_matrix(circuit))


def test_arrays_solved_together_have_the_nodes_of_each(device):
    rng = np.random.default_rng(0)
    g = torch.from_numpy(10 ** rng.uniform(-6, -4, (3, 6, 10)))
    v_in, v_tia = (torch.from_numpy(rng.normal(size=(3, 4, n))) for n in (6, 10))
    segments = [torch.tensor(s, dtype=torch.float64) for s in (0.01, 0.5, 0.4, 0.3)]
    there = TorchLines(g.to(device), 5, *(x.to(device) for x in segments))
    together = nodes_in_torch(there, v_in.to(device), v_tia.to(device))
    for k in range(3):
        alone = nodes_in_torch(TorchLines(g[k], 5, *segments), v_in[k], v_tia[k])
        torch.testing.assert_close(together.word[k].cpu(), alone.word, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(together.above[k].cpu(), alone.above, rtol=1e-12, atol=1e-14)
    assert together.word.shape == (3, 4, 6, 5)
