"""What sparsity saves on tiles, by how a layer is split and how its weights are pruned.

Run: python -m benchmarks.pruning.compaction     (5 minutes on one core)

First, layers of 1024 × 1024 with different patterns of weights, on tiles of 32 × 32 and 128 × 128:
naive tiling, lines in order, lines clustered. Then a network of 784-300-100-10, trained on 48,000
MNIST images and pruned by single weights or by groups of a tile, three seeds. The result is the
least energy within a point of the dense network, which is trained for as many epochs. "Within a
point" is judged on 12,000 images held out of the training images; accuracies are those on MNIST's
10,000 test images.

Joules are those of DACs, amplifiers and ADCs at 8 bits: typical figures of
`crossbar_sim.energy.power` with a feedback factor of 0.2. The power of the devices does not depend
on how a layer is split.
"""

from functools import partial
from typing import get_args

import numpy as np
import torch

from benchmarks.common import figure, machine, print_table, save_json, timed
from crossbar_sim.energy.power import Figures, adc_energy, dac_energy, tia_energy
from crossbar_sim.study.intervals import mean_interval
from mapping import TileConfig
from mapping.tiling.compact import TileCounts, Tiling, compare, count_lines, split, split_dense
from tinynets import extract, prune
from tinynets.data import Data, mnist
from tinynets.networks.models import mlp
from tinynets.networks.training import accuracy, train
from tinynets.pruning.for_tiles import prune_for_tiles

N = 1024
SIZES = (32, 128)
SPARSITIES = (0.8, 0.9, 0.95, 0.98)
GRAINS = {
    "weights": None,
    "bit lines": {"bit line": 1.0},
    "bit lines, some weights": {"bit line": 0.8, "weight": 0.2},
    "word lines": {"word line": 1.0},
    "tiles": {"tile": 1.0},
}
SEEDS = (0, 1, 2)
DENSE_EPOCHS, ROUNDS, EPOCHS = 1, 2, 1
WITHIN = 0.01  # of the accuracy before pruning
ENERGY = {
    "e_word_line": dac_energy(8, Figures().t_read),
    # A conversion reads a pair of bit lines, each with an amplifier.
    "e_conversion": adc_energy(8, "median") + 2 * float(tia_energy(Figures(), 8, np.array(0.2))),
}


