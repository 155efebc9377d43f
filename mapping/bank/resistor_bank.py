"""The specification of a bank of imprecise resistors.

A new field is a key of [bank] at once. It acts in `die.py` beside this file: in `_resistances` if
netlists state it with the resistor, else in `_paths`, with a `Term` of `streams.py` if it is
random. `crossbar_sim/report/modelled.py` states it. It is marked `LATER` below, and `SPREAD` if
readings of a wafer contain it; a test fails for a bank whose measured die would repeat it.
"""

import math
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike
from pydantic import ConfigDict, Field

from mapping.bank.checks import MAX_BRANCHES, T_REFERENCE, require, warn_of_no_effect
from mapping.bank.ladders import Ladder, nominal_ladder, warn_of_gaps
from mapping.bank.streams import Distribution
from tinynets.settings import (
    TABLE,
    Fraction,
    Kelvin,
    NotNegative,
    Ohm,
    Positive,
    Probability,
    Share,
    check_fields,
    within,
    within_or_inf,
)

_TAIL = 2.5  # sigmas at which the rule b <= 2/(1+t) leaves over 4 sigmas before a gap opens

#: Of a field: readings of every branch contain it up to then, so that a bank of them is without.
SPREAD = {"spread": True}
#: Of a field: dies were named before it came, so it only counts in a name where it acts.
LATER = {"later": True}


