"""What was found of ladders, shared banks, residual banks and refinement, as text for docs/results/laws.md."""

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.pages.tables import table
from crossbar_sim.laws.ladders import STATISTICS, rule, winners


def interval(row: dict[str, Any], name: str, digits: str) -> str:
    """Return a value with its interval, as text."""
    value, low, high = (row[name + end] for end in ("", "_low", "_high"))
    text, *ends = (f"{number:{digits}}" for number in (value, low, high))
    return text if ends == [text, text] else f"{text} ({' … '.join(ends)})"


# ---- ladders -------------------------------------------------------------------------------------


def ladders(kept: dict[str, Any]) -> str:
    """Return what was found of ladders."""
    won = winners(kept["areas"])
    return "\n\n".join(
        [
            _speaks_against(kept, won),
            _by_ratio(kept),
            _rule(kept),
            _changes(kept),
            *_areas(kept, won),
        ]
    )


def _speaks_against(kept: dict[str, Any], won: list[dict[str, Any]]) -> str:
    drawn = [row for row in won if row["area_of"] == "drawn" and "xhigh" in row["film"]]
    six, ten = ({r["statistic"]: r for r in drawn if r["bits"] == bits} for bits in (6, 10))
    sure, wide = ten["sure"], ten["wide"]
    low = sorted(row["geometric 1.75 / winner, area * g_full"] for row in six.values())
    return (
        "This speaks against the project's own default ladder, of ratio 1.75. For every target of the central half with 10 "
        f"bits, in 9 of 10 banks, its drawn bank of SKY130 xhigh_po is {sure['geometric 1.75 / winner']:.0f} times as large as "
        f"that of the best ladder ({sure['winner']}), and has {sure['geometric 1.75 / winner, area * g_full']:.0f} times its area "
        f"times conductance; for 99 % of the targets of the middle 80 % it is {wide['geometric 1.75 / winner']:.0f} times as "
        "large. A large ratio asks for resistors that are hundreds of times as long as the shortest, and gains little by it: "
        "what counts is that no two sums are equal. What speaks for ratio 1.75: it is as good towards the ends of its full "
        f"scale, each of its targets is promised for any scatter within {2 / 1.75 - 1:.0%}, and it needs up to "
        f"{_fewer(kept, 'sure')} branches fewer than ratio 1.1 for every target, up to {_fewer(kept, 'wide')} in the middle "
        "80 %, and so fewer bits of memory, which are not drawn. The winner's bank conducts "
        f"{sure['geometric 1.75 / winner'] / sure['geometric 1.75 / winner, area * g_full']:.1f} times as much, since its "
        "resistors are short, "
        f"so that at 6 bits area times conductance is about the same ({low[0]:.1f} to {low[-1]:.1f} times)."
    )


def _fewer(kept: dict[str, Any], statistic: str) -> int:
    """Return by how many branches of SKY130 xhigh_po ratio 1.1 needs more than 1.75, at the most."""
    n: dict[int, dict[str, int]] = {}
    for row in kept["areas"]:
        place = row["area_of"], row["statistic"]
        if place == ("drawn", statistic) and "xhigh" in row["film"] and row["n"]:
            n.setdefault(row["bits"], {})[row["kind"]] = row["n"]
    both = [of for of in n.values() if {"geometric 1.1", "geometric 1.75"} <= of.keys()]
    return max(of["geometric 1.1"] - of["geometric 1.75"] for of in both)


def _by_ratio(kept: dict[str, Any]) -> str:
    rows = [
        [f"{row['ratio']:g}", f"{row['sigma']:.0%}"]
        + [interval(row, name, ".1f") for name in ("mean", "p99", "sure", "wide")]
        for row in kept["ratios"]
    ]
    return (
        f"Bits of 12 branches, {kept['banks_of_ratios']} banks each, without regard to area. In the central half the ratio "
        "hardly matters up to 1.75 for the mean and for 99 % of the targets, with or without scatter, and costs a bit for every "
        "target; a ratio of 2 is exact without scatter and has gaps with it. "
        "Towards the ends of the full scale a larger ratio is better. Intervals are over banks, which are all the same without "
        "scatter; none is shown where it rounds to the value:\n\n"
        + table(
            ["ratio", "scatter", *(STATISTICS[name] for name in ("mean", "p99", "sure", "wide"))],
            rows,
        )
    )


def _rule(kept: dict[str, Any]) -> str:
    rows = [
        [f"{row['tolerance']:.0%}", f"{row['rule']:.3f}"]
        + [str(row["gaps_within_the_rule"])]
        + [_or_none(row[key], "g") for key in ("first_gap_seen_at", "half_of_banks_have_gaps_at")]
        for row in rule(kept["gaps"])
    ]
    head = ["tolerance", "2 / (1 + t)", "ratios within the rule with a gap"]
    head += ["first ratio with a gap seen", "more than half of the banks have gaps"]
    return (
        f"The rule holds, and is strict: {kept['banks_of_gaps']:,} banks of 12 branches, uniform within the tolerance, for "
        "each of 10 ratios from 1.4 to 2. The worst corner opens where the rule says (a test compares it with all sums); "
        "random banks reach it rarely at a wide tolerance, so that they stay without gaps a little beyond:\n\n"
        + table(head, rows)
    )


