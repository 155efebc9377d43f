"""What was found of strong lottery tickets, as text for docs/results/laws.md."""

from typing import Any

from benchmarks.pages.laws_of_banks import interval
from benchmarks.pages.tables import load, table


def tickets(kept: dict[str, Any]) -> str:
    """Return what was found of tickets."""
    return "\n\n".join(
        [
            _governs(kept),
            _factors(kept),
            "n random values a weight, uniform in -1 … 1, drawn alone; the share out of reach and the rms error with intervals "
            "over draws:",
            _alone(kept),
            _constructions(kept),
            _quantised(kept),
            _attention(kept),
            _published(),
        ]
    )


def _row(kept: dict[str, Any], values: str, largest: float, n: int) -> dict[str, Any]:
    return next(
        r
        for r in kept["tails"]
        if (r["values"], r["largest_weight"], r["n"]) == (values, largest, n)
    )


def _factor(kept: dict[str, Any], values: str, largest: float, error: str) -> str:
    row = next(
        r
        for r in kept["factors"]
        if (r["values"], r["largest_weight"], r["error"]) == (values, largest, error)
    )
    return interval(row, "factor", ".2f")


def _governs(kept: dict[str, Any]) -> str:
    own = _row(kept, "products", 1.0, 12)
    small = _row(kept, "products", 0.25, 12)
    ratios = [r["output"] / r["output_by_rms"] for r in kept["tails"]]
    return (
        "This speaks against reading the theorems' log 1/eps as one bit of output for each value: the median weight gains a "
        f"factor of {_factor(kept, 'products', 1.0, 'median')} with each value, the output "
        f"{_factor(kept, 'products', 1.0, 'output')}. What governs the output is the rms of the weights' errors, and that is made "
        f"by few weights: at n = 12, {own['out_of_reach']:.1%} of the weights are out of reach, since all their values of the right "
        f"sign together are too small, and these make {own['square_out_of_reach']:.1%} of the square error. The output is that "
        f"of independent errors of each layer's rms: the ratio of the two is {min(ratios):.2f} to {max(ratios):.2f} in "
        f"{len(kept['tails'])} cases. Made exact, the weights out of reach leave {own['output_in_reach'] / own['output']:.0%} of the "
        f"output's error; the worst 1 % made exact leave {own['output_cut'] / own['output']:.0%}. For weights of at most a quarter "
        f"they make {small['square_out_of_reach']:.0%}, and sparse sums near the edge of the range the rest. "
        "The cure is a mask that takes as many values of either sign for each weight "
        '("balanced"), from n + O(sqrt n) units: the output then falls by '
        f"{_factor(kept, 'balanced products', 1.0, 'output')}. A pair of banks of known sign, as on a die, is balanced by "
        "construction. A network of N weights is rid of the tail once N times its probability is below 1, so factors over "
        f"larger n, or of smaller networks, are better. {kept['networks']} random networks; intervals are over them, for one "
        "trained perceptron of 2,410 weights."
    )


def _factors(kept: dict[str, Any]) -> str:
    names = {
        "median": "median weight",
        "rms": "rms",
        "p999": "99.9 %",
        "output": "output",
        "output_by_rms": "output by the rms",
        "output_in_reach": "those out of reach exact",
        "output_cut": "worst 1 % exact",
    }
    cases = list(dict.fromkeys((r["values"], r["largest_weight"]) for r in kept["factors"]))
    rows = [
        [values, f"{largest:g}", *(_factor(kept, values, largest, key) for key in names)]
        for values, largest in cases
    ]
    errors = [
        [values, f"{largest:g}", str(n)]
        + [f"{_row(kept, values, largest, n)[key]:.1e}" for key in names]
        for values, largest in cases
        for n in (8, 16)
    ]
    return (
        "Factors by which errors fall with each value, n = 8 to 20. The output's error is the rms change of a logit, as a share of "
        "the rms logit:\n\n"
        + table(["values", "largest weight", *names.values()], rows)
        + "\n\nThe errors themselves (geometric means over networks):\n\n"
        + table(["values", "largest weight", "n", *names.values()], errors)
    )


def _alone(kept: dict[str, Any]) -> str:
    rows = [
        [
            f"{r['weight']:g}",
            str(r["n"]),
            f"{r['median']:.1e}",
            interval(r, "out_of_reach", ".1e"),
            f"{r['out_of_reach_theorem']:.1e}",
            interval(r, "rms", ".1e"),
            f"{r['rms_at_least']:.1e}",
        ]
        for r in kept["alone"]
        if r["n"] in (4, 8, 12, 16)
    ]
    head = ["weight", "n", "median error", "share out of reach", "theorem", "rms error", "at least"]
    return table(head, rows)


