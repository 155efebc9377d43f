"""Resistors and closed switches for a number of bits with a meter: search error against reading.

Branches are known to a meter's relative error. Of the subsets of exactly k, the one whose readings
add up nearest to the target is closed. What it is off by is the error of the search and that of the
readings of the closed branches. Errors are given as a fraction of the bank's mean conductance with
k closed: the accuracy to which that conductance can be set.

Banks whose subsets can be listed are measured one by one (`chart`). For larger ones n and k come
from the law of fixed size and the formula of the meter (`least_by_law`), an extrapolation, and are
then measured with a near subset in place of the nearest (`designs_by_law`).
"""

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from crossbar_sim.laws.fixed_size import entropy, quantile_interval
from crossbar_sim.laws.law import STYLES, Effort, Law, Table, panels
from mapping.bank import ResistorBank
from mapping.selection.bits import worst_case_bits
from mapping.selection.precision import Draw, draw_from, side_by_side
from tinynets.progress import Progress, silent
from tinynets.subset_sum import near_by_count, solve_by_count

#: Relative errors of the meter; 0 is a perfect one.
METERS = (0.0, 1e-4, 1e-3, 1e-2)
SIZES = (4, 6, 8, 10, 12, 14, 16, 20)
BITS = (4, 6, 8, 10, 12)
#: Share of (bank, target) pairs whose error counts.
SHARE = 0.9
N_BANK, N_TARGET = 40, 8
#: Up to this n the nearest subset is searched for.
EXACT = 24
#: Designs of a command: the largest n that are measured one by one, and that the law is asked for.
ONE_BY_ONE, LARGEST = 16, 4096
#: Constant c of the law of fixed size: above all intervals of normal values and equal resistors at
#: n of 36 and 40, of 90 % of (bank, target), which end at 1.24 (results/law_fixed_size.json).
LAW_CONSTANT = 1.3
#: Banks by which a design of the law is measured, the bits by which it is made safer at a time, and
#: how much wider than asked its window is, since the scatter of n branches is a little less.
N_CONFIRM, SPARE, WIDER = 300, 0.05, 1.03
#: Bits and meters for which the chart has no bank of equal resistors; the law is asked.
BEYOND = ((8, 1e-2), (10, 1e-2), (12, 1e-3))
#: Windows that are asked for there, besides the error of the bits.
WINDOWS = (0.0, 5e-3)
#: A size at which the near subset is compared with the nearest: n, and k of it.
COMPARED = 24, (6, 12, 18, 21)
#: Closed branches of the curves of the figure.
CURVES = (1, 2, 3, 4, 6, 9, 12)
#: What a design may be least in, with how: n, k, and the area of all branches at a given
#: conductance, since k times larger resistors take k times as many squares.
AIMS = {
    "least n": lambda row: (row["n"], row["k"]),
    "least k": lambda row: (row["k"], row["n"]),
    "least n k": lambda row: (row["n"] * row["k"], row["n"]),
}


def _bank(**options: Any) -> Draw:
    bank = ResistorBank(r_on=0.0, r_off=1e15, sigma_local=0.05, **options)
    return draw_from(lambda n: replace(bank, n=n))


BANKS: dict[str, Draw] = {
    "equal, 5 %": _bank(ladder="equal"),
    "geometric 1.75, 5 %": _bank(ladder="geometric", ratio=1.75),
    "uniform [0, 1]": lambda n, count, seed: np.random.default_rng([seed, n]).random((count, n)),
}


def meter_error(k: int, meter: float, spread: float = 0.0) -> float:
    """Return the error that 90 % of sums of k readings keep, as a fraction of the sum.

    spread: standard deviation of the branches, as a fraction of their mean.

    The sum of k readings has the relative error meter sqrt((1 + spread^2) / k), normal. With k
    branches it is never less than meter / sqrt(k), whatever their values (Cauchy, Schwarz).
    """
    return float(stats.norm.ppf((1 + SHARE) / 2) * meter * math.sqrt((1 + spread**2) / k))


def floor_bits(k: int, meter: float) -> float:
    """Return the bits that readings of k equal branches leave, without any error of the search.

    No other k branches leave more. Infinite for meter = 0.
    """
    return float(worst_case_bits(meter_error(k, meter), 1.0))


