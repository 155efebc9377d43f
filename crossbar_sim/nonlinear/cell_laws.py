"""What the cells of an array conduct, as Chebyshev series of the voltages at both of their nodes.

A cell is all that lies between the word node and the bit node of one crossing: a bank of branches
in parallel, or nothing. Its current is I = (v_word - v_bit) G(v_word, v_bit), so that no polynomial
has a current without a voltage across.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.polynomial import chebyshev as numpy_chebyshev

from crossbar_sim.nonlinear.chebyshev import Cells, Series, evaluate
from crossbar_sim.solvers.solution import SolverError
from netlists.circuit import Circuit, Grid, Periphery, Wires

#: Conductances (n_side, n_word, n_bit, n_point) [S], or what NumPy broadcasts to them, for voltages
#: of word nodes and bit nodes (n_point,) [V]. 0 at every point is a cell that is not there.
Conductance = Callable[[np.ndarray, np.ndarray], np.ndarray]

#: By which part of its width a voltage may be outside the box: rounding.
_EDGE = 1e-12


class VoltageBox(NamedTuple):
    """The voltages (low, high) for which laws hold, of word nodes and of bit nodes [V]."""

    word: tuple[float, float]
    bit: tuple[float, float]


@dataclass(frozen=True)
class CellLaws:
    """The currents of all cells of an array.

    coefficients: of T_m T_n in the scaled voltages of word and bit node,
        (n_side, n_word, n_bit, p, q) float64 [S]; all zero where there is no cell. One side, or two
        that share the word nodes.
    box: voltages for which they hold. They are never used outside it.
    reverse: laws for currents from bit to word line, of the same bit nodes, where those of the
        other direction are others, as with transistors; None where these are for both. Each is
        then used for its own direction alone.

    Raises ValueError for another shape, coefficients that are not finite, an empty box, or laws of
    the two directions that do not fit.
    """

    coefficients: np.ndarray
    box: VoltageBox
    reverse: "CellLaws | None" = None

    def __post_init__(self) -> None:
        c = self.coefficients
        if c.ndim != 5 or 0 in c.shape or len(c) > 2 or c.dtype != np.float64:
            raise ValueError(
                "expected coefficients (n_side, n_word, n_bit, p, q) as float64 with one or two "
                f"sides and none of length 0; got {c.dtype} {c.shape}"
            )
        if not np.isfinite(c).all():
            raise ValueError("coefficients have NaN or inf; every one must be finite")
        for name, (low, high) in zip(VoltageBox._fields, self.box):
            if not (np.isfinite([low, high]).all() and low < high):
                raise ValueError(f"expected low < high [V] in box.{name}; got {low} and {high}")

        if self.reverse is not None:
            self._check_reverse(self.reverse)

    def _check_reverse(self, reverse: "CellLaws") -> None:
        (low, high), bit = self.box
        if reverse.coefficients.shape != self.coefficients.shape or reverse.box.bit != bit:
            raise ValueError(
                f"the laws of both directions must have one shape and one box of bit nodes; got "
                f"{self.coefficients.shape} {bit} and {reverse.coefficients.shape} "
                f"{reverse.box.bit}"
            )
        if reverse.reverse is not None or low > bit[0] or reverse.box.word[1] < bit[1]:
            raise ValueError(
                f"laws for word nodes of {low:g} … {high:g} V, and in reverse of "
                f"{reverse.box.word[0]:g} … {reverse.box.word[1]:g} V, do not meet at all bit "
                f"nodes, {bit[0]:g} … {bit[1]:g} V"
            )

    @classmethod
    def fitted(
        cls, conductance: Conductance, box: VoltageBox, degrees: tuple[int, int] = (4, 4)
    ) -> "CellLaws":
        """Return the series that interpolate a conductance at the Chebyshev nodes of the box.

        degrees: of the polynomials in the voltages of word node and bit node.

        `error` tells how far they are from it elsewhere. Raises ValueError for another shape or
        conductances that are not finite.
        """
        word, bit = (np.arange(d + 1) for d in degrees)
        a, b = (np.cos(np.pi * (k + 0.5) / len(k)) for k in (word, bit))
        g = _sampled(conductance, box, a, b)
        to_word, to_bit = (_transform(k, x) for k, x in ((word, a), (bit, b)))
        c = np.einsum("ma,nb,...ab->...mn", to_word, to_bit, g)
        c[~g.any(axis=(-2, -1))] = 0.0
        return cls(np.ascontiguousarray(c), box)

    def error(self, conductance: Conductance) -> float:
        """Return how far G is from a conductance, over the largest conductance of any cell.

        Both are compared between the nodes at which `fitted` makes them equal: at the edges of the
        box, and at the extremes of the first polynomials that are left out.
        """
        a, b = (np.cos(np.pi * np.arange(n + 1) / n) for n in self.coefficients.shape[-2:])
        exact = _sampled(conductance, self.box, a, b)
        series = np.moveaxis(self.coefficients, (-2, -1), (0, 1))
        found = numpy_chebyshev.chebgrid2d(a, b, series)
        return float(np.abs(found - exact).max() / (np.abs(exact).max() or 1.0))

    @property
    def present(self) -> np.ndarray:
        """Where there is a cell (n_side, n_word, n_bit)."""
        return np.asarray(self.coefficients.any(axis=(-2, -1)))

    def outline(self, wires: Wires, periphery: Periphery) -> Circuit:
        """Return a linear circuit with the same cells, nodes and names; its cells are all alike."""
        sides = ("",) if len(self.coefficients) == 1 else ("_p", "_n")
        return Circuit(Grid(np.where(self.present, 1e-6, 0.0), sides, wires), periphery)

    @property
    def domain(self) -> VoltageBox:
        """The voltages for which the laws of one direction or the other hold."""
        low = self.box.word[0] if self.reverse is None else self.reverse.box.word[0]
        return VoltageBox((low, self.box.word[1]), self.box.bit)

    @cached_property
    def series(self) -> Series:
        """The same as the kernels read it."""
        ways = [self] if self.reverse is None else [self, self.reverse]
        boxes = np.array([(each.box.word, each.box.bit) for each in ways])
        middle, scale = boxes.mean(axis=-1), 2 / (boxes[..., 1] - boxes[..., 0])
        rows = np.stack([each.coefficients.swapaxes(0, 1) for each in ways])
        of_word, by_word = (np.ascontiguousarray(of[:, 0]) for of in (middle, scale))
        present = np.asarray(rows.any(axis=(0, -2, -1)))
        return Series(rows, present, of_word, by_word, float(middle[0, 1]), float(scale[0, 1]))

    def currents(self, v_word: np.ndarray, v_bit: np.ndarray) -> Cells:
        """Return currents from word to bit node and their derivatives, (n_batch, n_word, n_line).

        v_word: (n_batch, n_word, n_bit) [V].
        v_bit: (n_batch, n_word, n_line) [V], all positive bit lines, then all negative.

        Raises SolverError for a voltage outside the box.
        """
        self.require_inside(v_word, v_bit)
        n_side, n_word, n_bit = self.coefficients.shape[:3]
        by_side = np.array(v_bit, dtype=np.float64, order="C").reshape(-1, n_word, n_side, n_bit)
        words = np.array(v_word, dtype=np.float64, order="C")
        found = Cells(*(np.empty_like(by_side) for _ in Cells._fields))
        ground = np.zeros((n_side, n_bit))
        for b, (u, w) in enumerate(zip(words, by_side)):
            evaluate(self.series, u, w, ground, Cells(*(part[b] for part in found)))
        return Cells(*(part.reshape(v_bit.shape) for part in found))

    def require_inside(self, v_word: np.ndarray, v_bit: np.ndarray) -> None:
        """Raise SolverError, naming the place, if a voltage [V] is outside the box or NaN."""
        for name, volts, (low, high) in zip(VoltageBox._fields, (v_word, v_bit), self.domain):
            room = _EDGE * (high - low)
            outside = ~((volts >= low - room) & (volts <= high + room))
            if outside.any():
                place = tuple(np.argwhere(outside)[0].tolist())
                raise SolverError(
                    f"a {name} node is at {volts[place]:.6g} V (index {place}), but the laws of "
                    f"the cells hold for {low:g} … {high:g} V; fit them on a larger box"
                )


def _transform(order: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the matrix from values at the nodes x (n,) to coefficients (n,).

    Source: Mason, Handscomb, "Chebyshev Polynomials", 2003, 6.3.
    """
    matrix = numpy_chebyshev.chebvander(x, len(order) - 1).T * (2.0 / len(order))
    matrix[0] /= 2.0
    return matrix


def _sampled(conductance: Conductance, box: VoltageBox, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return G (n_side, n_word, n_bit, len(a), len(b)) at scaled voltages -1 … 1."""
    (low, high), (low_bit, high_bit) = box
    word = (low + high) / 2 + (high - low) / 2 * np.repeat(a, len(b))
    bit = (low_bit + high_bit) / 2 + (high_bit - low_bit) / 2 * np.tile(b, len(a))
    g = np.asarray(conductance(word, bit), dtype=np.float64)
    if g.ndim != 4 or g.shape[-1] not in (1, len(word)) or not np.isfinite(g).all():
        raise ValueError(
            f"expected finite conductances (n_side, n_word, n_bit, {len(word)}) [S] for "
            f"{len(word)} points; got shape {g.shape}"
        )
    g = np.broadcast_to(g, (*g.shape[:3], len(word)))
    return g.reshape(*g.shape[:3], len(a), len(b))
