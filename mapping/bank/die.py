"""One manufactured chip: the same resistors in every process and in any order of calls."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from mapping.bank.checks import T_REFERENCE, check_cells, check_table, require
from mapping.bank.resistor_bank import ResistorBank, read_only
from mapping.bank.streams import Term, deviates, normals, uniforms
from mapping.bank.stuck import NEVER_CLOSES, NEVER_OPENS, checked_states

GRADIENT_SPAN = 1024  # cells across which `sigma_gradient` is stated
DRIFT_HOURS = 1000.0  # hours of work after which `drift` is stated
_LEAST_FACTOR = 0.05  # a resistor is never below this fraction of its nominal value


@dataclass(frozen=True)
class Branches:
    """What each branch conducts, closed and open: (n_cell, 2, n) [S]; side 0 is positive."""

    g_closed: np.ndarray
    g_open: np.ndarray


@dataclass(frozen=True)
class Cells:
    """Cells of a named layer: their inputs `rows` and outputs `columns`, (n_cell,) each."""

    layer: str
    rows: np.ndarray
    columns: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, part: slice | np.ndarray) -> "Cells":
        return Cells(self.layer, self.rows[part], self.columns[part])

    def branches(self, die: "Die", *, measured: bool) -> Branches:
        """Return what the cells' branches conduct on a die; see `Die.branches`."""
        return die.branches(self.layer, self.rows, self.columns, measured=measured)


