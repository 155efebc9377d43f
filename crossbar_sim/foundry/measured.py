"""What a foundry's models say of a branch, measured with ngspice and kept in the user's cache."""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path

import numpy as np
from numpy.polynomial import chebyshev

from crossbar_sim.foundry.decks import (
    CELSIUS,
    V_SMALL,
    curves_deck,
    mismatch_deck,
    multiples_deck,
    temperature_deck,
)
from crossbar_sim.ngspice.batch import run_deck
from crossbar_sim.nonlinear.series import Branches
from mapping.bank.checks import T_REFERENCE
from netlists.foundry.branch import FoundryBranch
from netlists.foundry.models import Models, cache_folder, find_models
from tinynets.files.drafts import new_file
from tinynets.files.npz import read_npz, write_npz

#: Voltages at which the devices are asked, and of these, those at which the fit is judged.
N_POINT, N_JUDGED = 900, 200
#: Degree of the polynomials: in a resistor's voltage, and together in a switch's two.
DEGREE, SWITCH_DEGREE = 8, 12
#: Multiplicities of a resistor that a die's scatter may ask for, and the degree in them.
MULTIPLES, MULTIPLE_DEGREE = (0.5, 2.0), 10
#: Copies of a resistor and of a switch for mismatch, and the seed of everything random.
COPIES, SEED = (300, 60), 1
#: Largest error of a fitted current that is accepted, over the device's largest current.
LIMIT = 1e-6
#: ngspice may take so long for one deck [s].
TIME_LIMIT = 300.0
#: Steps of Newton's method from the factor itself, which is nearly the multiplicity.
_STEPS = 6
#: Changes when what is kept has another meaning.
_VERSION = 1


