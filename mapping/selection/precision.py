"""Bits of precision against the number of resistors in a bank, and the limit that a meter sets.

A bank is one row of `values` [S], what closing each of its branches adds: positive for a single
bank, `[g_pos, -g_neg]` for a differential pair. Its full scale is the distance from the least sum
to the greatest, the sum of |values|. Mean, median and worst errors are given in worst-case bits,
rms errors in effective bits (`mapping.selection.bits`). Targets fill a band, a fraction of full
scale: (0.25, 0.75) is the central half. Errors are exact within the band, over all targets; across
banks they are estimated from a sample.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from mapping.bank import Die, ResistorBank
from mapping.bank.checks import MAX_BRANCHES
from mapping.bank.switches import closed_switches
from mapping.selection.bits import effective_bits
from mapping.selection.bits import worst_case_bits as to_bits
from tinynets.subset_sum import band_error, solve

Draw = Callable[[int, int, int], np.ndarray]
"""draw(n, n_instance, seed) -> values (n_instance, n or 2 n) [S] of banks of n branches."""

BOOTSTRAP = 400
CONFIDENCE = 0.95  # of the yield in `branches_for`
NO_GAIN = 0.5  # bits; a branch that adds less is not useful


@dataclass(frozen=True)
class Estimate:
    """Worst-case bits at each n, with confidence bounds; -inf where the sample gives none.

    bits, low, high: (n_curve,).
    """

    bits: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class PrecisionCurve:
    """Bits against branches, over a sample of banks.

    n: (n_curve,), branches per bank.
    n_instance: banks per n.
    confidence: of the bounds.
    mean: bits of the mean error over targets and banks.
    median: bits at the worst target of the median bank.
    p999: the same for the bank at the 99.9th percentile.
    worst: the same for the worst bank of the sample.
    """

    n: np.ndarray
    n_instance: int
    confidence: float
    mean: Estimate
    median: Estimate
    p999: Estimate
    worst: Estimate

    def slope(self, statistic: str) -> tuple[float, float, float]:
        """Return the slope of the fitted line [bits per branch] and its confidence bounds.

        statistic: "mean", "median", "p999" or "worst".

        Raises ValueError for fewer than three n.
        """
        if len(self.n) < 3:
            raise ValueError(f"a slope with bounds needs at least 3 values of n; got {len(self.n)}")
        line, covariance = np.polyfit(self.n, getattr(self, statistic).bits, 1, cov=True)
        degrees = len(self.n) - 2
        wide = stats.t.ppf((1 + self.confidence) / 2, degrees) * np.sqrt(covariance[0, 0])
        return float(line[0]), float(line[0] - wide), float(line[0] + wide)

    def rows(self) -> list[dict[str, float]]:
        """Return one record per n, for a table or a CSV file."""
        names = ("mean", "median", "p999", "worst")
        return [
            {"n": int(n)}
            | {name: float(getattr(self, name).bits[k]) for name in names}
            | {f"{name}_low": float(getattr(self, name).low[k]) for name in names}
            | {f"{name}_high": float(getattr(self, name).high[k]) for name in names}
            for k, n in enumerate(self.n)
        ]


def draw_from(make: Callable[[int], ResistorBank], *, differential: bool = False) -> Draw:
    """Return a `Draw` of banks as dies hold them, switches and leakage included.

    make: the specification for n branches, such as `lambda n: replace(bank, n=n)`.
    differential: whether to draw pairs, (n_instance, 2 n), instead of single banks.

    Returns a `Draw`. All instances of one call are cells of one die, whose seed is the call's.
    """

    def draw(n: int, n_instance: int, seed: int) -> np.ndarray:
        cells = np.arange(n_instance)
        die = Die(make(n), seed)
        branches = die.branches("precision", cells, np.zeros_like(cells), measured=False)
        delta = branches.g_closed - branches.g_open
        return np.concatenate([delta[:, 0], -delta[:, 1]], axis=1) if differential else delta[:, 0]

    return draw


def side_by_side(draw: Draw) -> Draw:
    """Return draws of any n: above MAX_BRANCHES, several banks of the same die in parallel.

    draw: single banks whose branches have the same nominal value.
    """

    def wide(n: int, n_instance: int, seed: int) -> np.ndarray:
        parts = -(-n // MAX_BRANCHES)
        values = draw(-(-n // parts), n_instance * parts, seed)
        return values.reshape(n_instance, -1)[:, :n]

    return wide


def full_scale(values: np.ndarray) -> np.ndarray:
    """Return the full scale [S] of each bank: (n_instance,) of values (n_instance, n)."""
    return np.abs(values).sum(axis=-1)


def precision_curve(
    draw: Draw,
    n: Iterable[int],
    *,
    n_instance: int = 2500,
    band: tuple[float, float] = (0.25, 0.75),
    confidence: float = 0.95,
    seed: int = 0,
) -> PrecisionCurve:
    """Return bits of precision against the number of branches.

    draw: see `Draw` and `draw_from`.
    n: numbers of branches per bank; at most 26 values in all.
    n_instance: banks per n.
    band: where targets lie, as fractions of full scale above the least sum.
    confidence: of the bounds, by bootstrap for the mean and by order statistics for the others. The
        worst bank of a sample has no lower bound; at a confidence of 0.95, p999 has none for fewer
        than 3,688 banks.

    Returns a PrecisionCurve. Raises ValueError for an empty n, n_instance < 2, a band that is not
    0 <= low < high <= 1, or a confidence outside (0, 1).
    """
    counts = np.array(list(n), np.int64)
    if not counts.size or n_instance < 2:
        raise ValueError(
            f"expected one n or more and n_instance >= 2; got n = {counts}, {n_instance}"
        )
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, such as 0.95; got {confidence}")
    points: dict[str, list] = {"mean": [], "median": [], "p999": [], "worst": []}
    for count in counts:
        mean, worst = _errors(draw(int(count), n_instance, seed), band)
        points["mean"].append(_of_mean(mean, confidence, seed))
        points["median"].append(_of_quantile(worst, 0.5, confidence))
        points["p999"].append(_of_quantile(worst, 0.999, confidence))
        points["worst"].append(_of_quantile(worst, 1 - 1 / n_instance, confidence, worst.max()))
    estimates = {name: Estimate(*np.array(rows).T) for name, rows in points.items()}
    return PrecisionCurve(counts, n_instance, confidence, **estimates)


def _errors(values: np.ndarray, band: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and worst error of each bank over the band, as fractions of its full scale."""
    g_full, (low, high) = full_scale(values), _band_ends(values, band)
    mean, worst = band_error(values, low, high)
    return mean / g_full, worst / g_full


