"""Branches of a resistor and a switch in series, whose inner node is solved, summed into cells."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from crossbar_sim.nonlinear.cell_laws import CellLaws, VoltageBox
from crossbar_sim.solvers.solution import SolverError

#: Current [A] of a resistor and its derivative [S], for its own voltage [V]; of any shape.
ResistorLaw = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
#: Current [A] of a switch from a to b and its derivatives by both voltages [S], for v_a and v_b.
SwitchLaw = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]

#: Largest number of steps for an inner node: bisection alone reaches a double's precision in it.
N_STEP = 100
#: An inner node is found when a step of Newton's method is this part of the voltage across the
#: branch, for the next one would be as its square, or this part of the voltages at its ends.
_TOLERANCE, _ROUNDING = 1e-9, 1e-14
#: Voltage across a branch [V] below which the limit without one is nearer than a quotient, which
#: has lost half of its digits.
_NO_DROP = 1e-8


@dataclass(frozen=True)
class Branches:
    """The branches of all cells of an array, each a resistor and a switch in series.

    resistor, switch: laws, of all branches. Both must be passive: no current without a voltage
        across, and none against it.
    resistor_scale, switch_scale: what a branch's laws are multiplied by,
        (n_side, n_word, n_bit, n_branch). A branch of resistor_scale 0 is not there.
    resistor_first: whether the resistor is at the word line and the switch at the bit line.

    Open switches have a law of their own: other branches, whose `conductance` is added.
    Raises ValueError for scales that do not fit.
    """

    resistor: ResistorLaw
    switch: SwitchLaw
    resistor_scale: np.ndarray
    switch_scale: np.ndarray
    resistor_first: bool = True

    def __post_init__(self) -> None:
        shapes = self.resistor_scale.shape, self.switch_scale.shape
        if shapes[0] != shapes[1] or len(shapes[0]) != 4:
            raise ValueError(
                "expected resistor_scale and switch_scale (n_side, n_word, n_bit, n_branch); got "
                f"{shapes[0]} and {shapes[1]}"
            )
        there = self.resistor_scale != 0
        scales = np.concatenate([self.resistor_scale[there], self.switch_scale[there]])
        if not (np.isfinite(scales) & (scales > 0)).all():
            raise ValueError("scales must be finite and above 0, or 0 for a resistor_scale")

    def conductance(self, v_word: np.ndarray, v_bit: np.ndarray) -> np.ndarray:
        """Return the conductances (n_side, n_word, n_bit, n_point) [S] of the cells.

        v_word, v_bit: voltages (n_point,) [V], the same for all cells.

        Raises SolverError if an inner node is not found.
        """
        there = self.resistor_scale != 0
        shape = there.shape
        cell = np.flatnonzero(there) // shape[-1]
        points = []
        for u, w in zip(np.asarray(v_word).tolist(), np.asarray(v_bit).tolist()):
            g = self._conductances(u, w, there)
            points.append(np.bincount(cell, g, int(np.prod(shape[:-1]))).reshape(shape[:-1]))
        return np.stack(points, axis=-1)

    def cell_laws(self, box: VoltageBox, degrees: tuple[int, int] = (4, 4)) -> CellLaws:
        """Return the cells' laws over a box, as `CellLaws.fitted` does."""
        return CellLaws.fitted(self.conductance, box, degrees)

    def _conductances(self, u: float, w: float, there: np.ndarray) -> np.ndarray:
        """Return the conductance (n,) [S] of each branch that is there, at u and w."""
        scales = self.resistor_scale[there], self.switch_scale[there]
        if abs(u - w) < _NO_DROP:
            return self._without_drop((u + w) / 2, *scales)
        inner = self._inner_nodes(u, w, *scales)
        at_resistor = u - inner if self.resistor_first else inner - w
        return scales[0] * self.resistor(at_resistor)[0] / (u - w)

    def _without_drop(self, v: float, r_scale: np.ndarray, s_scale: np.ndarray) -> np.ndarray:
        """Return the conductances where both ends are at v: those of the parts in series."""
        at = np.full(len(r_scale), v)
        g_resistor = r_scale * self.resistor(np.zeros(len(r_scale)))[1]
        g_switch = s_scale * self.switch(at, at)[1]
        total = g_resistor + g_switch
        return g_resistor * g_switch / np.where(total > 0, total, 1.0)

    def _inner_nodes(
        self, u: float, w: float, r_scale: np.ndarray, s_scale: np.ndarray
    ) -> np.ndarray:
        """Return the voltages (n,) [V] between resistor and switch.

        Newton's method, and bisection of what is known to hold the node where a step would leave
        it: the current that is left over falls as the node rises.
        """
        low, high = np.full(len(r_scale), min(u, w)), np.full(len(r_scale), max(u, w))
        inner = (low + high) / 2
        close = _TOLERANCE * abs(u - w) + _ROUNDING * max(abs(u), abs(w))
        for _ in range(N_STEP):
            left, slope = self._left_over(u, w, inner, r_scale, s_scale)
            if not np.isfinite(left).all():
                break
            low, high = np.where(left >= 0, inner, low), np.where(left <= 0, inner, high)
            with np.errstate(divide="ignore", invalid="ignore"):
                new = inner - left / slope
            inside = (new >= low) & (new <= high)
            new = np.where(inside, new, (low + high) / 2)
            done = (np.abs(new - inner) <= close) & (inside | (high - low <= close))
            inner = new
            if done.all():
                return inner
        raise SolverError(
            f"no voltage between resistor and switch was found for ends at {u:g} and {w:g} V; "
            "both laws must be passive, finite and rise with the voltage across"
        )

    def _left_over(
        self, u: float, w: float, inner: np.ndarray, r_scale: np.ndarray, s_scale: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the current (n,) [A] into the inner node that does not leave it; its slope [S]."""
        ends = np.full(len(inner), u), np.full(len(inner), w)
        if self.resistor_first:
            resistor, g_resistor = self.resistor(u - inner)
            switch, g_switch, _ = self.switch(inner, ends[1])
            return r_scale * resistor - s_scale * switch, -r_scale * g_resistor - s_scale * g_switch
        resistor, g_resistor = self.resistor(inner - w)
        switch, _, g_switch = self.switch(ends[0], inner)
        return s_scale * switch - r_scale * resistor, s_scale * g_switch - r_scale * g_resistor