def _changes(kept: dict[str, Any]) -> str:
    rows = [
        [row["change"]]
        + [interval(row, key, ".1f") for key in ("chosen_anew", "left_alone", "scaled")]
        for row in kept["changes"]
    ]
    return (
        f"What a change of the die costs a bank of ratio 1.75 with 12 branches and 5 % scatter, in bits of the mean error; "
        f"intervals over {kept['dies']} dies of {kept['cells_a_die']} cells. A factor that all resistors of a bank share costs "
        "nothing once it is known, by choosing anew or, if the whole die shares it, by one scale factor; a gradient is not "
        "shared by the die, and a spread of temperature coefficients by nobody:\n\n"
        + table(["change", "chosen anew", "switches left alone", "one scale factor"], rows)
    )


def _areas(kept: dict[str, Any], won: list[dict[str, Any]]) -> list[str]:
    parts = [
        f"The least area that reaches a precision, over {kept['banks_of_areas']} banks each, up to 16 branches, shortest "
        "resistors of 1, 2 and 5 um, a perfect meter. Other columns: how many times the winner's area a kind of ladder needs, "
        "and for ratio 1.75 how many times its area times full-scale conductance, which longer resistors do not change; – where "
        "no bank reaches the bits. The winner is the best of many, so that its lead over the next is uncertain; the intervals "
        "of its bits, over banks, are in the JSON. Half a drawn cell has contacts, spacing and switches; their memory is not "
        "drawn. All films, areas and statistics are in the JSON and printed by `crossbar-sim law ladders`."
    ]
    for area, statistic in (("drawn", "sure"), ("drawn", "wide"), ("film", "p99")):
        name = "half a drawn cell" if area == "drawn" else "films alone"
        same = [row for row in won if (row["area_of"], row["statistic"]) == (area, statistic)]
        parts.append(f"{name.capitalize()}, {STATISTICS[statistic]}:\n\n" + _winners(same))
    return parts


def _winners(rows: list[dict[str, Any]]) -> str:
    others = [key for key in rows[0] if key.endswith("/ winner")]
    cells = [
        [row["film"], str(row["bits"]), row["winner"] or "none", _or_none(row["n"], "d")]
        + [_or_none(row["area_um2"], ".3g"), _or_none(row["g_full_uS"], ".3g")]
        + [_or_none(row[key], ".3g") for key in (*others, "geometric 1.75 / winner, area * g_full")]
        for row in rows
    ]
    head = ["film", "bits", "winner", "n", "µm²", "full scale [µS]"]
    head += [key.removesuffix(" / winner") for key in others]
    return table([*head, "geometric 1.75, area × conductance"], cells)


# ---- shared banks --------------------------------------------------------------------------------


def shared_banks(kept: dict[str, Any]) -> str:
    """Return what was found of shared banks."""
    slopes = [
        [str(row["weights"])]
        + [f"{row[key]:.3f}" for key in ("bits_a_vector", "predicted", "counting")]
        + [f"{row['median_over_predicted']:.2f}"]
        for row in kept["slopes"]
    ]
    costs = [
        [str(row["weights"]), str(row["eps_bits"]), str(row["n_shared"]), str(row["m_separate"])]
        + [str(row["m_ladder"]), str(row["n_counting"]), f"{row['n_theorem']:.0f}"]
        + [f"{row[f'{part}_over_{kind}']:.2f}" for kind in ("separate", "ladder") for part in PARTS]
        for row in kept["compare"]
    ]
    switches = [row["switches_over_ladder"] for row in kept["compare"]]
    resistors = [row["resistors_over_ladder"] for row in kept["compare"]]
    random = [row["resistors_over_separate"] for row in kept["compare"]]
    theorem = [row["n_theorem"] / row["n_shared"] for row in kept["compare"]]
    return (
        f"Against designed ladders sharing is never worth it here: it takes {min(switches):.2f} to {max(switches):.2f} times the "
        f"switches and {min(resistors):.1f} to {max(resistors):.1f} times the resistors. Against separate banks of *random* "
        f"values it does save switches, at {min(random):.1f} to {max(random):.1f} times the resistors, since a small random bank "
        "is often a poor one and a large one seldom is; both get nearer to counting as the error falls. The theorem's n without "
        f"its constant is {min(theorem):.0f} to {max(theorem):.0f} times what 90 % of the targets need; that is no "
        "contradiction, since it holds for all targets at once.\n\n"
        "The error falls by nearly 1/d bits a vector, as a Gaussian density of independent sums predicts, and its median is "
        f"below the prediction by a factor that hardly depends on d. {kept['n_bank']} banks of {kept['n_target']} targets, all "
        "searched exactly, n = 2 … 24:\n\n"
        + table(
            ["weights d", "bits a vector", "predicted", "1/d", "median error / predicted"], slopes
        )
        + "\n\nLeast numbers for 90 % of (bank, target) with the largest error of a group of d weights at most 2^-bits, of "
        "targets in [-1, 1]^d: n vectors (a switch before d resistors each), d banks of m random values, d ladders of m "
        "branches (ratio 1.75, 5 %, targets in the middle 80 % of full scale). Intervals of the quantiles, over banks, are in "
        "the JSON:\n\n"
        + table(
            [
                "d",
                "bits",
                "n shared",
                "m random",
                "m ladder",
                "n by counting",
                "theorem, constant 1",
            ]
            + [f"{part}: shared / {kind}" for kind in ("random", "ladder") for part in PARTS],
            costs,
        )
    )


