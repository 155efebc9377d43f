"""Shared banks: one selection of vectors for several weights, against a bank for each."""

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossbar_sim.laws.law import STYLES, Effort, Law, Table, panels
from mapping.bank import ResistorBank
from mapping.selection.precision import draw_from
from tinynets.subset_sum import solve, solve_vectors

#: Weights that one selection serves, and vectors of a bank for each number of weights.
WEIGHTS = (1, 2, 3, 4)
N_VECTOR = range(2, 25)
N_TARGET = 16
#: eps = 2^-bits of the largest error of a group, and the share of (bank, target) that reaches it.
EPS_BITS, SHARE = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10), 0.9
N_BOOTSTRAP = 400


# ---- what is predicted ---------------------------------------------------------------------------


def predicted_error(n: int, d: int) -> float:
    """Return the median largest error by the first moment, for vectors and targets of this law.

    The 2^n sums of a bank scatter by v = n / 12 a coordinate about half the sum of its vectors,
    which itself scatters by v; a target's variance is 1/3. At the mean square distance v + 1/3 the
    density is rho = 2^n (2 pi v)^(-d/2) exp(-d (1 + 4 / n) / 2), and a cube of half width e is
    empty with the probability exp(-rho (2 e)^d) if sums are independent.
    Source: a Gaussian density of sums; that sums are independent is an assumption.
    """
    width = math.sqrt(2 * math.pi * n / 12) * math.exp((1 + 4 / n) / 2)
    return 0.5 * math.log(2) ** (1 / d) * width * 2.0 ** (-n / d)


def counting_n(d: int, eps: float) -> int:
    """Return the least n whose 2^n cubes of half width eps can cover SHARE of [-1, 1]^d."""
    return math.ceil(d * math.log2(1 / eps) + math.log2(SHARE))


def theorem_n(d: int, eps: float) -> float:
    """Return the theorem's d^3 log2(1/eps) (log2(1/eps) + log2 d), without its constant."""
    return d**3 * math.log2(1 / eps) * (math.log2(1 / eps) + math.log2(d))


# ---- measuring -----------------------------------------------------------------------------------


def shared_errors(d: int, n: int, n_bank: int, seed: int) -> NDArray:
    """Return the largest error of each group of d weights (n_bank, N_TARGET), exactly.

    Vectors and targets are uniform in [-1, 1]^d; each target has its best subset of the n vectors.
    """
    errors = np.empty((n_bank, N_TARGET))
    for k in range(n_bank):
        values, targets = _drawn(d, n, [seed, 0, d, n, k])
        if d == 1:
            errors[k] = np.abs(solve(values[:, 0], targets[:, 0]).error)
        else:
            errors[k] = np.abs(solve_vectors(values, targets).error).max(axis=1)
    return errors


def separate_errors(d: int, m: int, n_bank: int, seed: int) -> NDArray:
    """Return the largest error of each group of d weights (n_bank, N_TARGET) with d banks of m."""
    errors = np.zeros((n_bank, N_TARGET))
    for k in range(n_bank):
        values, targets = _drawn(d, m, [seed, 1, d, m, k])
        for bank, wanted in zip(values.T, targets.T):
            errors[k] = np.maximum(errors[k], np.abs(solve(bank, wanted).error))
    return errors


def ladder_errors(d: int, m: int, n_bank: int, seed: int) -> NDArray:
    """Return the same for d banks of m designed branches, as parts of half their targets' range.

    Ladders of ratio 1.75 with a spread of 5 %; targets fill the middle 80 % of full scale.
    """
    bank = ResistorBank(n=m, sigma_local=0.05)
    values = draw_from(lambda n: bank)(m, n_bank * d, seed).reshape(n_bank, d, m)
    errors = np.zeros((n_bank, N_TARGET))
    for k in range(n_bank):
        _, targets = _drawn(d, m, [seed, 2, d, m, k])
        for one, wanted in zip(values[k], targets.T):
            total = one.sum()
            missed = solve(one, total * (0.5 + 0.4 * wanted)).error / (0.4 * total)
            errors[k] = np.maximum(errors[k], np.abs(missed))
    return errors


def _drawn(d: int, n: int, key: list[int]) -> tuple[NDArray, NDArray]:
    """Return vectors (n, d) and targets (N_TARGET, d) of one bank."""
    random = np.random.default_rng(key)
    return random.uniform(-1, 1, (n, d)), random.uniform(-1, 1, (N_TARGET, d))


def of_banks(errors: NDArray, seed: int) -> dict[str, float]:
    """Return median and 90 % quantile of errors (n_bank, n_target), with bounds over banks.

    The targets of a bank are not independent, so that whole banks are resampled.
    """
    random = np.random.default_rng(seed)
    picked = random.integers(len(errors), size=(N_BOOTSTRAP, len(errors)))
    again = errors[picked].reshape(N_BOOTSTRAP, -1)
    row: dict[str, float] = {}
    for name, share in (("median", 0.5), ("p90", SHARE)):
        low, high = np.quantile(np.quantile(again, share, axis=1), [0.025, 0.975])
        row |= {name: float(np.quantile(errors, share))}
        row |= {f"{name}_low": float(low), f"{name}_high": float(high)}
    return row


def least(curve: list[dict], eps: float) -> int | None:
    """Return the least n from which on the 90 % quantile is eps or less; None if it never is."""
    reached = [row["p90"] <= eps for row in curve]
    if not reached[-1]:
        return None
    last = max((k for k, good in enumerate(reached) if not good), default=-1)
    return curve[last + 1]["n"]


