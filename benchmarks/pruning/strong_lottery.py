"""Random networks pruned into trained ones: their errors, and the bounds of the theorems.

Run: python -m benchmarks.pruning.strong_lottery     (about two minutes)

Two networks trained for 60 epochs on scikit-learn's digits, an MLP of 64-32-10 and a CNN of 3 × 3
kernels (4 and 6 channels), are approximated by pruning random networks, three seeds each. n is the
number of random units for each weight and sign of its input. "Weight error" is the median over
weights of |realised - target|. "Output error" is the mean over test images of the largest change of
a logit.

The theorems state n = O(log 1/eps): the error falls by a constant factor with each unit. The
measured output error is compared with the bound of their induction over layers, evaluated with the
measured weight errors. The measured weight error is compared with the law of random subset sums at
the centre of their density, median 0.693 * 0.627 * sqrt(n E[v^2]) * 2^-n, with E[v^2] = 1/9 for
products of two uniform values and 1/3 for single ones.

Median weight errors nearly halve with each unit. Output errors fall more slowly, because they
depend on the few weights whose random units nearly all have the wrong sign ("worst").

Whole filters are rows of the MLP's first layer, d outputs at a time; each unit is kept or dropped
for all d outputs. The error of vectors falls by a factor of about 2^(1/d) with each
unit.
"""

import copy

import numpy as np
import torch
from torch import nn

from benchmarks.common import figure, machine, print_table, save_json, timed
from tinynets.data import digits
from tinynets.lottery.strong import error_bound, strong_ticket
from tinynets.networks.models import digits_cnn, mlp
from tinynets.networks.training import train

SEEDS = (0, 1, 2)
N_SUM = (2, 4, 6, 8, 10, 12, 14, 16)
CASES = [  # network, method, numbers of units, name of the construction
    ("MLP", "one_weight", (4, 8, 16, 32, 64, 128), "one weight (Malach et al.)"),
    ("MLP", "subset_sum", N_SUM, "subset sum (Pensia et al.)"),
    ("MLP", "one_extra_layer", N_SUM, "L + 1 layers (Burkholz)"),
    ("CNN", "one_weight", (4, 8, 16, 32), "one weight, convolutions"),
    ("CNN", "subset_sum", N_SUM, "subset sum, convolutions (da Cunha et al.)"),
]
SQUARE = {"subset_sum": 1 / 9, "one_extra_layer": 1 / 3}
N_FILTER = (4, 8, 12, 16, 20, 24)
DIMENSIONS = (1, 2, 3, 4)


def networks() -> dict:
    """Return the trained networks and the test images of each."""
    trained = {}
    for name, make, flat in (("MLP", mlp, True), ("CNN", digits_cnn, False)):
        data = digits(seed=0, flat=flat)
        torch.manual_seed(0)
        model = train(make((64, 32, 10) if flat else (4, 6)), data, epochs=60, learning_rate=0.01)
        trained[name] = model, torch.from_numpy(data.x_test).double(), data.y_test
    return trained


def measure(model, x, labels, method: str, n: int, seed: int) -> dict:
    """Return errors, sizes and time of one ticket."""
    ticket, wall, _ = timed(lambda: strong_ticket(model, n, method=method, seed=seed))
    with torch.no_grad():
        target, realised = copy.deepcopy(model).double()(x), ticket(x)
    off, bound = (realised - target).abs(), error_bound(model, ticket, x)
    if not bool((off <= bound + 1e-12).all()):
        raise AssertionError(f"{method}, n = {n}, seed {seed}: an output error exceeds its bound")
    errors = torch.cat([error.weight.flatten() for error in ticket.errors])
    return {
        "weight_median": float(errors.median()),
        "weight_worst": float(errors.max()),
        "output": float(off.amax(dim=1).mean()),
        "bound": float(bound.amax(dim=1).mean()),
        "accuracy": float(np.mean(realised.argmax(1).numpy() == labels)),
        "random": ticket.n_random,
        "kept": ticket.n_kept,
        "depth": ticket.depth,
        "seconds": wall,
    }


def constructions(trained: dict) -> list[dict]:
    """Return the mean over seeds of every construction and n."""
    rows = []
    for network, method, numbers, name in CASES:
        for n in numbers:
            runs = [measure(*trained[network], method, n, seed) for seed in SEEDS]
            mean = {key: float(np.mean([run[key] for run in runs])) for key in runs[0]}
            rows.append({"network": network, "method": method, "name": name, "n": n, **mean})
            if method in SQUARE:
                rows[-1]["law"] = 0.693 * 0.627 * np.sqrt(n * SQUARE[method]) * 2.0**-n
    return rows