def realised_errors(
    values: NDArray, k: int, meter: float, seed: int, *, exact: int = EXACT
) -> NDArray:
    """Return |realised - target| as a fraction of the mean conductance: (n_bank, n_target).

    values: (n_bank, n), true conductances, positive.
    k: number of branches closed.
    meter: relative error of a reading, independent for each branch.
    seed: of readings and targets. Targets are uniform within one standard deviation of the sums of
        k readings around their mean.
    exact: up to this n the nearest subset is searched for, above a near one.
    """
    n = values.shape[1]
    found = np.empty((len(values), N_TARGET))
    for bank, row in enumerate(values):
        random = np.random.default_rng([seed, 1, n, k, bank])
        readings = row * (1 + meter * random.standard_normal(n))
        spread = _spread(readings, k)
        targets = k * readings.mean() + spread * random.uniform(-1, 1, N_TARGET)
        if n <= exact:
            chosen = _nearest(readings, targets, k)
        else:
            chosen = near_by_count(readings, targets, k, random)
        found[bank] = np.abs(chosen @ row - targets) / (k * row.mean())
    return found


def _spread(values: NDArray, k: int) -> NDArray:
    """Return the standard deviation of the sums of k of the values (…, n), drawn without return."""
    n = values.shape[-1]
    return values.std(axis=-1) * math.sqrt(k * (n - k) / max(n - 1, 1))


def _nearest(values: NDArray, targets: NDArray, k: int) -> NDArray:
    """Return the nearest subsets of exactly k, (n_target, n) bool, by those left open if fewer."""
    n_open = len(values) - k
    if k <= n_open:
        return solve_by_count(values, targets, k).chosen[:, k]
    return ~solve_by_count(values, values.sum() - targets, n_open).chosen[:, n_open]


def chart(
    draw: Draw,
    meter: float,
    sizes: Iterable[int] = SIZES,
    *,
    n_bank: int = N_BANK,
    seed: int = 0,
    progress: Progress = silent,
) -> list[dict[str, Any]]:
    """Return bits for each n and k < n, with the interval over banks and the meter's floor.

    `window` is how far the conductance can be set up and down, as a fraction of its mean.

    draw: banks, as of `mapping.selection.precision`.
    meter: relative error of a reading.
    """
    rows, sizes = [], list(sizes)
    for done, n in enumerate(sizes):
        progress("meter", done, len(sizes))
        values = draw(n, n_bank, seed)
        rows += [_row(values, k, meter, seed) for k in range(1, n)]
    progress("meter", len(sizes), len(sizes))
    return rows


def _row(values: NDArray, k: int, meter: float, seed: int) -> dict[str, Any]:
    """Return a row of the chart, of these banks."""
    interval = quantile_interval(realised_errors(values, k, meter, seed), SHARE, seed)
    bits, high, low = (float(worst_case_bits(error, 1.0)) for error in interval)
    floor = {"floor_bits": floor_bits(k, meter)} if meter else {}
    window = float(np.mean(_spread(values, k) / (k * values.mean(axis=1))))
    found = {"bits": bits, "bits_low": low, "bits_high": high, "window": window}
    return {"meter": meter, "n": values.shape[1], "k": k} | found | floor


def designs(rows: list[dict[str, Any]], bits: float, window: float = 0.0) -> list[dict[str, Any]]:
    """Return for each aim the best row that reaches the bits; none if no row does.

    window: least range that the conductance must be settable in, up and down, as a fraction of its
        mean. A bank whose window is narrower than the error of these bits is never taken: one
        without switches would do as well.

    The lower bound must reach the bits: otherwise the luckiest of many rows would be taken.
    """
    least = max(window, _allowed(bits))
    enough = [row for row in rows if row["bits_low"] >= bits and row["window"] >= least]
    return [{"aim": aim} | min(enough, key=order) for aim, order in AIMS.items() if enough]


def designs_for(
    draw: Draw, bits: float, meter: float, window: float = 0.0, **drawn: Any
) -> list[dict[str, Any]]:
    """Return the designs of a bank for these bits and this meter, n up to ONE_BY_ONE; or none.

    window: as of `designs`.
    drawn: as of `chart`.
    """
    if floor_bits(ONE_BY_ONE - 1, meter) < bits:
        return []
    return designs(chart(draw, meter, range(2, ONE_BY_ONE + 1), **drawn), bits, window)


