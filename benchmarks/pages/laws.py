"""docs/results/laws.md: for each law what is known, what we measured, and what contradicts it."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.common import RESULTS
from benchmarks.pages import laws_of_banks
from benchmarks.pages.laws_of_tickets import tickets
from benchmarks.pages.tables import load, table
from crossbar_sim.laws.law import LAWS, Law, law_named
from crossbar_sim.laws.meter import floor_bits

HEAD = (
    "# The laws of imprecise resistors\n\n"
    "What is proved or conjectured of subset sums of random values, and what we measure of it. Written by "
    "`benchmarks/pages/readme.py` from the kept outputs of `benchmarks/laws/measure.py`; `crossbar-sim law NAME` measures "
    "a law again, with fewer instances. Theorem, conjecture and measurement are named as such. Intervals hold 95 %; each "
    "section says over what."
)


def page() -> str:
    """Return the page, with picture paths relative to docs/."""
    return "\n\n".join([HEAD, *(section(law_named(name)) for name in LAWS)]) + "\n"


def section(law: Law) -> str:
    """Return the section on a law."""
    kept_as = f"law_{law.name.replace('-', '_')}"
    parts = [f"## {law.name}", f"**{law.question}**", f"Known. {law.statement}"]
    if not (RESULTS / f"{kept_as}.json").exists():
        parts.append(f"Not yet measured: `python -m benchmarks.laws.measure {law.name}`.")
    else:
        kept = load(kept_as)
        parts.append(
            f"Measured (seed {kept['seed']}, effort {kept['effort']:g}). {FOUND[law.name](kept)}"
        )
        parts.append(f"![{law.name}](../../benchmarks/results/{kept_as}.png)")
    return "\n\n".join([*parts, f"Sources: {'; '.join(law.sources)}."])


def _fixed_size(kept: dict[str, Any]) -> str:
    rows = [r for r in kept["constants"] if r["n"] in (8, 16, 24, 32, 40)]
    cells = [
        [
            r["bank"],
            str(r["n"]),
            str(r["k"]),
            str(r["n_bank"]),
            f"{r['share']:.0%}",
            _interval(r, "c", ".2f"),
            f"{r['c_counting']:.2f}",
            _interval(r, "bits_above_counting", ".1f"),
            f"{r['gain_at_most']:.1f}",
            f"{r['gain_free']:.1f}",
        ]
        for r in rows
    ]
    fewest = min(r["n_bank"] for r in rows)
    head = ["bank", "n", "k", "banks", "share", "c", "c by counting", "bits lost to counting"]
    own = [r for r in kept["least"] if r["bank"] == "normal"]
    bits = sorted({r["eps_bits"] for r in own})
    chart = [
        [str(k), *(_least(r) for r in own if r["k"] == k)] for k in sorted({r["k"] for r in own})
    ]
    return (
        "The theorem's c = 1 is not enough at these sizes: the counting bound alone asks for more than 1 wherever "
        "90 % of the pairs are to be within eps, since "
        "n H2(k/n) exceeds log2 C(n, k) by half a logarithm of n. The measured c is above it and falls towards 1 as n grows. "
        f"Intervals are over banks, resampled; with the {fewest} banks of the largest n they are somewhat too narrow. The last columns are the bits gained on the same targets with at most k closed, "
        "and with any number:\n\n"
        + table([*head, "at most k", "any"], cells)
        + "\n\nAt k = n/2 the 90 % figure is poor, because the window of ±sqrt(k) lies around the mean of the density, but the "
        f"sums of a bank around the mean of its own values: {_worst_loss(rows)}. Equal resistors with mismatch have the same c as normal values, "
        "since k of them add up to k plus their mismatches; another number of closed resistors does not help them.\n\n"
        "Least n with 90 % of (bank, target) within eps, normal values, k closed, n >= 2 k; with its interval over banks, and "
        "in square brackets the least n by counting:\n\n"
        + table(["k", *(f"eps = 2^-{b}" for b in bits)], chart)
    )


def _worst_loss(rows: list[dict[str, Any]]) -> str:
    """Return the largest loss to counting of the theorem's densities at the largest n, in words."""
    n = max(r["n"] for r in rows)
    own = [r for r in rows if r["n"] == n and not r["bank"].startswith("geometric")]
    row = max(own, key=lambda r: r["bits_above_counting"])
    return (
        f"at n = {n}, {row['bank']} values with k = {row['k']} lose {_interval(row, 'bits_above_counting', '.1f')} bits, by "
        f"few of {row['n_bank']} banks"
    )


