"""Speed of networks on a die compared with the digital forward pass, and of a ten-die study.

LeNet-5, MNIST, 64 × 64 tiles, drawn wires, 8-bit converters, dense and 90 % pruned. Then the trials
of a die with all 10,000 test images and 6,000 held-out ones, by this code and by that of an earlier
commit: processes take turns, and a timer around each step tells where their processor time goes.

Run: python -m benchmarks.studies.study_speed  (about five minutes on two quiet cores)
or with --dies for the trials of dies alone; the rest of the kept file then stays.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numba
import numpy as np
import torch

from benchmarks.common import RESULTS, ROOT, machine, print_table, save_json
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
NETWORKS = ROOT / "results" / "networks"
#: Commit whose trials are compared with those of this code, and number of turns.
BASE, TURNS = "1e63f96", 1
#: The trials of a process; it runs by the code of either commit.
TRIALS = ROOT / "benchmarks" / "studies" / "die_trials.py"


def best(call) -> float:
    """Return the least processor time of several calls [s]."""
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return float(np.min(times))


def forward(base, cache: Path, sparsity: float) -> dict:
    """Return the seconds for all test images, digital and on the die."""
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
        "n_image": len(data.x_test),
        "n_tile": len(mapped.tiles),
        "made_s": made,
        "digital_s": digital,
    }
    for name, network in (("wires", wired), ("wires, DAC and ADC", real)):
        seconds = best(lambda network=network: accuracy(network, data.x_test, data.y_test))
        row[name] = {"s": seconds, "ratio": seconds / digital}
    return row


def ten_dies(base, root: Path) -> dict:
    """Return the wall time of a study of ten dies, training included."""
    config = StudyConfig(name="ten", base=Path("mnist.toml"), dies=10)
    base = with_values(base, {"model.kind": "lenet5"})
    study = Study(config, base, Store(root / "ten.sqlite"))
    trained_path(base, root / "warm")  # compiles the kernels, as any earlier study would
    start = time.perf_counter()
    study.run()
    wall = time.perf_counter() - start
    seconds = [record.seconds for record in study.records()]
    return {
        "wall_s": wall,
        "trial_s": float(np.mean(seconds)),
        "n_trial": len(seconds),
        "accuracy": study.summary()[0].metrics["accuracy"].value,
    }


def dies(network: Path, root: Path) -> dict:
    """Return the processor time of trials by the earlier code and by this one, and their metrics.

    network: file of the trained network, the same for both.
    """
    subprocess.run(
        ["git", "worktree", "add", "--detach", root / "base", BASE], cwd=ROOT, check=True
    )
    trees, found = {"before": root / "base", "now": ROOT}, {"before": [], "now": []}
    try:
        for turn in range(TURNS):
            for name, tree in trees.items():
                environment = os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
                command = [sys.executable, str(TRIALS), str(network), str(2 + turn)]
                done = subprocess.run(
                    command, cwd=tree, env=environment, stdout=subprocess.PIPE, check=True
                )
                found[name].append(json.loads(done.stdout.splitlines()[-1]))
    finally:
        subprocess.run(
            ["git", "worktree", "remove", "--force", root / "base"], cwd=ROOT, check=True
        )
    return {"base": BASE, **{name: _least(turns) for name, turns in found.items()}} | {
        "change": _change(*([turn["metrics"] for turn in turns] for turns in found.values()))
    }


def _least(turns: list[dict]) -> dict:
    """Return the figures of the turn that took the least processor time."""
    best = min(turns, key=lambda turn: turn["seconds"])
    steps = {"seconds": best["seconds"], "steps": best["steps"]}
    return steps | {"dies_an_hour": 3600 * 2 / best["seconds"]}


def _change(before: list[dict], now: list[dict]) -> dict[str, float]:
    """Return the largest change of each metric that changes at all, relative to its value."""
    pairs = [(name, a[name], b[name]) for a, b in zip(before, now) for name in a]
    found: dict[str, float] = {}
    for name, old, new in pairs:
        if old != new:
            found[name] = max(found.get(name, 0.0), abs(new - old) / max(abs(old), abs(new)))
    return found


def main() -> None:
    """Measure, print and keep."""
    numba.get_num_threads()  # its first call resets torch's threads
    torch.set_num_threads(1)
    _, base = load_study(STUDY)
    config = with_values(base, {"model.kind": "lenet5"})
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        kept = dies(trained_path(config, NETWORKS), root)
    print(json.dumps(kept, indent=1))
    file = RESULTS / "study_speed.json"
    if "--dies" in sys.argv:
        old = json.loads(file.read_text(encoding="utf-8"))
        save_json("study_speed", old | {"dies": kept | {"machine": machine()}})
        return
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
    parts = {"machine": machine(), "forward": passes, "study": study}
    save_json("study_speed", parts | {"dies": kept | {"machine": machine()}})


if __name__ == "__main__":
    main()
