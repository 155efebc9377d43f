"""Strong lottery tickets: random and kept parameters, errors and bounds, and what governs them."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from crossbar_sim.laws.law import STYLES, Effort, Law, Table, panels
from crossbar_sim.study.intervals import geometric, mean_interval, yield_interval
from tinynets.data import digits, mnist
from tinynets.lottery.attention import attend, attention_ticket, products_of
from tinynets.lottery.strong import error_bound, strong_ticket
from tinynets.lottery.tails import (
    GRID_BITS,
    Made,
    draw_values,
    least_rms,
    make,
    out_of_reach,
)
from tinynets.networks.models import DigitsAttention, digits_cnn, lenet5, mlp
from tinynets.networks.training import train

#: Passes over the training images of each network.
EPOCHS = 30
#: Random values for each weight and sign of its input.
N_TICKET, N_TAIL, N_ATTENTION = (8, 16), tuple(range(4, 21, 2)), (4, 8, 12, 16)
#: From this number on, an error's factor for each further value is fitted.
FIT_FROM = 8
#: Network, method and source of each construction.
CASES = (
    ("perceptron", "one_weight", "one weight (Malach et al.)"),
    ("perceptron", "subset_sum", "subset sum (Pensia et al.)"),
    ("perceptron", "quarter", "exactly n/4 of n (Natale et al.)"),
    ("perceptron", "one_extra_layer", "L + 1 layers (Burkholz)"),
    ("convolutions", "subset_sum", "subset sum (da Cunha et al.)"),
    ("LeNet-5", "one_weight", "one weight (Malach et al.)"),
    ("LeNet-5", "subset_sum", "subset sum (Pensia et al.; da Cunha et al.)"),
    ("LeNet-5", "quarter", "exactly n/4 of n (Natale et al.)"),
)
#: LeNet-5 on all of MNIST: passes over its training images, test images whose outputs are compared,
#: and random networks at effort 1, of which there are at least three.
LENET_EPOCHS, LENET_IMAGES, LENET_NETWORKS = 3, 100, 1.25
#: What the values of a weight are, and the largest weight of a layer they are to make.
DRAWS = (
    ("products", 1.0),
    ("products", 0.25),
    ("singles", 1.0),
    ("singles", 0.25),
    ("balanced products", 1.0),
)
#: Share of the weights, the worst, that are made exact in one of the columns.
CUT = 0.01
#: Weights that are drawn alone, for the closed forms, and how many of each.
ALONE, N_ALONE = (0.25, 0.5, 1.0), 20_000
#: Width of the attention block, and its heads.
WIDTH, HEADS = 16, 2

Matrices = list[NDArray]


def trained(model: nn.Module, *, flat: bool, seed: int) -> tuple[Any, NDArray]:
    """Return a model trained on the digits of scikit-learn, in float64, and the test images."""
    data = digits(seed=seed, flat=flat)
    train(model, data, epochs=EPOCHS, learning_rate=0.005, seed=seed)
    return model.double().eval(), data.x_test.astype(float)


def networks(seed: int) -> dict[str, tuple[Any, NDArray]]:
    """Return a perceptron, a LeNet-like network and a block of attention, with test images."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        perceptron = trained(mlp((64, 32, 10)), flat=True, seed=seed)
        return {
            "perceptron": perceptron,
            "convolutions": trained(digits_cnn((4, 6)), flat=False, seed=seed),
            "attention": trained(DigitsAttention(WIDTH, HEADS), flat=False, seed=seed),
        }


