"""The probability that a bank leaves some target of the window out: exact, counted and split.

The values are uniform in [-1, 1], the window is [-1/2, 1/2]. A bank fails if some target in it is
further than eps from every subset sum. It may fail at an edge, because the sums do not reach so
far, which has a closed form; or at a gap between sums, which is measured: by plain Monte Carlo, and
where that is too rare by multilevel splitting.
"""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossbar_sim.laws.law import STYLES, Effort, Law, Table, panels
from crossbar_sim.study.intervals import mean_interval, yield_interval
from tinynets.subset_sum import band_error

EPS_BITS = (2, 3, 4)
#: Numbers of values with, at effort 1, plain draws; and those for whose gaps splitting runs too.
N_DRAW = {6: 20000, 8: 20000, 10: 20000, 12: 20000, 14: 4000, 16: 500}
SPLIT = (8, 10, 12, 14)
#: Up to here the edges alone are shown, of which the closed form knows everything.
LARGEST = 28
WINDOW = 0.5
#: Banks of a splitting run at effort 1, runs, and moves after each level.
N_PARTICLE, N_RUN, N_MOVE = 300, 12, 6
SURVIVORS = 0.25  # of each level, about
FEWEST = 1e-3  # share of plain draws below which splitting is what counts

Score = Callable[[NDArray], NDArray]
"""From values (n_bank, n) to scores (n_bank,); high ones are rare."""


# ---- the edges ----------------------------------------------------------------------------------


def edge_probability(n: int, eps: float) -> float:
    """Return the probability that the sums of n values do not reach to within eps of an edge.

    The sum of the negative values is below a = 1/2 - eps in magnitude with the probability
    sum_j C(n, j) 2^-n a^j / j!, since j uniform values add up to less than a <= 1 with a^j / j!.
    Both edges are missed with a^n / n!.
    """
    a = WINDOW - eps
    one = sum(math.comb(n, j) * a**j / math.factorial(j) for j in range(n + 1)) / 2**n
    return 2 * one - a**n / math.factorial(n)


def worst_errors(values: NDArray) -> NDArray:
    """Return the distance of the worst target of the window to a sum, of each bank."""
    return band_error(values, -WINDOW, WINDOW)[1]


def gap_score(eps: float) -> Score:
    """Return the worst error, and -1 for banks that do not reach the edges to within eps."""

    def score(values: NDArray) -> NDArray:
        reach = np.minimum(-values.clip(max=0).sum(axis=1), values.clip(min=0).sum(axis=1))
        return np.where(reach >= WINDOW - eps, worst_errors(values), -1.0)

    return score


# ---- splitting ----------------------------------------------------------------------------------


def split(
    n: int, score: Score, levels: list[float], random: np.random.Generator, particles: int
) -> float:
    """Return an unbiased estimate of the probability that a bank scores above the last level.

    levels: ascending, fixed beforehand; taking them from the same banks would bias the product.
    particles: number of banks followed.

    Banks above a level are drawn again with replacement and moved by steps that keep their
    distribution; the estimate is the product of the shares above each level.
    Source: Del Moral, Doucet, Jasra, J. R. Statist. Soc. B 68 (2006) 411 (unbiased for fixed
    levels).
    """
    values = random.uniform(-1, 1, (particles, n))
    scores, estimate = score(values), 1.0
    for level in levels:
        above = scores > level
        estimate *= float(above.mean())
        if not above.any():
            return 0.0
        if level != levels[-1]:
            picked = random.choice(np.flatnonzero(above), particles)
            values, scores = _moved(values[picked], scores[picked], score, level, random)
    return estimate


def _moved(
    values: NDArray, scores: NDArray, score: Score, level: float, random: np.random.Generator
) -> tuple[NDArray, NDArray]:
    """Move banks within the region above a level, in turn one value afresh and all a little."""
    for step in range(N_MOVE):
        if step % 2:
            trial = values + 0.15 * random.standard_normal(values.shape)
            trial = 1 - np.abs((trial + 1) % 4 - 2)  # reflected at -1 and 1
        else:
            trial = values.copy()
            place = random.integers(values.shape[1], size=len(values))
            trial[np.arange(len(values)), place] = random.uniform(-1, 1, len(values))
        found = score(trial)
        kept = found > level
        values, scores = np.where(kept[:, None], trial, values), np.where(kept, found, scores)
    return values, scores