@dataclass(frozen=True, eq=False)
class Measured:
    """A branch by its foundry's models; n branches of a bank.

    `r` and `r_on` are what a selection of switches takes.

    branch: what was asked for.
    models: version of the models.
    resistor: (n, DEGREE + 1) Chebyshev coefficients of each resistor's conductance [S] in the
        voltage across it, over 2 v_max.
    on, off: (SWITCH_DEGREE + 1, SWITCH_DEGREE + 1) those of the closed and of the open switch, in
        the voltage of its lower end over v_max, and in the voltage across it, 0 … v_max, as -1 … 1.
        Its ends are alike, but what it conducts has a kink where it carries no current.
    multiple: (n, MULTIPLE_DEGREE + 1) Chebyshev coefficients of how many times as much a resistor
        conducts, in its multiplicity over MULTIPLES. Some models do not conduct m times as much.
    sigma: (n,) spread of each resistor by mismatch, as a fraction.
    sigma_switch: that of the closed switch.
    tc1, tc2: (n,) temperature coefficients about 300.15 K [1/K, 1/K^2].
    error: largest error of an interpolated current, over the device's largest.
    lost: largest current that a switch loses to substrate and well, over its largest.
    """

    branch: FoundryBranch
    models: str
    resistor: np.ndarray
    on: np.ndarray
    off: np.ndarray
    multiple: np.ndarray
    sigma: np.ndarray
    sigma_switch: float
    tc1: np.ndarray
    tc2: np.ndarray
    error: float
    lost: float

    @cached_property
    def r(self) -> np.ndarray:
        """Resistances (n,) at v_select, without `r_on`, at temperature and corner [ohm]."""
        if self.branch.v_select:
            return 1 / self.conductances(self.branch.v_select) - self.r_on
        return 1 / np.asarray(chebyshev.chebval(0.0, self.resistor.T))

    @cached_property
    def r_on(self) -> float:
        """Resistance of the closed switch with both ends at the signals' ground [ohm]."""
        return float(1 / self.switch_current(np.zeros(1), np.zeros(1), closed=True)[1][0])

    @cached_property
    def r_off(self) -> float:
        """Least resistance of the open switch with one end at the signals' ground [ohm]."""
        far = np.linspace(0, self.branch.v_max, 41)[1:]
        volts = np.r_[far, -far]
        amps = self.switch_current(volts, 0 * volts, closed=False)[0]
        return float(1 / np.abs(amps / volts).max())

    def conductances(self, v: float) -> np.ndarray:
        """Return I / V (n,) [S] of closed branches at v [V] on the word line, mean of both signs.

        The bit line is at the signals' ground.
        """
        first, one = self.branch.switch_at == "bit line", np.ones((1, 1, 1, 1))
        closed = partial(self.switch_current, closed=True)
        volts, ground = np.array([v, -v]), np.zeros(2)
        branches = (
            Branches(partial(self.resistor_current, k), closed, one, one, first)
            for k in range(len(self.branch.lengths))
        )
        return np.array([branch.conductance(volts, ground).mean() for branch in branches])

    def multiplicity(self, k: int, factor: np.ndarray) -> np.ndarray:
        """Return the multiplicity with which resistor k conducts `factor` times as much.

        Raises ValueError for a factor outside MULTIPLES.
        """
        low, high = MULTIPLES
        if factor.size and not (low < factor.min() and factor.max() < high):
            raise ValueError(
                f"a resistor conducts {factor.min():.3g} … {factor.max():.3g} times its nominal "
                f"value; the models were asked for {low:g} … {high:g}"
            )
        found, c = factor.copy(), self.multiple[k]
        slope = chebyshev.chebder(c) * 2 / (high - low)
        for _ in range(_STEPS):
            x = unit(found)
            found -= (chebyshev.chebval(x, c) - factor) / chebyshev.chebval(x, slope)
        return found

    def resistor_current(self, k: int, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the current [A] of resistor k at voltages v [V], and its derivative [S]."""
        x, c = v / (2 * self.branch.v_max), self.resistor[k]
        g = chebyshev.chebval(x, c)
        return v * g, g + x * chebyshev.chebval(x, chebyshev.chebder(c))

    def switch_current(
        self, v_a: np.ndarray, v_b: np.ndarray, *, closed: bool, forward: bool | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the current [A] through a switch, and its derivatives by both voltages [S].

        v_a, v_b: voltages of its ends [V].
        forward: the polynomial of one direction of the current, continued through zero; by default
            that of the current.
        """
        v_max, c = self.branch.v_max, self.on if closed else self.off
        drop = v_a - v_b
        to_b = drop >= 0 if forward is None else np.full(np.shape(drop), forward)
        x = np.where(to_b, v_b, v_a) / v_max
        y = 2 * np.where(to_b, drop, -drop) / v_max - 1
        g = chebyshev.chebval2d(x, y, c)
        by_low = chebyshev.chebval2d(x, y, chebyshev.chebder(c, axis=0)) / v_max
        by_drop = chebyshev.chebval2d(x, y, chebyshev.chebder(c, axis=1)) * (2 / v_max)
        g_a = np.where(to_b, by_drop, by_low - by_drop)
        g_b = np.where(to_b, by_low - by_drop, by_drop)
        return drop * g, g + drop * g_a, drop * g_b - g


def measured(branch: FoundryBranch, models: Models | None = None) -> Measured:
    """Return what the models say of a branch, from the cache where they were asked before.

    models: those of `find_models` by default.

    Raises ModelsMissing without models, NgspiceError where ngspice fails, and ValueError where the
    interpolation is off by more than LIMIT.
    """
    models = models or find_models(branch.technology)
    path = _place(branch, models)
    if not path.exists():
        arrays = _ask(branch, models)
        path.parent.mkdir(parents=True, exist_ok=True)
        with new_file(path) as draft, draft.open("wb") as file:
            write_npz(file, {name: np.asarray(value) for name, value in arrays.items()})
    return _read(path, branch, models.version)


@lru_cache(maxsize=100)
def _read(path: Path, branch: FoundryBranch, version: str) -> Measured:
    """Return what was kept; the same object again, by which tables of its cells are found."""
    return Measured(branch, version, **_plain(read_npz(path, most=10_000_000)))


def _place(branch: FoundryBranch, models: Models) -> Path:
    asked = {name: value for name, value in asdict(branch).items() if name != "v_select"}
    text = json.dumps([_VERSION, asked, models.digest, COPIES, SEED], sort_keys=True)
    return cache_folder() / "measured" / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.npz"


def _plain(arrays: dict[str, np.ndarray]) -> dict:
    return {name: float(a) if a.ndim == 0 else a for name, a in arrays.items()}


def _ask(branch: FoundryBranch, models: Models) -> dict:
    """Ask the models for curves, mismatch and temperature."""
    arrays = _curves(branch, models) | {"multiple": _multiples(branch, models)}
    sigma = _mismatch(branch, models)
    tc1, tc2 = _temperature(branch, models)
    return arrays | {"sigma": sigma[:-1], "sigma_switch": float(sigma[-1]), "tc1": tc1, "tc2": tc2}


def _points(v_max: float) -> np.ndarray:
    """Return voltages (N_POINT, 3) [V]: across a resistor, and at the two ends of a switch."""
    rng = np.random.default_rng(SEED)
    across, drop = rng.uniform(-2, 2, N_POINT), rng.uniform(0, 1, N_POINT)
    low = rng.uniform(-1, 1 - drop)
    ends = np.where(rng.integers(0, 2, N_POINT) == 1, [low, low + drop], [low + drop, low])
    return v_max * np.column_stack([across, *ends])


def _curves(branch: FoundryBranch, models: Models) -> dict:
    """Return the coefficients of all curves, the largest error between their nodes, and `lost`."""
    n, v_max, volts = len(branch.lengths), branch.v_max, _points(branch.v_max)
    found = run_deck(curves_deck(branch, models, volts), N_POINT, n + 4, time_limit=TIME_LIMIT)
    across = chebyshev.chebvander(volts[:, 0] / (2 * v_max), DEGREE)
    drop = volts[:, 1] - volts[:, 2]
    low = volts[:, 1:].min(axis=1) / v_max
    both = chebyshev.chebvander2d(low, 2 * np.abs(drop) / v_max - 1, [SWITCH_DEGREE] * 2)
    both *= np.add.outer(*[np.arange(SWITCH_DEGREE + 1)] * 2).ravel() <= SWITCH_DEGREE
    fits = [_fitted(across, volts[:, 0], amps, amps) for amps in found[:, :n].T]
    # An open switch is judged by what a closed one conducts: both stand in the same bank.
    fits += [_fitted(both, drop, found[:, n + k], found[:, n]) for k in (0, 2)]
    error = max(error for _, error in fits)
    if not error <= LIMIT:
        raise ValueError(
            f"the currents of {branch.technology} are fitted to {error:.1e} of the largest only "
            f"(limit {LIMIT:g}); lower v_max, {branch.v_max:g} V, or move common"
        )
    lost = np.abs(found[:, [n, n + 2]] - found[:, [n + 1, n + 3]]).max() / np.abs(found[:, n]).max()
    if not lost <= LIMIT:
        raise ValueError(
            f"a switch loses {lost:.1e} of its largest current to substrate or well (limit "
            f"{LIMIT:g}); raise common, so that no junction conducts"
        )
    on, off = (fit.reshape(SWITCH_DEGREE + 1, -1) for fit, _ in fits[n:])
    resistor = np.stack([fit for fit, _ in fits[:n]])
    return {"resistor": resistor, "on": on, "off": off, "error": error, "lost": float(lost)}


def _fitted(
    basis: np.ndarray, drop: np.ndarray, amps: np.ndarray, largest: np.ndarray
) -> tuple[np.ndarray, float]:
    """Return coefficients of amps / drop in a basis, and the error on the points left out.

    basis: (N_POINT, n_term); drop [V], amps [A], and the currents to judge by [A]: (N_POINT,).
    """
    fit, left = slice(N_JUDGED, None), slice(N_JUDGED)
    # Weighted by the voltage, since the current is what must be right.
    c = np.linalg.lstsq(basis[fit] * drop[fit, None], amps[fit], rcond=None)[0]
    wrong = np.abs((basis[left] @ c) * drop[left] - amps[left]).max()
    return c, float(wrong / np.abs(largest).max())


def _mismatch(branch: FoundryBranch, models: Models) -> np.ndarray:
    """Return the spread of each resistor's conductance and of the switch's, as fractions."""
    counts = [COPIES[0]] * len(branch.lengths) + [COPIES[1]]
    text = mismatch_deck(branch, models, COPIES, SEED)
    ohms = V_SMALL / run_deck(text, 1, sum(counts), time_limit=TIME_LIMIT)[0]
    each = np.split(ohms, np.cumsum(counts)[:-1])
    return np.array([part.std(ddof=1) / part.mean() for part in each])


def _multiples(branch: FoundryBranch, models: Models) -> np.ndarray:
    """Return the coefficients of `multiple`."""
    n, n_node = len(branch.lengths), MULTIPLE_DEGREE + 1
    x = np.append(np.cos(np.pi * (np.arange(n_node) + 0.5) / n_node), unit(np.ones(1)))
    low, high = MULTIPLES
    text = multiples_deck(branch, models, low + (high - low) * (x + 1) / 2)
    amps = run_deck(text, 1, n * len(x), time_limit=TIME_LIMIT).reshape(n, -1)
    return chebyshev.chebfit(x[:-1], (amps[:, :-1] / amps[:, -1:]).T, MULTIPLE_DEGREE).T


def unit(multiple: np.ndarray) -> np.ndarray:
    """Return multiplicities as numbers -1 … 1 over MULTIPLES."""
    low, high = MULTIPLES
    return 2 * (multiple - low) / (high - low) - 1


def _temperature(branch: FoundryBranch, models: Models) -> tuple[np.ndarray, np.ndarray]:
    low, high, step = CELSIUS
    kelvin = np.arange(low, high + step / 2, step) + 273.15 - T_REFERENCE
    text = temperature_deck(branch, models)
    amps = run_deck(text, len(kelvin), len(branch.lengths), time_limit=TIME_LIMIT)
    c = np.polynomial.polynomial.polyfit(kelvin, V_SMALL / amps, 2)
    return c[1] / c[0], c[2] / c[0]
