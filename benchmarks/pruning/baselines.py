"""Every way to a smaller network under one report: which costs least at equal accuracy.

Run: python -m benchmarks.pruning.baselines     (about ten minutes on one core; --quick to try)

A perceptron of 784-300-100-10 (tiles of 32 × 32) and a convolutional network of 32 and 64 channels
(3 × 3, stride 2; tiles of 16 × 16), trained on 3,200 MNIST images; four seeds. What pruning and low
rank are fine-tuned for, the dense network is trained longer; it is quantised without fine-tuning.
"Equal" is a mean accuracy within a point of that dense network's on 800 images held out of the
training images: by them settings are picked. Accuracies reported are those on 1,000 test images,
which picked nothing.

Families: single weights by magnitude; weights that share a bit line of a tile (crossbar-aware),
over all layers, with regard to how often a layer is read (scores over the fourth root of that), or
with one sparsity for every layer; whole channels in multiples of a tile's side
(filters); 8 … 2 bits a weight and channel; low rank by the energy of its singular values; and
single weights by magnitude at 6 bits. The fourth root was chosen by the test images of two other
seeds; every seed splits the same 5,000 images its own way.

Size: bits of all non-zero parameters, 32 a bias, and 32 a weight unless quantised; positions of
non-zeros cost nothing, which favours single weights. Crossbar: DACs, amplifiers and ADCs of 8 bits
on clustered tiles, as in compaction.py; what devices conduct does not depend on the family's shape.
Digital: 45 nm, non-zero products of 8 bits into 32-bit sums and each non-zero weight fetched once,
at 8 bits or as quantised.
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
from tinynets.networks.data import Data, mnist5000
from tinynets.networks.masks import copied
from tinynets.networks.models import mlp
from tinynets.networks.training import accuracy, train

SEEDS = (2, 3, 4, 5)
ROUNDS, EPOCHS, DENSE_EPOCHS = 4, 3, 12
WITHIN = 0.01  # of the dense accuracy
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
    """Two convolutions of stride 2 and a dense layer."""
    first, second = nn.Conv2d(1, 32, 3, 2, 1), nn.Conv2d(32, 64, 3, 2, 1)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Flatten(), nn.Linear(3136, 10))


#: By name: what makes the network, whether images are vectors, the side of a tile.
NETWORKS: dict[str, tuple[Callable[[], nn.Sequential], bool, int]] = {
    "perceptron": (lambda: mlp((784, 300, 100, 10)), True, 32),
    "convolutional": (convolutional, False, 16),
}

#: Family, setting, network, bits of a weight.
Reduced = tuple[str, float, nn.Module, int]


def reduced(dense: nn.Module, data: Data, side: int, seed: int, epochs: int) -> Iterator[Reduced]:
    """Yield the dense network trained longer, then one of every family and setting."""
    example = torch.from_numpy(data.x_train[:1])
    rounds = {"rounds": ROUNDS, "epochs": epochs, "seed": seed}

    def tuned(model: nn.Module) -> nn.Module:
        return train(model, data, epochs=ROUNDS * epochs, seed=seed)

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
    """Return the tiles and cells of all layers, and the lines and conversions of an inference."""
    total = np.zeros(4, int)
    for layer in tinynets.extract(model, example).layers:
        found = count_lines(split(layer.mask, TileConfig(side, side), "clustered"))
        often = layer.n_mvm
        total += [found.n_tile, found.n_cell, found.n_word_line * often, found.n_conversion * often]
    return TileCounts(*map(int, total))


def report(model: nn.Module, data: Data, side: int, bits: int) -> dict:
    """Return every figure of one network; data: of which the test images are."""
    example = torch.from_numpy(data.x_test[:1])
    found, tiles = tinynets.measure(model, example, data, bits=bits), on_tiles(model, example, side)
    node = replace(NODES[0], bits=min(bits, NODES[0].bits))
    digital = arithmetic(node, found.total.n_mac_nonzero)
    return {
        "top1": found.top1,
        "n_nonzero": found.n_nonzero,
        "n_bit": found.n_bit,
        "n_mac": found.total.n_mac_nonzero,
        **vars(tiles),
        "j_crossbar": joules(tiles),
        "j_digital": digital + weight_fetch(node, found.total.n_remaining),
    }


def measured(name: str, seed: int, epochs: int) -> list[dict]:
    """Return the figures of every reduced network of one seed."""
    make, flat, side = NETWORKS[name]
    data = mnist5000(seed=seed, flat=flat)
    part = data.for_selection(seed=seed)
    torch.manual_seed(seed)
    dense = train(make(), part, epochs=DENSE_EPOCHS, seed=seed)
    return [
        {"family": family, "setting": setting, "seed": seed}
        | {"validation": accuracy(model, part.x_test, part.y_test)}
        | report(model, data, side, bits)
        for family, setting, model, bits in reduced(dense, part, side, seed, epochs)
    ]


def averages(rows: list[dict]) -> list[dict]:
    """Return the mean over seeds of each family and setting, and the test accuracy's t interval.

    A setting that emptied a layer on some seed is left out.
    """
    n_seed = len({row["seed"] for row in rows})
    groups: dict[tuple, list[dict]] = {}
    for row in rows:
        groups.setdefault((row["family"], row["setting"]), []).append(row)
    found = []
    for (family, setting), same in groups.items():
        if len(same) < n_seed:
            continue
        row = {"family": family, "setting": setting}
        for key in ("top1", "validation", "n_nonzero", *COSTS):
            row[key] = float(np.mean([one[key] for one in same]))
        wide = mean_interval([one["top1"] for one in same]).half_width
        found.append(row | {"top1_wide": wide})
    return found


def at_equal_accuracy(rows: list[dict]) -> dict[str, dict[str, dict]]:
    """Return by family and cost the least of it within a point, and the setting it takes.

    "Within" is on validation images, of the dense network's accuracy; top1 is on test images.

    ratio: the dense network's cost over it. A family with no such setting has no entry.
    """
    dense = rows[0]
    good = [row for row in rows if row["validation"] >= dense["validation"] - WITHIN]
    found: dict[str, dict[str, dict]] = {}
    for family in dict.fromkeys(row["family"] for row in good):
        same = [row for row in good if row["family"] == family]
        for cost in COSTS:
            best = min(same, key=lambda row: row[cost])
            entry = {"setting": best["setting"], "value": best[cost], "top1": best["top1"]}
            entry["ratio"] = dense[cost] / best[cost]
            found.setdefault(family, {})[cost] = entry
    return found


def draw(networks: dict) -> None:
    """Accuracy against size, conversions, and both energies, for both networks."""
    shown = {"n_bit": 1 / 8e3, "n_conversion": 1, "j_crossbar": 1e9, "j_digital": 1e9}
    labels = ("size, kB", "ADC conversions", "crossbar periphery, nJ", "digital, nJ")
    with figure("baselines", columns=4, rows=2) as axes:
        for row, (name, found) in enumerate(networks.items()):
            for axis, (cost, scale), label in zip(axes[4 * row :], shown.items(), labels):
                for family in dict.fromkeys(r["family"] for r in found["rows"]):
                    same = [r for r in found["rows"] if r["family"] == family]
                    x = [scale * r[cost] for r in same]
                    y, error = ([100 * r[k] for r in same] for k in ("top1", "top1_wide"))
                    style = "k*" if family == "dense" else "o-"
                    axis.errorbar(x, y, error, fmt=style, ms=4, capsize=2, label=family)
                dense = 100 * found["rows"][0]["top1"]
                axis.axhspan(dense - 100 * WITHIN, dense, color="0.9")
                axis.set(xscale="log", xlabel=label, ylim=(dense - 8, dense + 2))
                axis.xaxis.set_minor_formatter(NullFormatter())
                axis.grid(alpha=0.3)
            axes[4 * row].set(ylabel=f"{name}: accuracy, %")
        axes[0].legend(fontsize=7)


def show(name: str, found: dict) -> None:
    """Print every setting, and the least of each cost at equal accuracy."""
    keys = ("n_nonzero", *COSTS)
    rows = [
        [r["family"], r["setting"], f"{100 * r['top1']:.1f} ± {100 * r['top1_wide']:.1f}"]
        + [f"{100 * r['validation']:.1f}"]
        + [r[key] if key.startswith("j_") else round(r[key]) for key in keys]
        for r in found["rows"]
    ]
    head = ["family", "setting", "test accuracy %", "validation %", "non-zero", *COSTS.values()]
    print_table(name, head, rows)
    rows = [
        [family, *(f"{c['ratio']:.1f} × ({c['setting']:g})" for c in costs.values())]
        for family, costs in found["at_equal_accuracy"].items()
    ]
    print_table(f"{name}: least within a point (setting)", ["family", *COSTS.values()], rows)


def main() -> None:
    """Measure, print, draw and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one epoch, two seeds; not kept")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    host, start, networks = machine() | {"threads": 1}, time.perf_counter(), {}
    for name, (_, _, side) in NETWORKS.items():
        rows = []
        for seed in SEEDS[:2] if quick else SEEDS:
            rows += measured(name, seed, 1 if quick else EPOCHS)
            print(f"{name}, seed {seed}: {time.perf_counter() - start:.0f} s", flush=True)
        means = averages(rows)
        found = {"tile": side, "rows": means, "at_equal_accuracy": at_equal_accuracy(means)}
        networks[name] = found
        show(name, found)
    if quick:
        return
    draw(networks)
    settings = {"rounds": ROUNDS, "epochs": EPOCHS, "dense_epochs": DENSE_EPOCHS}
    about = {"machine": host, "seconds": time.perf_counter() - start, "settings": settings}
    save_json("baselines", about | {"seeds": len(SEEDS), "within": WITHIN, "networks": networks})


if __name__ == "__main__":
    main()