def lenet(seed: int) -> tuple[Any, NDArray]:
    """Return LeNet-5 trained on MNIST, in float64, and its first test images."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model, data = lenet5(), mnist(seed=seed, flat=False)
        train(model, data, epochs=LENET_EPOCHS, learning_rate=0.002, seed=seed)
    return model.double().eval(), data.x_test[:LENET_IMAGES].astype(float)


# ---- constructions -------------------------------------------------------------------------------


def construction_row(model: nn.Sequential, images: NDArray, how: tuple, seeds: range) -> dict:
    """Return sizes and errors of one construction, as means over random networks."""
    (method, name, n), x, runs = how, torch.from_numpy(images), []
    n_weight = sum(p.numel() for p in model.parameters())
    for seed in seeds:
        ticket = strong_ticket(model, n, method=method, seed=seed)
        error = torch.cat([e.weight.ravel() for e in ticket.errors]).numpy()
        with torch.no_grad():
            off, bound = (ticket(x) - model(x)).abs(), error_bound(model, ticket, x)
        run = {"random": ticket.n_random, "kept": ticket.n_kept, "median": np.median(error)}
        run["same_class"] = (ticket(x).argmax(1) == model(x).argmax(1)).double().mean()
        run |= {"worst": error.max(), "output": off.amax(1).mean(), "bound": bound.amax(1).mean()}
        runs.append(run | {"within_bound": bool((off <= bound + 1e-9).all())})
    row = {"construction": name, "n": n, "networks": len(runs), "weights": n_weight}
    means = ("random", "kept", "same_class")
    row |= {key: float(np.mean([r[key] for r in runs])) for key in means}
    row["counting"] = n_weight * float(-np.log2(np.mean([r["median"] for r in runs])))
    for key in ("median", "worst", "output", "bound"):
        row |= geometric(key, [r[key] for r in runs])
    return row | {"within_bound": all(r["within_bound"] for r in runs)}


def construction_rows(made: dict[str, tuple[Any, NDArray]], seeds: range, effort: Effort) -> list:
    """Return a row for each of CASES and N_TICKET; fewer random networks for LeNet-5."""
    few = seeds[: effort.count(LENET_NETWORKS, least=3)]
    cases, rows = [(*case, n) for case in CASES for n in N_TICKET], []
    for k, (network, *how) in enumerate(cases):
        effort.progress("tickets", k, len(cases))
        own = few if network == "LeNet-5" else seeds
        measure_row = partial(construction_row, *made[network], tuple(how), own)
        row = effort.part(f"{network} {how} of {own}", measure_row)
        rows.append({"network": network} | row)
    return rows


# ---- what governs the output ---------------------------------------------------------------------


def scaled(model: nn.Sequential, largest: float) -> Matrices:
    """Return the layers (n_out, n_in + 1) of a perceptron, biases last, of this largest weight.

    ReLU lets each layer be scaled by a factor, which multiplies the logits alone.
    """
    layers, gain = [], 1.0
    for module in model:
        if isinstance(module, nn.Linear):
            weight, bias = (p.detach().numpy() for p in (module.weight, module.bias))
            layer = np.column_stack([weight, gain * bias])
            factor = largest / np.abs(layer).max()
            layers.append(factor * layer)
            gain *= factor
    return layers


def forward(layers: Matrices, x: NDArray) -> Matrices:
    """Return the inputs of every layer (n_batch, n_in + 1), the last entry 1, and the logits."""
    inputs = []
    for k, layer in enumerate(layers):
        inputs.append(np.column_stack([np.maximum(x, 0) if k else x, np.ones(len(x))]))
        x = inputs[-1] @ layer.T
    return [*inputs, x]


def by_rms(layers: Matrices, x: NDArray, rms: list[float]) -> float:
    """Return the rms change of the logits if all errors of a layer were independent, of its rms.

    First order: an error is passed on by the exact weights of the units that are on.
    """
    states, passed, variance = forward(layers, x), None, np.zeros(0)
    for k, (layer, state, error) in enumerate(zip(layers, states, rms)):
        own = error**2 * (state**2).sum(axis=1)[:, None]
        if passed is not None:
            on = states[k][:, :-1] > 0
            own = own + (passed * on) @ (layer[:, :-1] ** 2).T
        passed = variance = np.broadcast_to(own, (len(x), len(layer)))
    return float(np.sqrt(variance.mean()))


def tail_run(layers: Matrices, x: NDArray, how: tuple[str, int], seed: int) -> dict[str, float]:
    """Return the errors of one random network's weights and, as shares of the logits, outputs."""
    (draw, n), rng = how, np.random.default_rng([seed, how[1]])
    made = [make(layer, draw_values(draw, layer.shape, n, rng)) for layer in layers]
    error = np.concatenate([m.error.ravel() for m in made])
    short = np.concatenate([m.short.ravel() for m in made])
    logits = forward(layers, x)[-1]
    size, worst = np.sqrt((logits**2).mean()), np.quantile(np.abs(error), 1 - CUT)

    def output(keep: Callable[[Made], Any]) -> float:
        changed = [layer + m.error * keep(m) for layer, m in zip(layers, made)]
        return float(np.sqrt(((forward(changed, x)[-1] - logits) ** 2).mean()) / size)

    square = float((error**2).sum())
    return {
        "median": float(np.median(np.abs(error))),
        "rms": float(np.sqrt((error**2).mean())),
        "p999": float(np.quantile(np.abs(error), 0.999)),
        "out_of_reach": float((short > 0).mean()),
        "square_out_of_reach": float((short**2).sum()) / square if square else 0.0,
        "output": output(lambda m: 1.0),
        "output_by_rms": by_rms(layers, x, [float(np.sqrt((m.error**2).mean())) for m in made])
        / float(size),
        "output_in_reach": output(lambda m: m.short == 0),
        "output_cut": output(lambda m: np.abs(m.error) <= worst),
    }


