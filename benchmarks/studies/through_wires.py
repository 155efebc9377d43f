"""A network trained for its own die with its own wires, beside other ways to bear with them.

The digits perceptron of examples/runs/digits.toml on ten dies, with wires of 100 ohm and of 1 kohm
a segment and 8-bit converters. Ways: the switches as selected for the weights alone; the same after
noise-aware training; gain and offset of every output fitted; these and all biases trained through
the die; switches by coordinate descent against the wires; targets of the cells trained through the
wires. All training has as many epochs over the same images, and one rate, which --choose shows: the
best of three for the last way alone, by its accuracy on training images on another die (101).

Then, on three dies, the error of the matrices themselves: by coordinate descent, and by gradients
of the same squared error through the exact circuit.

Run: python -m benchmarks.studies.through_wires  (about 45 minutes on one core)
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrize

from benchmarks.common import ROOT, machine, print_table, save_json
from crossbar_sim.calibration.switches import reselect_for_wires
from crossbar_sim.calibration.through_wires import TrainedTargets, train_switches
from crossbar_sim.calibration.tile import WiredDie
from crossbar_sim.calibration.tune import fine_tune, fit_outputs, train_noise_aware
from crossbar_sim.config.run import RunConfig, load_config
from crossbar_sim.config.study import with_values
from crossbar_sim.on_die.to_torch import to_torch
from crossbar_sim.pipeline.steps import load_data, select_on_die, train_and_prune
from crossbar_sim.study.intervals import mean_interval
from mapping import MappedNetwork
from mapping.network.mapped_layer import MappedLayer
from tinynets.data import Data
from tinynets.networks.training import accuracy

OHM = (100.0, 1000.0)
DIES, MATRIX_DIES = range(1, 11), range(1, 4)
EPOCHS, RATE, SIGMA = 5, 4e-3, 0.05
#: Steps and rate of the gradient on the error of the matrices.
STEPS, MATRIX_RATE = 150, 3e-3


def configured(ohm: float, die: int) -> RunConfig:
    """Return the example's configuration with given wires and die."""
    wires = {"wires.source": "given", "wires.r_word": ohm, "wires.r_bit": ohm}
    base = load_config(ROOT / "examples" / "runs" / "digits.toml")
    return with_values(base, {**wires, "die.seed": die})


def ways(
    config: RunConfig, model: nn.Module, noisy: nn.Module, data: Data
) -> dict[str, Callable[[], nn.Module]]:
    """Return how each way makes a network on the die."""
    hardware, images = config.hardware, torch.from_numpy(data.x_train)
    training = {"epochs": EPOCHS, "learning_rate": RATE, "seed": config.die.seed}

    def put(network: nn.Module, mapped: MappedNetwork) -> nn.Module:
        return to_torch(network, mapped, hardware, calibration=images)

    mapped = select_on_die(config, model, data)
    plain = put(model, mapped)
    wired = WiredDie(mapped.die, hardware.wires, hardware.periphery)
    descended = reselect_for_wires(mapped, hardware.wires, hardware.periphery)
    return {
        "as selected": lambda: plain,
        "noise-aware training before": lambda: put(noisy, select_on_die(config, noisy, data)),
        "outputs fitted": lambda: fit_outputs(plain, model, images),
        "outputs fitted, digital parts trained": lambda: fine_tune(
            fit_outputs(plain, model, images), data, **training
        ),
        "switches by descent": lambda: put(model, descended.mapped),
        "targets trained through the wires": lambda: put(
            *train_switches(model, data, mapped, wired, **training)
        ),
    }


def measure(ohm: float, model: nn.Module, noisy: nn.Module, data: Data) -> dict[str, Any]:
    """Return the accuracies of every way on all dies, and their means with intervals."""
    found: dict[str, list[float]] = {}
    for die in DIES:
        for way, make in ways(configured(ohm, die), model, noisy, data).items():
            found.setdefault(way, []).append(accuracy(make(), data.x_test, data.y_test))
        print(f"{ohm:g} ohm, die {die}", {way: round(each[-1], 4) for way, each in found.items()})
    return {way: {"each": each, **interval(each)} for way, each in found.items()}


def interval(values: list[float]) -> dict[str, float]:
    """Return mean and 95 % interval of the mean over dies."""
    found = mean_interval(values)
    return {"mean": found.value, "low": found.low, "high": found.high}


