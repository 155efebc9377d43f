"""ngspice and the fast engine solve the same circuits, and both obey physics."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crossbar_sim import Converters, solve, solve_ngspice, transfer_matrix, verify
from crossbar_sim.nodal import SolverError
from crossbar_sim.verification import TileCheck, Verification, VerificationError
from netlists import Circuit, Elements, Periphery, Wires, array_circuit
from netlists.circuit import PARTS

SHAPES = [(1, 1), (1, 6), (7, 1), (5, 8), (16, 12)]
WIRES = [Wires(), Wires(1, 1), Wires(0, 2), Wires(3, 0), Wires(0.5, 4, 50)]
ENDS = [Periphery(), Periphery(tia_gain=1e4), Periphery(r_feedback=5e3, tia_gain=100.0)]


def random_array(shape, seed, present=0.7):
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


def dense_reference(g, wires, ends, v_in):
    """Solve the same array by writing Kirchhoff's law for every node, one by one."""
    n_word, n_bit = g.shape
    size = 2 * n_word * n_bit
    matrix, drive = np.zeros((size, size)), np.zeros((size, len(v_in)))
    word, bit = np.arange(size).reshape(2, n_word, n_bit)

    def connect(a, b, ohm):
        matrix[[a, b], [a, b]] += 1 / ohm
        matrix[[a, b], [b, a]] -= 1 / ohm

    for i in range(n_word):
        first = wires.r_word + wires.r_driver
        matrix[word[i, 0], word[i, 0]] += 1 / first
        drive[word[i, 0]] += v_in[:, i] / first
        for j in range(n_bit - 1):
            connect(word[i, j], word[i, j + 1], wires.r_word)
    for j in range(n_bit):
        for i in range(n_word - 1):
            connect(bit[i, j], bit[i + 1, j], wires.r_bit)
        last = bit[n_word - 1, j]
        matrix[last, last] += 1 / (wires.r_bit + ends.r_tia_input)
    for i, j in zip(*np.nonzero(g)):
        connect(word[i, j], bit[i, j], 1 / g[i, j])
    v = np.linalg.solve(matrix, drive)
    return v[bit[-1]].T / (wires.r_bit + ends.r_tia_input)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    shape=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    seed=st.integers(0, 10**6),
    r_word=st.floats(0.1, 100),
    r_bit=st.floats(0.1, 100),
    r_driver=st.just(0.0) | st.floats(1e-3, 1e3),
    gain=st.sampled_from([np.inf, 1e5, 30.0]),
)
def test_engine_agrees_with_a_dense_reference(shape, seed, r_word, r_bit, r_driver, gain):
    g, v_in = random_array(shape, seed)
    wires, ends = Wires(r_word, r_bit, r_driver), Periphery(tia_gain=gain)
    i_out = solve(array_circuit(g, wires, ends), v_in).i_out
    expected = dense_reference(g, wires, ends, v_in)
    np.testing.assert_allclose(i_out, expected, rtol=1e-9, atol=1e-16)


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
        labels=lambda: (["0", "a", "b", "c", "d"], ["R1", "R2"]),
    )
    floating = Circuit(parts, Periphery())
    with pytest.raises(SolverError, match="nothing holds"):
        solve(floating, np.array([1.0]))


def test_verify_compares_every_tile(mapped, worker):
    rng = np.random.default_rng(0)
    v_in = {"fc": rng.uniform(0, 0.2, size=(5, 7))}
    found = verify(mapped, v_in, Wires(1, 1), Periphery(tia_gain=1e4), worker=worker)
    assert [check.tile for check in found.checks] == [tile.name for tile in mapped.tiles]
    assert found.passed
    assert found.worst.error < 1e-11
    found.require()


def test_verification_fails_loudly():
    checks = (TileCheck("a", 1, 1e-12), TileCheck("b", 1, 1e-3))
    found = Verification(checks, 1e-9, ("one", "other"))
    assert not found.passed
    with pytest.raises(VerificationError, match=r"tile b: one and other differ by 1.0e-03"):
        found.require()


def test_nan_never_passes():
    assert not Verification((TileCheck("a", 1, float("nan")),), 1e-9, ("", "")).passed


def test_converters_refuse_nonsense():
    with pytest.raises(ValueError, match="v_read"):
        Converters(v_read=0)
    with pytest.raises(ValueError, match="adc_bits"):
        Converters(adc_bits=0)
