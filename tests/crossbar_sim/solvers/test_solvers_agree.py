"""ngspice and the fast engine solve the same circuits, and both obey physics."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossbar_sim import Converters, TorchWires, solve, solve_ngspice, transfer_matrix
from crossbar_sim.calibration.tile import WiredDie
from crossbar_sim.golden.arrays import golden_arrays
from crossbar_sim.periphery.settling import node_capacitance
from crossbar_sim.solvers.solution import SolverError
from crossbar_sim.transfer.array_lines import is_regular, lines_of
from mapping import Die, ResistorBank, Tile
from netlists import Circuit, Elements, Periphery, Wires, array_circuit, tile_circuit
from netlists.circuit.elements import PARTS

SHAPES = [(1, 1), (1, 6), (7, 1), (5, 8), (16, 12)]
WIRES = [Wires(), Wires(1, 1), Wires(0, 2), Wires(3, 0), Wires(0.5, 4, 50)]
ENDS = [Periphery(), Periphery(tia_gain=1e4), Periphery(r_feedback=5e3, tia_gain=100.0)]


def random_array(
    shape: tuple[int, int], seed: int, present: float = 0.7
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    g = 10 ** rng.uniform(-7, -4, size=shape) * (rng.random(shape) < present)
    return g, rng.uniform(-0.3, 0.3, size=(4, shape[0]))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("wires", WIRES)
@pytest.mark.parametrize("ends", ENDS)
def test_ngspice_agrees_with_the_engine(shape, wires, ends, worker):
    g, v_in = random_array(shape, seed=sum(shape))
    circuit = array_circuit(g, wires, ends)
    fast, spice = solve(circuit, v_in), solve_ngspice(circuit, v_in, worker=worker)
    scale = max(np.abs(fast.i_out).max(), 1e-12)
    np.testing.assert_allclose(spice.i_out, fast.i_out, rtol=0, atol=1e-10 * scale)
    np.testing.assert_allclose(
        spice.v_out, fast.v_out, rtol=0, atol=1e-10 * scale * ends.r_feedback
    )
    assert "KLU" in spice.solver


@pytest.mark.parametrize("wires", WIRES)
@pytest.mark.parametrize("ends", ENDS)
def test_energy_balance(wires, ends):
    g, v_in = random_array((9, 6), seed=4)
    solution = solve(array_circuit(g, wires, ends), v_in, nodes=True)
    power = solution.power()
    into_tia = (solution.v_node[:, solution.circuit.elements.tia_nodes] * solution.i_out).sum(
        axis=1
    )
    used = sum(power[part] for part in PARTS) + into_tia
    np.testing.assert_allclose(power["source"], used, rtol=1e-9)
    assert all((power[part] >= 0).all() for part in PARTS)


def test_many_vectors_have_the_nodes_that_few_have():
    g, _ = random_array((7, 10), seed=3)
    ends = Periphery(tia_gain=1e4, v_offset_sigma=1e-3)
    circuit = array_circuit(g, Wires(3, 2, r_driver=50), ends)
    v_in = np.random.default_rng(0).uniform(-0.3, 0.3, size=(40, 7))
    many, few = solve(circuit, v_in, nodes=True), solve(circuit, v_in[:5], nodes=True)
    np.testing.assert_allclose(many.i_out[:5], few.i_out, rtol=1e-11, atol=0)
    np.testing.assert_allclose(many.v_node[:5], few.v_node, rtol=0, atol=1e-13)


def dense_reference(g: np.ndarray, wires: Wires, ends: Periphery, v_in: np.ndarray) -> np.ndarray:
    """Solve an array by modified nodal analysis, dense, element by element.

    g: (n_side, n_word, n_bit). Zero ohm is a source of 0 V, so that nothing is merged.
    """
    n_side, n_word, n_bit = g.shape
    word, driver = np.arange(n_word * n_bit).reshape(n_word, n_bit), n_word * n_bit
    bit = driver + n_word + np.arange(g.size).reshape(g.shape)
    tia = bit[-1, -1, -1] + 1 + np.arange(n_side * n_bit).reshape(n_side, n_bit)
    n_node = tia[-1, -1] + 1
    resistors, sources = [], []  # (a, b, ohm), (a, b, which input); -1 is ground

    def connect(a, b, ohm):
        (resistors if ohm else sources).append((a, b, ohm or None))

    for i in range(n_word):
        sources.append((driver + i, -1, i))
        connect(driver + i, word[i, 0], wires.r_driver + wires.r_word)
        for j in range(n_bit - 1):
            connect(word[i, j], word[i, j + 1], wires.r_word)
    for s, j in np.ndindex(n_side, n_bit):
        for i in range(n_word - 1):
            connect(bit[s, i, j], bit[s, i + 1, j], wires.r_bit)
        connect(bit[s, -1, j], tia[s, j], wires.r_bit)
    resistors += [(word[i, j], bit[s, i, j], 1 / g[s, i, j]) for s, i, j in zip(*np.nonzero(g))]
    first_tia = len(sources)
    for line in tia.ravel():
        connect(line, -1, ends.r_tia_input)
    size = n_node + 1 + len(sources)  # ground is node n_node, held below
    matrix, drive = np.zeros((size, size)), np.zeros((size, len(v_in)))
    matrix[n_node, n_node] = 1.0
    for a, b, ohm in resistors:
        for x, y in ((a, b), (b, a)):
            if x >= 0:
                matrix[x, x] += 1 / ohm
                matrix[x, y if y >= 0 else n_node] -= 1 / ohm
    for k, (a, b, source) in enumerate(sources):
        row = n_node + 1 + k
        for x, sign in ((a, 1.0), (b, -1.0)):
            if x >= 0:
                matrix[x, row], matrix[row, x] = sign, sign
        if source is not None:
            drive[row] = v_in[:, source]
    found = np.linalg.solve(matrix, drive)
    if ends.r_tia_input:
        return found[tia.ravel()].T / ends.r_tia_input
    return found[n_node + 1 + first_tia :].T


def check_against_dense(circuit: Circuit, v_in: np.ndarray) -> None:
    """Compare `solve`, node voltages on and off, and the transfer matrix with the reference."""
    expected = dense_reference(circuit.grid.g, circuit.grid.wires, circuit.periphery, v_in)
    largest = np.abs(expected).max()
    for found in (
        solve(circuit, v_in).i_out,
        solve(circuit, v_in, nodes=True).i_out,
        v_in @ transfer_matrix(circuit),
    ):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10 * largest)


OHM = st.just(0.0) | st.floats(0.1, 100)


@settings(max_examples=30)
@given(
    shape=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    seed=st.integers(0, 10**6),
    r_word=OHM,
    r_bit=OHM,
    r_driver=st.just(0.0) | st.floats(1e-3, 1e3),
    gain=st.sampled_from([np.inf, 1e5, 30.0]),
)
def test_engine_agrees_with_a_dense_reference(shape, seed, r_word, r_bit, r_driver, gain):
    g, v_in = random_array(shape, seed)
    wires, ends = Wires(r_word, r_bit, r_driver), Periphery(tia_gain=gain)
    circuit = array_circuit(g, wires, ends)
    expected = dense_reference(g[None], wires, ends, v_in)
    np.testing.assert_allclose(solve(circuit, v_in).i_out, expected, rtol=1e-9, atol=1e-16)


def faulty_tile(shape: tuple[int, int], seed: int, decades: float) -> tuple[Tile, np.ndarray]:
    """A tile of differential pairs over many decades; some banks stuck closed, some open."""
    rng = np.random.default_rng(seed)
    present = rng.random(shape) < 0.7
    present[0, 0] = True
    g = 10 ** rng.uniform(-4 - decades, -4, size=(2, *shape)) * present
    fate = rng.random(g.shape)
    g[(fate < 0.1) & present] = 1e-3
    g[fate > 0.9] = 0.0
    g[0, 0, 0] = 1e-5
    chosen = present.astype(np.uint32)
    tile = Tile("t", (0, 0), np.arange(shape[0]), np.arange(shape[1]), present, chosen, chosen, *g)
    return tile, rng.uniform(-0.3, 0.3, size=(3, shape[0]))


@settings(max_examples=30)
@given(
    shape=st.tuples(st.integers(1, 8), st.integers(1, 6)),
    seed=st.integers(0, 10**6),
    decades=st.integers(1, 9),
    wires=st.builds(Wires, OHM, OHM, st.just(0.0) | st.floats(1, 1e3)),
    gain=st.sampled_from([np.inf, 1e4]),
)
def test_differential_tiles_with_faults_and_any_wires(shape, seed, decades, wires, gain):
    """Regular ones go through conjugate gradients, zero-ohm wires through the sparse solver."""
    tile, v_in = faulty_tile(shape, seed, decades)
    check_against_dense(tile_circuit(tile, wires, Periphery(tia_gain=gain)), v_in)


@pytest.mark.parametrize("shape", [(3, 100), (100, 3)])
def test_rectangular_arrays_both_ways(shape):
    g, v_in = random_array(shape, seed=7)
    check_against_dense(array_circuit(g, Wires(2, 0.5), Periphery()), v_in)


@settings(max_examples=20)
@given(
    shape=st.tuples(st.integers(1, 6), st.integers(1, 5)),
    seed=st.integers(0, 10**6),
    wires=st.builds(Wires, OHM, OHM, OHM),
)
def test_ngspice_agrees_on_tiles_with_faults(worker, shape, seed, wires):
    tile, v_in = faulty_tile(shape, seed, 4)
    circuit = tile_circuit(tile, wires, Periphery(tia_gain=1e4))
    spice, fast = solve_ngspice(circuit, v_in, worker=worker), solve(circuit, v_in)
    largest = np.abs(fast.i_out).max()
    np.testing.assert_allclose(spice.i_out, fast.i_out, rtol=0, atol=1e-9 * largest)


def test_transfer_matrix_is_what_the_array_multiplies_by():
    g, v_in = random_array((8, 5), seed=9)
    circuit = array_circuit(g, Wires(2, 3, 10), Periphery(tia_gain=1e3))
    np.testing.assert_allclose(
        v_in @ transfer_matrix(circuit), solve(circuit, v_in).i_out, rtol=1e-10
    )


def test_a_floating_node_is_an_error():
    parts = Elements(
        n_node=5,
        branch_from=np.array([1, 3]),
        branch_to=np.array([2, 4]),
        branch_ohm=np.array([1e3, 1e3]),
        branch_part=np.array([0, 0]),
        input_nodes=np.array([1]),
        tia_nodes=np.array([2]),
        names=(["0", "a", "b", "c", "d"], ["R1", "R2"]),
    )
    floating = Circuit(parts, Periphery())
    with pytest.raises(SolverError, match="nothing holds"):
        solve(floating, np.array([1.0]))


def test_converters_refuse_nonsense():
    with pytest.raises(ValueError, match="v_read"):
        Converters(v_read=0)
    with pytest.raises(ValueError, match="adc_bits"):
        Converters(adc_bits=0)


@pytest.mark.parametrize("gain", [np.inf, 100.0])
@pytest.mark.parametrize("wires", [Wires(5.2, 1.8, 100.0), Wires(0.1, 0.1), Wires(300.0, 50.0)])
def test_offsets_by_structure_and_by_a_sparse_factorisation(wires, gain):
    g, v_in = random_array((24, 10), seed=8, present=0.5)
    ends = Periphery(tia_gain=gain, v_offset=-5e-3, v_offset_sigma=1e-2)
    circuit = array_circuit(g, wires, ends)
    fast = solve(circuit, v_in, nodes=True)
    slow = solve(replace(circuit, source=circuit.elements), v_in, nodes=True)
    assert "sparse" not in fast.solver
    assert "sparse" in slow.solver
    for ours, expected in ((fast.i_out, slow.i_out), (fast.v_node, slow.v_node)):
        np.testing.assert_allclose(ours, expected, rtol=0, atol=2e-11 * np.abs(expected).max())


@pytest.mark.parametrize("nodes", [False, True])
@pytest.mark.parametrize("wires", [Wires(5.2, 1.8, 100.0), Wires(1e-4, 1e-4)])
def test_voltages_raised_everywhere_change_no_current(wires, nodes):
    g, v_in = random_array((12, 7), seed=2)
    plain, raised = (
        solve(array_circuit(g, wires, Periphery(v_offset=v)), v_in + v, nodes=nodes)
        for v in (0.0, 0.05)
    )
    largest = np.abs(plain.i_out).max()
    np.testing.assert_allclose(raised.i_out, plain.i_out, rtol=0, atol=1e-12 * largest)


@dataclass(frozen=True)
class OtherWires(Wires):
    """Wires with something that the kernels of regular arrays do not know."""

    ringed: bool = False


def test_wires_with_anything_new_are_solved_as_any_circuit():
    g, v_in = random_array((4, 3), seed=1)
    plain, new = (array_circuit(g, OtherWires(1, 1, ringed=ringed)) for ringed in (False, True))
    assert is_regular(plain)
    assert not is_regular(new)
    assert solve(new, v_in).solver != solve(plain, v_in).solver
    with pytest.raises(ValueError, match=r"expected a regular array .* solve any other circuit by"):
        lines_of(new)
    others = OtherWires(1, 1, ringed=True)
    with pytest.raises(ValueError, match="solve_torch does not know ringed"):
        TorchWires.of(others)
    with pytest.raises(ValueError, match="expected wires without ringed, whose capacitances"):
        node_capacitance(new)
    with pytest.raises(ValueError, match="expected wires without ringed, which no descent"):
        WiredDie(Die(ResistorBank(n=2)), others, Periphery()).resistances  # noqa: B018


def test_where_elimination_cancels_each_word_line_is_solved_by_itself():
    (array,) = [each for each in golden_arrays("everything") if each.name == "0985"]
    circuit, middle = array.circuit(), (array.low + array.high) / 2
    found = solve(circuit, np.tile(array.v_in, (circuit.n_word, 1)))
    assert found.solver == "nodal, a solution for each word line"
    wrong = np.abs(found.i_out - np.tile(middle, (circuit.n_word, 1))).max()
    assert wrong < 1e-13 * np.abs(middle).max()


def test_a_matrix_that_no_method_gets_right_is_refused():
    (array,) = [each for each in golden_arrays("shorts") if each.name == "0703"]
    with pytest.raises(
        SolverError, match=r"the transfer matrix is off by .*e-0[89] of the largest"
    ):
        transfer_matrix(array.circuit())


@pytest.mark.parametrize("beyond", [3e-4, 6e-4, 9e-4])
def test_an_amplifier_that_just_reaches_its_swing_is_clipped_in_ngspice(beyond, worker):
    """By its own tolerances ngspice takes it for one that does not."""
    circuit = array_circuit(
        np.array([[1e-5], [2e-5]]), Wires(), Periphery(r_feedback=1e4, v_swing=0.64)
    )
    v_in = np.array([[2.0, 1.0], [6.4 * (1 + beyond), 0.0], [-6.4 * (1 + beyond), 0.0]])
    spice = solve_ngspice(circuit, v_in, worker=worker)
    fast = solve(circuit, v_in)
    np.testing.assert_allclose(fast.v_out[1:, 0], [-0.64, 0.64], rtol=0, atol=0)
    np.testing.assert_allclose(spice.v_out, fast.v_out, rtol=0, atol=1e-11)


def test_ngspice_converges_where_rounding_is_large_and_none_clips(worker):
    """An amplifier of a gain of 1e6 beside wires of milliohms."""
    ends = Periphery(r_feedback=5e4, tia_gain=7e5, v_offset=2e-3, v_offset_sigma=7e-3)
    g = 1e-5 * np.ones((18, 9))
    circuit = array_circuit(g, Wires(r_bit=0.0028, r_driver=176.0), ends)
    v_in = np.random.default_rng(0).uniform(-0.2, 0.2, size=(3, 18))
    spice, fast = solve_ngspice(circuit, v_in, worker=worker), solve(circuit, v_in)
    np.testing.assert_allclose(spice.v_out, fast.v_out, rtol=1e-8, atol=1e-9)