def _constructions(kept: dict[str, Any]) -> str:
    rows = [
        [
            r["network"],
            r["construction"],
            str(r["n"]),
            str(r["networks"]),
            f"{r['weights']:,}",
            f"{r['random']:,.0f}",
            f"{r['kept']:,.0f}",
            f"{r['counting']:,.0f}",
            interval(r, "median", ".1e"),
            f"{r['worst']:.2f}",
            interval(r, "output", ".2g"),
            f"{r['bound']:.2g}",
            f"{r['same_class']:.0%}",
        ]
        for r in kept["constructions"]
    ]
    drawn = [r["random"] / r["counting"] for r in kept["constructions"]]
    broken = sum(not r["within_bound"] for r in kept["constructions"])
    head = ["network", "construction", "n", "draws", "weights", "random", "kept", "by counting"]
    head += ["median error", "worst", "output error", "bound", "same class"]
    return (
        "One table of the constructions: a perceptron and convolutions trained on scikit-learn's digits, and LeNet-5 on all of MNIST "
        "(its first 100 test images; L + 1 layers are built of dense layers alone). Intervals are over the random networks, as many "
        "as the draws, of one trained network each. By counting: with N parameters there are "
        "2^N masks, so N is at least the number of weights times log2(1/eps), here with the median error for eps. The output error "
        "is the largest change of a logit, mean over test images; the bound is that of the theorems' induction over "
        f"layers with the measured errors of the weights, which {broken} of {len(rows)} rows exceed. "
        f"What is drawn is {min(drawn):.0f} to {max(drawn):.0f} times that, since the first layer of a pair drops all that read other "
        f"inputs, and L + 1 layers make n copies of every unit. {_lenet(kept)}\n\n"
        + table(head, rows)
    )


def _lenet(kept: dict[str, Any]) -> str:
    """Return what LeNet-5 adds, in words."""
    own = [r for r in kept["constructions"] if r["network"] == "LeNet-5"]
    others = [r for r in kept["constructions"] if r["network"] != "LeNet-5"]
    loose, usual = ([r["bound"] / r["output"] for r in rows] for rows in (own, others))
    return (
        f"On LeNet-5, of five layers, the bound says nothing: it is {min(loose):,.0f} to {max(loose):,.0f} times the output error "
        f"({min(usual):.0f} to {max(usual):.0f} times in the smaller networks), since it multiplies the layers' gains."
    )


def _quantised(kept: dict[str, Any]) -> str:
    rows = [
        [
            str(r["n"]),
            f"{r['kappa']:.2f}",
            interval(r, "exact", ".3f"),
            f"{r['out_of_reach']:.4f}",
            f"{r['kept_of_n']:.1f}",
        ]
        for r in kept["quantised"]
    ]
    return (
        "Weights of a grid of 2^-6 from values uniform on that grid: kappa is log2 of the number of levels over n. Below 1 most "
        "are met exactly, as the theorem says; the last ones are lost to the same tail:\n\n"
        + table(["n", "kappa", "share exact", "share out of reach", "values kept"], rows)
    )


def _attention(kept: dict[str, Any]) -> str:
    rows = [
        [
            str(r["n"]),
            str(r["key_dimension"]),
            f"{r['weights']:,}",
            f"{r['random']:,.0f}",
            f"{r['kept']:,.0f}",
            f"{r['median']:.1e}",
            f"{r['worst']:.2f}",
            f"{r['score']:.2g}",
            f"{r['score_bound']:.2g}",
            interval(r, "output", ".1e"),
        ]
        for r in kept["attention"]
    ]
    first, *_, last = kept["attention"]
    falls = {
        key: (first[key] / last[key]) ** (1 / (last["n"] - first["n"]))
        for key in ("median", "output")
    }
    head = ["n", "key dimension", "weights", "random", "kept", "median error", "worst"]
    head += ["largest change of a score", "bound", "output error"]
    return (
        f"A block of attention ({first['heads']} heads, d = {first['d']}) from random projections: each entry of a head's "
        "query-key and value products is a subset sum of n products. The construction is ours; of the published one the "
        "abstract alone was read. As that abstract says, the error falls exponentially with the width of the keys, n d; but "
        f"here too the output falls by {falls['output']:.2f} with each value where the median falls by {falls['median']:.2f}. The "
        "bound is |x|' |E| |x| of the scores, E being the measured errors; the output error is a share of the block's rms:\n\n"
        + table(head, rows)
    )


def _published() -> str:
    rows = [
        [
            str(r["n"]),
            f"{r['max']:.1e} ({r['max_5']:.1e} … {r['max_95']:.1e})",
            f"{r['mnist']:.1e}",
            f"{r['fashion']:.1e}",
        ]
        for r in load("published_networks")["d1"]
    ]
    draws = load("published_networks")["d1"][0]["draws"]
    return (
        "The published experiment on LeNet-5's convolutions (da Cunha et al.), on its own statistic, max|p - p'| / max|p| of the "
        f"worst array, quoted from `benchmarks/selection/published_networks.py`: median and 5 to 95 % of {draws} draws. The "
        "published figures are single draws, and such a statistic is one of the tail:\n\n"
        + table(["n", "ours, exact", "published, MNIST", "published, Fashion-MNIST"], rows)
    )
