"""Branches in series: the current of both parts is one, and cells are sums of branches."""

import numpy as np
import pytest
from scipy.optimize import brentq

from approx import approx
from crossbar_sim.ngspice.process import Job
from crossbar_sim.nonlinear.cell_laws import VoltageBox
from crossbar_sim.nonlinear.deck import nonlinear_deck
from crossbar_sim.nonlinear.newton import solve_nonlinear
from crossbar_sim.nonlinear.series import Branches
from crossbar_sim.solvers.solution import SolverError
from netlists import Periphery, Wires

POINTS = np.array([0.3, -0.2, 0.25, 0.0, 0.1]), np.array([0.0, 0.1, -0.3, 0.2, 0.1 - 1e-4])


def ohmic(v):
    return 1e-4 * v, np.full_like(v, 1e-4)


def ohmic_switch(a, b):
    return 1e-3 * (a - b), np.full_like(a, 1e-3), np.full_like(a, -1e-3)


def sinh(v):
    return 1e-5 * np.sinh(6 * v), 6e-5 * np.cosh(6 * v)


def transistor(a, b):
    """The triode region of an n-channel transistor with its gate 0.8 V above threshold."""
    return 2e-4 * ((0.8 - b) ** 2 - (0.8 - a) ** 2), 4e-4 * (0.8 - a), -4e-4 * (0.8 - b)


def scales(shape: tuple[int, ...] = (2, 3, 2, 4)) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.uniform(0.5, 2, shape) * (rng.random(shape) < 0.7), rng.uniform(0.7, 1.3, shape)


@pytest.mark.parametrize("first", [True, False])
def test_two_ohmic_parts_are_one_resistor(first):
    r, s = scales()
    g = Branches(ohmic, ohmic_switch, r, s, first).conductance(*POINTS)
    exact = (1e-4 * r * 1e-3 * s / (1e-4 * r + 1e-3 * s)).sum(axis=-1)
    np.testing.assert_allclose(g, np.repeat(exact[..., None], 5, axis=-1), rtol=1e-11, atol=0)


@pytest.mark.parametrize("first", [True, False])
def test_a_branch_has_the_current_that_brentq_finds(first):
    g = Branches(sinh, transistor, *scales((1, 1, 1, 1)), first)
    found = g.conductance(*POINTS)[0, 0, 0]
    r, s = g.resistor_scale.item(), g.switch_scale.item()
    assert r > 0
    for u, w, conducts in zip(*POINTS, found, strict=True):

        def left(m, u=u, w=w):
            if first:
                return r * sinh(u - m)[0] - s * transistor(m, w)[0]
            return s * transistor(u, m)[0] - r * sinh(m - w)[0]

        inner = brentq(left, min(u, w), max(u, w), xtol=1e-16, rtol=1e-15)
        current = s * (transistor(inner, w) if first else transistor(u, inner))[0]
        assert conducts == approx(current / (u - w), rel=1e-10)
    assert len(found) == 5


def test_the_order_of_the_parts_matters():
    """A transistor conducts less the higher its ends are, as at a driven word line."""
    r, s = scales()
    at_bit, at_word = (
        Branches(sinh, transistor, r, s, first).conductance(np.array([0.3]), np.array([0.0]))
        for first in (True, False)
    )
    assert (r.sum(axis=-1) > 0).all()
    assert (at_bit > at_word).all()


@pytest.mark.parametrize("first", [True, False])
def test_the_limit_without_a_voltage_is_that_of_small_ones(first):
    branches = Branches(sinh, transistor, *scales(), first)
    v, drops = 0.12, np.array([0.0, 9e-9, 1.1e-8, 1e-5, -1e-5, 1e-3, -1e-3])
    g = branches.conductance(v + drops / 2, v - drops / 2)
    limit = g[..., 0]
    for near in (g[..., 1], g[..., 2], (g[..., 3] + g[..., 4]) / 2):
        np.testing.assert_allclose(near, limit, rtol=2e-8, atol=0)
    np.testing.assert_allclose((g[..., 5] + g[..., 6]) / 2, limit, rtol=1e-5, atol=0)
    assert (g > 0).all()


