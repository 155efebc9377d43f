"""Residual banks: scaled-down banks, each of which cancels the measured error of those before."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from crossbar_sim.laws.law import STYLES, Effort, Law, Table, panels
from crossbar_sim.study.intervals import mean_interval
from mapping.bank import Die, ResistorBank
from mapping.bank.streams import Term, normals
from mapping.bank.switches import closed_switches
from mapping.selection.bits import worst_case_bits
from tinynets.subset_sum import solve

#: Resistors in all, and among how many banks they are divided.
N_RESISTOR, N_BANK = (12, 24), (1, 2, 3, 4)
#: Standard error of one reading, as a fraction of the reading.
METER_ERRORS = (1e-2, 1e-3, 1e-4)
#: What a reading of all banks so far is: of their sum, or of the difference from the target.
METERS = ("sum", "difference")
#: Spread of the factor by which a bank is scaled down, which nobody measures.
SIGMA_SCALE = 0.01
#: Least error of a reading of a difference, as a fraction of the first bank's full scale.
NULL_FLOOR = 1e-6
#: Rise of every switch's resistance after all was chosen.
SWITCH_RISE = 0.1
#: The factors 2^-s between one bank and the next that are tried.
SHIFTS = range(1, 13)
BAND = (0.25, 0.75)


@dataclass(frozen=True)
class Chain:
    """Banks in a row, each scaled down from the one before.

    n_bank: number of banks.
    n: branches of each.
    shift: each bank counts 2^-shift as much as the one before.
    meter_error: standard error of a reading, of a branch or of all banks so far.
    meter: "sum" or "difference".
    """

    n_bank: int
    n: int
    shift: int
    meter_error: float
    meter: str

    @property
    def bank(self) -> ResistorBank:
        """Ratio 1.75, 5 % scatter; 100 kohm and more with switches of 1 kohm, spread 5 %."""
        options: dict[str, Any] = {"r_on": 1e3, "sigma_on": 0.05, "meter_error": self.meter_error}
        return ResistorBank(n=self.n, sigma_local=0.05, **options)


@dataclass(frozen=True)
class Errors:
    """Errors of a sample of chains, as parts of the first bank's full scale, (n_cell,) each.

    made: with the switches as they were when all was measured.
    warm: after every switch's resistance rose by SWITCH_RISE.
    """

    made: NDArray
    warm: NDArray


def errors(chain: Chain, n_cell: int, seed: int) -> Errors:
    """Return what chains of banks are off, one target each in the central half of the first bank.

    Bank by bank: switches are chosen by the branches' readings, for what is left of the target less
    the middle of all later banks; then all banks so far are measured together.
    """
    read, true, warm = (_branches(chain, n_cell, seed, kind) for kind in ("read", "true", "warm"))
    cells, zeros = np.arange(n_cell), np.zeros(n_cell, np.int64)
    random = np.random.default_rng([seed, n_cell])
    full = read[0].sum(axis=1)
    target = full * random.uniform(*BAND, n_cell)
    scale = 2.0 ** (-chain.shift * np.arange(chain.n_bank))
    actual = scale * (1 + SIGMA_SCALE * random.standard_normal((n_cell, chain.n_bank)))
    actual[:, 0] = 1.0
    left, sums, later = target.copy(), np.zeros(n_cell), np.zeros(n_cell)
    for k in range(chain.n_bank):
        middle = sum(scale[j] * read[j].sum(axis=1) / 2 for j in range(k + 1, chain.n_bank))
        chosen = closed_switches(solve(read[k], (left - middle) / scale[k]).mask, chain.n)
        sums = sums + actual[:, k] * (true[k] * chosen).sum(axis=1)
        later = later + actual[:, k] * (warm[k] * chosen).sum(axis=1)
        noise = normals(seed, f"bank {k}", Term.COMPOSITE, cells, zeros, 2).T
        if chain.meter == "sum":
            left = target - sums * (1 + chain.meter_error * noise[0])
        else:
            left = (target - sums) * (1 + chain.meter_error * noise[0]) + NULL_FLOOR * full * noise[
                1
            ]
    return Errors(np.abs(sums - target) / full, np.abs(later - target) / full)


def _branches(chain: Chain, n_cell: int, seed: int, kind: str) -> list[NDArray]:
    """Return what closing each branch adds (n_cell, n) [S], of each bank in turn."""
    bank, cells = chain.bank, np.arange(n_cell)
    if kind == "warm":
        bank = replace(bank, r_on=bank.r_on * (1 + SWITCH_RISE))
    die, found = Die(bank, seed), []
    for k in range(chain.n_bank):
        g = die.branches(f"bank {k}", cells, np.zeros_like(cells), measured=kind == "read")
        found.append((g.g_closed - g.g_open)[:, 0])
    return found


def best_shift(chain: Chain, n_cell: int, seed: int) -> Chain:
    """Return the chain with the factor of least mean error, by chains that are not used again."""
    if chain.n_bank == 1:
        return chain
    tried = [replace(chain, shift=shift) for shift in SHIFTS]
    return min(tried, key=lambda one: errors(one, n_cell, seed).made.mean())


def row_of(chain: Chain, n_cell: int, seed: int) -> dict:
    """Return bits of the mean error with its interval over chains, of 99 % of them, and warm."""
    found = errors(chain, n_cell, seed)
    row = {"resistors": chain.n_bank * chain.n, "meter_error": chain.meter_error}
    row |= {"meter": chain.meter, "banks": chain.n_bank, "shift": chain.shift}
    for name, of_chains in (("bits", found.made), ("bits_warm", found.warm)):
        mean = mean_interval(of_chains)
        ends = zip(("", "_low", "_high"), (mean.value, mean.high, mean.low))
        row |= {name + end: float(worst_case_bits(error, 1.0)) for end, error in ends}
    tail = stats.quantile_test(found.made, p=0.99).confidence_interval(0.95)
    row["bits_p99"] = float(worst_case_bits(np.quantile(found.made, 0.99), 1.0))
    bounded = np.isfinite(tail.high)
    row["bits_p99_low"] = float(worst_case_bits(tail.high, 1.0)) if bounded else None
    return row


def measure(effort: Effort, seed: int) -> dict:
    """Measure chains of banks with the same number of resistors in all; see `LAW`."""
    n_cell, n_try = effort.count(2000, least=20), effort.count(300, least=20)
    cases = [
        Chain(n_bank, total // n_bank, 0, meter_error, meter)
        for total in N_RESISTOR
        for meter_error in METER_ERRORS
        for meter in METERS
        for n_bank in N_BANK
    ]
    rows = []
    for k, chain in enumerate(cases):
        rows.append(row_of(best_shift(chain, n_try, seed + 1), n_cell, seed))
        effort.progress("residual banks", k + 1, len(cases))
    return {"seed": seed, "effort": effort.scale, "chains": n_cell, "rows": rows}


def tables(measured: dict) -> list[Table]:
    """Return the table of what was measured."""
    return [Table("Bits against number of banks, same resistors in all", measured["rows"])]


def draw(measured: dict, path: Path) -> None:
    """Draw bits against the number of banks, for each meter."""
    with panels(path, len(N_RESISTOR)) as axes:
        for panel, total in zip(axes, N_RESISTOR):
            styles = iter(STYLES)
            for meter_error in METER_ERRORS:
                for meter in METERS:
                    same = [r for r in measured["rows"] if r["resistors"] == total]
                    same = [
                        r for r in same if (r["meter_error"], r["meter"]) == (meter_error, meter)
                    ]
                    x, y = [r["banks"] for r in same], [r["bits"] for r in same]
                    bars = [[r["bits"] - r["bits_low"] for r in same]]
                    bars += [[r["bits_high"] - r["bits"] for r in same]]
                    label = f"{meter_error:.2%} of the {meter}"
                    panel.errorbar(x, y, bars, fmt=next(styles), ms=4, label=label)
            panel.set(xlabel="banks", ylabel="bits of the mean error", xticks=N_BANK)
            panel.set(title=f"{total} resistors in all")


LAW = Law(
    name="residual-banks",
    question="Do small banks that cancel the measured rest beat one bank of as many resistors?",
    statement=(
        "Measurement (others, on programmable devices): each further device, programmed to cancel "
        "the measured error of those before, adds precision. Theorem (elementary): a meter that "
        "reads the sum with a relative error eta leaves eta times the sum where its reading is "
        "followed; one bank, chosen by readings of its branches, is left with "
        "eta sqrt(sum of g^2 of the closed ones), which is less. A meter that reads the difference "
        "from the target has no such limit. "
        "Measured here: fixed resistors with meter, switches and factors that err."
    ),
    sources=(
        "Song et al., Science 383 (2024) 903 (abstract only, figures second hand)",
        "the meter's floor: mapping.selection.precision.meter_curve",
    ),
    measure=measure,
    tables=tables,
    draw=draw,
)
