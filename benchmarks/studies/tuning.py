"""Accuracy that software recovers on a bad die: four ways, on five dies each.

LeNet-5 on MNIST, 90 % pruned, 64 × 64 tiles, 8-bit converters. The bad dies have amplifiers
with 2 mV of offset, or wires of 100 ohm and amplifiers of gain 100, or banks of two branches.

Run: python -m benchmarks.studies.tuning  (about 45 minutes on one core)
"""

import time
import warnings

import numpy as np
import torch

from benchmarks.common import RESULTS, machine, print_table, save_json
from crossbar_sim.calibration.tune import (
    Chip,
    fine_tune,
    fine_tune_layer_by_layer,
    fit_outputs,
    train_noise_aware,
)
from crossbar_sim.config import RunConfig
from crossbar_sim.on_die.to_torch import to_torch
from crossbar_sim.pipeline.steps import build_model, load_data, select_on_die
from crossbar_sim.study.trial import trained_path
from mapping import LadderGapWarning
from tinynets.networks.training import accuracy

DIES = range(1, 6)
BASE = {
    "name": "tuning",
    "data": "mnist",
    "model": {"kind": "lenet5"},
    "train": {"epochs": 1, "learning_rate": 0.002},
    "prune": {"sparsity": 0.9, "rounds": 5, "epochs_per_round": 1, "learning_rate": 0.002},
    "tile": {"n_word": 64, "n_bit": 64},
}
TROUBLES = {
    "amplifier offset of 2 mV": {"periphery": {"v_offset_sigma": 2e-3}},
    "wires of 100 ohm, gain of 100": {
        "wires": {"source": "given", "r_word": 100.0, "r_bit": 100.0},
        "periphery": {"tia_gain": 100.0},
    },
    "two branches a side": {"bank": {"n": 2}},
    "two branches, nearest single resistor": {"bank": {"n": 2}, "select": {"max_closed": 1}},
}
EPOCHS, RATE, SIGMA = 1, 0.002, 0.05
#: Training images that set the ranges, and that fit the outputs.
N_RANGE, N_OUTPUT = 4000, 300


def on_die(config: RunConfig, model, data):
    """Return a network on the die of a configuration."""
    mapped = select_on_die(config, model, data)
    calibration = torch.from_numpy(data.x_train[:N_RANGE])
    return to_torch(model, mapped, config.hardware, calibration=calibration)


def measure(config: RunConfig, model, noisy, data) -> dict[str, tuple[float, float]]:
    """Return the test accuracy and the seconds of each way on one die."""
    images = torch.from_numpy(data.x_train[:N_OUTPUT])
    options = {"epochs": EPOCHS, "learning_rate": RATE, "seed": config.die.seed}
    die = select_on_die(config, model, data).die
    chip = Chip(die, config.tile.size, config.hardware, config.select)
    plain = on_die(config, model, data)
    fitted = fit_outputs(plain, model, images)
    ways = {
        "as it is": lambda: plain,
        "noise-aware training before": lambda: on_die(config, noisy, data),
        "outputs fitted": lambda: fit_outputs(plain, model, images),
        "fitted, then trained through the die": lambda: fine_tune(fitted, data, **options),
        "layer by layer through the die": lambda: fine_tune_layer_by_layer(
            model, data, chip, **options
        )[0],
    }
    results = {}
    for way, make in ways.items():
        start = time.perf_counter()
        network = make()
        seconds = time.perf_counter() - start
        results[way] = accuracy(network, data.x_test, data.y_test), seconds
    return results


def main() -> None:
    """Measure, print and keep."""
    warnings.simplefilter("ignore", LadderGapWarning)
    torch.set_num_threads(1)
    base = RunConfig.model_validate(BASE)
    data, model = load_data(base), build_model(base)
    kept = trained_path(base, RESULTS.parents[1] / "results" / "studies.networks")
    model.load_state_dict(torch.load(kept, weights_only=True))
    model.eval()
    noisy = train_noise_aware(model, data, sigma=SIGMA, epochs=1, learning_rate=RATE, seed=1)
    troubles = {}
    for trouble, change in TROUBLES.items():
        runs = []
        for seed in DIES:
            config = RunConfig.model_validate(BASE | change | {"die": {"seed": seed}})
            runs.append(measure(config, model, noisy, data))
        troubles[trouble] = {
            way: {
                "accuracy": float(np.mean([run[way][0] for run in runs])),
                "error": float(np.std([run[way][0] for run in runs], ddof=1) / len(runs) ** 0.5),
                "seconds": float(np.mean([run[way][1] for run in runs])),
            }
            for way in runs[0]
        }
        rows = [[way, *figures.values()] for way, figures in troubles[trouble].items()]
        print_table(trouble, ["way", "accuracy", "error", "s"], rows)
    save_json(
        "tuning",
        {
            "machine": machine(),
            "data": data.name,
            "dies": len(DIES),
            "digital": accuracy(model, data.x_test, data.y_test),
            "noise_aware_digital": accuracy(noisy, data.x_test, data.y_test),
            "settings": {"epochs": EPOCHS, "rate": RATE, "sigma": SIGMA, "n_output": N_OUTPUT},
            "troubles": troubles,
        },
    )


if __name__ == "__main__":
    main()