def _band_ends(values: np.ndarray, band: tuple[float, float]) -> np.ndarray:
    """Return the least and the greatest target [S]: (2, n_instance)."""
    if not 0 <= band[0] < band[1] <= 1:
        raise ValueError(f"expected a band with 0 <= low < high <= 1; got {band}")
    return values.clip(max=0).sum(axis=1) + np.array(band)[:, None] * full_scale(values)


def _of_mean(errors: np.ndarray, confidence: float, seed: int) -> np.ndarray:
    """Return bits of the mean error, and bounds from resampled banks: (3,)."""
    random = np.random.default_rng(seed)
    samples = random.integers(len(errors), size=(BOOTSTRAP, len(errors)))
    means = errors[samples].mean(axis=1)
    high, low = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return to_bits(np.array([errors.mean(), low, high]), 1.0)


def _of_quantile(
    errors: np.ndarray, level: float, confidence: float, estimate: float | None = None
) -> np.ndarray:
    """Return bits of a quantile of the errors, and bounds from order statistics: (3,).

    Source: of N sorted draws the i-th lies below the quantile with the probability that a
    binomial (N, level) variable is at least i, whatever the distribution.
    """
    ranked = np.append(np.sort(errors), np.inf)
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    first, last = stats.binom.ppf(tails, len(errors), level).astype(int)
    value = np.quantile(errors, level) if estimate is None else estimate
    return to_bits(np.array([value, ranked[last], ranked[max(first - 1, 0)]]), 1.0)


# ---- how many branches --------------------------------------------------------------------------


@dataclass(frozen=True)
class BranchCount:
    """The answer of `branches_for`: n branches per bank reach the bits with this yield.

    yield_: fraction of the sampled banks that do.
    yield_low: its lower confidence bound.
    """

    n: int
    yield_: float
    yield_low: float