def layers() -> dict[str, np.ndarray]:
    """Return the masks (n_out, n_in) of the patterns."""
    rng = np.random.default_rng(0)
    full = np.kron(rng.random((N // 32, N // 32)) < 0.1, np.ones((32, 32), bool))
    mixed = full[rng.permutation(N)][:, rng.permutation(N)]
    unstructured = {
        f"unstructured, {d:.1%} left": rng.random((N, N)) < d for d in (0.1, 0.02, 0.01)
    }
    return unstructured | {
        "blocks of 32, 10 % left": full,
        "the same, lines shuffled": mixed,
        "shuffled, 30 % of each block left": mixed & (rng.random((N, N)) < 0.3),
        "dense": np.ones((N, N), bool),
    }


def numbers(counts: TileCounts) -> dict:
    return vars(counts) | {"joules": joules(counts)}


def joules(counts: TileCounts) -> float:
    """Return the energy of the periphery [J]; that of the devices does not depend on the cut."""
    return counts.n_word_line * ENERGY["e_word_line"] + counts.n_conversion * ENERGY["e_conversion"]


def compare_layers() -> list[dict]:
    """Return counts and seconds for each way to split each layer."""
    return [cuts(size, name, mask) for size in SIZES for name, mask in layers().items()]


def cuts(size: int, name: str, mask: np.ndarray) -> dict:
    config = TileConfig(size, size)
    row = {"tile": size, "layer": name, "density": float(mask.mean())}
    row["naive"] = numbers(count_lines(split_dense(mask.shape, config)))
    for method in get_args(Tiling):
        blocks, wall, _ = timed(partial(split, mask, config, method))
        row[method] = numbers(count_lines(blocks)) | {"seconds": wall}
    return row


def network_counts(model, x, config: TileConfig) -> dict[str, TileCounts]:
    """Return the counts of all layers together, for each way to split them."""
    by_layer = [compare(layer.pattern, config) for layer in extract(model, x[:1]).layers]
    totals = {}
    for method in by_layer[0]:
        columns = zip(*(vars(counts[method]).values() for counts in by_layer))
        totals[method] = TileCounts(*map(sum, columns))
    return totals


def compare_pruning(data) -> dict:
    """Return accuracy and counts for each grain, sparsity and seed."""
    config, results, before = TileConfig(32, 32), [], []
    options = {"rounds": ROUNDS, "epochs": EPOCHS}
    part_of = data.for_selection()
    x = torch.from_numpy(part_of.x_train)
    for seed in SEEDS:
        torch.manual_seed(seed)
        dense = train(mlp((784, 300, 100, 10)), part_of, epochs=DENSE_EPOCHS, seed=seed)
        longer = prune(dense, part_of, sparsity=0.0, seed=seed, **options)
        before.append(scores(longer, data, part_of))
        for grain, shares in GRAINS.items():
            for sparsity in SPARSITIES:
                part = options | {"sparsity": sparsity, "seed": seed}
                if shares is None:
                    model = prune(dense, part_of, **part)
                else:
                    part |= {"shares": shares, "n_word": 32, "n_bit": 32}
                    model = prune_for_tiles(dense, part_of, **part)
                counts = network_counts(model, x, config)
                row = {"grain": grain, "sparsity": sparsity, "seed": seed}
                row |= scores(model, data, part_of)
                results.append(row | {name: numbers(c) for name, c in counts.items()})
    return {"before": before, "results": results}


def scores(model, data: Data, part: Data) -> dict[str, float]:
    """Return the accuracy on test images, and on the held-out images used for choices."""
    return {
        "accuracy": accuracy(model, data.x_test, data.y_test),
        "validation": accuracy(model, part.x_test, part.y_test),
    }


def averages(pruning: dict) -> list[dict]:
    """Return the means over seeds on clustered tiles, for each grain and sparsity."""
    rows = []
    for grain in GRAINS:
        for sparsity in SPARSITIES:
            same = [
                r for r in pruning["results"] if (r["grain"], r["sparsity"]) == (grain, sparsity)
            ]
            row = {"grain": grain, "sparsity": sparsity}
            for key in ("accuracy", "validation"):
                row[key] = float(np.mean([r[key] for r in same]))
            row["wide"] = mean_interval([r["accuracy"] for r in same]).half_width
            for key in ("n_tile", "n_word_line", "n_conversion", "joules"):
                row[key] = float(np.mean([r["clustered"][key] for r in same]))
                row[f"{key}_in_order"] = float(np.mean([r["in order"][key] for r in same]))
            rows.append(row)
    return rows


def at_equal_accuracy(rows: list[dict], before: float) -> list[dict]:
    """Return, for each grain, the row of least energy that keeps the validation accuracy, if any.

    before: validation accuracy of the dense networks.
    """
    good = [row for row in rows if row["validation"] >= before - WITHIN]
    best = []
    for grain in GRAINS:
        same = [row for row in good if row["grain"] == grain]
        if same:
            best.append(min(same, key=lambda row: row["joules"]))
    return best


def plot(rows: list[dict], before: float) -> None:
    with figure("compaction", columns=2) as axes:
        shown = (
            ("n_conversion", 1, (200, 500, 1000, 2000, 5000)),
            ("joules", 1e9, (2, 5, 10, 20, 50)),
        )
        for axis, (key, scale, ticks) in zip(axes, shown):
            for grain in GRAINS:
                same = [row for row in rows if row["grain"] == grain]
                x = [row[key] * scale for row in same]
                y, wide = ([100 * row[k] for row in same] for k in ("accuracy", "wide"))
                axis.errorbar(x, y, wide, fmt="o-", capsize=2, label=grain)
            axis.axhline(100 * before, color="k", ls=":", label="dense, as many epochs")
            axis.set(xscale="log", ylabel="accuracy, %", ylim=(60, 100))
            axis.set_xticks(ticks, map(str, ticks))
            axis.set_xticks([], minor=True)
            axis.grid(alpha=0.3)
        axes[0].set(xlabel="ADC conversions per inference")
        axes[1].set(xlabel="DACs, amplifiers and ADCs, nJ per inference")
        axes[0].legend(fontsize=7)


def values(counts: dict) -> list:
    """Return the cells of a table."""
    whole = [round(counts[key]) for key in ("n_tile", "n_word_line", "n_conversion")]
    return [*whole, 1e9 * counts["joules"]]


def report(layers: list[dict], rows: list[dict], best: list[dict]) -> None:
    costs = ("tiles", "word lines", "conversions", "nJ")
    table = [
        [row["tile"], row["layer"], way, *values(row[way]), row[way].get("seconds", 0.0)]
        for row in layers
        for way in ("naive", *get_args(Tiling))
    ]
    print_table("a layer of 1024 × 1024", ("tile", "layer", "way", *costs, "s"), table)
    header = ("pruned by", "sparsity", "test accuracy %", *costs)
    for title, part in (("MNIST, all", rows), ("within a point of the dense network", best)):
        table = [
            [row["grain"], row["sparsity"], 100 * row["accuracy"], *values(row)] for row in part
        ]
        print_table(title, header, table)


def main() -> None:
    about = machine()
    torch.set_num_threads(1)
    cut_layers = compare_layers()
    pruning = compare_pruning(mnist(seed=0, flat=True))
    rows = averages(pruning)
    dense = {
        key: float(np.mean([b[key] for b in pruning["before"]])) for key in pruning["before"][0]
    }
    best = at_equal_accuracy(rows, dense["validation"])
    report(cut_layers, rows, best)
    plot(rows, dense["accuracy"])
    kept = {"machine": about, "energy": ENERGY, "layers": cut_layers, "dense": dense}
    save_json("compaction", kept | {"pruning": rows, "at_equal_accuracy": best})


if __name__ == "__main__":
    main()
