"""ResNet-18, 11 million weights, trained on MNIST and put on dies: accuracy, time, memory, disk.

`python -m benchmarks.networks.resnet18 FOLDER` trains the network once on all training images,
prunes a copy by 90 % and trains that on, both in FOLDER (half an hour of one core; they stay).
It runs the commands `map`, `netlist`, `verify`, `export` and `study` on both, and writes
`benchmarks/results/resnet18.json`. The images are MNIST's, in the cache of crossbar-sim.
"""

import argparse
import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from benchmarks.common import RESULTS, ROOT, machine, print_table, save_part
from benchmarks.networks.command_costs import timed
from benchmarks.networks.resnet18_net import make
from tinynets.data import mnist
from tinynets.networks.training import accuracy, train
from tinynets.pruning.rounds import make_permanent, prune

#: Training images that fix ranges and scales, and test images, the first of each, of a trial.
N_TRAIN, N_TEST = 6000, 4000
CONFIG = """name = "resnet18"
[network]
source = "{name}.safetensors"
python = "{net}:make"
fold_batch_norm = true
[data]
source = "images.npz"
[tile]
n_word = {side}
n_bit = {side}
[simulation]
n_power = 0
"""
STUDY = """name = "resnet18"
base = "{name}.toml"
dies = {dies}
[variants."drawn wires, 8-bit converters"]
[variants."drawn wires, 6-bit ADCs"]
"periphery.adc_bits" = 6
[variants."drawn wires, 24-bit converters"]
"periphery.dac_bits" = 24
"periphery.adc_bits" = 24
[variants."ideal wires, 8-bit converters"]
"wires.source" = "given"
"wires.r_word" = 0.0
"wires.r_bit" = 0.0
"""
SIDE, METRICS = 64, ("accuracy", "output_error", "mvm_error")
EXPORTS: tuple[tuple[str, ...], ...] = ((), ("--no-netlists", "--no-certificate"))
KINDS = ("dense", "pruned by 90 %")


def networks(folder: Path) -> dict[str, Path]:
    """Return the files of both networks, trained now if there are none."""
    data, paths = (
        mnist(seed=0, flat=False),
        {kind: folder / f"{kind[:6]}.safetensors" for kind in KINDS},
    )
    dense, pruned = paths.values()
    if not dense.exists():
        torch.manual_seed(0)
        _save(train(make(), data, epochs=2, learning_rate=1e-3, seed=0), dense)
    if not pruned.exists():
        how: dict[str, Any] = {"sparsity": 0.9, "rounds": 1, "epochs": 1}
        smaller = prune(_load(dense), data, **how, learning_rate=5e-4, seed=0)
        _save(make_permanent(smaller), pruned)
    return paths


def _save(model: nn.Module, path: Path) -> None:
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(state, path)


def _load(path: Path) -> nn.Module:
    model = make()
    model.load_state_dict(load_file(path))
    return model.eval()


def write_images(folder: Path) -> None:
    """Write the images of the trials."""
    data = mnist(seed=0, flat=False)
    parts = {"train": N_TRAIN, "test": N_TEST}
    arrays = {
        f"{k}_{part}": getattr(data, f"{k}_{part}")[:n] for part, n in parts.items() for k in "xy"
    }
    np.savez(folder / "images.npz", **arrays)


def measure(folder: Path, kind: str, weights: Path, dies: int) -> dict[str, Any]:
    """Run the commands on a network; return their costs and what they found."""
    name, net = weights.stem, ROOT / "benchmarks" / "networks" / "resnet18_net.py"
    run, mapping, costs = folder / f"{name}.toml", folder / f"{name}_mapping", {}
    run.write_text(CONFIG.format(name=name, net=net, side=SIDE))
    costs["map"], table = timed("map", weights, "--config", run, "--trust", "--output", mapping)
    decks = folder / f"{name}_decks"
    costs["netlist --sample 5"], _ = timed("netlist", mapping, "--sample", 5, "--output", decks)
    costs["verify --sample 20"], checked = timed("verify", mapping, "--sample", 20)
    costs["map"]["bytes"] = _size(mapping)
    study = folder / f"{name}_study.toml"
    study.write_text(STUDY.format(name=name, dies=dies))
    options = [word for metric in METRICS for word in ("--metric", metric)]
    store = folder / f"{name}.sqlite"
    costs["study"], found = timed("study", study, "--trust", "--store", store, *options)
    rows = list(csv.DictReader(table.splitlines()))
    return {
        "machine": machine(),
        "n_weight": sum(int(r["weights"]) for r in rows),
        "n_pruned": sum(int(r["pruned"]) for r in rows),
        "n_tile": sum(int(r["tiles"]) for r in rows),
        "n_resistor": sum(int(r["branches"]) for r in rows),
        "verify": list(csv.DictReader(checked.splitlines())),
        "costs": costs,
        "n_die": dies,
        "n_test": N_TEST,
        "study": list(csv.DictReader(found.splitlines())),
    }


def exports(folder: Path, weights: Path) -> dict[str, Any]:
    """Return the costs of a network's fabrication packs."""
    costs, mapping = {}, folder / f"{weights.stem}_mapping"
    for options in EXPORTS:
        words, pack = ["export", *options], folder / f"{weights.stem}_pack"
        shutil.rmtree(pack, ignore_errors=True)
        cost, _ = timed(*words, mapping, "--output", pack)
        costs[" ".join(words)] = cost | {"bytes": _size(pack)}
    return costs


def _size(path: Path) -> int:
    """Return the bytes of a directory."""
    return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())


def main() -> None:
    """Train what is missing, measure, keep."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dies", type=int, default=2)
    parser.add_argument(
        "--exports", action="store_true", help="measure packs and digital accuracy alone, again"
    )
    given = parser.parse_args()
    folder = given.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    write_images(folder)
    for kind, weights in networks(folder).items():
        if given.exports:
            found = json.loads((RESULTS / "resnet18.json").read_text())[kind]
        else:
            found = json.loads(json.dumps(measure(folder, kind, weights, given.dies)))
        with np.load(folder / "images.npz") as data:
            found["digital"] = accuracy(_load(weights), data["x_test"], data["y_test"])
        if kind != KINDS[0]:  # a pack of all that is dense takes 40 GB
            found["exports"] = {"machine": machine(), "costs": exports(folder, weights)}
        save_part("resnet18", kind, found, KINDS)
        costs = found["costs"].items()
        rows = [(k, c["seconds"], c["cpu_seconds"], c["peak_bytes"] / 1e9) for k, c in costs]
        print_table(kind, ("command", "s", "CPU s", "GB"), rows)


if __name__ == "__main__":
    main()