def compare(curves: dict[str, dict[int, list[dict]]]) -> list[dict]:
    """Return what a group of d weights costs, shared and separate, for each eps that all reach.

    A shared bank has n switches, each before d resistors; separate banks have d m of both.
    """
    rows = []
    for d in WEIGHTS[1:]:
        for bits in EPS_BITS:
            eps = 2.0**-bits
            n, m, designed = (least(curves[kind][d], eps) for kind in KINDS)
            if n is None or m is None or designed is None:
                continue
            row = {"weights": d, "eps_bits": bits, "n_shared": n, "m_separate": m}
            row |= {"m_ladder": designed, "n_counting": counting_n(d, eps)}
            row |= {"switches_over_separate": n / (d * m), "resistors_over_separate": n / m}
            row |= {"switches_over_ladder": n / (d * designed)}
            row |= {"resistors_over_ladder": n / designed, "n_theorem": theorem_n(d, eps)}
            rows.append(row)
    return rows


# ---- the law -------------------------------------------------------------------------------------

#: What gives the errors of a group of weights.
KINDS = {"shared": shared_errors, "separate": separate_errors, "ladder": ladder_errors}


def measure(effort: Effort, seed: int) -> dict:
    """Measure the error of shared and separate banks; see `LAW`."""
    n_bank = effort.count(24, least=4)
    curves: dict[str, dict[int, list[dict]]] = {kind: {d: [] for d in WEIGHTS} for kind in KINDS}
    parts, done = len(WEIGHTS) * len(N_VECTOR), 0
    for d in WEIGHTS:
        for n in N_VECTOR:
            for kind, errors in KINDS.items():
                row = {"weights": d, "n": n, "predicted": predicted_error(n, d)}
                curves[kind][d].append(row | of_banks(errors(d, n, n_bank, seed), seed))
            done += 1
            effort.progress("shared banks", done, parts)
    flat = {kind: [row for d in WEIGHTS for row in curves[kind][d]] for kind in KINDS}
    about = {"seed": seed, "effort": effort.scale, "n_bank": n_bank, "n_target": N_TARGET}
    return about | {"slopes": slopes(flat["shared"]), "compare": compare(curves)} | flat


def slopes(rows: list[dict]) -> list[dict]:
    """Return by how many bits a vector lowers the median error, beside 1 / d of the counting."""
    found = []
    for d in WEIGHTS:
        same = [row for row in rows if row["weights"] == d and row["n"] >= 12]
        n = np.array([row["n"] for row in same])
        bits = -np.log2([row["median"] for row in same])
        theory = -np.log2([row["predicted"] for row in same])
        row = {"weights": d, "bits_a_vector": float(np.polyfit(n, bits, 1)[0])}
        row |= {"predicted": float(np.polyfit(n, theory, 1)[0]), "counting": 1 / d}
        ratios = [r["median"] / r["predicted"] for r in same]
        found.append(row | {"median_over_predicted": float(np.median(ratios))})
    return found


def tables(measured: dict) -> list[Table]:
    """Return the tables of what was measured."""
    return [
        Table("Bits that a vector adds to the median error, n from 12 to 24", measured["slopes"]),
        Table("Shared against separate at the same error (90 %)", measured["compare"]),
    ]


def draw(measured: dict, path: Path) -> None:
    """Draw the error against n, and the switches of shared over those of separate banks."""
    with panels(path, 2) as (left, right):
        for d, style in zip(WEIGHTS, STYLES):
            same = [row for row in measured["shared"] if row["weights"] == d]
            x, y = [row["n"] for row in same], [row["median"] for row in same]
            bars = [[r["median"] - r["median_low"] for r in same]]
            bars += [[r["median_high"] - r["median"] for r in same]]
            left.errorbar(x, y, np.maximum(bars, 0), fmt=style, ms=4, label=f"{d} weights")
            left.plot(x, [row["predicted"] for row in same], ":", color="0.6")
        left.set(xlabel="vectors n", ylabel="largest error of a group, median", yscale="log")
        for d, style in zip(WEIGHTS[1:], STYLES):
            same = [row for row in measured["compare"] if row["weights"] == d]
            x = [row["eps_bits"] for row in same]
            for cost, dash in (("switches", "-"), ("resistors", ":")):
                y = [row[f"{cost}_over_ladder"] for row in same]
                right.plot(x, y, style[:2] + dash, ms=4, label=f"{d} weights, {cost}")
        right.axhline(1, color="0.5", linestyle="--")
        right.set(xlabel="bits, −log2 of the error", ylabel="shared bank over d ladders")


LAW = Law(
    name="shared-banks",
    question="Can one selection of a bank of vectors serve several weights, and is it worth it?",
    statement=(
        "Theorem: n = O(d^3 log(1/eps) (log(1/eps) + log d)) random vectors have, for every target "
        "in [-1, 1]^d, a subset within eps, with high probability; its constant is not given. "
        "Theorem (counting): 2^n sums cover a share s of [-1, 1]^d within eps only if "
        "n >= d log2(1/eps) + log2(s). The same holds for all switches of d separate banks "
        "together, so that neither can be below it. "
        "Conjecture: n = d log2(1/eps) + O(d log n) is enough for most targets (a Gaussian density "
        "of sums, taken as independent). Measured: errors, exact by meet-in-the-middle."
    ),
    sources=(
        "Becchetti, da Cunha, Clementi, d'Amore, Lesfari, Natale, Trevisan, On the "
        "Multidimensional Random Subset Sum Problem, arXiv 2207.13944",
        "Horowitz, Sahni, J. ACM 21 (1974) 277, for the exact search",
    ),
    measure=measure,
    tables=tables,
    draw=draw,
)
