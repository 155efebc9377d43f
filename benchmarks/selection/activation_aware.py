"""The gain from choosing the cells of an output together, on real images.

Run: python -m benchmarks.selection.activation_aware  (about three minutes)

Two networks, 784-300-100-10 on MNIST and 64-300-100-10 on scikit-learn's digits, are
trained, pruned to a tenth of their weights and mapped onto dies: ladder of ratio 1.75, scatter 5 %,
meter 0.1 %. Selection and scale use measured branches and 1,000 training images. Accuracy and
output error use true branches and test images. "Output error" is the norm of the change of the
logits over the norm of the logits. Figures are means over dies.

- "alone": chooses each cell by itself.
- "alone, its best scale": the same, with the scale of least error among some candidates, by the
  error measure of "together".
- "together": `select_layer_aware`.
"""

import numpy as np
import torch

from benchmarks.common import figure, machine, print_table, save_json, timed
from mapping import Die, ResistorBank
from mapping.bank.switches import realise
from mapping.selection.encode import g_per_weight
from mapping.selection.select import SCALE_FACTORS, layer_aware_scale, select, select_layer_aware
from tinynets import extract, prune
from tinynets.data import Data, digits, mnist
from tinynets.networks.models import mlp
from tinynets.networks.training import train

N_BRANCH = (1, 2, 3, 4, 6)
N_DIE = 3
N_CALIBRATION = 1000
#: Epochs of training and of each of four rounds of pruning.
EPOCHS = {"mnist": (1, 1), "digits": (15, 6)}
METHODS = {
    "alone": "alone",
    "alone_scaled": "alone, its best scale",
    "together": "together",
    "together_layer": "together, scale fitted to the layer",
    "together_output": "together, scale fitted to each output",
}


def pruned_layers(data: Data):
    """Return the layers of a trained network with a tenth of its weights left."""
    dense, each = EPOCHS[data.name]
    torch.manual_seed(0)
    model = train(mlp((data.x_train.shape[1], 300, 100, 10)), data, epochs=dense)
    model = prune(model, data, sparsity=0.9, rounds=4, epochs=each)
    return extract(model, torch.from_numpy(data.x_train[:1])).layers


def forward(layers, weights, x):
    """Return the logits (n_sample, n_class) with `weights` in place of the layers' own."""
    for layer, weight in zip(layers[:-1], weights[:-1]):
        x = np.maximum(x @ weight.T + layer.bias, 0)
    return x @ weights[-1].T + layers[-1].bias


def choose(method, layer, die, second_moment):
    """Return the scale (n_out,) and the selection of a layer's cells."""
    columns, rows = np.nonzero(layer.mask)
    branches = die.branches(layer.name, rows, columns, measured=True)
    if method in ("together_layer", "together_output"):
        scale = layer_aware_scale(layer, die, second_moment, per=method.split("_")[1])
    else:
        scale = g_per_weight(layer.weight, die, layer=layer.name)
    if method == "alone_scaled":
        scale = scale * best_factor(layer, branches, scale, second_moment)
    scale = np.broadcast_to(scale, layer.n_out)
    target = (scale[:, None] * layer.weight)[columns, rows]
    if method.startswith("alone"):
        return scale, select(branches, target)
    return scale, select_layer_aware(branches, target, rows, columns, second_moment)


def best_factor(layer, branches, scale, second_moment):
    """Return the factor on the scale with the least error of cells chosen alone."""
    errors = []
    for factor in SCALE_FACTORS:
        miss = np.zeros(layer.weight.shape)
        target = factor * scale * layer.weight[layer.mask]
        miss[layer.mask] = (select(branches, target).predicted - target) / factor
        errors.append(np.einsum("ij,ij->", miss @ second_moment, miss))
    return SCALE_FACTORS[int(np.argmin(errors))]


def map_weights(method, layers, die, calibration):
    """Return the true weights of a die."""
    weights, x = [], calibration
    for layer in layers:
        scale, selection = choose(method, layer, die, x.T @ x / len(x))
        columns, rows = np.nonzero(layer.mask)
        true = die.branches(layer.name, rows, columns, measured=False)
        g_pos, g_neg = realise(true, selection.chosen_pos, selection.chosen_neg)
        believed, realised = np.zeros(layer.weight.shape), np.zeros(layer.weight.shape)
        believed[layer.mask] = selection.predicted / scale[columns]
        realised[layer.mask] = (g_pos - g_neg) / scale[columns]
        weights.append(realised)
        x = np.maximum(x @ believed.T + layer.bias, 0)
    return weights