def by_gradient(mapped: MappedNetwork, wired: WiredDie) -> MappedNetwork:
    """Return the mapping whose matrices with wires came nearest to the targets by Adam."""
    layers = []
    for layer in mapped.layers:
        wanted = torch.from_numpy(layer.source.weight.copy())
        held = nn.Linear(*wanted.T.shape, bias=False, dtype=torch.float64)
        with torch.no_grad():
            held.weight.copy_(wanted)
        tiles = TrainedTargets(layer, wired)
        parametrize.register_parametrization(held, "weight", tiles)
        optimiser = torch.optim.Adam(held.parameters(), lr=MATRIX_RATE * layer.largest)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
        for _ in range(STEPS):
            optimiser.zero_grad()
            (held.weight - wanted).square().sum().backward()
            optimiser.step()
            schedule.step()
        parametrize.remove_parametrizations(held, "weight", leave_parametrized=False)
        layers.append(tiles.selected(held.weight.detach()))
    return MappedNetwork(tuple(layers), mapped.die, mapped.tile)


def rms(mapped: MappedNetwork, wired: WiredDie) -> float:
    """Return the rms error of the matrices with wires, as a fraction of each largest weight."""
    return float(np.sqrt(np.mean(np.concatenate([_misses(x, wired) for x in mapped.layers]) ** 2)))


def _misses(layer: MappedLayer, wired: WiredDie) -> np.ndarray:
    matrix = layer.assemble([wired.matrix(tile) for tile in layer.tiles])
    miss = matrix / layer.g_per_weight[:, None] - layer.source.weight
    return miss.ravel() / layer.largest


def matrices(ohm: float, model: nn.Module, data: Data) -> list[dict[str, float]]:
    """Return, for each die, the errors of the matrices by each way, and their seconds."""
    rows = []
    for die in MATRIX_DIES:
        config = configured(ohm, die)
        mapped, hardware = select_on_die(config, model, data), config.hardware
        wired = WiredDie(mapped.die, hardware.wires, hardware.periphery)
        row = {"die": die, "as selected": rms(mapped, wired)}
        start = time.process_time()
        descended = reselect_for_wires(mapped, hardware.wires, hardware.periphery).mapped
        middle = time.process_time()
        by_slopes = by_gradient(mapped, wired)
        row |= {"descent": rms(descended, wired), "descent_s": middle - start}
        row |= {"gradient": rms(by_slopes, wired), "gradient_s": time.process_time() - middle}
        rows.append(row)
    return rows


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--choose", action="store_true", help="how the rate was chosen")
    torch.set_num_threads(1)
    config = configured(OHM[0], 1)
    data = load_data(config)
    model = train_and_prune(config, data)[1].eval()
    if parser.parse_args().choose:
        choose(model, data)
        return
    noisy = train_noise_aware(model, data, sigma=SIGMA, epochs=EPOCHS, learning_rate=RATE)
    found = {ohm: measure(ohm, model, noisy, data) for ohm in OHM}
    errors = {ohm: matrices(ohm, model, data) for ohm in OHM}
    for ohm in OHM:
        rows = [[way, *(x[k] for k in ("mean", "low", "high"))] for way, x in found[ohm].items()]
        print_table(f"{ohm:g} ohm", ["way", "accuracy", "low", "high"], rows)
        print_table("matrices", list(errors[ohm][0]), [list(row.values()) for row in errors[ohm]])
    settings = {"epochs": EPOCHS, "rate": RATE, "sigma": SIGMA, "steps": STEPS}
    save_json(
        "through_wires",
        {
            "machine": machine(),
            "n_test": len(data.x_test),
            "n_die": len(DIES),
            "digital": accuracy(model, data.x_test, data.y_test),
            "noise_aware_digital": accuracy(noisy, data.x_test, data.y_test),
            "settings": settings,
            "noise": "Philox4x32-10",
            "accuracy": {f"{ohm:g}": rows for ohm, rows in found.items()},
            "matrices": {f"{ohm:g}": rows for ohm, rows in errors.items()},
        },
    )


def choose(model: nn.Module, data: Data) -> None:
    """Print the accuracy on training images for some rates, on another die."""
    ohm, images = OHM[-1], torch.from_numpy(data.x_train)
    config = configured(ohm, 101)
    mapped, hardware = select_on_die(config, model, data), config.hardware
    wired = WiredDie(mapped.die, hardware.wires, hardware.periphery)
    for epochs, rate in ((5, 1e-3), (5, 2e-3), (5, 4e-3)):
        training = {"epochs": epochs, "learning_rate": rate}
        network, put = train_switches(model, data, mapped, wired, **training)
        on_die = to_torch(network, put, hardware, calibration=images)
        print(ohm, epochs, rate, accuracy(on_die, data.x_train, data.y_train))


if __name__ == "__main__":
    main()