def pilot_levels(
    n: int, score: Score, last: float, random: np.random.Generator, particles: int
) -> list[float]:
    """Return levels up to `last`, each of which about a quarter of the banks below it passes."""
    values = random.uniform(-1, 1, (particles, n))
    scores, levels = score(values), []
    while True:
        level = float(np.quantile(scores, 1 - SURVIVORS))
        if level >= last or len(levels) > 60:
            return [*levels, last]
        levels.append(max(level, 0.0))
        picked = random.choice(np.flatnonzero(scores > levels[-1]), particles)
        values, scores = _moved(values[picked], scores[picked], score, levels[-1], random)


# ---- measuring ----------------------------------------------------------------------------------


def measure(effort: Effort, seed: int) -> dict[str, Any]:
    """Return failures by n and eps, and the constants of the bound that fit them."""
    rows = []
    for done, n in enumerate(N_DRAW):
        effort.progress("failure", done, len(N_DRAW))
        name = f"{n} values effort {effort.scale:g} seed {seed}"
        rows += effort.part(name, partial(_rows, n, effort, seed))
    effort.progress("failure", len(N_DRAW), len(N_DRAW))
    edges = [
        {"n": n, "eps_bits": bits, "edge": edge_probability(n, 2.0**-bits)}
        for bits in EPS_BITS
        for n in range(6, LARGEST + 1, 2)
    ]
    return {
        "seed": seed,
        "effort": effort.scale,
        "rows": rows,
        "edges": edges,
        "constants": constants(rows, seed),
    }


def _rows(n: int, effort: Effort, seed: int) -> list[dict[str, Any]]:
    """Return a row for each eps, from the same banks."""
    count = effort.count(N_DRAW[n], least=100)
    values = np.random.default_rng([seed, n]).uniform(-1, 1, (count, n))
    return [_row(n, bits, gap_score(2.0**-bits)(values), effort, seed) for bits in EPS_BITS]


def _row(n: int, bits: int, scores: NDArray, effort: Effort, seed: int) -> dict[str, Any]:
    """Return one n and eps: the edge, the gap by both methods, and both together."""
    eps = 2.0**-bits
    plain = yield_interval(int((scores > eps).sum()), len(scores))
    row = {"n": n, "eps_bits": bits, "edge": edge_probability(n, eps), "n_draw": len(scores)}
    row |= plain.columns("gap_plain")
    best = plain
    if n in SPLIT:
        particles = effort.count(N_PARTICLE, least=100)
        by_split = mean_interval(split_runs(n, eps, seed, particles=particles))
        row |= {"n_run": N_RUN, "n_particle": particles} | by_split.columns("gap_split")
        best = by_split if plain.value < FEWEST else plain
    total = {"failure": row["edge"] + best.value}
    bounds = {
        "failure_low": row["edge"] + max(best.low, 0.0),
        "failure_high": row["edge"] + best.high,
    }
    return row | total | bounds


def split_runs(n: int, eps: float, seed: int, *, particles: int, n_run: int = N_RUN) -> NDArray:
    """Return independent estimates (n_run,) of the probability of a gap, with common levels."""
    score, stream = gap_score(eps), [seed, n, round(-math.log2(eps))]
    levels = pilot_levels(n, score, eps, np.random.default_rng([*stream, 0]), particles)
    runs = [np.random.default_rng([*stream, 1 + run]) for run in range(n_run)]
    return np.array([split(n, score, levels, random, particles) for random in runs])


