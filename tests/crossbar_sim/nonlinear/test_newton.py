"""Arrays of nonlinear cells: equal to ngspice, to the linear engine and to scipy's root."""

from dataclasses import dataclass, replace

import numba
import numpy as np
import pytest
from scipy.optimize import root

from approx import approx
from crossbar_sim import solve
from crossbar_sim.nonlinear.cell_laws import CellLaws, VoltageBox
from crossbar_sim.nonlinear.deck import nonlinear_by_ngspice, nonlinear_deck
from crossbar_sim.nonlinear.newton import RESIDUAL_LIMIT, solve_nonlinear
from crossbar_sim.solvers.solution import SolverError
from netlists import Circuit, Periphery, Wires
from netlists.circuit import Grid

BOX = VoltageBox((-0.35, 0.35), (-0.35, 0.35))
WIRES, ENDS = Wires(5.2, 1.8, 100.0), Periphery()


def laws(
    shape: tuple[int, int, int], strength: float = 0.3, present: float = 1.0, seed: int = 0
) -> CellLaws:
    """Return cells that no symmetry holds for, whose conductance varies by about `strength`."""
    rng = np.random.default_rng(seed)
    g = 10 ** rng.uniform(-6, -4, (*shape, 1)) * (rng.random((*shape, 1)) < present)
    a, b = (strength * rng.uniform(0.5, 1.0, (*shape, 1)) for _ in range(2))
    return CellLaws.fitted(lambda u, w: g * np.exp(a * 2 * u + b * w) + g * a * u * w, BOX, (6, 5))


def inputs(n_word: int, n_vector: int = 3) -> np.ndarray:
    return np.random.default_rng(7).uniform(-0.3, 0.3, (n_vector, n_word))