#: Errors whose factors are fitted; the others of a run are shares.
ERRORS = ("median", "rms", "p999", "output", "output_by_rms", "output_in_reach", "output_cut")


def tails(model: nn.Sequential, x: NDArray, seeds: range, effort: Effort) -> dict[str, list]:
    """Return the errors by draw and n, and the factors by which they fall with each value."""
    rows, factors = [], []
    for k, (draw, largest) in enumerate(DRAWS):
        effort.progress("tails of errors", k, len(DRAWS))
        layers = scaled(model, largest)
        about = {"values": draw, "largest_weight": largest}
        runs = {n: [tail_run(layers, x, (draw, n), seed) for seed in seeds] for n in N_TAIL}
        for n, of_n in runs.items():
            row = about | {"n": n}
            for key in of_n[0]:
                values = [run[key] for run in of_n]
                row |= geometric(key, values) if key in ERRORS else {key: float(np.mean(values))}
            rows.append(row)
        fitted = [n for n in N_TAIL if n >= FIT_FROM]
        for key in ERRORS:
            errors = np.log([[run[key] for run in runs[n]] for n in fitted])
            factor = np.exp(-np.polyfit(fitted, errors, 1)[0])
            factors.append(about | {"error": key} | mean_interval(factor).columns("factor"))
    return {"tails": rows, "factors": factors}


def alone_rows(effort: Effort, seed: int) -> list[dict]:
    """Return how often a weight is out of reach, and its rms error, beside the closed forms."""
    count, rows = effort.count(N_ALONE, least=200), []
    for weight in ALONE:
        for n in N_TAIL:
            rng = np.random.default_rng([seed, n, int(1000 * weight)])
            made = make(np.full((1, count), weight), draw_values("singles", (1, count), n, rng))
            square = mean_interval(made.error.ravel() ** 2)
            row = {"weight": weight, "n": n, "median": float(np.median(np.abs(made.error)))}
            row |= yield_interval(int((made.short > 0).sum()), count).columns("out_of_reach")
            row["out_of_reach_theorem"] = out_of_reach(weight, n)
            ends = {"rms": square.value, "rms_low": max(square.low, 0.0), "rms_high": square.high}
            row |= {key: float(np.sqrt(value)) for key, value in ends.items()}
            rows.append(row | {"rms_at_least": least_rms(np.array(weight), n)})
    return rows


# ---- quantised weights ---------------------------------------------------------------------------