def branches_for(
    bits: float,
    yield_: float,
    draw: Draw,
    *,
    band: tuple[float, float] = (0.25, 0.75),
    n_max: int = 16,
    seed: int = 0,
) -> BranchCount:
    """Return how many branches give every target of the band enough bits in enough of the banks.

    bits: the worst-case bits that every target of a bank must have.
    yield_: the fraction of banks that must have them, at 95 % confidence.
    draw, band: as for `precision_curve`.
    n_max: the largest number of branches tried.

    The sample has at least 5 / (1 - yield_) banks. Raises ValueError for a
    yield outside (0, 1), or if no n up to n_max is enough.
    """
    if not 0 < yield_ < 1:
        raise ValueError(f"yield_ must lie between 0 and 1, such as 0.999; got {yield_}")
    n_instance = max(2500, int(np.ceil(5 / (1 - yield_))))
    reached = -np.inf
    for n in range(1, n_max + 1):
        _, worst = _errors(draw(n, n_instance, seed), band)
        good = int(np.sum(to_bits(worst, 1.0) >= bits))
        low = stats.beta.ppf(1 - CONFIDENCE, good, n_instance - good + 1) if good else 0.0
        if low >= yield_:
            return BranchCount(n, good / n_instance, float(low))
        reached = max(reached, float(np.quantile(to_bits(worst, 1.0), 1 - yield_)))
    raise ValueError(
        f"no bank of up to {n_max} branches has {bits} bits at a yield of {yield_}; "
        f"{reached:.1f} bits were reached; lower either, raise n_max, or take a smaller ratio"
    )


# ---- under meter error --------------------------------------------------------------------------


@dataclass(frozen=True)
class MeterCurve:
    """Effective bits, those of the rms error, when branches are known only to a meter's accuracy.

    All fields are (n_curve,).

    n: branches per bank.
    search: bits if selection knew the true values.
    realised: bits of a selection by readings, evaluated with the true values.
    floor: the predicted limit of the readings.
    """

    n: np.ndarray
    search: np.ndarray
    realised: np.ndarray
    floor: np.ndarray


def meter_curve(
    draw: Draw,
    n: Iterable[int],
    meter_error: float,
    *,
    n_instance: int = 2500,
    band: tuple[float, float] = (0.25, 0.75),
    seed: int = 0,
) -> MeterCurve:
    """Return effective bits against branches when selection knows readings instead of true values.

    draw, n, band: as for `precision_curve`; here n goes up to 40 values in all.
    meter_error: relative, independent for each branch.
    n_instance: banks per n, one uniform target each.

    Returns a MeterCurve. Raises ValueError for a negative meter_error or a wrong band.
    Source: a sum over S has the error meter_error * sqrt(sum over S of g_k^2), and about half of
    the branches are closed, so the floor is meter_error * sqrt(sum of g_k^2 / 2).
    """
    if meter_error < 0:
        raise ValueError(
            f"meter_error must be >= 0, such as 1e-3 for a 0.1 % meter; got {meter_error}"
        )
    counts = np.array(list(n), np.int64)
    rows = [_meter_bits(draw(int(c), n_instance, seed), meter_error, band, seed) for c in counts]
    search, realised, floor = np.array(rows).T
    return MeterCurve(counts, search, realised, floor)


def _meter_bits(
    values: np.ndarray, meter_error: float, band: tuple[float, float], seed: int
) -> list[float]:
    """Return bits of the exact search, of a selection by readings, and of the readings' limit."""
    random = np.random.default_rng([seed, 1])
    g_full = full_scale(values)
    targets = random.uniform(*_band_ends(values, band))
    readings = values * (1 + meter_error * random.standard_normal(values.shape))
    chosen = closed_switches(solve(readings, targets).mask, values.shape[1])
    realised = (values * chosen).sum(axis=1) - targets
    floor = meter_error * np.sqrt(np.sum(values**2, axis=1) / 2)
    errors = (error / g_full for error in (solve(values, targets).error, realised, floor))
    return [float(effective_bits(1.0, float(np.sqrt(np.mean(error**2))))) for error in errors]


def useful_branches(draw: Draw, meter_error: float, *, n_max: int = 20, seed: int = 0) -> int:
    """Return how many branches are useful: the next one would add less than half a bit.

    draw, meter_error: as for `meter_curve`.
    n_max: the largest number considered, returned if all up to it are useful.

    For uniform banks expect about log2(1 / meter_error).
    """
    curve = meter_curve(draw, range(2, n_max + 1), meter_error, seed=seed)
    no_gain = np.flatnonzero(np.diff(curve.realised) < NO_GAIN)
    return int(curve.n[no_gain[0]]) if no_gain.size else n_max