@dataclass(frozen=True)
class ResistorBank:
    """The specification of a bank: n branches in parallel, each a resistor and a switch.

    Every `sigma_`, `p_` and error is zero by default, and each acts alone. No error takes a
    resistor below 0.05 of its value.

    Raises ValueError for a value outside its range; warns `LadderGapWarning` where the ratio is
    above 2 / (1 + tolerance), and `NoEffectWarning` of an age without drift or a temperature
    without coefficient.
    """

    __pydantic_config__: ClassVar[ConfigDict] = TABLE

    n: Annotated[int, within(1, MAX_BRANCHES)] = 12
    """Branches of the bank."""
    ladder: Ladder | Annotated[tuple[Ohm, ...], Field(strict=False)] = "geometric"
    """Nominal values: "geometric" (r_min * ratio**k), "binary" (ratio 2), "equal" (all r_min), "E6"
    … "E192" (the preferred values nearest, in logarithm, to the geometric ladder), or a list of
    n values [ohm], which also sets r_min."""
    r_min: Ohm = 100e3
    """Smallest nominal resistor [ohm]."""
    ratio: Annotated[float, Field(gt=1, le=1000, strict=True)] = 1.75
    """Ratio of neighbouring resistors in the ladder."""
    sigma_lot: Share = field(default=0.0, metadata=SPREAD)
    """Spread that all resistors of a die share, as a fraction of nominal."""
    sigma_gradient: Share = field(default=0.0, metadata=SPREAD)
    """Spread of the relative change across 1024 cells, along rows and along columns; drawn for each
    layer."""
    sigma_local: Share | Annotated[tuple[Share, ...], Field(strict=False)] = field(
        default=0.0, metadata=SPREAD
    )
    """Spread of each resistor alone, as a fraction of nominal: one number, or one a branch."""
    distribution: Distribution = "normal"
    """Distribution of the local spread x: "normal"; "truncated" at local_bound; "lognormal"
    (exp(x), median 1); "uniform" (with standard deviation sigma_local); "holed" (truncated, and
    without the parts within local_hole, which were sold as a better grade)."""
    local_bound: Positive = 3.0
    """Where a "truncated" or "holed" distribution ends [multiples of sigma_local]."""
    local_hole: NotNegative = 1.0
    """Half-width of the hole of a "holed" distribution [multiples of sigma_local]."""
    r_on: Annotated[float, within(0, 1e12)] = 0.0
    """Resistance of a closed switch [ohm]."""
    sigma_on: Share = field(default=0.0, metadata=SPREAD)
    """Spread of r_on over switches, as a fraction of r_on."""
    r_off: Annotated[float, within_or_inf(1, 1e15)] = math.inf
    """Resistance of an open switch [ohm]; inf for no leakage."""
    tc1: Annotated[float, within(-1, 1)] = 0.0
    """Linear temperature coefficient of the resistors about 300.15 K [1/K]."""
    tc1_sigma: Share = field(default=0.0, metadata=SPREAD)
    """Spread of tc1 over resistors [1/K]."""
    tc2: Annotated[float, within(-1, 1)] = 0.0
    """Quadratic temperature coefficient of the resistors about 300.15 K [1/K^2]."""
    temperature: Kelvin = T_REFERENCE
    """Temperature of the die [K]."""
    meter_error: Share = field(default=0.0, metadata=SPREAD)
    """Standard error of one reading of one branch, as a fraction of the reading."""
    p_stuck_open: Probability = field(default=0.0, metadata=SPREAD)
    """Probability that a switch never closes."""
    p_stuck_closed: Probability = field(default=0.0, metadata=SPREAD)
    """Probability that a switch never opens."""
    drift: Fraction = field(default=0.0, metadata=SPREAD | LATER)
    """Mean relative change of resistance in 1,000 hours of work; it grows with the cube root of
    age. Source: Vishay technical note 28809, Drift Calculation for Thin Film Resistors."""
    drift_sigma: Share = field(default=0.0, metadata=SPREAD | LATER)
    """Spread of that change over resistors, relative to resistance."""
    age: Annotated[float, within(0, 1e8)] = field(default=0.0, metadata=SPREAD | LATER)
    """Time that the die has worked [h]."""

    def __post_init__(self) -> None:
        if not isinstance(self.ladder, str):
            ohms = tuple(sorted(float(r) for r in self.ladder))
            object.__setattr__(self, "ladder", ohms)
            object.__setattr__(self, "r_min", min(ohms, default=self.r_min))
        if not np.isscalar(self.sigma_local):
            object.__setattr__(self, "sigma_local", tuple(map(float, np.ravel(self.sigma_local))))
        check_fields(self)
        _check_together(self)
        if isinstance(self.ladder, str) and self.ladder != "equal" and self.n > 1:
            warn_of_gaps(self.ladder, self.ratio, self.tolerance, stacklevel=3)
        warn_of_no_effect(self, stacklevel=3)

    @cached_property
    def r_nominal(self) -> np.ndarray:
        """Nominal resistances (n,) [ohm], ascending: branch 0 conducts most."""
        if isinstance(self.ladder, str):
            return read_only(nominal_ladder(self.ladder, self.n, self.r_min, self.ratio))
        return read_only(self.ladder)

    @property
    def g_full(self) -> float:
        """Conductance of the nominal bank with every switch closed [S]."""
        return float(np.sum(1 / (self.r_nominal + self.r_on)))

    @property
    def temperature_factor(self) -> float:
        """Mean resistance at the die's temperature, as a fraction of that at 300.15 K."""
        kelvin = self.temperature - T_REFERENCE
        return 1 + self.tc1 * kelvin + self.tc2 * kelvin**2

    @property
    def without_spread(self) -> "ResistorBank":
        """The bank without anything random: no spread, defect, drift or meter error."""
        random = (field for field in fields(self) if field.metadata.get("spread"))
        return replace(self, **{field.name: field.default for field in random})

    @property
    def named_fields(self) -> dict[str, Any]:
        """The fields that name a die, those that came later only where they act."""
        later = {field.name: field.default for field in fields(self) if field.metadata.get("later")}
        return {k: v for k, v in asdict(self).items() if k not in later or v != later[k]}

    @property
    def tolerance(self) -> float:
        """Relative deviation that the local spread stays within, the bound t of b <= 2 / (1 + t).

        It is the bound of a bounded distribution. For an unbounded one it is 2.5 sigmas, so that no
        gap opens before the ladder as a whole deviates by more than four of its own sigmas.
        """
        sigma = float(np.max(self.sigma_local))
        if self.distribution == "uniform":
            return math.sqrt(3) * sigma
        if self.distribution in ("truncated", "holed"):
            return self.local_bound * sigma
        return math.expm1(_TAIL * sigma) if self.distribution == "lognormal" else _TAIL * sigma

    @classmethod
    def pelgrom(cls, *, r_sheet, a_r, width, **options) -> "ResistorBank":
        """Return a bank of film resistors, matched as well as their area W * L allows.

        r_sheet: sheet resistance of the film [ohm per square].
        a_r: Pelgrom's coefficient [m]; 3.5 % um is 3.5e-8.
        width: W of every resistor [m]; the length is L = W * R / r_sheet.
        options: fields of the class.

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
        parts: dict = {"ladder": "E24", "sigma_local": 0.05 / 3, "distribution": "truncated"}
        parts |= {"r_on": 70.0, "sigma_on": 0.1, "r_off": 1e9}
        parts |= {"tc1_sigma": 100e-6, "meter_error": 1e-3}
        return cls(n=n, r_min=r_min, **(parts | options))

    @classmethod
    def sky130_high_po(cls, n=8, r_min=10e3, width=0.35e-6, **options) -> "ResistorBank":
        """Return a bank of P+ polysilicon resistors in the SKY130 process.

        319.8 ohm per square, sigma 3.5 % um / sqrt(W * L), lot spread 2.5 %, 514 ppm/K.
        Source: google/skywater-pdk, sky130_fd_pr models of res_high_po. The switch (1 kohm, spread
        5 %, 1 Tohm open) and the 0.1 % meter are assumed.
        """
        film = {"r_sheet": 319.8, "a_r": 3.5e-8, "width": width}
        switch = {"r_on": 1e3, "sigma_on": 0.05, "r_off": 1e12}
        rest = {"sigma_lot": 0.025, "tc1": 514e-6, "tc2": 1.2e-6, "meter_error": 1e-3}
        return cls.pelgrom(n=n, r_min=r_min, **film, **(switch | rest | options))


def read_only(values: ArrayLike) -> np.ndarray:
    """Return a copy as float64 that cannot be written to."""
    array = np.array(values, float)
    array.setflags(write=False)
    return array


def _check_together(bank: ResistorBank) -> None:
    """Check the fields of a bank against each other."""
    if not isinstance(bank.ladder, str):
        require(len(bank.ladder) == bank.n, "ladder", bank.ladder, f"a list of n = {bank.n} values")
    local = np.asarray(bank.sigma_local, float)
    require(local.shape in ((), (bank.n,)), "sigma_local", bank.sigma_local, f"1 or {bank.n} long")
    hole_fits = bank.local_hole < bank.local_bound or bank.distribution != "holed"
    require(hole_fits, "local_hole", bank.local_hole, "below local_bound [sigmas]")
    bounded = bank.distribution in ("truncated", "holed", "uniform")
    require(not bounded or bank.tolerance < 1, "sigma_local", bank.sigma_local, "less wide")
    require(bank.r_off > bank.r_on, "r_off", bank.r_off, f"above r_on = {bank.r_on} [ohm]")
    require(
        bank.temperature_factor > 0, "tc1", bank.tc1, "small enough that resistances stay positive"
    )
    together = bank.p_stuck_open + bank.p_stuck_closed
    require(together <= 1, "p_stuck_open + p_stuck_closed", together, "at most 1")
