"""Ladders: which nominal values leave no gap, what common factors cost, who wins at equal area."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import stats

from crossbar_sim.foundry.films import FILMS, LENGTHS, Film
from crossbar_sim.laws.law import STYLES, Effort, Law, Table, panels
from crossbar_sim.study.intervals import mean_interval, yield_interval
from mapping.bank import Die, ResistorBank
from mapping.bank.ladders import nominal_ladder
from mapping.bank.switches import closed_switches
from mapping.selection.bits import worst_case_bits
from mapping.selection.precision import draw_from, full_scale
from netlists.layout.floorplan import plan_cell
from netlists.layout.technology import HIGH_PO, XHIGH_PO
from tinynets.subset_sum import band_error, largest_gap, solve

BAND, WIDE = (0.25, 0.75), (0.1, 0.9)
RATIOS = (1.4, 1.5, 1.6, 1.7, 1.75, 1.8, 1.85, 1.9, 1.95, 2.0)
TOLERANCES = (0.01, 0.05, 0.1, 0.15, 0.2, 0.3)
N_GAP = 12
#: Ratios of the geometric ladders that are compared.
GEOMETRIC = (1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.75, 1.9)
#: Name and ratio in `ResistorBank` of each kind of ladder that is compared.
KINDS = {
    "equal": ("equal", 2.0),
    **{f"geometric {b:g}": ("geometric", b) for b in GEOMETRIC},
    "binary": ("binary", 2.0),
    **{f"E{k}": (f"E{k}", 1.75) for k in (6, 12, 24, 48, 96, 192)},
}
#: Kinds whose areas stand beside the winner's.
COMPARED = ("equal", "geometric 1.5", "geometric 1.75", "binary", "E6", "E24", "E192")
#: What the bits of a ladder are of.
STATISTICS = {
    "p99": "99 % of targets in the central half, median bank",
    "sure": "every target in the central half, 9 of 10 banks",
    "wide": "99 % of targets in the middle 80 %, median bank",
    "mean": "mean error in the central half",
}
SURE = 0.9
BITS = (4, 6, 8, 10, 12)
N_BRANCH = range(3, 17)
R_FREE = 100e3  # smallest resistor where areas do not matter [ohm]
N_START, N_TARGET = 3, 512  # lengths of the shortest resistor; targets of a bank
#: Films that the project can draw. A drawn cell has contacts, spacing and switches, no memory.
DRAWN = {("high_po", 0.35e-6): HIGH_PO, ("xhigh_po", 0.35e-6): XHIGH_PO}


# ---- the rule b <= 2 / (1 + t) -------------------------------------------------------------------


def allowed_ratio(tolerance: float) -> float:
    """Return the largest ratio without a gap at a tolerance, 2 / (1 + t)."""
    return 2 / (1 + tolerance)


def corner_step(ratio: float, tolerance: float, n: int) -> float:
    """Return the step below the largest branch, where all others are least, as a part of FS.

    In units of the smallest nominal branch it is b^k (1 + t) - (1 - t) (b^k - 1) / (b - 1) with
    k = n - 1, which is above 1 + t, and grows with k, if and only if b > 2 / (1 + t). It is
    negative where the sums of the smaller branches reach beyond the largest.
    """
    top, rest = ratio ** (n - 1), (ratio ** (n - 1) - 1) / (ratio - 1)
    step = top * (1 + tolerance) - (1 - tolerance) * rest
    return step / (top * (1 + tolerance) + (1 - tolerance) * rest)


def gaps(ratio: float, tolerance: float, n_bank: int, seed: int) -> dict:
    """Return the widest steps of banks within a tolerance, and of the corner that is worst.

    Conductances are uniform within the tolerance. A gap is a step that overlaps the central half
    and is wider than the smallest branch can be, (1 + t) times its nominal value.
    Source: if each branch exceeds the sum of those before it by at most d, no step of the sums
    exceeds d (by induction); for b <= 2 / (1 + t) that d is 1 + t.
    """
    nominal = ratio ** np.arange(N_GAP)
    random = np.random.default_rng([seed, round(1000 * ratio), round(1000 * tolerance)])
    values = nominal * random.uniform(1 - tolerance, 1 + tolerance, (n_bank, N_GAP))
    total = values.sum(axis=1)
    step = largest_gap(values, BAND[0] * total, BAND[1] * total)
    has = step > 1 + tolerance
    row = {"ratio": ratio, "tolerance": tolerance, "allowed": allowed_ratio(tolerance)}
    row |= {"guaranteed": bool(ratio <= allowed_ratio(tolerance))}
    row |= {"corner_step": corner_step(ratio, tolerance, N_GAP)}
    row |= {
        "median_step": float(np.median(step / total)),
        "worst_step": float(np.max(step / total)),
    }
    return row | yield_interval(int(has.sum()), n_bank).columns("share_with_gap")


# ---- what a common factor costs ------------------------------------------------------------------

#: What acts on a die after the switches were chosen, as fields of `ResistorBank`.
CHANGES: dict[str, dict[str, float]] = {
    "nothing": {},
    "lot 2.5 %": {"sigma_lot": 0.025},
    "gradient 1 % across the die": {"sigma_gradient": 0.01},
    "60 K, mean TCR 500 ppm/K": {"tc1": 500e-6, "temperature": 360.15},
    "60 K, TCR spread 20 ppm/K": {"tc1_sigma": 20e-6, "temperature": 360.15},
    "60 K, TCR spread 100 ppm/K": {"tc1_sigma": 100e-6, "temperature": 360.15},
}


def changed(name: str, n_die: int, n_cell: int, seed: int) -> dict:
    """Return bits of the mean error after a change: chosen anew, left alone, and scaled.

    The bank is geometric 1.75 with n = 12 and a local spread of 5 %; its cells lie on a diagonal
    of the die. "scaled" takes one factor of the die out, as a reference resistor does. The
    intervals are over dies, which share a lot and a gradient.
    """
    bank = ResistorBank(n=12, sigma_local=0.05)
    after = replace(bank, **CHANGES[name])
    errors = {"chosen_anew": [], "left_alone": [], "scaled": []}
    for k in range(n_die):
        before_g, after_g = (_diagonal(Die(one, seed + k), n_cell) for one in (bank, after))
        span = np.random.default_rng([seed, k]).uniform(*BAND, n_cell)
        targets = span * full_scale(before_g)
        chosen = closed_switches(solve(before_g, targets).mask, 12)
        realised = (after_g * chosen).sum(axis=1)
        factor = after_g.sum() / before_g.sum()
        anew = solve(after_g, span * full_scale(after_g)).error / full_scale(after_g)
        errors["chosen_anew"].append(np.abs(anew).mean())
        for kind, miss in (("left_alone", realised), ("scaled", realised / factor)):
            miss = np.abs(miss - targets) / full_scale(before_g)
            errors[kind].append(miss.mean())
    row: dict = {"change": name}
    for kind, of_dies in errors.items():
        row |= mean_interval(worst_case_bits(np.array(of_dies), 1.0)).columns(kind)
    return row


def _diagonal(die: Die, n_cell: int) -> np.ndarray:
    """Return what branches conduct (n_cell, n) [S] of cells on a diagonal of 1024 lines."""
    lines = np.linspace(0, 1023, n_cell).astype(int)
    return die.branches("law", lines, lines, measured=False).g_closed[:, 0]


# ---- who wins at equal area ----------------------------------------------------------------------


def ladder_ohms(kind: str, n: int, r_min: float) -> np.ndarray:
    """Return the nominal values (n,) [ohm] of a kind of ladder, none below r_min.

    A preferred value may be below the value that it is nearest to; then all are multiplied by ten
    to the power of one step of the series.
    """
    name, ratio = KINDS[kind]
    ohms = nominal_ladder(name, n, r_min, ratio)
    while ohms[0] < r_min:
        r_min *= 10 ** (1 / int(name[1:]) / 2)
        ohms = nominal_ladder(name, n, r_min, ratio)
    return ohms


def precision_of(bank: ResistorBank, n_bank: int, seed: int) -> dict:
    """Return bits of a bank by the names of STATISTICS, with intervals over banks.

    512 evenly spaced targets of each bank are chosen by the exact solver; "sure" is exact.
    """
    values = draw_from(lambda n: bank)(bank.n, n_bank, seed)
    total = values.sum(axis=1)
    errors, wide = (_errors(values, band) for band in (BAND, WIDE))
    mean = mean_interval(errors.mean(axis=1))
    row = {"mean": _bits(mean.value), "mean_low": _bits(mean.high), "mean_high": _bits(mean.low)}
    of_banks = {"p99": np.quantile(errors, 0.99, axis=1), "wide": np.quantile(wide, 0.99, axis=1)}
    of_banks["sure"] = band_error(values, BAND[0] * total, BAND[1] * total)[1] / total
    for name, found in of_banks.items():
        share = SURE if name == "sure" else 0.5
        bounds = stats.quantile_test(found, p=share).confidence_interval(0.95)
        row |= {name: _bits(float(np.quantile(found, share)))}
        row |= {f"{name}_low": _bits(bounds.high), f"{name}_high": _bits(bounds.low)}
    return row


def _errors(values: np.ndarray, band: tuple[float, float]) -> np.ndarray:
    """Return the errors of targets (n_bank, N_TARGET), as parts of each bank's full scale."""
    share = band[0] + (band[1] - band[0]) * (np.arange(N_TARGET) + 0.5) / N_TARGET
    return np.abs([solve(row, share * row.sum()).error / row.sum() for row in values])