# ---- larger banks, by the law --------------------------------------------------------------------


def _allowed(bits: float) -> float:
    """Return the error of this many bits, as a fraction of the conductance."""
    return 2.0 ** -(bits + 1)


def least_by_law(bits: float, meter: float, spread: float, window: float) -> list[dict[str, Any]]:
    """Return rows of k and the least n of each that should reach the bits, by law and formula.

    spread: standard deviation of the branches, independent, as a fraction of their mean.
    window: as of `designs`.

    The k begin where the meter's error leaves room for the search's, and end at twice that or at
    LARGEST. The window of n and k is spread sqrt((n - k) / (k (n - 1))). The search is within the
    room if n >= c log2(m / eps) / H2(k / n), m being the lesser of k and n - k and eps the room in
    units of the spread.
    Source: Natale et al., NeurIPS 2024, arXiv 2410.14754, Theorem 2, with c = LAW_CONSTANT, as
    measured up to n = 40; beyond, this is an extrapolation.
    """
    rows: list[dict[str, Any]] = []
    for k in range(1, LARGEST):
        room = _allowed(bits) - meter_error(k, meter, spread)
        wide = (window / spread) ** 2 if spread else math.inf
        if rows and k > 2 * rows[0]["k"]:
            break
        if room <= 0 or wide * k >= 1:
            continue
        n = max(k + 1, math.ceil(k * (1 - wide) / (1 - wide * k)))
        eps = room * k / spread
        while n <= LARGEST and not _is_within(n, k, eps):
            n += 1
        rows += [{"n": n, "k": k}] if n <= LARGEST else []
    return rows


def _is_within(n: int, k: int, eps: float) -> bool:
    """Return whether the law of fixed size promises a subset of k within eps."""
    return n * entropy(k / n) >= LAW_CONSTANT * math.log2(min(k, n - k) / eps)


def designs_by_law(
    draw: Draw,
    bits: float,
    meter: float,
    window: float = 0.0,
    *,
    seed: int = 0,
    progress: Progress = silent,
) -> list[dict[str, Any]]:
    """Return for each aim the design of the law, made safer until a measurement confirms it.

    draw: banks of any n, of independent branches.
    bits, meter, window: as of `designs_for`.

    A measurement, of N_CONFIRM banks, searches for a near subset; the nearest is no further off.
    Raises ValueError if no n up to LARGEST is enough.
    """
    sample = draw(LARGEST, 2, seed)
    spread, measured = float(sample.std() / sample.mean()), {}
    least = max(window, _allowed(bits))
    found = []
    for done, (aim, order) in enumerate(AIMS.items()):
        progress("designs by law", done, len(AIMS))
        for safer in np.arange(0.0, 1.0, SPARE):
            rows = least_by_law(bits + safer, meter, spread, WIDER * least)
            if not rows:
                raise ValueError(_none(bits, meter, spread, least))
            n, k = (min(rows, key=order)[key] for key in ("n", "k"))
            if (n, k) not in measured:
                measured[n, k] = _row(draw(n, N_CONFIRM, seed), k, meter, seed)
            if best := designs([measured[n, k]], bits, window):
                found.append(best[0] | {"aim": aim})
                break
    progress("designs by law", len(AIMS), len(AIMS))
    return found


def _none(bits: float, meter: float, spread: float, window: float) -> str:
    """Return why no n and k up to LARGEST are enough."""
    alone = math.ceil((meter_error(1, meter, spread) / _allowed(bits)) ** 2) if meter else 1
    widest = spread / math.sqrt(max(alone, 1))
    return (
        f"no bank of up to {LARGEST} branches has {bits:g} bits with a meter of {meter:g} and can "
        f"be set by ± {100 * window:.2g} %: the meter alone asks for {alone} closed branches, and "
        f"with a scatter of {100 * spread:.2g} % those are set by ± {100 * widest:.2g} % at the "
        "most; take a better meter, fewer bits, a smaller window or more scatter"
    )


