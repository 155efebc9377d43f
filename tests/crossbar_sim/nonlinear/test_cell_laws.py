"""Currents of cells are those of their series, which say how far they are from what they fit."""

import numpy as np
import pytest
from numpy.polynomial import chebyshev

from approx import approx
from crossbar_sim.nonlinear.cell_laws import CellLaws, VoltageBox
from crossbar_sim.solvers.solution import SolverError

BOX = VoltageBox((-0.2, 0.5), (-0.1, 0.3))


def random_laws(degrees: tuple[int, int], seed: int = 0) -> CellLaws:
    """Return laws of 2 × 3 × 4 cells, of which one is missing."""
    rng = np.random.default_rng(seed)
    c = rng.normal(size=(2, 3, 4, degrees[0] + 1, degrees[1] + 1))
    c[1, 2, 0] = 0.0
    return CellLaws(c, BOX)


def by_numpy(cells: CellLaws, u: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Return currents (n_batch, n_word, n_line) for voltages of these shapes, complex ones too."""
    n_side, n_word, n_bit = cells.coefficients.shape[:3]
    found = np.zeros(w.shape, dtype=np.result_type(u, w))
    a, b = (u - 0.15) / 0.35, (w - 0.1) / 0.2
    for i, s, j in np.ndindex(n_word, n_side, n_bit):
        k = s * n_bit + j
        g = chebyshev.chebval2d(a[:, i, j], b[:, i, k], cells.coefficients[s, i, j])
        found[:, i, k] = (u[:, i, j] - w[:, i, k]) * g
    return found


@pytest.mark.parametrize("degrees", [(0, 0), (1, 1), (4, 4), (2, 6), (7, 0)])
def test_currents_and_derivatives_are_those_of_the_series(degrees):
    cells, rng, step = random_laws(degrees), np.random.default_rng(1), 1e-30
    u, w = rng.uniform(-0.2, 0.5, (5, 3, 4)), rng.uniform(-0.1, 0.3, (5, 3, 8))
    found = cells.currents(u, w)
    by_word = by_numpy(cells, u + 1j * step, w.astype(complex)).imag / step
    by_bit = by_numpy(cells, u.astype(complex), w + 1j * step).imag / step
    np.testing.assert_allclose(found.current, by_numpy(cells, u, w), rtol=0, atol=1e-13)
    np.testing.assert_allclose(found.by_word, by_word, rtol=0, atol=1e-11)
    np.testing.assert_allclose(found.by_bit, -by_bit, rtol=0, atol=1e-11)
    assert not found.current[:, 2, 4].any()
    assert not cells.present[1, 2, 0]
    assert cells.present.sum() == 23


def test_a_polynomial_is_fitted_exactly():
    cells = random_laws((3, 2))

    def conductance(u, w):
        c = np.moveaxis(cells.coefficients, (-2, -1), (0, 1))
        return chebyshev.chebval2d((u - 0.15) / 0.35, (w - 0.1) / 0.2, c)

    for degrees in ((3, 2), (5, 5)):
        fitted = CellLaws.fitted(conductance, BOX, degrees)
        part = fitted.coefficients[..., :4, :3]
        np.testing.assert_allclose(part, cells.coefficients, rtol=0, atol=1e-13)
        assert (fitted.present == cells.present).all()
        assert fitted.error(conductance) < 1e-13


def test_the_stated_error_is_that_between_the_nodes():
    g = np.array([1e-5, 2e-6, 0.0]).reshape(1, 3, 1, 1)

    def conductance(u, w):
        return g * np.exp(2 * u - 3 * w)

    errors = []
    for degree in (1, 3, 5):
        cells = CellLaws.fitted(conductance, BOX, (degree, degree))
        errors.append(cells.error(conductance))
        u, w = np.meshgrid(np.linspace(-0.2, 0.5, 150), np.linspace(-0.1, 0.3, 150))
        c = np.moveaxis(cells.coefficients, (-2, -1), (0, 1))
        found = chebyshev.chebval2d((u - 0.15) / 0.35, (w - 0.1) / 0.2, c)
        exact = conductance(u.ravel(), w.ravel()).reshape(found.shape)
        largest = np.abs(found - exact).max() / exact.max()
        assert 0.5 * largest < errors[-1] <= largest * 1.01
    assert errors[0] > 1e-2 > 3e-3 > errors[1] > 1e-4 > 1e-5 > errors[2]


def test_conductances_that_do_not_depend_on_voltages_need_one_point():
    cells = CellLaws.fitted(lambda _u, _w: np.full((1, 2, 2, 1), 3e-6), BOX, (2, 2))
    assert cells.currents(np.full((1, 2, 2), 0.2), np.zeros((1, 2, 2))).current == approx(
        np.full((1, 2, 2), 6e-7), rel=1e-13
    )


@pytest.mark.parametrize(
    ("u", "w", "place"), [(0.51, 0.0, "word"), (0.0, -0.11, "bit"), (np.nan, 0.0, "word")]
)
def test_a_voltage_outside_the_box_is_refused(u, w, place):
    cells = random_laws((2, 2))
    v_word, v_bit = np.zeros((1, 3, 4)), np.zeros((1, 3, 8))
    v_word[0, 1, 2], v_bit[0, 2, 7] = u, w
    with pytest.raises(SolverError, match=rf"a {place} node is at .* fit them on a larger box"):
        cells.currents(v_word, v_bit)
    v_word[0, 1, 2], v_bit[0, 2, 7] = 0.5, -0.1  # the edges are inside
    assert np.isfinite(cells.currents(v_word, v_bit).current).all()


@pytest.mark.parametrize(
    ("coefficients", "box", "said"),
    [
        (np.zeros((1, 2, 2, 3)), BOX, "one or two sides"),
        (np.zeros((3, 2, 2, 3, 3)), BOX, "one or two sides"),
        (np.zeros((1, 2, 0, 3, 3)), BOX, "one or two sides"),
        (np.zeros((1, 2, 2, 3, 3), np.float32), BOX, "float32"),
        (np.full((1, 2, 2, 3, 3), np.nan), BOX, "finite"),
        (np.zeros((1, 2, 2, 3, 3)), VoltageBox((0.1, 0.1), (0, 1)), r"box\.word"),
        (np.zeros((1, 2, 2, 3, 3)), VoltageBox((0, 1), (0, np.inf)), r"box\.bit"),
    ],
)
def test_laws_that_make_no_sense_are_refused(coefficients, box, said):
    with pytest.raises(ValueError, match=said):
        CellLaws(coefficients, box)


@pytest.mark.parametrize(
    "g", [np.zeros((2, 2, 9)), np.zeros((1, 2, 2, 4)), np.full((1, 2, 2, 9), np.inf)]
)
def test_conductances_that_do_not_fit_the_points_are_refused(g):
    with pytest.raises(ValueError, match=r"n_side, n_word, n_bit, 9"):
        CellLaws.fitted(lambda _u, _w: g, BOX, (2, 2))