def _bits(error: float) -> float:
    """Return worst-case bits of an error as a part of full scale; 0 for an unknown bound."""
    return float(worst_case_bits(error, 1.0)) if 0 < error < 0.5 else 0.0


def by_ratio(ratio: float, sigma: float, n_bank: int, seed: int) -> dict:
    """Return bits of banks of 12 branches, without regard to area."""
    ohms = tuple(map(float, R_FREE * ratio ** np.arange(12)))
    bank = ResistorBank(n=12, ladder=ohms, sigma_local=sigma)
    return {"ratio": ratio, "sigma": sigma} | precision_of(bank, n_bank, seed)


def candidates(film: Film, kind: str, n_bank: int, seed: int) -> Iterator[dict]:
    """Yield every bank of a kind of ladder in a film: shortest length, number of branches."""
    technology = DRAWN.get((film.resistor, film.width))
    for r_min, length in zip(film.ohm[:N_START], LENGTHS):
        for n in N_BRANCH:
            ohms = ladder_ohms(kind, n, r_min)
            bank = film.bank(ohms)
            row = {"film": film.name, "kind": kind, "shortest": length, "n": n}
            row |= {"film_area": film.area(ohms), "drawn_area": None, "g_full": bank.g_full}
            if technology is not None:
                row["drawn_area"] = drawn_area(bank, technology)
            yield row | precision_of(bank, n_bank, seed)