def quantised_rows(model: nn.Sequential, seeds: range) -> list[dict]:
    """Return how many weights of a grid are met exactly by values of that grid."""
    steps, rows = 2**GRID_BITS, []
    layers = [np.round(layer * steps) / steps for layer in scaled(model, 1.0)]
    weights = np.concatenate([layer.ravel() for layer in layers])[None]
    for n in N_TAIL:
        draws = [np.random.default_rng([seed, n]) for seed in seeds]
        values = (draw_values("integers", (1, weights.size), n, rng) for rng in draws)
        made = [make(weights, of_seed) for of_seed in values]
        row = {"bits": GRID_BITS, "n": n, "kappa": float(np.log2(2 * steps + 1)) / n}
        row |= mean_interval([float((m.error == 0).mean()) for m in made]).columns("exact")
        row["out_of_reach"] = float(np.mean([(m.short > 0).mean() for m in made]))
        rows.append(row | {"kept_of_n": float(np.mean([m.kept.mean() for m in made]))})
    return rows


# ---- attention -----------------------------------------------------------------------------------


def attention_run(model: Any, tokens: NDArray, n: int, seed: int) -> dict[str, float]:
    """Return sizes and errors of one random block, the output's as a share of the block's rms."""
    target, size = products_of(model.attention), np.abs(tokens)
    made, d_head = attention_ticket(target, n, seed), WIDTH // HEADS
    pairs = [(target.query_key, made.products.query_key)]
    pairs += [(target.output_value, made.products.output_value)]
    error = [np.abs(right - wrong) / np.abs(right).max() for right, wrong in pairs]
    (scores, right), (off, wrong) = (attend(tokens, p, d_head) for p in (target, made.products))
    worst = np.abs(target.query_key - made.products.query_key)
    bound = np.einsum("bsi,hij,btj->bhst", size, worst, size, optimize=True)
    every = np.concatenate([e.ravel() for e in error])
    return {
        "random": made.n_random,
        "kept": made.n_kept,
        "median": float(np.median(every)),
        "worst": float(every.max()),
        "score": float(np.abs(off - scores).max()),
        "score_bound": float(bound.max()),
        "output": float(np.sqrt(((wrong - right) ** 2).mean() / (right**2).mean())),
    }


def attention_rows(model: Any, images: NDArray, seeds: range) -> list[dict]:
    """Return the errors of attention's products by the number of dimensions for each input."""
    with torch.no_grad():
        tokens = model.tokens(torch.from_numpy(images)).numpy()
    n_weight = sum(p.numel() for p in model.attention.parameters())
    rows = []
    for n in N_ATTENTION:
        runs = [attention_run(model, tokens, n, seed) for seed in seeds]
        row: dict[str, Any] = {"heads": HEADS, "d": WIDTH, "n": n, "key_dimension": n * WIDTH}
        row["weights"] = n_weight
        row |= {key: float(np.mean([r[key] for r in runs])) for key in ("random", "kept")}
        for key in ("median", "worst", "score", "score_bound", "output"):
            row |= geometric(key, [r[key] for r in runs])
        rows.append(row)
    return rows


# ---- the law -------------------------------------------------------------------------------------


def measure(effort: Effort, seed: int) -> dict:
    """Measure constructions, tails of errors, quantised weights and attention; see `LAW`."""
    seeds = range(seed, seed + effort.count(5, least=3))
    made = {"LeNet-5": lenet(seed), **networks(seed)}
    perceptron, attention = made["perceptron"], made["attention"]
    rows = construction_rows(made, seeds, effort)
    return {
        "seed": seed,
        "effort": effort.scale,
        "networks": len(seeds),
        "constructions": rows,
        "alone": alone_rows(effort, seed),
        **tails(*perceptron, seeds, effort),
        "quantised": quantised_rows(perceptron[0], seeds),
        "attention": attention_rows(*attention, seeds),
    }


