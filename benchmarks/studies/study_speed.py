"""Speed of networks on a die compared with the digital forward pass, and of a ten-die study.

LeNet-5, 1,000 MNIST images, 64 × 64 tiles, 1 ohm wires, 8-bit converters, dense and 90 % pruned.

Run: python -m benchmarks.studies.study_speed  (about two minutes on two quiet cores)
"""

import os
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.common import ROOT, machine, print_table, save_json
from crossbar_sim import Hardware
from crossbar_sim.config.study import StudyConfig, load_study, with_values
from crossbar_sim.on_die.to_torch import to_torch
from crossbar_sim.pipeline.steps import build_model, load_data, select_on_die
from crossbar_sim.study.runner import Study
from crossbar_sim.study.store import Store
from crossbar_sim.study.trial import trained_path
from tinynets.networks.training import accuracy

STUDY = ROOT / "examples" / "studies" / "wires.toml"
REPEATS = 7


def best(call) -> float:
    """Return the least processor time of several calls [s]."""
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return float(np.min(times))


def forward(base, cache: Path, sparsity: float) -> dict:
    """Return the seconds for 1,000 images, digital and on the die."""
    config = with_values(base, {"model.kind": "lenet5", "prune.sparsity": sparsity})
    data, model = load_data(config), build_model(config)
    model.load_state_dict(torch.load(trained_path(config, cache), weights_only=True))
    model.eval()
    mapped = select_on_die(config, model, data)
    x = torch.from_numpy(data.x_train)
    parts = config.hardware.wires, config.hardware.periphery
    start = time.process_time()
    real = to_torch(model, mapped, config.hardware, calibration=x)
    made = time.process_time() - start
    wired = to_torch(
        model, mapped, Hardware(*parts, config.periphery.ideal_converters), calibration=x
    )
    digital = best(lambda: accuracy(model, data.x_test, data.y_test))
    row = {
        "sparsity": sparsity,
        "n_tile": len(mapped.tiles),
        "made_s": made,
        "digital_s": digital,
    }
    for name, network in (("wires", wired), ("wires, DAC and ADC", real)):
        seconds = best(lambda network=network: accuracy(network, data.x_test, data.y_test))
        row[name] = {"s": seconds, "ratio": seconds / digital}
    return row


def ten_dies(base, root: Path) -> dict:
    """Return the wall time of a study of ten dies, training included, and the load of the cores."""
    config = StudyConfig(name="ten", base=Path("mnist.toml"), dies=10)
    base = with_values(base, {"model.kind": "lenet5"})
    study = Study(config, base, Store(root / "ten.sqlite"))
    trained_path(base, root / "warm")  # compiles the kernels, as any earlier study would
    wall, busy = time.perf_counter(), _processor_time()
    study.run()
    wall, busy = time.perf_counter() - wall, _processor_time() - busy
    seconds = [record.seconds for record in study.records()]
    return {
        "wall_s": wall,
        "trial_s": float(np.mean(seconds)),
        "n_trial": len(seconds),
        "busy": busy / wall / (os.cpu_count() or 1),
        "accuracy": study.summary()[0].metrics["accuracy"].value,
    }


def _processor_time() -> float:
    """Return the processor time of this process and of its living child processes [s]."""
    import psutil

    me = psutil.Process()
    total = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    for child in me.children(recursive=True):
        times = child.cpu_times()
        total += times.user + times.system
    return total


def main() -> None:
    """Measure, print and keep."""
    torch.set_num_threads(1)
    _, base = load_study(STUDY)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        passes = [forward(base, root, sparsity) for sparsity in (0.0, 0.9)]
        study = ten_dies(base, root)
    rows = [
        [
            p["sparsity"],
            p["n_tile"],
            p["digital_s"],
            p["wires"]["ratio"],
            p["wires, DAC and ADC"]["ratio"],
        ]
        for p in passes
    ]
    print_table("forward pass", ["zeros", "tiles", "digital s", "wires ×", "all ×"], rows)
    print(study)
    save_json("study_speed", {"machine": machine(), "forward": passes, "study": study})


if __name__ == "__main__":
    main()