def filters(model: nn.Sequential) -> list[dict]:
    """Return the weight error of whole units for d outputs of the first layer."""
    rows = []
    weight = model[0].weight.detach()
    for d in DIMENSIONS:
        layer = nn.Linear(64, d, bias=False)
        layer.weight.data = weight[:d].clone()
        for n in N_FILTER:
            tickets = [
                strong_ticket(nn.Sequential(layer), n, method="filters", seed=seed)
                for seed in SEEDS
            ]
            errors = torch.cat([ticket.errors[0].weight.flatten() for ticket in tickets])
            rows.append({"d": d, "n": n, "weight_median": float(errors.median())})
    return rows


def slope(rows: list[dict], key: str, least: int = 6) -> float:
    """Return the factor by which an error falls with each further unit, fitted for n >= least."""
    n, error = zip(*((row["n"], row[key]) for row in rows if row["n"] >= least))
    return float(np.exp(-np.polyfit(n, np.log(error), 1)[0]))


def factors(rows: list[dict], filter_rows: list[dict]) -> dict:
    """Return the fitted factors of every construction that sums units."""
    fitted = {}
    for network, method, _, name in CASES:
        if method != "one_weight":
            same = [row for row in rows if (row["network"], row["method"]) == (network, method)]
            fitted[name] = {key: slope(same, key) for key in ("weight_median", "output")}
    for d in DIMENSIONS:
        same = [row for row in filter_rows if row["d"] == d]
        fitted[f"whole filters of {d}"] = {"weight_median": slope(same, "weight_median", 8)}
    return fitted


def plot(rows: list[dict], filter_rows: list[dict]) -> None:
    with figure("strong_lottery", columns=3) as axes:
        for _, _, _, name in CASES:
            same = [row for row in rows if row["name"] == name]
            n = [row["n"] for row in same]
            (line,) = axes[0].loglog(n, [row["weight_median"] for row in same], "o-", label=name)
            if "law" in same[0]:
                axes[0].loglog(n, [row["law"] for row in same], ":", color=line.get_color())
                axes[1].semilogy(n, [row["output"] for row in same], "o-", color=line.get_color())
                axes[1].semilogy(n, [row["bound"] for row in same], "--", color=line.get_color())
        for d in DIMENSIONS:
            same = [row for row in filter_rows if row["d"] == d]
            n, error = [row["n"] for row in same], [row["weight_median"] for row in same]
            axes[2].semilogy(n, error, "o-", label=f"outputs together: {d}")
        axes[0].set(ylabel="median weight error (dotted: law)")
        axes[1].set(ylabel="output error (dashed: bound of the induction)")
        axes[2].set(ylabel="median weight error, whole filters")
        for axis in axes:
            axis.set(xlabel="random units for each weight and sign")
            axis.grid(alpha=0.3)
        axes[0].set_xticks((2, 4, 8, 16, 32, 64, 128), ("2", "4", "8", "16", "32", "64", "128"))
        axes[0].set_xticks([], minor=True)
        axes[0].set_ylim(1e-7, 0.2)
        axes[0].legend(fontsize=7, loc="lower left")
        axes[2].set_xticks(N_FILTER)
        axes[2].legend(fontsize=7)


def report(rows: list[dict], fitted: dict) -> None:
    keys = ("weight_median", "law", "weight_worst", "output", "bound")
    table = [
        [row["name"], row["n"], *(row.get(key, "") for key in keys), 100 * row["accuracy"]]
        + [round(row[key]) for key in ("random", "kept", "depth")]
        for row in rows
    ]
    header = ("construction", "n", "weight error", "law", "worst", "output error", "bound")
    print_table("tickets", (*header, "accuracy %", "random", "kept", "depth"), table)
    table = [
        [name, *(values.get(key, "") for key in ("weight_median", "output"))]
        for name, values in fitted.items()
    ]
    print_table(
        "factor by which the error falls with each unit",
        ("construction", "weight", "output"),
        table,
    )


def main() -> None:
    about = machine()
    torch.set_num_threads(1)
    trained = networks()
    accuracy = {
        name: float(np.mean(model.double()(x).argmax(1).numpy() == y))
        for name, (model, x, y) in copy.deepcopy(trained).items()
    }
    rows, filter_rows = constructions(trained), filters(trained["MLP"][0])
    fitted = factors(rows, filter_rows)
    report(rows, fitted)
    plot(rows, filter_rows)
    kept = {"machine": about, "accuracy": accuracy, "tickets": rows, "filters": filter_rows}
    save_json("strong_lottery", kept | {"factors": fitted})


if __name__ == "__main__":
    main()