def drawn_area(bank: ResistorBank, technology) -> float | None:
    """Return the area [m^2] of one bank in a drawn cell; None for a cell too large to be drawn."""
    try:
        return plan_cell(bank, technology, "switch").area / 2
    except ValueError:
        return None


def least_area(rows: list[dict]) -> list[dict]:
    """Return the least area of one film and kind that reaches each number of bits.

    rows: of `candidates`. Areas are those of the film or of the drawn cell; None where no bank of
    up to 16 branches reaches the bits.
    """
    found = []
    for area in ("film", "drawn"):
        own = [row for row in rows if row[f"{area}_area"] is not None]
        for statistic in STATISTICS if own else ():
            for bits in BITS:
                good = [row for row in own if row[statistic] >= bits]
                best = min(good, key=lambda row: row[f"{area}_area"], default=None)
                row = {key: own[0][key] for key in ("film", "kind")}
                row |= {"area_of": area, "statistic": statistic, "bits": bits}
                row |= {"area": best and best[f"{area}_area"]}
                row |= {key: best and best[key] for key in ("n", "shortest", "g_full")}
                row |= {f"bits{end}": best and best[statistic + end] for end in ("_low", "_high")}
                found.append(row)
    return found


def winners(rows: list[dict]) -> list[dict]:
    """Return who needs the least area, and how many times as much others need.

    rows: of `least_area`, all films and kinds. A number is None where no bank of up to 16 branches
    reaches the bits.
    """
    found = []
    keys = ("area_of", "film", "statistic", "bits")
    for place in dict.fromkeys(tuple(row[key] for key in keys) for row in rows):
        same = [row for row in rows if tuple(row[key] for key in keys) == place and row["area"]]
        best = min(same, key=lambda row: row["area"], default={})
        row = dict(zip(keys, place)) | {"winner": best.get("kind"), "n": best.get("n")}
        for name, key, factor in (
            ("shortest_um", "shortest", 1e6),
            ("area_um2", "area", 1e12),
            ("g_full_uS", "g_full", 1e6),
        ):
            row[name] = factor * best[key] if best else None
        areas = {row["kind"]: row["area"] / best["area"] for row in same}
        row |= {f"{kind} / winner": areas.get(kind) for kind in COMPARED}
        powers = {row["kind"]: row["area"] * row["g_full"] for row in same}
        ours = powers.get("geometric 1.75")
        row["geometric 1.75 / winner, area * g_full"] = ours and ours / powers[best["kind"]]
        found.append(row)
    return found