#: What is counted of a bank.
PARTS = ("switches", "resistors")


# ---- residual banks ------------------------------------------------------------------------------


def residual_banks(kept: dict[str, Any]) -> str:
    """Return what was found of residual banks."""
    rows = [
        [str(row["resistors"]), f"{row['meter_error']:.2%}", row["meter"], str(row["banks"])]
        + [str(row["shift"]) if row["banks"] > 1 else "–", interval(row, "bits", ".2f")]
        + [f"{row[key]:.1f}" for key in ("bits_p99", "bits_warm")]
        for row in kept["rows"]
        if row["banks"] > 1 or row["meter"] == "sum"
    ]
    head = ["resistors", "meter error", "meter reads", "banks", "s", "bits of the mean error"]
    warm = max(row["bits_warm"] for row in kept["rows"])
    gain = max(
        row["bits"] - one["bits"]
        for row in kept["rows"]
        for one in kept["rows"]
        if row["banks"] > 1 == one["banks"]
        and row["meter"] == one["meter"] == "sum"
        and (row["resistors"], row["meter_error"]) == (one["resistors"], one["meter_error"])
    )
    return (
        "Two things speak against residual banks. With a meter that reads the sum of all banks so far they gain nothing, or "
        f"{gain:.1f} bits at the most. And whatever the meter, a rise of all switches by 10 % after the choice leaves {warm:.1f} bits at the most (switches of 1 kohm, resistors of "
        "100 kohm and more): beyond this, switches that do not drift are worth more than banks. With a meter that reads the "
        "difference from the target, and switches that stay, banks add up, the more so the worse the meter: this is the case "
        f"of the published chips. {kept['chains']:,} chains each, whose targets lie in the central half of the first bank; "
        "each bank counts 2^-s of the one before, off by 1 %; s is the best of 1 … 12, found on other chains. One bank is "
        "chosen by readings of its branches alone. Intervals are over chains; the last columns are the error that 99 % of the "
        "chains keep, and the mean error with warm switches:\n\n"
        + table([*head, "99 %", "warm"], rows)
    )


# ---- refinement ----------------------------------------------------------------------------------


def refinement(kept: dict[str, Any]) -> str:
    """Return what was found of refinement."""
    return "\n\n".join(
        [
            _digital_wins(kept),
            _prediction(kept),
            "Medians over matrices (symmetric, positive definite, eigenvalues even in logarithm) and their dies, ideal "
            "converters. Each cell: spectral radius; share of matrices that diverged, with Wilson's interval where it is not 0 "
            "or 1; iterations to 10 digits:",
            _convergence([row for row in kept["rows"] if row["converter_bits"] is None]),
            f"8-bit converters with ranges that follow their vectors change little: {_converters(kept)}",
            "Joules for 10 digits, 6 branches, 8-bit converters, amplifiers of 100 MHz that are ideal but for their speed; the "
            "settling time is an assumption (one pole, slowest mode). LU counts n^3/3 products and sums, a residual, and two "
            "pairs of triangular solves, at the 32-bit figures for both sides (Cholesky, which these matrices allow, takes half). Choosing switches, memory and fetching numbers "
            "are not counted. Without DACs: their energy, scaled from a design of 1 GS/s, is left out:",
            _joules(kept),
        ]
    )