def test_cells_without_a_branch_are_not_there_and_laws_fit():
    r, s = scales()
    r[1, 2, 0] = 0.0
    branches = Branches(sinh, transistor, r, s)
    box = VoltageBox((-0.1, 0.3), (-0.1, 0.2))
    cells = branches.cell_laws(box, (7, 7))
    assert not cells.present[1, 2, 0]
    assert cells.present.sum() == 11
    assert cells.error(branches.conductance) < 1e-6


def inner_deck(branches: Branches, deck: str) -> str:
    """Return a deck in which each branch has its inner node, in place of the sources of cells."""
    lines = [line for line in deck.splitlines() if not line.startswith("bc_")]
    for k, (s, i, j, n) in enumerate(zip(*np.nonzero(branches.resistor_scale))):
        word, inner, bit = f"v(wl_{i}_{j})", f"v(m_{k})", f"v(bl_{i}_{j}_{'pn'[s]})"
        r, t = float(branches.resistor_scale[s, i, j, n]), float(branches.switch_scale[s, i, j, n])
        first, second = (word, inner), (inner, bit)
        (a, b), (c, d) = (first, second) if branches.resistor_first else (second, first)
        ends = " ".join(end[2:-1] for end in (a, b)), " ".join(end[2:-1] for end in (c, d))
        lines.insert(1, f"br_{k} {ends[0]} i = {r * 1e-5!r} * sinh(6 * ({a} - {b}))")
        square = f"(0.8 - {d}) * (0.8 - {d}) - (0.8 - {c}) * (0.8 - {c})"
        lines.insert(1, f"bs_{k} {ends[1]} i = {t * 2e-4!r} * ({square})")
    return "\n".join([*lines, ""])


@pytest.mark.parametrize("first", [True, False])
def test_an_array_equals_ngspice_with_every_inner_node(first, worker):
    branches = Branches(sinh, transistor, *scales(), first)
    cells = branches.cell_laws(VoltageBox((0.0, 0.3), (-0.05, 0.15)), (13, 13))
    v_in, wires, ends = np.array([[0.3, 0.1, 0.2]]), Wires(60, 30, 100), Periphery(tia_gain=100.0)
    found = solve_nonlinear(cells, wires, ends, v_in)
    deck = inner_deck(branches, nonlinear_deck(cells, wires, ends, v_in))
    vectors = tuple(f"vtia_{j}#branch" for j in range(4))
    exact = worker.run(Job(deck, "dc", vectors, 1)).values.T
    assert deck.count("\nbs_") == (branches.resistor_scale > 0).sum()
    np.testing.assert_allclose(found.i_out, exact, rtol=1e-9, atol=0)


def test_open_switches_are_added_as_branches_of_another_law():
    r, s = scales()

    def leaky(a, b):
        return tuple(1e-6 * part for part in ohmic_switch(a, b))

    closed, open_ = Branches(sinh, transistor, r, s), Branches(sinh, leaky, 1.0 * (r == 0), s)
    both = closed.conductance(*POINTS) + open_.conductance(*POINTS)
    assert ((both - closed.conductance(*POINTS)) < 5e-9).all()
    assert (both > closed.conductance(*POINTS)).any()


def test_scales_that_do_not_fit_are_refused():
    r, s = scales()
    with pytest.raises(ValueError, match="n_branch"):
        Branches(sinh, transistor, r, s[..., :2])
    with pytest.raises(ValueError, match="above 0"):
        Branches(sinh, transistor, r, -s)
    with pytest.raises(ValueError, match="above 0"):
        Branches(sinh, transistor, np.full_like(s, np.nan), s)


def test_a_law_that_is_not_finite_is_refused():
    def broken(a, b):
        return tuple(np.nan * part for part in transistor(a, b))

    with pytest.raises(SolverError, match="both laws must be passive"):
        Branches(sinh, broken, *scales()).conductance(*POINTS)