def _meter(kept: dict[str, Any]) -> str:
    own = [r for r in kept["designs"] if r["bank"] == "equal, 5 %"]
    aims = list(dict.fromkeys(r["aim"] for r in own))
    rows = []
    for meter in (1e-4, 1e-3, 1e-2):
        for bits in sorted({r["bits_asked"] for r in kept["designs"]}):
            cells = []
            for bank in dict.fromkeys(r["bank"] for r in kept["rows"]):
                case = [
                    r
                    for r in kept["designs"]
                    if (r["bank"], r["meter"], r["bits_asked"]) == (bank, meter, bits)
                ]
                by_aim = {
                    r["aim"]: f"{r['n']}, {r['k']} (± {100 * r['window']:.2g} %)" for r in case
                }
                cells.append("; ".join(by_aim[aim] for aim in aims) if case else "-")
            rows.append([f"{100 * meter:g} %", str(bits), *cells])
    equal = [r for r in kept["rows"] if r["bank"] == "equal, 5 %" and r["meter"] == 1e-2]
    best = max(equal, key=lambda r: r["bits"])
    return (
        "Against the rule that n* = log2(1/eta) resistors are useful with a meter of eta: that counts n alone. What a meter "
        "limits is k. With 1 % the best equal bank here, of "
        f"n = {best['n']} and k = {best['k']}, has {_interval(best, 'bits', '.1f')} bits; the formula gives "
        f"{best['floor_bits']:.1f}. No k gives more bits to a window that is stated as a share of the spread of the sums: both "
        "grow with sqrt(k). With nearly all branches closed a bank is precise, but can be set in a narrow window only.\n\n"
        "The design chart: n, k of the bank with least n; with least k, which is the least power of given branches; and with least "
        f"n k, the least area at a given conductance (n of 4 to 20, k < n, {kept['n_bank']} banks; the lower bound of the bits over banks must "
        "reach what is asked, and the window be no narrower than the error of the bits, since a bank without switches would do as well there; "
        "in brackets how far the conductance can be set up and down; - for none):\n\n"
        + table(["meter", "bits", *dict.fromkeys(r["bank"] for r in kept["rows"])], rows)
        + f"\n\n{_beyond(kept)}\n\n"
        "`crossbar-sim precision --bits 8 --meter 0.01` answers for any bank of up to 16 branches, and beyond for equal resistors."
    )


def _beyond(kept: dict[str, Any]) -> str:
    """Return the designs by the law, and what the near subset costs."""
    rows = [
        [
            str(r["bits_asked"]),
            f"{100 * r['meter']:g} %",
            f"± {100 * r['window_asked']:g} %" if r["window_asked"] else "error of the bits",
            *([f"{r['n']}", f"{r['k']}"] if "n" in r else ["none", "none"]),
            _interval(r, "bits", ".2f") if "n" in r else "",
            _interval(r, "others", ".2f") if "n" in r else "",
            f"± {100 * r['window']:.2g} %" if "n" in r else "",
        ]
        for r in kept["beyond"]
        if r.get("aim", "least n") == "least n"
    ]
    same = len(
        {(r["n"], r["k"], r["bits_asked"], r["window_asked"]) for r in kept["beyond"] if "n" in r}
    )
    aims = sum("n" in r for r in kept["beyond"])
    costs = [r["nearest"] - r["near"] for r in kept["compared"] if r["meter"]]
    alone = [r["near"] for r in kept["compared"] if not r["meter"]]
    n = kept["compared"][0]["n"]
    return (
        "Beyond the chart, equal resistors with 5 % mismatch. Theorem (Cauchy, Schwarz): no k branches leave less than eta / sqrt(k), "
        "so with a meter of 1 % no bank of fewer than 71 closed branches has 8 bits, and no ladder of ratio 1.75 has them with any n, "
        f"since its few large branches carry the reading's error (at most {_ladder_bits():.1f} bits). For equal resistors k and n "
        "follow from the meter's formula, the window and the law of fixed size with the constant measured up to n = 40: an "
        "extrapolation, made safer in steps of 0.05 bits until 300 simulated banks reach the bits with the lower end of their interval "
        "(over banks); other banks show the bits free of that choice. What decides is the meter and the window, not the search: a near subset is searched for there, and the "
        f"nearest can only be nearer. At n = {n}, where both can be had, the near subset alone has {min(alone):.0f} bits and more, and with the meter "
        f"the nearest gains {min(costs):.2f} to {max(costs):.2f} bits. In the {same} cases least n, least k and least n k give "
        f"{'the same bank' if aims == 3 * same else 'different banks'}. Banks of a run have up to 32 branches; more are several in "
        "parallel:\n\n"
        + table(
            [
                "bits",
                "meter",
                "window asked",
                "n",
                "k",
                "bits measured",
                "bits of 300 other banks",
                "window",
            ],
            rows,
        )
    )


def _ladder_bits() -> float:
    """Return the bits that a meter of 1 % leaves a ladder of ratio 1.75, all of it closed."""
    squares, whole = 1 / (1 - 1.75**-2), 1 / (1 - 1 / 1.75)
    return floor_bits(1, 0.01) + math.log2(whole / math.sqrt(squares))


