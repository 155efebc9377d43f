"""Resistors and closed switches for a number of bits with a meter: search error against reading.

Branches are known to a meter's relative error. Of the subsets of exactly k, the one whose readings
add up nearest to the target is closed. What it is off by is the error of the search and that of the
readings of the closed branches. Errors are given as a fraction of the bank's mean conductance with
k closed: the accuracy to which that conductance can be set.
"""

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from crossbar_sim.laws.fixed_size import quantile_interval
from crossbar_sim.laws.law import STYLES, Effort, Law, Table, panels
from mapping.bank import ResistorBank
from mapping.selection.bits import worst_case_bits
from mapping.selection.precision import Draw, draw_from
from tinynets.progress import Progress, silent
from tinynets.subset_sum import solve_by_count

#: Relative errors of the meter; 0 is a perfect one.
METERS = (0.0, 1e-4, 1e-3, 1e-2)
SIZES = (4, 6, 8, 10, 12, 14, 16, 20)
BITS = (4, 6, 8, 10, 12)
#: Share of (bank, target) pairs whose error counts.
SHARE = 0.9
N_BANK, N_TARGET = 40, 8
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


def floor_bits(k: int, meter: float) -> float:
    """Return the bits that readings of k equal branches leave, without any error of the search.

    The sum of k readings has the relative error meter / sqrt(k), normal. Infinite for meter = 0.
    """
    error = stats.norm.ppf((1 + SHARE) / 2) * meter / math.sqrt(k)
    return float(worst_case_bits(error, 1.0))


def realised_errors(values: NDArray, k: int, meter: float, seed: int) -> NDArray:
    """Return |realised - target| as a fraction of the mean conductance: (n_bank, n_target).

    values: (n_bank, n), true conductances, positive.
    k: number of branches closed.
    meter: relative error of a reading, independent for each branch.
    seed: of readings and targets. Targets are uniform within one standard deviation of the sums of
        k readings around their mean.
    """
    n = values.shape[1]
    found = np.empty((len(values), N_TARGET))
    for bank, row in enumerate(values):
        random = np.random.default_rng([seed, 1, n, k, bank])
        readings = row * (1 + meter * random.standard_normal(n))
        spread = _spread(readings, k)
        targets = k * readings.mean() + spread * random.uniform(-1, 1, N_TARGET)
        chosen = _nearest(readings, targets, k)
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
        for k in range(1, n):
            errors = realised_errors(values, k, meter, seed)
            interval = quantile_interval(errors, SHARE, seed)
            bits, high, low = (float(worst_case_bits(error, 1.0)) for error in interval)
            floor = {"floor_bits": floor_bits(k, meter)} if meter else {}
            window = float(np.mean(_spread(values, k) / (k * values.mean(axis=1))))
            found = {"bits": bits, "bits_low": low, "bits_high": high, "window": window}
            rows.append({"meter": meter, "n": n, "k": k} | found | floor)
    progress("meter", len(sizes), len(sizes))
    return rows


def designs(rows: list[dict[str, Any]], bits: float) -> list[dict[str, Any]]:
    """Return for each aim the best row that reaches the bits; none if no row does.

    The lower bound must reach them: otherwise the luckiest of many rows would be taken.
    """
    enough = [row for row in rows if row["bits_low"] >= bits]
    return [{"aim": aim} | min(enough, key=order) for aim, order in AIMS.items() if enough]


def designs_for(draw: Draw, bits: float, meter: float, **drawn: Any) -> list[dict[str, Any]]:
    """Return the designs of a bank for these bits and this meter, n up to 16.

    drawn: as of `chart`. Raises ValueError if no n and k are enough.
    """
    rows = chart(draw, meter, range(2, 17), **drawn)
    found = designs(rows, bits)
    if not found:
        best = max(rows, key=lambda row: row["bits_low"])
        alone = math.ceil(4 ** (bits - floor_bits(1, meter))) if meter else 1
        raise ValueError(
            f"no bank of up to 16 branches has {bits:g} bits with a meter of {meter:g}; "
            f"{best['bits_low']:.1f} were reached with n = {best['n']}, k = {best['k']}; the meter "
            f"alone asks for {max(alone, 1)} closed branches; take a better meter or fewer bits"
        )
    return found


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
    return {"seed": seed, "effort": effort.scale, "n_bank": n_bank, "rows": rows, "designs": best}


# ---- showing ------------------------------------------------------------------------------------


def tables(measured: dict[str, Any]) -> list[Table]:
    """Return the designs, and the chart."""
    return [
        Table("designs; power at given branches goes with k, area with n", measured["designs"]),
        Table("bits that 90 % of (bank, target) have", measured["rows"]),
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