def compare(data: Data) -> dict:
    """Return accuracy and output error of every method, for each number of branches."""
    layers = pruned_layers(data)
    x_test = data.x_test.astype(float)
    calibration = data.x_train[:N_CALIBRATION].astype(float)
    ideal = forward(layers, [layer.weight for layer in layers], x_test)
    results = []
    for n in N_BRANCH:
        bank = ResistorBank(n=n, r_min=20e3, ratio=1.75, sigma_local=0.05, meter_error=1e-3)
        for method in METHODS:
            logits = [
                forward(layers, map_weights(method, layers, Die(bank, seed), calibration), x_test)
                for seed in range(N_DIE)
            ]
            right = [float(np.mean(output.argmax(1) == data.y_test)) for output in logits]
            error = [
                float(np.linalg.norm(output - ideal) / np.linalg.norm(ideal)) for output in logits
            ]
            row = {"n": n, "method": method, "accuracy": right, "output_error": error}
            results.append(row)
    return {
        "data": data.name,
        "test_images": len(data.x_test),
        "sizes": [layers[0].n_in, *(layer.n_out for layer in layers)],
        "left": sum(layer.n_remaining for layer in layers),
        "accuracy_without_die": float(np.mean(ideal.argmax(1) == data.y_test)),
        "results": results,
    }


def report(compared: dict) -> None:
    rows = [
        (
            row["n"],
            METHODS[row["method"]],
            100 * float(np.mean(row["accuracy"])),
            100 * min(row["accuracy"]),
            100 * float(np.mean(row["output_error"])),
        )
        for row in compared["results"]
    ]
    sizes = "-".join(map(str, compared["sizes"]))
    digital = 100 * compared["accuracy_without_die"]
    title = f"{compared['data']}, {sizes}, {compared['left']} weights left, digital {digital:.1f} %"
    header = ("n a side", "cells chosen", "accuracy %", "worst die %", "output error %")
    print_table(title, header, rows)


def speed(n_in: int, n_out: int, density: float, n: int) -> dict:
    """Time one large layer with random weights and correlated inputs."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, n_in // 8)) @ rng.normal(size=(n_in // 8, n_in))
    x = np.maximum(x, 0)
    columns, rows = np.nonzero(rng.random((n_out, n_in)) < density)
    bank = ResistorBank(n=n, r_min=20e3, sigma_local=0.05)
    branches = Die(bank).branches("layer", rows, columns, measured=True)
    target = rng.normal(size=len(rows)) * bank.g_full / 4
    moment = x.T @ x / len(x)
    alone, wall_alone, _ = timed(lambda: select(branches, target))
    together, wall, _ = timed(lambda: select_layer_aware(branches, target, rows, columns, moment))
    errors = [
        mean_square_error(selection.predicted - target, rows, columns, moment)
        for selection in (alone, together)
    ]
    return {
        "n_in": n_in,
        "n_out": n_out,
        "cells": len(rows),
        "n": n,
        "alone_s": wall_alone,
        "together_s": wall,
        "error_ratio": float(np.sqrt(errors[1] / errors[0])),
    }


def mean_square_error(miss, rows, columns, moment):
    matrix = np.zeros((columns.max() + 1, len(moment)))
    matrix[columns, rows] = miss
    return np.einsum("ij,ij->", matrix @ moment, matrix)


def plot(tasks: list[dict]) -> None:
    with figure("activation_aware", columns=2, rows=len(tasks)) as axes:
        for task, (left, right) in zip(tasks, axes.reshape(-1, 2)):
            for method, label in METHODS.items():
                rows = [row for row in task["results"] if row["method"] == method]
                n = [row["n"] for row in rows]
                left.plot(n, [100 * np.mean(row["accuracy"]) for row in rows], "o-", label=label)
                right.semilogy(n, [100 * np.mean(row["output_error"]) for row in rows], "o-")
            left.axhline(100 * task["accuracy_without_die"], color="k", ls=":", label="digital")
            left.set(ylabel="accuracy, %", ylim=(0, 100))
            right.set(ylabel="output error, %")
            for axis in (left, right):
                axis.set(xlabel="branches a side")
                axis.set_title(f"{task['data']} {'-'.join(map(str, task['sizes']))}, 90 % pruned")
                axis.grid(alpha=0.3)
        axes[0].legend(fontsize=7)


def main() -> None:
    about = machine()
    torch.set_num_threads(1)
    tasks = [compare(mnist(seed=0, flat=True)), compare(digits(seed=0, flat=True))]
    for task in tasks:
        report(task)
    speed(64, 8, 0.5, 2)  # load the compiled code
    sizes = [(1024, 1024, 0.1, 2), (4096, 1024, 0.1, 2), (4096, 4096, 0.1, 2), (4096, 1024, 0.1, 8)]
    speeds = [speed(*size) for size in sizes]
    header = ("n_in", "n_out", "cells", "n a side", "alone s", "together s", "error ratio")
    print_table("one layer, 90 % pruned", header, [list(row.values()) for row in speeds])
    plot(tasks)
    save_json("activation_aware", {"machine": about, "tasks": tasks, "speed": speeds})


if __name__ == "__main__":
    main()
