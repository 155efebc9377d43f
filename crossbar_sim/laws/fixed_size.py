"""How many resistors, if exactly k are closed: the fixed-size subset-sum theorem, measured.

A bank of n values is a draw; the target window is the mean of its sums of k, plus and minus
sqrt(k) units. For densities around zero that is the window of the theorem. Conductances are
positive, so their window lies around k times the mean value, and their unit is their spread.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossbar_sim.laws.law import STYLES, Effort, Law, Table, panels
from crossbar_sim.study.intervals import clustered_share
from tinynets.subset_sum import nearest_by_count

#: Shares of (bank, target) pairs that must be within eps: a constant probability, and a yield.
SHARES = (0.5, 0.9)
#: Number of banks at effort 1 of each size n; the search takes 2^(n/2) steps.
N_BANK = {8: 100, 12: 100, 16: 100, 20: 100, 24: 60, 28: 25, 32: 12, 36: 8, 40: 8}
N_TARGET = 8
BOOTSTRAP = 400
#: Closed branches and bits of eps of the chart n(k, eps).
CLOSED = (2, 3, 4, 5, 6, 8, 10, 12)
EPS_BITS = (4, 6, 8, 10, 12, 14, 16)
CHART_SHARE = 0.9
CHART_BANKS = 40  # at least; with fewer than 35, no share's lower bound reaches 90 %
MISMATCH = 0.05
RATIO = 1.75


@dataclass(frozen=True)
class Values:
    """A kind of bank.

    draw: from a generator and n to values (n,).
    mean, unit: of n values; the window of k is k mean ± sqrt(k) unit, and eps is in units.
    """

    draw: Callable[[np.random.Generator, int], NDArray]
    mean: Callable[[int], float]
    unit: Callable[[int], float]

    def targets(self, random: np.random.Generator, n: int, k: int, count: int) -> NDArray:
        """Return targets (count,), uniform in the window of k."""
        return k * self.mean(n) + math.sqrt(k) * self.unit(n) * random.uniform(-1, 1, count)


def _ladder(n: int) -> NDArray:
    """Return nominal conductances (n,), the largest first, which is 1."""
    return RATIO ** -np.arange(n, dtype=float)


#: The densities of the theorem; equal resistors with mismatch; a ladder with the same mismatch,
#: whose window is half as wide, because sums of its few large values do not fill a wider one.
BANKS = {
    "uniform [-1, 1]": Values(lambda r, n: r.uniform(-1, 1, n), lambda n: 0.0, lambda n: 1.0),
    "normal": Values(lambda r, n: r.standard_normal(n), lambda n: 0.0, lambda n: 1.0),
    "equal, 5 %": Values(
        lambda r, n: 1 / (1 + MISMATCH * r.standard_normal(n)),
        lambda n: 1 + MISMATCH**2,
        lambda n: MISMATCH,
    ),
    "geometric 1.75, 5 %": Values(
        lambda r, n: _ladder(n) * (1 + MISMATCH * r.standard_normal(n)),
        lambda n: float(_ladder(n).mean()),
        lambda n: float(_ladder(n).std()) / 2,
    ),
}


# ---- measuring ----------------------------------------------------------------------------------


def measure(effort: Effort, seed: int) -> dict[str, Any]:
    """Return the constant for each bank, n and k, and the chart n(k, eps) of normal values.

    The chart is also that of equal resistors with mismatch, in units of the mismatch.
    """
    sizes = [n for n, usual in N_BANK.items() if usual * effort.scale >= 2]
    cases = [(kind, n, k) for kind in BANKS for n in sizes for k in (n // 4, n // 2)]
    constants = []
    for done, case in enumerate(cases):
        effort.progress("constant", done, len(cases))
        constants += _kept(effort, case, seed)
    effort.progress("constant", len(cases), len(cases))
    least = []
    for done, k in enumerate(CLOSED):
        effort.progress("chart", done, len(CLOSED))
        least += Chart("normal", k, effort.count(CHART_BANKS, least=CHART_BANKS), seed).rows()
    effort.progress("chart", len(CLOSED), len(CLOSED))
    return {"seed": seed, "effort": effort.scale, "constants": constants, "least": least}


def _kept(effort: Effort, case: tuple[str, int, int], seed: int) -> list[dict[str, Any]]:
    """Return the rows of one bank, n and k, which may have been measured before."""
    (kind, n, k), n_bank = case, effort.count(N_BANK[case[1]])
    name = f"{kind} {n} {k} banks {n_bank} seed {seed}"
    return effort.part(name, lambda: _constants(kind, n, k, n_bank=n_bank, seed=seed))


def entropy(share: float) -> float:
    """Return the entropy of a binary choice [bit]."""
    return float(-sum(p * math.log2(p) for p in (share, 1 - share) if p > 0))


def constant(n: int, k: int, eps: float) -> float:
    """Return c with n = c log2(k / eps) / H2(k / n)."""
    return n * entropy(k / n) / math.log2(k / eps)


def counting_eps(n: int, k: int, share: float) -> float:
    """Return the least eps that lets C(n, k) sums cover a share of the window, in units.

    Each sum covers at most 2 eps of the window's 2 sqrt(k). So this bounds every bank.
    """
    return share * math.sqrt(k) / math.comb(n, k)


def errors(kind: str, n: int, k: int, *, n_bank: int, seed: int, largest: int) -> NDArray:
    """Return distances to the nearest sum of 0 … largest values, (n_bank, n_target, largest + 1).

    In units of the bank. The same seed gives the same banks, whatever else is measured.
    """
    values, stream = BANKS[kind], [seed, list(BANKS).index(kind), n, k]
    found = np.empty((n_bank, N_TARGET, largest + 1))
    for bank, row in enumerate(found):
        random = np.random.default_rng([*stream, bank])
        drawn = values.draw(random, n)
        row[:] = nearest_by_count(drawn, values.targets(random, n, k, N_TARGET), largest)
    return found / values.unit(n)


def _constants(kind: str, n: int, k: int, *, n_bank: int, seed: int) -> list[dict[str, Any]]:
    """Return rows for one bank, n and k: eps and c of each share, with intervals over banks."""
    found = errors(kind, n, k, n_bank=n_bank, seed=seed, largest=n)
    exactly, at_most, free = found[..., k], found[..., : k + 1].min(-1), found.min(-1)
    rows = []
    for share in SHARES:
        eps, low, high = quantile_interval(exactly, share, seed)
        least = counting_eps(n, k, share)
        bits = {
            name: math.log2(eps / float(np.quantile(other, share)))
            for name, other in (("at_most", at_most), ("free", free))
        }
        rows.append(
            {
                "bank": kind,
                "n": n,
                "k": k,
                "share": share,
                "n_bank": n_bank,
                "eps": eps,
                "c": constant(n, k, eps),
                "c_low": constant(n, k, low),
                "c_high": constant(n, k, high),
                "c_counting": constant(n, k, least),
                "bits_above_counting": math.log2(eps / least),
                "bits_above_counting_low": math.log2(low / least),
                "bits_above_counting_high": math.log2(high / least),
                "gain_at_most": bits["at_most"],
                "gain_free": bits["free"],
            }
        )
    return rows


def quantile_interval(found: NDArray, share: float, seed: int) -> tuple[float, float, float]:
    """Return a quantile over banks and targets, and its 95 % interval from resampled banks."""
    random = np.random.default_rng([seed, *found.shape])
    picked = random.integers(len(found), size=(BOOTSTRAP, len(found)))
    resampled = np.quantile(found[picked].reshape(BOOTSTRAP, -1), share, axis=1)
    low, high = np.quantile(resampled, [0.025, 0.975])
    return float(np.quantile(found, share)), float(low), float(high)


# ---- the chart n(k, eps) ------------------------------------------------------------------------


class Chart:
    """The least n of one k, for every eps, with what was measured at each n kept."""

    def __init__(self, kind: str, k: int, n_bank: int, seed: int) -> None:
        self._case = kind, k, n_bank, seed
        self._measured: dict[int, NDArray] = {}

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each eps: least n, its interval over banks, counting and theorem."""
        kind, k, n_bank, _ = self._case
        rows = []
        for bits in EPS_BITS:
            eps = 2.0**-bits
            n, low, high = (self._least(eps, bound) for bound in ("value", "high", "low"))
            bounds = {"n_low": low, "n_high": high}
            proved = {"n_counting": counting_n(k, eps), "n_theorem": theorem_n(k, eps)}
            rows.append(
                {"bank": kind, "k": k, "eps_bits": bits, "n_bank": n_bank, "n": n} | bounds | proved
            )
        return rows

    def _least(self, eps: float, bound: str) -> int:
        """Return the least n at which the share within eps, or a bound of it, is large enough.

        The share grows with n, so the place is found by doubling and halving.
        """
        low = 2 * self._case[1]
        if self._reaches(low, eps, bound):
            return low
        high = low + 1
        while not self._reaches(high, eps, bound):
            low, high = high, 2 * high - low + 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._reaches(middle, eps, bound) else (middle, high)
        return high

    def _reaches(self, n: int, eps: float, bound: str) -> bool:
        kind, k, n_bank, seed = self._case
        if n not in self._measured:
            found = errors(kind, n, k, n_bank=n_bank, seed=seed, largest=k)
            self._measured[n] = found[..., k]
        return getattr(clustered_share(self._measured[n] <= eps), bound) >= CHART_SHARE