def _transition(kept: dict[str, Any]) -> str:
    found = [
        [r["quantity"], _interval(_named(r), "value", ".3f"), f"{r['expected']:.3f}"]
        for r in kept["exponents"]
    ]
    fits = [
        [
            str(r["n"]),
            str(r["n_bank"]),
            _interval(r, "kappa_half", ".4f"),
            _interval(r, "width", ".4f"),
        ]
        for r in kept["fits"]
    ]
    largest = max(r["n"] for r in kept["rows"] if r["n_bank"] > 20)
    own = [r for r in kept["rows"] if r["n"] == largest]
    one = float(np.interp(1.0, [r["kappa"] for r in own], [r["share"] for r in own]))
    far = max(abs(r["share"] - r["poisson"]) for r in kept["rows"] if 16 <= r["n"] <= largest)
    small = max(abs(r["share"] - r["poisson"]) for r in kept["rows"] if r["n"] == 8)
    return (
        f"Against the simplest form of the law, as many bits as resistors: at kappa = 1 only {one:.0%} of the targets are met at "
        f"n = {largest}, and half of them are lost at kappa = {kept['fits'][0]['kappa_half']:.2f} at n = {fits[0][0]}, since the "
        f"transition lies half a logarithm of n below n bits. {_width_exponent(kept['exponents'][0])} Expected are the values of the limit, "
        "from 1 - exp(-mean number of subsets). The share differs from that formula by at most "
        f"{small:.3f} at n = 8 and {far:.3f} for n = 16 to {largest}. Intervals are over banks:\n\n"
        + table(["quantity", "measured", "limit"], found)
        + "\n\nThe place is where half of the targets are met; the width is the change of kappa that halves the mean number "
        "of subsets:\n\n"
        + table(["n", "banks", "kappa of one half", "width"], fits)
        + "\n\nFor a designer: n resistors of M levels meet nine tenths of the central targets exactly if log2(M) is below n - "
        "log2(pi n / 6)/2 - 1.5."
    )


def _width_exponent(row: dict[str, Any]) -> str:
    """Return whether the measured exponent of the width agrees with that of the limit."""
    if row["low"] <= row["expected"] <= row["high"]:
        return "The exponent of the width agrees with -1 within its interval."
    return "The interval of the width's exponent excludes -1, the limit: at these n, of 8 and more, it is not reached yet."


def _failure(kept: dict[str, Any]) -> str:
    rows = [
        [
            str(r["n"]),
            f"2^-{r['eps_bits']}",
            f"{r['edge']:.3g}",
            _interval(r, "gap_plain", ".2g"),
            _interval(r, "gap_split", ".2g") if "gap_split" in r else "",
            _interval(r, "failure", ".3g"),
        ]
        for r in kept["rows"]
    ]
    ends = {r["n"]: r["edge"] for r in kept["edges"] if r["eps_bits"] == 3}
    last = max(ends)
    slope = math.log2(ends[last - 2] / ends[last]) / 2
    deep = next(n for n in sorted(ends) if ends[n] < 1e-6) if min(ends.values()) < 1e-6 else last
    found = "; ".join(
        f"{r['constant']} = {_interval(_named(r), 'value', '.2f')}" for r in kept["constants"]
    )
    return (
        "Against the picture that sums lack density: from about 12 values on, banks fail mostly because nearly all of their values have "
        "one sign and the sums do not reach the other edge. That part has a closed form, so it needs no simulation: at eps = 1/8 "
        f"it is {ends[deep]:.1e} for n = {deep}, and each further value takes {slope:.2f} bits off it there (1 in the limit). Failure "
        "by a gap between sums falls faster.\n\n"
        f"The bound's form fits with {found}. These are fitted constants, not proved ones: the intervals cover the sampling error, "
        "not that the form may be wrong, and C and kappa depend on the range of n. Gaps: Wilson intervals over banks for plain "
        "draws; Student's over independent runs for splitting, whose distribution is skewed where an interval is wide. "
        f"{_deepest(kept)}"
        "The failure takes the splitting where fewer than 1 in 1,000 plain draws have a gap:\n\n"
        + table(["n", "eps", "edge (exact)", "gap, plain", "gap, splitting", "failure"], rows)
    )


def _deepest(kept: dict[str, Any]) -> str:
    """Return the least probability of a gap that an interval excludes 0 for, in words."""
    split = [r for r in kept["rows"] if r.get("gap_split_low", 0) > 0]
    row = min(split, key=lambda r: r["gap_split"])
    return (
        f"The rarest gaps measured are those of n = {row['n']}, eps = 2^-{row['eps_bits']}: "
        f"{_interval(row, 'gap_split', '.1e')}, by {row['n_run']} runs of {row['n_particle']:,} banks; the edges fail "
        f"{row['edge'] / row['gap_split']:,.0f} times as often there. "
    )


def _interval(row: dict[str, Any], name: str, digits: str) -> str:
    """Return a value with its interval, as text."""
    value, low, high = (row[name + end] for end in ("", "_low", "_high"))
    return f"{value:{digits}} ({low:{digits}} … {high:{digits}})"


def _named(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of value, low and high with the names that `_interval` reads."""
    return row | {"value_low": row["low"], "value_high": row["high"]}


def _least(row: dict[str, Any]) -> str:
    return f"{_interval(row, 'n', 'd')} [{row['n_counting']}]"


#: What was found of each law, as text, from its kept output.
FOUND: dict[str, Callable[[dict[str, Any]], str]] = {
    "fixed-size": _fixed_size,
    "meter": _meter,
    "transition": _transition,
    "failure": _failure,
    **laws_of_banks.FOUND,
    "tickets": tickets,
}