# ---- the law -------------------------------------------------------------------------------------


def measure(effort: Effort, seed: int) -> dict:
    """Measure gaps, changes and areas; see `LAW`."""
    free = [(ratio, sigma) for sigma in (0.0, 0.02, 0.05) for ratio in (*GEOMETRIC, 2.0)]
    parts = len(RATIOS) * len(TOLERANCES) + len(CHANGES) + len(free) + len(FILMS) * len(KINDS)
    done = iter(range(1, parts + 1))

    def told(rows):
        effort.progress("ladders", next(done), parts)
        return rows

    n_gap, n_die = effort.count(1000), effort.count(10)
    n_free, n_bank = effort.count(60), effort.count(14)
    grid = [(b, t) for t in TOLERANCES for b in RATIOS]
    by_gap = [told(gaps(b, t, n_gap, seed)) for b, t in grid]
    by_change = [told(changed(name, n_die, 100, seed)) for name in CHANGES]
    ratios = [told(by_ratio(*one, n_free, seed)) for one in free]
    by_area = [
        row
        for film in FILMS
        for kind in KINDS
        for row in told(least_area(list(candidates(film, kind, n_bank, seed))))
    ]
    counts = {
        "banks_of_ratios": n_free,
        "banks_of_gaps": n_gap,
        "dies": n_die,
        "cells_a_die": 100,
        "banks_of_areas": n_bank,
    }
    found = {"gaps": by_gap, "changes": by_change, "ratios": ratios, "areas": by_area}
    return {"seed": seed, "effort": effort.scale, **counts, **found}


def rule(rows: list[dict]) -> list[dict]:
    """Return, for each tolerance, what the rule allows and from which ratio on gaps are seen."""
    found = []
    for tolerance in dict.fromkeys(row["tolerance"] for row in rows):
        same = sorted((r for r in rows if r["tolerance"] == tolerance), key=lambda r: r["ratio"])
        seen = [row["ratio"] for row in same if row["share_with_gap"] > 0]
        half = [row["ratio"] for row in same if row["share_with_gap"] > 0.5]
        row = {"tolerance": tolerance, "rule": allowed_ratio(tolerance)}
        row |= {
            "gaps_within_the_rule": sum(r["share_with_gap"] > 0 for r in same if r["guaranteed"])
        }
        row |= {"first_gap_seen_at": seen[0] if seen else None}
        found.append(row | {"half_of_banks_have_gaps_at": half[0] if half else None})
    return found