def _digital_wins(kept: dict[str, Any]) -> str:
    best = max(kept["energies"], key=lambda row: row["lu_over_refinement"])
    wins = sum(row["lu_over_refinement"] > 1 for row in kept["energies"])
    ideal = [row for row in kept["rows"] if row["converter_bits"] is None]
    ill = [row["diverged"] for row in ideal if row["condition"] >= 1e4]
    return (
        f"In joules the digital side wins almost everywhere: refinement needs less than an LU factorisation in {wins} of "
        f"{len(kept['energies'])} cases that reach 10 digits, two digital nodes each. Its best case is n = {best['n']} at a condition of "
        f"{best['condition']:g} against {best['node']}, where LU takes {best['lu_over_refinement']:.1f} times its energy; with "
        f"the LU factors at hand, digital solves take {best['factored_over_refinement']:.2f} times. The solver settles in "
        "proportion to the condition, and its DACs hold for as long; its residuals alone take as many products per iteration as "
        "a pair of triangular solves. And it does not converge where it would be needed most: from a condition of 10,000 on, "
        f"{min(ill):.0%} to {max(ill):.0%} of the matrices diverge, with up to 8 branches and a 0.1 % meter."
    )


def _prediction(kept: dict[str, Any]) -> str:
    ideal = [row for row in kept["rows"] if row["converter_bits"] is None]
    count, right = (sum(row[key] for row in ideal) for key in ("matrices", "as_predicted"))
    others = [radius for row in ideal for radius in row["radii_of_others"]] or [1.0]
    small = [row for row in ideal if row["n"] == 16 and row["condition"] == 10]
    three = max(row["digits_3"] for row in small)
    return (
        f"The prediction holds: {right:,} of {count:,} matrices on their dies diverged or not as the spectral radius says, "
        f"judged after 40 iterations; the radii of the others are {min(others):.3f} … {max(others):.3f}, too near to 1 to be "
        "decided by then. A published chip reaches 24 bits (7.2 digits) in 3 iterations at 16 x 16; here 3 iterations give "
        f"{three:.1f} digits at the most (median, condition 10). That chip's matrix is not known to us."
    )


def _convergence(rows: list[dict[str, Any]]) -> str:
    conditions = sorted({row["condition"] for row in rows})
    cells = []
    for n, branches in sorted({(row["n"], row["branches"]) for row in rows}):
        own = {r["condition"]: r for r in rows if (r["n"], r["branches"]) == (n, branches)}
        first = own[conditions[0]]
        line = [str(n), str(first["matrices"]), str(branches), f"{first['weight_error']:.1%}"]
        cells.append(line + [_converges(own[condition]) for condition in conditions])
    head = ["n", "matrices", "branches", "error of the matrix"]
    return table([*head, *(f"condition {c:g}" for c in conditions)], cells)


def _converges(row: dict[str, Any]) -> str:
    if row["diverged"] in (0, 1):
        share = f"{row['diverged']:.0%}"
    else:
        share = f"{row['diverged']:.0%} ({row['diverged_low']:.0%} … {row['diverged_high']:.0%})"
    return f"{row['radius']:.2g}; {share}; {_or_none(row['iterations'], 'd')}"


def _converters(kept: dict[str, Any]) -> str:
    """Return how much more the iterations to 10 digits are with 8-bit converters."""
    steps: dict[tuple, list] = {}
    for row in kept["rows"]:
        place = tuple(row[key] for key in ("n", "condition", "branches"))
        steps.setdefault(place, []).append(row["iterations"])
    both = [(ideal, eight) for ideal, eight in steps.values() if ideal and eight]
    more = np.array([eight - ideal for ideal, eight in both])
    return (
        f"of {len(both)} cases that reach 10 digits either way, {int(np.sum(more == 0))} take as many iterations, the others "
        f"between {int(more.min())} and {int(more.max())} more."
    )


def _joules(kept: dict[str, Any]) -> str:
    rows = [row for row in kept["energies"] if row["branches"] == 6]
    parts = ("DAC", "ADC", "amplifiers", "array", "residuals", "refinement", "lu")
    cells = [
        [str(row["n"]), f"{row['condition']:g}", row["node"], str(row["iterations"])]
        + [f"{row['settling'] * 1e6:.3g}"]
        + [f"{row[part] * 1e9:.3g}" for part in parts]
        + [f"{row[f'{kind}']:.3g}" for kind in RATIOS]
        for row in rows
    ]
    head = ["n", "condition", "digital node", "iterations", "settling [µs]"]
    head += [f"{part} [nJ]" for part in ("DACs", "ADCs", *parts[2:6], "LU")]
    return table([*head, "LU / refinement", "without DACs", "factored / refinement"], cells)


#: Energies of the digital side over that of refinement.
RATIOS = ("lu_over_refinement", "lu_over_refinement_free_dac", "factored_over_refinement")


def _or_none(value: Any, digits: str) -> str:
    return "–" if value is None else f"{value:{digits}}"


#: What was found of each law, as text, from its kept output.
FOUND: dict[str, Callable[[dict[str, Any]], str]] = {
    "ladders": ladders,
    "shared-banks": shared_banks,
    "residual-banks": residual_banks,
    "refinement": refinement,
}