#: shape, strength, share of cells present, wires, ends: each changes one thing, the last all.
CASES = {
    "one cell": ((1, 1, 1), 0.3, 1.0, WIRES, ENDS),
    "one word line": ((1, 1, 5), 0.3, 1.0, WIRES, ENDS),
    "one bit line": ((1, 6, 1), 0.3, 1.0, WIRES, ENDS),
    "one side": ((1, 8, 8), 0.3, 1.0, WIRES, ENDS),
    "two sides": ((2, 5, 4), 0.3, 1.0, WIRES, ENDS),
    "ideal wires": ((2, 4, 3), 0.3, 1.0, Wires(), ENDS),
    "word lines alone": ((2, 4, 3), 0.3, 1.0, Wires(40, 0), ENDS),
    "bit lines alone": ((2, 4, 3), 0.3, 1.0, Wires(0, 40), ENDS),
    "drivers alone": ((2, 4, 3), 0.3, 1.0, Wires(0, 0, 500), ENDS),
    "resistive wires": ((1, 4, 6), 0.3, 1.0, Wires(900, 200, 50), ENDS),
    "input resistance": ((2, 4, 3), 0.3, 1.0, WIRES, Periphery(r_input=700.0)),
    "finite gain": ((2, 4, 3), 0.3, 1.0, WIRES, Periphery(tia_gain=80.0)),
    "offsets": ((2, 4, 3), 0.3, 1.0, WIRES, Periphery(v_offset=3e-3, v_offset_sigma=2e-3)),
    "swing": ((2, 4, 3), 0.3, 1.0, WIRES, Periphery(v_swing=0.05)),
    "empty cells": ((2, 6, 5), 0.3, 0.4, WIRES, ENDS),
    "strong": ((1, 6, 5), 3.0, 1.0, Wires(300, 200, 100), ENDS),
    "all": (
        (2, 8, 8),
        3.0,
        0.7,
        Wires(60, 20, 100),
        Periphery(10e3, 200.0, 90.0, 2e-3, 1e-3, v_swing=0.5),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_engine_equals_ngspice(case, worker):
    shape, strength, present, wires, ends = CASES[case]
    cells, v_in = laws(shape, strength, present), inputs(shape[1])
    found = solve_nonlinear(cells, wires, ends, v_in)
    i_out, v_out = nonlinear_by_ngspice(cells, wires, ends, v_in, worker)
    assert np.abs(i_out).max() > 1e-7
    np.testing.assert_allclose(found.i_out, i_out, rtol=0, atol=1e-9 * np.abs(i_out).max())
    np.testing.assert_allclose(found.v_out, v_out, rtol=0, atol=1e-9 * np.abs(v_out).max())
    assert found.residual <= RESIDUAL_LIMIT


@pytest.mark.parametrize("r_word", [0, 7])
@pytest.mark.parametrize("r_bit", [0, 3])
@pytest.mark.parametrize("r_driver", [0, 60])
@pytest.mark.parametrize("ends", [ENDS, Periphery(tia_gain=300.0, v_offset_sigma=1e-3)])
def test_constant_conductances_give_what_the_linear_engine_gives(r_word, r_bit, r_driver, ends):
    rng, wires = np.random.default_rng(3), Wires(r_word, r_bit, r_driver)
    g = 10 ** rng.uniform(-6, -4, (2, 6, 5)) * (rng.random((2, 6, 5)) < 0.8)
    cells, v_in = CellLaws.fitted(lambda u, _w: g[..., None] + 0 * u, BOX, (2, 3)), inputs(6)
    found = solve_nonlinear(cells, wires, ends, v_in, nodes=True)
    exact = solve(Circuit(Grid(g, ("_p", "_n"), wires), ends), v_in)
    scale = np.abs(exact.i_out).max()
    np.testing.assert_allclose(found.i_out, exact.i_out, rtol=0, atol=1e-12 * scale)
    np.testing.assert_allclose(found.v_out, exact.v_out, rtol=0, atol=1e-12 * scale * 20e3)
    assert found.v_word is not None
    if not (r_word or r_driver):
        assert (found.v_word == v_in[:, :, None]).all()


def imbalance(
    cells: CellLaws, wires: Wires, r_tia: float, v_in: np.ndarray, volts: np.ndarray
) -> np.ndarray:
    """Return the net current [A] of every node of an array of one side and a vector.

    volts: (2, n_word, n_bit), word nodes and bit nodes [V].
    """
    u, w = volts
    before = np.concatenate([v_in[:, None], u[:, :-1]], axis=1)
    after = np.concatenate([w[1:], np.zeros((1, w.shape[1]))])
    r_word, r_bit = np.full_like(u, wires.r_word), np.full_like(w, wires.r_bit)
    r_word[:, 0] += wires.r_driver
    r_bit[-1] += r_tia
    along, down = (before - u) / r_word, (w - after) / r_bit
    cell = cells.currents(u[None], w[None]).current[0]
    along[:, :-1] -= along[:, 1:].copy()
    down[1:] -= down[:-1].copy()
    return np.stack([along - cell, cell - down])


@pytest.mark.parametrize(("strength", "ohm"), [(0.3, 10.0), (2.0, 400.0)])
def test_a_dense_system_by_scipy_has_the_same_solution(strength, ohm):
    cells, v_in, wires = laws((1, 3, 4), strength), inputs(3, 1), Wires(ohm, 0.4 * ohm, 50.0)
    found = solve_nonlinear(cells, wires, Periphery(r_input=30.0), v_in, nodes=True)
    start = np.stack([np.repeat(v_in.T, 4, axis=1), np.zeros((3, 4))])

    def net(flat):
        return 1e6 * imbalance(cells, wires, 30.0, v_in[0], flat.reshape(2, 3, 4)).ravel()

    exact = root(net, start.ravel(), tol=1e-13)
    assert exact.success
    volts = exact.x.reshape(2, 3, 4)
    assert found.v_word is not None
    assert found.v_bit is not None
    np.testing.assert_allclose(found.v_word[0], volts[0], rtol=0, atol=1e-11)
    np.testing.assert_allclose(found.v_bit[0], volts[1], rtol=0, atol=1e-11)
    np.testing.assert_allclose(found.i_out[0], volts[1, -1] / (0.4 * ohm + 30), rtol=1e-9)


def test_with_ideal_wires_it_is_direct_evaluation():
    cells, v_in = laws((2, 4, 3)), inputs(4)
    ends = Periphery(v_offset=0.01)
    found = solve_nonlinear(cells, Wires(), ends, v_in)
    volts = np.repeat(v_in[:, :, None], 3, axis=2), np.full((3, 4, 6), 0.01)
    exact = cells.currents(*volts).current.sum(axis=1)
    np.testing.assert_allclose(found.i_out, exact, rtol=1e-13, atol=1e-19)
    assert found.n_step == 0
    assert found.v_word is None
    assert found.v_bit is None


@pytest.mark.parametrize("ohm", [1e4, 1e6])
def test_saturating_cells_behind_large_resistances_converge(ohm):
    """Whole steps of Newton's method go astray here; what is found is a solution."""
    g = 10 ** np.random.default_rng(1).uniform(-6, -4, (1, 8, 8, 1))
    box = VoltageBox((-1.0, 1.0), (-1.0, 1.0))
    cells = CellLaws.fitted(
        lambda u, w: g / np.sqrt(1 + 25 * (u - w) ** 2) * np.exp(-0.3 * (u + w)), box, (24, 24)
    )
    v_in, wires = np.random.default_rng(2).uniform(-0.9, 0.9, (4, 8)), Wires(ohm, ohm)
    found = solve_nonlinear(cells, wires, ENDS, v_in, nodes=True)
    assert found.v_word is not None
    assert found.v_bit is not None
    assert found.n_step > 6
    for v, u, w in zip(v_in, found.v_word, found.v_bit, strict=True):
        net = imbalance(cells, wires, 0.0, v, np.stack([u, w]))
        assert np.abs(net).max() < 1e-10 * np.abs(v[:, None] - u).max() / ohm
    assert len(v_in) == 4


def test_no_voltage_anywhere_is_no_current():
    found = solve_nonlinear(laws((2, 3, 3)), WIRES, ENDS, np.zeros(3))
    assert not found.i_out.any()
    assert found.residual == 0.0
    assert solve_nonlinear(laws((2, 3, 3)), WIRES, ENDS, np.zeros((0, 3))).v_out.shape == (0, 6)


def test_the_number_of_threads_changes_nothing():
    cells, v_in = laws((2, 16, 16), present=0.8), inputs(16, 61)
    before, found = numba.get_num_threads(), []
    try:
        for n_thread in (1, min(2, numba.config.NUMBA_NUM_THREADS)):
            numba.set_num_threads(n_thread)
            found.append(solve_nonlinear(cells, WIRES, ENDS, v_in, nodes=True))
    finally:
        numba.set_num_threads(before)
    assert (found[0].i_out == found[1].i_out).all()
    assert (found[0].v_bit == found[1].v_bit).all()
    alone = solve_nonlinear(cells, WIRES, ENDS, v_in[7])
    assert (alone.i_out[0] == found[0].i_out[7]).all()


def test_inputs_and_offsets_outside_the_box_are_refused():
    cells = laws((1, 3, 3))
    with pytest.raises(SolverError, match=r"a word node is at 0\.4 V"):
        solve_nonlinear(cells, WIRES, ENDS, np.array([0.1, 0.4, 0.2]))
    with pytest.raises(SolverError, match=r"a bit node is at -0\.5 V"):
        solve_nonlinear(cells, WIRES, Periphery(v_offset=-0.5), np.zeros(3))


def test_a_solution_outside_the_box_is_refused():
    cells = CellLaws(laws((1, 3, 3)).coefficients, VoltageBox((-0.35, 0.35), (-1e-3, 1e-3)))
    with pytest.raises(SolverError, match=r"hold for -0\.35 … 0\.35 V and -0\.001 … 0\.001 V"):
        solve_nonlinear(cells, Wires(5, 5), Periphery(r_input=5e3), np.full(3, 0.3))


@dataclass(frozen=True)
class OtherWires(Wires):
    """Wires with something that the engine does not know."""

    ringed: bool = False


def test_wires_with_anything_new_are_refused():
    assert solve_nonlinear(laws((1, 2, 2)), OtherWires(1, 1), ENDS, np.full(2, 0.1)).i_out.all()
    with pytest.raises(ValueError, match="solve_nonlinear does not know ringed"):
        solve_nonlinear(laws((1, 2, 2)), OtherWires(1, 1, ringed=True), ENDS, np.zeros(2))


def test_inputs_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="4 word lines"):
        solve_nonlinear(laws((1, 4, 3)), WIRES, ENDS, np.zeros((2, 3)))


@pytest.mark.parametrize("n_side", [1, 2])
@pytest.mark.parametrize("middle", [0.0, 0.1])
def test_a_deck_has_a_source_for_each_cell_and_plain_numbers(n_side, middle):
    cells = laws((n_side, 3, 2), present=0.6)
    box = VoltageBox((middle - 0.35, middle + 0.35), (-0.35, 0.35))
    deck = nonlinear_deck(CellLaws(cells.coefficients, box), WIRES, ENDS, inputs(3))
    sources = [line for line in deck.splitlines() if line.startswith("bc_")]
    assert len(sources) == cells.present.sum() < 6 * n_side
    assert "np." not in deck
    assert "Rc_" not in deck


def test_a_deck_of_too_many_vectors_is_refused():
    with pytest.raises(ValueError, match="at most 4096 vectors; got 4097"):
        nonlinear_deck(laws((1, 1, 1)), WIRES, ENDS, np.zeros((4097, 1)))


def test_each_direction_of_the_current_has_its_own_law(worker):
    """A conductance with a kink where no current flows, as transistors have."""
    n_word, n_bit = 4, 3
    scale = np.random.default_rng(0).uniform(1e-5, 1e-4, (2, n_word, n_bit, 1))

    def forward(v_word, v_bit):
        return scale * (1 + 0.8 * (v_word - v_bit) + 0.3 * v_bit)

    def back(v_word, v_bit):
        return scale * (1 - 0.8 * (v_word - v_bit) + 0.3 * v_word)

    bit = (-0.1, 0.1)
    reverse = CellLaws.fitted(back, VoltageBox((-0.5, 0.1), bit))
    cells = replace(CellLaws.fitted(forward, VoltageBox((-0.1, 0.5), bit)), reverse=reverse)
    assert cells.domain == VoltageBox((-0.5, 0.5), bit)
    v_in = np.random.default_rng(1).uniform(-0.4, 0.4, (6, n_word))
    wires, ends = Wires(20.0, 30.0, 50.0), Periphery(tia_gain=1e3, v_offset=2e-3)
    found = solve_nonlinear(cells, wires, ends, v_in, nodes=True)
    i_out, v_out = nonlinear_by_ngspice(cells, wires, ends, v_in, worker)
    assert found.i_out == approx(i_out, rel=1e-9, abs=1e-9 * np.abs(i_out).max())
    assert found.v_out == approx(v_out, rel=1e-9, abs=1e-9 * np.abs(v_out).max())
    v_word = found.v_word
    u, w = np.repeat(v_word[:, :, None], 2, axis=2).reshape(6, n_word, -1), found.v_bit
    amps = cells.currents(v_word, w).current
    assert np.abs(amps[(u - w) < 0]).min() > 0
    assert (np.sign(amps) == np.sign(u - w)).all()


def test_laws_of_both_directions_must_meet():
    def law(v_word, v_bit):
        return np.full((1, 1, 1, len(v_word)), 1e-5)

    bit = (-0.1, 0.1)
    forward = CellLaws.fitted(law, VoltageBox((-0.1, 0.5), bit))
    for box in (VoltageBox((-0.5, 0.05), bit), VoltageBox((-0.5, 0.1), (-0.2, 0.1))):
        with pytest.raises(ValueError, match=r"directions must have one shape|do not meet"):
            replace(forward, reverse=CellLaws.fitted(law, box))
    late = CellLaws.fitted(law, VoltageBox((0.0, 0.5), bit))
    with pytest.raises(ValueError, match="do not meet at all bit nodes"):
        replace(late, reverse=CellLaws.fitted(law, VoltageBox((-0.5, 0.1), bit)))