def tables(measured: dict) -> list[Table]:
    """Return the tables of what was measured."""
    won = winners(measured["areas"])
    of = {"drawn": "half a drawn cell", "film": "films alone"}
    return [
        Table("Ratios without a gap: the rule, and where gaps are seen", rule(measured["gaps"])),
        Table("Bits of the mean error after a change of the die", measured["changes"]),
        Table("Bits of 12 branches by ratio and scatter", measured["ratios"]),
        *(
            Table(
                f"Least area, {of[area]}: {label}",
                [r for r in won if (r["area_of"], r["statistic"]) == (area, statistic)],
            )
            for area in ("drawn", "film")
            for statistic, label in STATISTICS.items()
        ),
    ]


def draw(measured: dict, path: Path) -> None:
    """Draw the share of banks with gaps, bits by ratio, and the area that ladders need."""
    with panels(path, 3) as (left, middle, right):
        for tolerance, style in zip(TOLERANCES, STYLES):
            same = [row for row in measured["gaps"] if row["tolerance"] == tolerance]
            x = [row["ratio"] / row["allowed"] for row in same]
            y = [100 * row["share_with_gap"] for row in same]
            left.plot(x, y, style, markersize=4, label=f"tolerance {tolerance:.0%}")
        left.axvline(1, color="0.5", linestyle="--")
        left.set(xlabel="ratio b, over 2 / (1 + t)", ylabel="banks with a gap [%]")
        for statistic, style in zip(STATISTICS, STYLES):
            same = [row for row in measured["ratios"] if row["sigma"] == 0.05]
            x, y = [row["ratio"] for row in same], [row[statistic] for row in same]
            middle.plot(x, y, style, markersize=4, label=STATISTICS[statistic])
        middle.set(
            xlabel="ratio b", ylabel="bits of 12 branches", title="5 % scatter", ylim=(4, 14)
        )
        for kind, style in zip(("equal", "geometric 1.1", *COMPARED[1:5]), STYLES):
            same = [r for r in measured["areas"] if r["film"] == FILMS[2].name and r["area"]]
            same = [r for r in same if (r["kind"], r["statistic"]) == (kind, "sure")]
            same = [r for r in same if r["area_of"] == "drawn"]
            x, y = [1e12 * r["area"] for r in same], [r["bits"] for r in same]
            right.plot(x, y, style, markersize=4, label=kind)
        right.set(xscale="log", xlabel="area of a drawn bank, SKY130 xhigh_po [µm²]")
        right.set(ylabel="bits", title=STATISTICS["sure"])


LAW = Law(
    name="ladders",
    question="Which nominal values should a bank have, and what do common changes of a die cost?",
    statement=(
        "Theorem (elementary): nominal values b^k within a tolerance t leave no step wider than "
        "the smallest branch can be, whatever the errors within t, if and only if b <= 2 / (1 + t) "
        "(for every n). Measured: how much beyond the rule real banks stay without gaps, what "
        "factors common to a die cost, and which ladder reaches a precision on the least area."
    ),
    sources=(
        "the rule: mapping.bank.ladders; induction over the branches, as for radices below 2 in "
        "converters",
        "films: crossbar_sim.foundry.films, measured with the SKY130 and IHP SG13G2 models",
        "scatter against area: Pelgrom, Duinmaijer, Welbers, IEEE JSSC 24 (1989) 1433",
        "preferred values: IEC 60063",
    ),
    measure=measure,
    tables=tables,
    draw=draw,
)