def constants(rows: list[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    """Return C and kappa of P = 2 exp(-(n - C log2(1/eps))^2 / (kappa n)), fitted, with intervals.

    sqrt(n ln(2 / P)) = (n - C L) / sqrt(kappa) is linear in n and L = log2(1/eps). The intervals
    cover the sampling error of the failures, not that the form may be wrong.
    """
    used = [row for row in rows if 0 < row["failure"] < 0.5]
    n = np.array([row["n"] for row in used], float)
    bits = np.array([row["eps_bits"] for row in used], float)
    value = np.array([row["failure"] for row in used])
    wide = np.log([row["failure_high"] / row["failure"] for row in used]) / 1.96
    random = np.random.default_rng([seed, 1])
    noise = np.exp(wide * random.standard_normal((400, len(used))))
    whole = _fitted(n, bits, value)
    again = np.array([_fitted(n, bits, np.minimum(value * factor, 1.0)) for factor in noise])
    low, high = np.quantile(again, [0.025, 0.975], axis=0).tolist()
    return [
        {"constant": name, "value": v, "low": lo, "high": hi}
        for name, v, lo, hi in zip(("C", "kappa"), whole, low, high)
    ]


def _fitted(n: NDArray, bits: NDArray, failure: NDArray) -> list[float]:
    y = np.sqrt(n * np.log(2 / failure))
    (slope, offset), *_ = np.linalg.lstsq(np.stack([n, -bits], axis=1), y, rcond=None)
    return [float(offset / slope), float(1 / slope**2)]


# ---- showing ------------------------------------------------------------------------------------


def tables(measured: dict[str, Any]) -> list[Table]:
    """Return the constants, the failures and the edges."""
    return [
        Table("constants of 2 exp(-(n - C log2(1/eps))^2 / (kappa n))", measured["constants"]),
        Table("probability that some target of the window is not met", measured["rows"]),
        Table("probability that the sums do not reach an edge (exact)", measured["edges"]),
    ]


def draw(measured: dict[str, Any], path: Path) -> None:
    """Draw failures and their two parts against n."""
    with panels(path, 2) as (left, right):
        for bits, style in zip(EPS_BITS, STYLES):
            own = [r for r in measured["rows"] if r["eps_bits"] == bits and r["failure"] > 0]
            x, y = [r["n"] for r in own], [r["failure"] for r in own]
            left.plot(x, y, style, ms=4, label=f"eps = 2^-{bits}")
            edges = [r for r in measured["edges"] if r["eps_bits"] == bits]
            x, y = [r["n"] for r in edges], [r["edge"] for r in edges]
            left.plot(x, y, color="0.6", ls=style[2:], lw=0.8)
            rows = [r for r in own if r["gap_plain"] > 0]
            x, y = [r["n"] for r in rows], [r["gap_plain"] for r in rows]
            right.plot(x, y, style[1], color="k", ms=4, label=f"plain, eps = 2^-{bits}")
            rows = [r for r in own if r.get("gap_split", 0) > 0]
            x, y = [r["n"] for r in rows], [r["gap_split"] for r in rows]
            bars = [[r["gap_split"] - max(r["gap_split_low"], 0.0) for r in rows]]
            bars += [[r["gap_split_high"] - r["gap_split"] for r in rows]]
            label = f"splitting, eps = 2^-{bits}"
            right.errorbar(x, y, bars, fmt=f"k{style[2:]}", lw=0.8, capsize=2, label=label)
        left.set(xlabel="values n", ylabel="probability", title="failure; grey: edges, exact")
        right.set(xlabel="values n", title="gap between sums")
        for panel in (left, right):
            panel.set_yscale("log")


LAW = Law(
    "failure",
    "How improbable is it that a bank leaves some target out?",
    "Theorem, as its abstract and reviews quote it: P(tau <= t) >= 1 - 2 exp(-(t - C log((M+1) / "
    "(Delta+1)))^2 / (kappa t)), so failure is exponentially improbable; no C or kappa is given. "
    "We take log((M+1)/(Delta+1)) as log2(1/eps). A lower bound is elementary: all values have one "
    "sign with probability 2 · 2^-n, so no bank of independent symmetric values does better than "
    "that; so kappa >= 1 / ln 2 = 1.44 in the limit.",
    (
        "Kumar, Natale, arXiv 2607.03860 (abstract and reviews only)",
        "Del Moral, Doucet, Jasra, J. R. Statist. Soc. B 68 (2006) 411, for splitting",
    ),
    measure,
    tables,
    draw,
)