def counting_n(k: int, eps: float) -> int:
    """Return the least n >= 2 k whose C(n, k) sums can be within eps of enough of the window."""
    return _first(k, lambda n: counting_eps(n, k, CHART_SHARE) <= eps)


def theorem_n(k: int, eps: float) -> int:
    """Return the least n >= 2 k of the theorem with c = 1."""
    return _first(k, lambda n: n * entropy(k / n) >= math.log2(k / eps))


def _first(k: int, enough: Callable[[int], bool]) -> int:
    n = 2 * k
    while not enough(n):
        n += 1
    return n


# ---- showing ------------------------------------------------------------------------------------


def tables(measured: dict[str, Any]) -> list[Table]:
    """Return the constants, and the chart."""
    return [
        Table("constant c of n = c log2(k/eps) / H2(k/n)", measured["constants"]),
        Table("least n with 90 % of (bank, target) within eps = 2^-eps_bits", measured["least"]),
    ]


def draw(measured: dict[str, Any], path: Path) -> None:
    """Draw c against n, and n against k for each eps."""
    with panels(path, 2) as (left, right):
        rows = [r for r in measured["constants"] if r["k"] == r["n"] // 2 and r["share"] == 0.9]
        for kind, style in zip(BANKS, STYLES):
            own = [r for r in rows if r["bank"] == kind]
            bars = [[r["c"] - r["c_low"] for r in own], [r["c_high"] - r["c"] for r in own]]
            x, y = [r["n"] for r in own], [r["c"] for r in own]
            left.errorbar(x, y, bars, fmt=style, ms=4, capsize=2, label=kind)
        own = [r for r in rows if r["bank"] == "normal"]
        left.plot([r["n"] for r in own], [r["c_counting"] for r in own], "k:", label="counting")
        left.set(xlabel="resistors n", ylabel="constant c", title="k = n/2, 90 % within eps")
        for bits, style in zip(EPS_BITS, STYLES):
            own = [r for r in measured["least"] if r["bank"] == "normal" and r["eps_bits"] == bits]
            x, y = [r["k"] for r in own], [r["n"] for r in own]
            right.plot(x, y, style, ms=4, label=f"eps = 2^-{bits}")
        right.plot(CLOSED, [2 * k for k in CLOSED], color="0.7", label="n = 2 k")
        right.set(xlabel="closed resistors k", ylabel="least n", title="normal values")
        right.set_yscale("log", base=2)


LAW = Law(
    "fixed-size",
    "How many resistors does a bank need when exactly k of them are closed?",
    "Theorem: for n >= c log2(k/eps) / H2(k/n), with independent values of a sum-bounded density "
    "and H2 the entropy of a binary choice, each target in ±sqrt(k) has with constant probability "
    "a subset of exactly k within eps. The constant c >= 1 is not given. Lower bound by counting: "
    "C(n, k) sums cover at most 2 eps each.",
    (
        "Natale, Ferré, Giambartolomei, Giroire, Mallmann-Trenn, NeurIPS 2024, arXiv 2410.14754, "
        "Theorem 2",
    ),
    measure,
    tables,
    draw,
)
