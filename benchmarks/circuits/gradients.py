"""Derivatives of an array's outputs: what they cost beside the outputs, and how right they are.

Pairs of bit lines with all cells present, 64 vectors, one thread, the fastest of several. The error
is that of the derivative by one wire resistance, against a difference of two solutions.

Then many arrays, one by one and at once, each with a vector for each word line, as training through
wires has them; and the layers of LeNet-5 through the wires of their tiles, with the selection of
all cells, which is one for each layer both ways.

Run: python -m benchmarks.circuits.gradients  (two minutes)
"""

import time
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import torch
from torch import nn

from benchmarks.common import machine, print_table, save_json
from crossbar_sim import TorchAmplifiers, TorchWires, solve_torch
from crossbar_sim.calibration.through_wires import TrainedTargets
from crossbar_sim.calibration.tile import WiredDie
from mapping import Die, ResistorBank, TileConfig, map_network
from netlists import Periphery, Wires
from tinynets.networks.extraction import extract

SIZES = (16, 32, 64, 128)
N_VECTOR = 64
#: Word lines of an array, and arrays.
MANY = ((8, 256), (16, 64), (32, 64), (64, 16))
#: Lines of the tiles of LeNet-5.
SIDES = (8, 16, 32, 64)
#: By how much the wires are changed on either side, as a fraction.
STEP = 1e-3


def fastest(call: Callable[[], object]) -> float:
    """Return the shortest processor time [s] of several calls after a first one."""
    call()
    times, start = [], time.perf_counter()
    while len(times) < 3 or time.perf_counter() - start < 1.0:
        begin = time.process_time()
        call()
        times.append(time.process_time() - begin)
    return min(times)


def measured(n: int) -> dict[str, Any]:
    """Return times without and with derivatives [s], and the error of one derivative."""
    rng = np.random.default_rng(n)
    g = torch.tensor(10 ** rng.uniform(-6, -4, size=(2, n, n)), requires_grad=True)
    v_in = torch.tensor(rng.uniform(0, 0.2, size=(N_VECTOR, n)), requires_grad=True)
    r_word = torch.tensor(5.2, dtype=torch.float64, requires_grad=True)

    def loss(ohm: torch.Tensor) -> torch.Tensor:
        ends = TorchAmplifiers(tia_gain=1e4)
        return solve_torch(g, v_in, TorchWires(ohm, 1.8, 100.0), ends).v_out.square().sum()

    def both() -> None:
        loss(r_word).backward()

    with torch.no_grad():
        up, down = (loss(r_word * (1 + sign * STEP)).item() for sign in (1, -1))
        forward = fastest(lambda: loss(r_word))
    r_word.grad = None
    both()
    assert r_word.grad is not None
    difference = (up - down) / (2 * STEP * r_word.item())
    error = abs(r_word.grad.item() / difference - 1)
    with_all = fastest(both)
    return {"n": n, "forward_s": forward, "both_s": with_all, "difference": error}


def at_once(n: int, n_array: int) -> dict[str, Any]:
    """Return times [s] of arrays one by one and at once, and how far their derivatives differ.

    The difference is the largest, as a fraction of the largest derivative.
    """
    cells = torch.tensor(10 ** np.random.default_rng(n).uniform(-6, -4, size=(n_array, 2, n, n)))
    v_in = torch.eye(n, dtype=torch.float64)
    ways = {"alone": list(cells), "at_once": [cells]}
    found: dict[str, Any] = {"n": n, "n_array": n_array}
    slopes = {}

    def loss(g: torch.Tensor) -> torch.Tensor:
        ends = TorchAmplifiers(tia_gain=1e4)
        return solve_torch(g, v_in, TorchWires(5.2, 1.8, 100.0), ends).v_out.square().sum()

    for name, parts in ways.items():
        given = [part.clone().requires_grad_() for part in parts]

        def forward(given: list[torch.Tensor] = given) -> None:
            with torch.no_grad():
                for g in given:
                    loss(g)

        def both(given: list[torch.Tensor] = given) -> list[torch.Tensor]:
            return [torch.autograd.grad(loss(g), g)[0] for g in given]

        found |= {f"{name}_forward_s": fastest(forward), f"{name}_both_s": fastest(both)}
        slopes[name] = torch.cat([slope.view(-1, 2, n, n) for slope in both()])
    alone, together = slopes.values()
    return found | {"difference": float((alone - together).abs().max() / alone.abs().max())}


def lenet(side: int) -> dict[str, Any]:
    """Return times [s] of LeNet-5's layers through the wires of tiles of a side.

    Weights, dies and wires as they come from seeds: 100 ohm a segment, banks of five.
    """
    torch.manual_seed(0)
    network = extract(lenet5().eval(), torch.zeros(1, 1, 28, 28))
    die = Die(ResistorBank(n=5, r_min=2e4, sigma_local=0.05, meter_error=1e-3), seed=2)
    wired = WiredDie(die, Wires(100.0, 100.0, r_driver=50.0), Periphery(tia_gain=1e3))
    mapped = map_network(network, die, TileConfig(side, side))
    layers = [TrainedTargets(layer, wired) for layer in mapped.layers]
    weights = [torch.tensor(layer.source.weight, requires_grad=True) for layer in mapped.layers]

    def forward() -> torch.Tensor:
        parts = [layer(weight).square().sum() for layer, weight in zip(layers, weights)]
        return torch.stack(parts).sum()

    def times(way: str) -> dict[str, float]:
        with torch.no_grad():
            alone = fastest(forward)
        both = fastest(lambda: forward().backward())
        return {f"{way}_forward_s": alone, f"{way}_both_s": both}

    at_once = times("at_once")
    n_call = sum(len(layer.alike) for layer in layers)
    for layer in layers:
        layer.alike = [one for part in layer.alike for one in zip(*(x.split(1) for x in part))]
    n_tile = sum(len(layer.alike) for layer in layers)
    return {"side": side, "n_tile": n_tile, "n_call": n_call, **times("alone"), **at_once}


def lenet5() -> nn.Module:
    """Return LeNet-5 with random weights."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )


def main() -> None:
    """Measure all sizes, print the table and keep it."""
    start = machine()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    rows = [measured(n) for n in SIZES]
    print_table(
        "Derivatives by everything, 64 vectors",
        ["n", "outputs [s]", "with derivatives [s]", "ratio", "difference"],
        [
            [r["n"], r["forward_s"], r["both_s"], r["both_s"] / r["forward_s"], r["difference"]]
            for r in rows
        ],
    )
    many = [at_once(n, n_array) for n, n_array in MANY]
    keys = [f"{way}_{what}_s" for way in ("alone", "at_once") for what in ("forward", "both")]
    head = ["n", "arrays", "one by one [s]", "both [s]", "at once [s]", "both [s]", "difference"]
    table = [[r[k] for k in ("n", "n_array", *keys, "difference")] for r in many]
    print_table("Many arrays, a vector for each word line", head, table)
    layers = [lenet(side) for side in SIDES]
    head = ["side", "tiles", "calls", *head[2:6]]
    print_table("Layers of LeNet-5", head, [list(r.values()) for r in layers])
    found = {"n_vector": N_VECTOR, "rows": rows, "many": many, "lenet": layers}
    save_json("gradients", {"machine": start, **found})


if __name__ == "__main__":
    main()