def measure(effort: Effort, seed: int) -> dict[str, Any]:
    """Return the chart of every bank and meter, and the designs read off it."""
    n_bank, rows, best = effort.count(N_BANK), [], []
    for name, draw in BANKS.items():
        for meter in METERS:
            own = chart(draw, meter, SIZES, n_bank=n_bank, seed=seed, progress=effort.progress)
            rows += [{"bank": name} | row for row in own]
            for bits in BITS:
                case = {"bank": name, "bits_asked": bits}
                best += [case | row for row in designs(own, bits)]
    return {
        "seed": seed,
        "effort": effort.scale,
        "n_bank": n_bank,
        "rows": rows,
        "designs": best,
        "beyond": _beyond(effort.progress, seed),
        "compared": _compared(effort, seed),
    }


def _beyond(progress: Progress, seed: int) -> list[dict[str, Any]]:
    """Return designs by the law, for equal resistors; where there is none, why.

    "others" are the bits of other banks than those that confirmed the design.
    """
    rows, draw = [], side_by_side(BANKS["equal, 5 %"])
    for done, (bits, meter) in enumerate(BEYOND):
        progress("beyond the chart", done, len(BEYOND))
        for window in WINDOWS:
            case = {"bits_asked": bits, "meter": meter, "window_asked": window}
            try:
                found = designs_by_law(draw, bits, meter, window, seed=seed)
            except ValueError as error:
                rows.append(case | {"none": str(error)})
            else:
                rows += [case | row | _others(draw, row, seed + 1) for row in found]
    progress("beyond the chart", len(BEYOND), len(BEYOND))
    return rows


def _others(draw: Draw, row: dict[str, Any], seed: int) -> dict[str, float]:
    """Return the bits of a design, with their interval, for banks and targets of another seed."""
    again = _row(draw(row["n"], N_CONFIRM, seed), row["k"], row["meter"], seed)
    return {f"others{end}": again[f"bits{end}"] for end in ("", "_low", "_high")}


def _compared(effort: Effort, seed: int) -> list[dict[str, Any]]:
    """Return the bits of the nearest and of a near subset, for the same banks and targets."""
    (n, closed), n_bank, rows = COMPARED, effort.count(N_BANK), []
    values = BANKS["equal, 5 %"](n, n_bank, seed)
    for k in closed:
        for meter in (0.0, 1e-2):
            row: dict[str, Any] = {"n": n, "k": k, "meter": meter, "n_bank": n_bank}
            for name, exact in (("nearest", n), ("near", 0)):
                errors = realised_errors(values, k, meter, seed, exact=exact)
                found = quantile_interval(errors, SHARE, seed)
                ends = zip(("", "_high", "_low"), found)
                row |= {name + end: float(worst_case_bits(error, 1.0)) for end, error in ends}
            rows.append(row)
    return rows


# ---- showing ------------------------------------------------------------------------------------


def tables(measured: dict[str, Any]) -> list[Table]:
    """Return the designs, and the chart."""
    return [
        Table("designs; power at given branches goes with k, area with n", measured["designs"]),
        Table("bits that 90 % of (bank, target) have", measured["rows"]),
        Table("equal resistors beyond the chart, by the law", measured["beyond"]),
        Table("bits with the nearest subset, and with a near one", measured["compared"]),
    ]


def draw(measured: dict[str, Any], path: Path) -> None:
    """Draw bits against n for several k, of equal resistors: a chart for each meter."""
    own = [row for row in measured["rows"] if row["bank"] == "equal, 5 %"]
    with panels(path, len(METERS) - 1) as charts:
        for panel, meter in zip(charts, METERS[1:]):
            for k, style in zip(CURVES, STYLES):
                rows = [r for r in own if r["meter"] == meter and r["k"] == k]
                x, y = [r["n"] for r in rows], [r["bits"] for r in rows]
                panel.plot(x, y, style, ms=4, lw=0.8, label=f"k = {k}")
            panel.set(xlabel="resistors n", ylabel="bits", title=f"meter {100 * meter:g} %")


LAW = Law(
    "meter",
    "How many resistors and closed switches give a number of bits with an imprecise meter?",
    "Measurement, with a formula of error propagation: k equal branches read with the relative "
    "error eta have a sum with the relative error eta / sqrt(k), whatever n is, while the error of "
    "the search falls with the number C(n, k) of subsets. So the meter asks for a least k, and n "
    "then follows. Bits are -log2(2 e / G) of the error e that 90 % of (bank, target) keep, G "
    "being the mean conductance with k closed.",
    ("error propagation of independent readings; no publication of the trade was found",),
    measure,
    tables,
    draw,
)
