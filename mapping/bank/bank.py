"""Banks of imprecise resistors: the specification, and the dies made from it."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property

import numpy as np

from mapping.bank.checks import (
    T_REFERENCE,
    check_cells,
    check_circuit,
    check_ladder,
    check_spread,
    check_table,
    require,
)
from mapping.bank.ladders import LadderGapWarning, nominal_ladder, warn_of_gaps
from mapping.bank.streams import Distribution, Term, deviates, normals, uniforms
from mapping.bank.stuck import NEVER_CLOSES, NEVER_OPENS, checked_states

GRADIENT_SPAN = 1024  # cells across which `sigma_gradient` is stated
DRIFT_HOURS = 1000.0  # hours of work after which `drift` is stated
_LATER = ("drift", "drift_sigma", "age")  # fields that not every version of a bank had
_LEAST_FACTOR = 0.05  # a resistor is never thinner than this part of its nominal value
_TAIL = 2.5  # sigmas at which the rule b <= 2/(1+t) leaves over 4 sigmas before a gap opens

__all__ = ["Branches", "Die", "LadderGapWarning", "ResistorBank"]


@dataclass(frozen=True)
class ResistorBank:
    """The specification of a bank: n branches in parallel, each a resistor and a switch.

    Every `sigma_`, `p_` and error is zero by default, and each acts alone.

    n: branches. ladder: "geometric" (r_min * ratio**k), "binary" (ratio 2), "equal" (all r_min),
    "E6" ... "E192" (the preferred values nearest, in logarithm, to the geometric ladder), or the
    nominal values [ohm] themselves, of which r_min is then the least. r_min [ohm]: the smallest
    nominal resistor. ratio: of neighbours.

    sigma_lot: relative spread of all resistors of a die together. sigma_gradient: relative change
    over 1024 cells along rows and along columns, drawn for each layer. sigma_local: relative
    spread of each resistor, one number or one for each branch. distribution of the local spread x:
    "normal"; "truncated" at local_bound sigmas; "lognormal" (exp(x), median 1); "uniform" (of
    standard deviation sigma_local); "holed" (truncated, and the parts within local_hole sigmas of
    nominal were sold as a better grade). A factor below 0.05 counts as 0.05.

    r_on [ohm], sigma_on: closed switch and its relative spread. r_off [ohm]: open switch.
    tc1 [1/K], tc1_sigma [1/K], tc2 [1/K^2]: temperature coefficients about 300.15 K, and the
    spread of the first.
    temperature [K]. meter_error: relative, of one reading of one branch. p_stuck_open,
    p_stuck_closed: probability that a switch never closes, never opens.
    drift, drift_sigma: mean relative change of resistance in 1,000 hours of work, and its spread
    over resistors; it grows with the cube root of age [h]. Source: Vishay technical note 28809,
    Drift Calculation for Thin Film Resistors.

    Raises ValueError for a value outside its range; warns `LadderGapWarning` where the ratio is
    above 2 / (1 + tolerance).
    """

    n: int = 12
    ladder: str | Sequence[float] = "geometric"
    r_min: float = 100e3
    ratio: float = 1.75
    sigma_lot: float = 0.0
    sigma_gradient: float = 0.0
    sigma_local: float | Sequence[float] = 0.0
    distribution: Distribution = "normal"
    local_bound: float = 3.0
    local_hole: float = 1.0
    r_on: float = 0.0
    sigma_on: float = 0.0
    r_off: float = math.inf
    tc1: float = 0.0
    tc1_sigma: float = 0.0
    tc2: float = 0.0
    temperature: float = T_REFERENCE
    meter_error: float = 0.0
    p_stuck_open: float = 0.0
    p_stuck_closed: float = 0.0
    drift: float = 0.0
    drift_sigma: float = 0.0
    age: float = 0.0

    def __post_init__(self):
        check_ladder(self)
        check_spread(self)
        check_circuit(self)
        if not isinstance(self.ladder, str):
            ohms = tuple(sorted(float(r) for r in self.ladder))
            object.__setattr__(self, "ladder", ohms)
            object.__setattr__(self, "r_min", ohms[0])
        if not np.isscalar(self.sigma_local):
            object.__setattr__(self, "sigma_local", tuple(map(float, np.ravel(self.sigma_local))))
        if isinstance(self.ladder, str) and self.ladder != "equal" and self.n > 1:
            warn_of_gaps(self.ladder, self.ratio, self.tolerance, stacklevel=3)

    @cached_property
    def r_nominal(self) -> np.ndarray:
        """Nominal resistances (n,) [ohm], ascending: branch 0 conducts most."""
        if isinstance(self.ladder, str):
            return _read_only(nominal_ladder(self.ladder, self.n, self.r_min, self.ratio))
        return _read_only(self.ladder)

    @property
    def g_full(self) -> float:
        """Conductance of the nominal bank with every switch closed [S]."""
        return float(np.sum(1 / (self.r_nominal + self.r_on)))

    @property
    def tolerance(self) -> float:
        """Relative deviation that the local spread stays within, the bound t of b <= 2 / (1 + t).

        It is the bound of a bounded distribution. An unbounded one counts 2.5 sigmas: no gap then
        opens before the ladder as a whole deviates by more than four of its own sigmas.
        """
        sigma = float(np.max(self.sigma_local))
        if self.distribution == "uniform":
            return math.sqrt(3) * sigma
        if self.distribution in ("truncated", "holed"):
            return self.local_bound * sigma
        return math.expm1(_TAIL * sigma) if self.distribution == "lognormal" else _TAIL * sigma

    @classmethod
    def from_ohms(cls, ohms, **options) -> "ResistorBank":
        """Return a bank of the given nominal values [ohm], with any option of the class."""
        return cls(n=len(ohms), ladder=tuple(ohms), **options)

    @classmethod
    def pelgrom(cls, *, r_sheet, a_r, width, **options) -> "ResistorBank":
        """Return a bank of film resistors, matched as well as their area W * L allows.

        r_sheet [ohm per square]; a_r [m]: Pelgrom's coefficient, 3.5 % um being 3.5e-8;
        width W [m] of every resistor, whose length L = W * R / r_sheet; options: of the class.
        Source: Pelgrom, Duinmaijer, Welbers, IEEE JSSC 24 (1989) 1433, sigma = a_r / sqrt(W * L).
        """
        r_nominal = cls(**options).r_nominal
        area = width**2 * r_nominal / r_sheet
        return cls(**options, sigma_local=tuple(a_r / np.sqrt(area)))

    @classmethod
    def discrete_e24(cls, n=8, r_min=10e3, **options) -> "ResistorBank":
        """Return a bank of 5 % E24 parts with analog switches on a board.

        Parts of the grade lie within 5 % of nominal. The meter reads to 0.1 %.
        Source: IEC 60063 for values and grade; the switch (70 ohm, spread 10 %) and the
        temperature coefficient (spread 100 ppm/K) are typical of 4066 switches and thick film.
        """
        parts = {"ladder": "E24", "sigma_local": 0.05 / 3, "distribution": "truncated"}
        switch = {"r_on": 70.0, "sigma_on": 0.1, "r_off": 1e9}
        rest = {"tc1_sigma": 100e-6, "meter_error": 1e-3}
        typical: dict = {**parts, **switch, **rest}
        return cls(n=n, r_min=r_min, **(typical | options))

    @classmethod
    def sky130_high_po(cls, n=8, r_min=10e3, width=0.35e-6, **options) -> "ResistorBank":
        """Return a bank of P+ polysilicon resistors in the SKY130 process.

        319.8 ohm per square, sigma 3.5 % um / sqrt(W * L), 2.5 % of lot, 514 ppm/K.
        Source: google/skywater-pdk, sky130_fd_pr models of res_high_po. The switch (1 kohm, spread
        5 %, 1 Tohm open) and the 0.1 % meter are assumed.
        """
        film = {"r_sheet": 319.8, "a_r": 3.5e-8, "width": width}
        switch = {"r_on": 1e3, "sigma_on": 0.05, "r_off": 1e12}
        rest = {"sigma_lot": 0.025, "tc1": 514e-6, "tc2": 1.2e-6, "meter_error": 1e-3}
        return cls.pelgrom(n=n, r_min=r_min, **film, **(switch | rest | options))


@dataclass(frozen=True)
class Branches:
    """What each branch conducts, closed and open: (n_cell, 2, n) [S]; side 0 is the positive."""

    g_closed: np.ndarray
    g_open: np.ndarray


@dataclass(frozen=True, eq=False)
class Die:
    """One manufactured chip: its resistors never change, whatever is asked, and in what order.

    bank: the specification; seed: integer in [0, 2**64), the chip. table: resistances without
    switches [ohm] at 300.15 K, layer -> (n_in, n_out, 2, n), in place of drawn ones. stuck: of
    that shape, which switches fail, as `mapping.bank.stuck` numbers them, in place of drawn ones.
    """

    bank: ResistorBank
    seed: int = 0
    table: Mapping[str, np.ndarray] | None = field(default=None, repr=False)
    stuck: Mapping[str, np.ndarray] | None = field(default=None, repr=False)

    def __post_init__(self):
        whole = isinstance(self.seed, int | np.integer) and 0 <= self.seed < 2**64
        require(whole, "seed", self.seed, "an integer in [0, 2**64)")
        if self.table is not None:
            table = {layer: _read_only(ohms) for layer, ohms in self.table.items()}
            for layer, ohms in table.items():
                check_table(layer, ohms, self.bank.n)
            object.__setattr__(self, "table", table)
        if self.stuck is not None:
            object.__setattr__(self, "stuck", checked_states(self.stuck, self.bank.n))

    @classmethod
    def from_table(cls, table, bank, seed=0, stuck=None) -> "Die":
        """Return a die of known resistors; `bank` says what the rest of the circuit is.

        table: layer -> (n_in, n_out, 2, n) [ohm] at 300.15 K, without the switch; stuck: see `Die`.
        Raises ValueError for another shape, or a value that is not positive and finite.
        """
        return cls(bank, seed, table, stuck)

    @cached_property
    def id(self) -> str:
        """Twelve hexadecimal digits that name this die, the same on any machine."""
        # What came later counts only where it acts, so that a die keeps its name.
        spec = {key: v for key, v in asdict(self.bank).items() if v or key not in _LATER}
        text = json.dumps([spec, int(self.seed)], sort_keys=True)
        digest = hashlib.blake2b(text.encode(), digest_size=6)
        for layer, ohms in sorted((self.table or {}).items()):
            digest.update(layer.encode() + np.ascontiguousarray(ohms).tobytes())
        for layer, states in sorted((self.stuck or {}).items()):
            digest.update(b"stuck" + layer.encode() + states.tobytes())
        return digest.hexdigest()

    def __eq__(self, other):
        return isinstance(other, Die) and self.id == other.id

    def __hash__(self):
        return hash(self.id)

    def at_temperature(self, kelvin) -> "Die":
        """Return the same chip at another temperature [K]."""
        return replace(self, bank=replace(self.bank, temperature=kelvin))

    def aged(self, hours) -> "Die":
        """Return the same chip after so many hours of work [h]."""
        return replace(self, bank=replace(self.bank, age=hours))

    def resistances(self, layer, rows, columns) -> np.ndarray:
        """Return the true resistance of each resistor, at temperature and without its switch.

        layer: name; rows, columns: (n_cell,) integers, the input and the output of each cell.
        Returns (n_cell, 2, n) [ohm]. Raises ValueError for unequal lengths or negative indices,
        KeyError for a layer that the table lacks.
        """
        rows, columns = check_cells(rows, columns)
        r = self._as_made(layer, rows, columns)
        r *= self._temperature_factor(layer, rows, columns)
        r *= self._age_factor(layer, rows, columns)
        return r

    def measured(self, layer, rows, columns) -> np.ndarray:
        """Return the meter's reading of each branch through its closed switch, were none stuck.

        Arguments and result as for `resistances`.
        """
        return self._paths(layer, *check_cells(rows, columns), measured=True)[0]

    def branches(self, layer, rows, columns, *, measured: bool) -> Branches:
        """Return what each branch conducts, stuck switches included.

        measured: True for the meter's values, False for the true ones; the rest as for
        `resistances`.
        """
        rows, columns = check_cells(rows, columns)
        r_closed, r_on = self._paths(layer, rows, columns, measured=measured)
        g_closed, g_open = 1 / r_closed, 1 / (r_closed - r_on + self.bank.r_off)
        self._apply_stuck(layer, rows, columns, g_closed, g_open)
        return Branches(g_closed, g_open)

    def switches(self, layer, rows, columns, closed) -> np.ndarray:
        """Return the true resistance (n_cell, 2, n) [ohm] of each switch in the state it takes.

        closed: (n_cell, 2, n) bool, the state asked for; a stuck switch keeps its own. The rest
        as for `resistances`.
        """
        rows, columns = check_cells(rows, columns)
        never_closes, never_opens = self._stuck(layer, rows, columns)
        r_on = np.broadcast_to(self._switch(layer, rows, columns), closed.shape)
        return np.where((closed & ~never_closes) | never_opens, r_on, self.bank.r_off)

    def _paths(self, layer, rows, columns, *, measured):
        """Return the resistance of each branch with its switch closed, and that of the switch."""
        r_on = self._switch(layer, rows, columns)
        r = self.resistances(layer, rows, columns) + r_on
        if measured:
            r *= self._factor(Term.METER, self.bank.meter_error, layer, rows, columns)
        return r, r_on

    def _age_factor(self, layer, rows, columns):
        bank = self.bank
        if not bank.age or not (bank.drift or bank.drift_sigma):
            return 1.0
        spread = bank.drift_sigma * self._normals(Term.DRIFT, layer, rows, columns)
        return _at_least(1 + (bank.drift + spread) * np.cbrt(bank.age / DRIFT_HOURS))

    def _as_made(self, layer, rows, columns):
        if self.table is not None:
            return self.table[layer][rows, columns].copy()
        bank = self.bank
        r = bank.r_nominal * self._local_factor(layer, rows, columns)
        r *= _at_least(1 + bank.sigma_lot * self._die_normals("", Term.LOT, 1)[0])
        if bank.sigma_gradient:
            slope = bank.sigma_gradient * self._die_normals(layer, Term.GRADIENT, 2)
            rise = (slope[0] * rows + slope[1] * columns) / GRADIENT_SPAN
            r *= _at_least(1 + rise)[:, None, None]
        return r

    def _local_factor(self, layer, rows, columns):
        bank = self.bank
        if not np.any(bank.sigma_local):
            return np.ones((len(rows), 2, bank.n))
        u = uniforms(self.seed, layer, Term.LOCAL, rows, columns, 2 * bank.n)
        deviation = deviates(u, bank.distribution, bank.local_bound, bank.local_hole)
        deviation = deviation.reshape(-1, 2, bank.n)
        deviation *= np.asarray(bank.sigma_local)
        return np.exp(deviation) if bank.distribution == "lognormal" else _at_least(1 + deviation)

    def _temperature_factor(self, layer, rows, columns):
        bank = self.bank
        kelvin = bank.temperature - T_REFERENCE
        if not bank.tc1_sigma or not kelvin:
            return 1 + bank.tc1 * kelvin + bank.tc2 * kelvin**2
        spread = bank.tc1_sigma * self._normals(Term.TEMPERATURE, layer, rows, columns)
        return _at_least(1 + (bank.tc1 + spread) * kelvin + bank.tc2 * kelvin**2)

    def _switch(self, layer, rows, columns):
        bank = self.bank
        return bank.r_on * self._factor(Term.SWITCH, bank.sigma_on, layer, rows, columns)

    def _factor(self, term, sigma, layer, rows, columns):
        if not sigma:
            return 1.0
        return _at_least(1 + sigma * self._normals(term, layer, rows, columns))

    def _apply_stuck(self, layer, rows, columns, g_closed, g_open):
        never_closes, never_opens = self._stuck(layer, rows, columns)
        g_closed[never_closes] = g_open[never_closes]
        g_open[never_opens] = g_closed[never_opens]

    def _stuck(self, layer, rows, columns):
        """Return which switches never close and which never open, (n_cell, 2, n) bool each."""
        if self.stuck is not None:
            states = self.stuck[layer][rows, columns]
            return states == NEVER_CLOSES, states == NEVER_OPENS
        bank, shape = self.bank, (len(rows), 2, self.bank.n)
        if not bank.p_stuck_open and not bank.p_stuck_closed:
            return np.zeros(shape, bool), np.zeros(shape, bool)
        u = uniforms(self.seed, layer, Term.STUCK, rows, columns, 2 * bank.n).reshape(shape)
        return u < bank.p_stuck_open, u > 1 - bank.p_stuck_closed

    def _normals(self, term, layer, rows, columns):
        shape = (-1, 2, self.bank.n)
        return normals(self.seed, layer, term, rows, columns, 2 * self.bank.n).reshape(shape)

    def _die_normals(self, label, term, n_value):
        origin = np.zeros(1, np.int64)
        return normals(self.seed, label, term, origin, origin, n_value)[0]


def _read_only(values):
    array = np.array(values, float)
    array.setflags(write=False)
    return array


def _at_least(factor):
    return np.maximum(factor, _LEAST_FACTOR)