def tables(measured: dict) -> list[Table]:
    """Return the tables of what was measured."""
    titles = {
        "constructions": "Random and kept parameters, errors and bounds",
        "alone": "One weight by values uniform in -1 … 1, and the theorem's closed forms",
        "tails": "Weights as subset sums: errors of weights and of the output",
        "factors": f"Factor by which errors fall with each value, n = {FIT_FROM} to {N_TAIL[-1]}",
        "quantised": "Weights of a grid met exactly by values of the grid",
        "attention": "A block of attention from random projections",
    }
    return [Table(title, measured[key]) for key, title in titles.items()]


def draw(measured: dict, path: Path) -> None:
    """Draw the errors of weights and outputs against n, and each construction's error and bound."""
    kinds = {"median": "median weight", "rms": "rms weight", "output": "output"}
    kinds |= {"output_by_rms": "output, by the rms", "output_in_reach": "output, those in reach"}
    with panels(path, 3) as (*axes, last):
        for panel, values in zip(axes, ("products", "balanced products")):
            same = [r for r in measured["tails"] if r["values"] == values]
            same = [r for r in same if r["largest_weight"] == 1.0]
            for style, (key, label) in zip(STYLES, kinds.items()):
                y = [r[key] for r in same]
                bars = [[r[key] - r[key + "_low"] for r in same]]
                bars += [[r[key + "_high"] - r[key] for r in same]]
                panel.errorbar([r["n"] for r in same], y, bars, fmt=style, ms=4, label=label)
            panel.set(xlabel="random values for each weight", title=values, yscale="log")
            panel.set(ylabel="error")
        _draw_bounds(last, measured["constructions"])


def _draw_bounds(panel: Any, rows: list[dict]) -> None:
    """Draw each construction's bound against its measured output error, networks apart."""
    for name, style in zip(dict.fromkeys(r["network"] for r in rows), STYLES):
        own = [r for r in rows if r["network"] == name]
        x, y = [r["output"] for r in own], [r["bound"] for r in own]
        panel.plot(x, y, style[:2], ms=5, fillstyle="none", label=name)
    ends = [min(r["output"] for r in rows), max(r["output"] for r in rows)]
    panel.plot(ends, ends, color="0.6", lw=0.8, label="bound = error")
    panel.set(xscale="log", yscale="log", title="constructions, n = 8 and 16")
    panel.set(xlabel="largest change of a logit, measured", ylabel="bound")


LAW = Law(
    name="tickets",
    question="What do strong lottery tickets cost, and what governs the error of their output?",
    statement=(
        "Theorems (others): a random network with O(log 1/eps) values for each weight can be "
        "pruned to any network within eps (Pensia et al.; convolutions: da Cunha et al.; L + 1 "
        "layers: Burkholz), to a given sparsity (Natale et al.), exactly for weights of a grid "
        "(Kumar, Natale); and so can attention (Otsuka et al.). Theorem (elementary, ours): no "
        "subset of n values, uniform in -1 … 1, reaches a weight w in 0 … 1 with probability "
        "2^-n L_n(-w), L_n being Laguerre's polynomial, so the mean square error is at least "
        "2^(1-n) times the sum over j of C(n, j) w^(j+2) / (j+2)!. The root of that bound falls by "
        "less than sqrt(2) with each value, while the median error nearly halves. Conjecture "
        "(ours): the output's error is that of independent errors of the weights' rms, whatever "
        "their median is. Measured here: all of these."
    ),
    sources=(
        "Malach et al., ICML 2020, arXiv 2002.00585 (abstract, as quoted by Pensia et al.)",
        "Pensia et al., NeurIPS 2020, arXiv 2006.07990",
        "da Cunha, Natale, Viennot, ICLR 2022 (abstract and slides)",
        "Burkholz, ICML 2022 (kept data of LT-existence)",
        "Natale et al., NeurIPS 2024, arXiv 2410.14754",
        "Kumar, Natale, arXiv 2508.11020",
        "Otsuka et al., arXiv 2511.04217 (abstract only)",
    ),
    measure=measure,
    tables=tables,
    draw=draw,
)