@dataclass(frozen=True, eq=False)
class Die:
    """One manufactured chip; its resistors depend on nothing but what is given here.

    bank: the specification.
    seed: which chip, an integer in [0, 2**64).
    table: resistances without switches [ohm] at 300.15 K, layer -> (n_in, n_out, 2, n), in place
        of drawn ones.
    stuck: the state of each switch, by the numbers of `mapping.bank.stuck` and in the same shape,
        in place of drawn ones.

    Raises ValueError for a table or states of another shape, a resistance that is not positive and
    finite, or a state that does not exist.
    """

    bank: ResistorBank
    seed: int = 0
    table: Mapping[str, np.ndarray] | None = field(default=None, repr=False)
    stuck: Mapping[str, np.ndarray] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        whole = isinstance(self.seed, int | np.integer) and 0 <= self.seed < 2**64
        require(whole, "seed", self.seed, "an integer in [0, 2**64)")
        if self.table is not None:
            table = {layer: read_only(ohms) for layer, ohms in self.table.items()}
            for layer, ohms in table.items():
                check_table(layer, ohms, self.bank.n)
            object.__setattr__(self, "table", table)
        if self.stuck is not None:
            object.__setattr__(self, "stuck", checked_states(self.stuck, self.bank.n))

    @cached_property
    def id(self) -> str:
        """Twelve hexadecimal digits that name this die, the same on any machine."""
        text = json.dumps([self.bank.named_fields, int(self.seed)], sort_keys=True)
        digest = hashlib.blake2b(text.encode(), digest_size=6)
        for layer, ohms in sorted((self.table or {}).items()):
            digest.update(layer.encode() + np.ascontiguousarray(ohms).tobytes())
        for layer, states in sorted((self.stuck or {}).items()):
            digest.update(b"stuck" + layer.encode() + states.tobytes())
        return digest.hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Die) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def aged(self, hours: float) -> "Die":
        """Return the same chip after this many hours of work [h]."""
        return replace(self, bank=replace(self.bank, age=hours))

    def resistances(self, layer: str, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Return the true resistance of each resistor, at temperature and without its switch.

        layer: name.
        rows, columns: (n_cell,) integers, the input and the output of each cell.

        Returns (n_cell, 2, n) [ohm]. Raises ValueError for unequal lengths or negative indices,
        KeyError for a layer that the table lacks.
        """
        return self._resistances(_checked(layer, rows, columns))

    def measured(self, layer: str, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Return the meter's reading of each branch through its closed switch, if none is stuck.

        Arguments and result as for `resistances`.
        """
        return self._paths(_checked(layer, rows, columns), measured=True)[0]

    def branches(
        self, layer: str, rows: np.ndarray, columns: np.ndarray, *, measured: bool
    ) -> Branches:
        """Return what each branch conducts, stuck switches included.

        measured: True for the meter's values, False for the true ones; the rest as for
        `resistances`.
        """
        cells = _checked(layer, rows, columns)
        r_closed, r_on = self._paths(cells, measured=measured)
        g_closed, g_open = 1 / r_closed, 1 / (r_closed - r_on + self.bank.r_off)
        never_closes, never_opens = self._stuck(cells)
        g_closed[never_closes] = g_open[never_closes]
        g_open[never_opens] = g_closed[never_opens]
        return Branches(g_closed, g_open)

    def switches(
        self, layer: str, rows: np.ndarray, columns: np.ndarray, closed: np.ndarray
    ) -> np.ndarray:
        """Return the true resistance (n_cell, 2, n) [ohm] of each switch in the state it takes.

        closed: (n_cell, 2, n) bool, the state asked for; a stuck switch keeps its own. The rest
        as for `resistances`.
        """
        cells = _checked(layer, rows, columns)
        never_closes, never_opens = self._stuck(cells)
        r_on = np.broadcast_to(self._switch(cells), closed.shape)
        return np.where((closed & ~never_closes) | never_opens, r_on, self.bank.r_off)

    def _resistances(self, cells: Cells) -> np.ndarray:
        r = self._as_made(cells)
        r *= self._temperature_factor(cells)
        r *= self._age_factor(cells)
        return r

    def _paths(self, cells: Cells, *, measured: bool) -> tuple[np.ndarray, np.ndarray | float]:
        """Return the resistance of each branch with its switch closed, and that of the switch."""
        r_on = self._switch(cells)
        r = self._resistances(cells) + r_on
        if measured:
            r *= self._factor(Term.METER, self.bank.meter_error, cells)
        return r, r_on

    def _age_factor(self, cells: Cells) -> np.ndarray | float:
        bank = self.bank
        if not bank.age or not (bank.drift or bank.drift_sigma):
            return 1.0
        spread = bank.drift_sigma * self._draw(normals, Term.DRIFT, cells)
        return _at_least(1 + (bank.drift + spread) * np.cbrt(bank.age / DRIFT_HOURS))

    def _as_made(self, cells: Cells) -> np.ndarray:
        if self.table is not None:
            return self.table[cells.layer][cells.rows, cells.columns].copy()
        bank = self.bank
        r = bank.r_nominal * self._local_factor(cells)
        r *= _at_least(1 + bank.sigma_lot * self._die_normals("", Term.LOT, 1)[0])
        if bank.sigma_gradient:
            slope = bank.sigma_gradient * self._die_normals(cells.layer, Term.GRADIENT, 2)
            rise = (slope[0] * cells.rows + slope[1] * cells.columns) / GRADIENT_SPAN
            r *= _at_least(1 + rise)[:, None, None]
        return r

    def _local_factor(self, cells: Cells) -> np.ndarray:
        bank = self.bank
        if not np.any(bank.sigma_local):
            return np.ones((len(cells), 2, bank.n))
        u = self._draw(uniforms, Term.LOCAL, cells)
        deviation = deviates(u, bank.distribution, bank.local_bound, bank.local_hole)
        deviation *= np.asarray(bank.sigma_local)
        return np.exp(deviation) if bank.distribution == "lognormal" else _at_least(1 + deviation)

    def _temperature_factor(self, cells: Cells) -> np.ndarray | float:
        bank = self.bank
        kelvin = bank.temperature - T_REFERENCE
        if not bank.tc1_sigma or not kelvin:
            return bank.temperature_factor
        spread = bank.tc1_sigma * self._draw(normals, Term.TEMPERATURE, cells)
        return _at_least(1 + (bank.tc1 + spread) * kelvin + bank.tc2 * kelvin**2)

    def _switch(self, cells: Cells) -> np.ndarray | float:
        bank = self.bank
        return bank.r_on * self._factor(Term.SWITCH, bank.sigma_on, cells)

    def _factor(self, term: Term, sigma: float, cells: Cells) -> np.ndarray | float:
        return _at_least(1 + sigma * self._draw(normals, term, cells)) if sigma else 1.0

    def _stuck(self, cells: Cells) -> tuple[np.ndarray, np.ndarray]:
        """Return which switches never close and which never open, (n_cell, 2, n) bool each."""
        if self.stuck is not None:
            states = self.stuck[cells.layer][cells.rows, cells.columns]
            return states == NEVER_CLOSES, states == NEVER_OPENS
        bank, shape = self.bank, (len(cells), 2, self.bank.n)
        if not bank.p_stuck_open and not bank.p_stuck_closed:
            return np.zeros(shape, bool), np.zeros(shape, bool)
        u = self._draw(uniforms, Term.STUCK, cells)
        return u < bank.p_stuck_open, u > 1 - bank.p_stuck_closed

    def _draw(self, random: Callable[..., np.ndarray], term: Term, cells: Cells) -> np.ndarray:
        """Return (n_cell, 2, n) numbers of `uniforms` or `normals`."""
        n = self.bank.n
        drawn = random(self.seed, cells.layer, term, cells.rows, cells.columns, 2 * n)
        return drawn.reshape(-1, 2, n)

    def _die_normals(self, label: str, term: Term, n_value: int) -> np.ndarray:
        origin = np.zeros(1, np.int64)
        return normals(self.seed, label, term, origin, origin, n_value)[0]


def _checked(layer: str, rows: np.ndarray, columns: np.ndarray) -> Cells:
    return Cells(layer, *check_cells(rows, columns))


def _at_least(factor: np.ndarray) -> np.ndarray:
    return np.maximum(factor, _LEAST_FACTOR)
