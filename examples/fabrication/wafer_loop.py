"""A laboratory's loop: select, age the die, measure it, re-select; print the accuracies.

Run: crossbar-sim run examples/runs/digits.toml --quick
     python examples/fabrication/wafer_loop.py [RUN [OUTPUT]]
OUTPUT, if given, receives measured.csv, and new/ with the report, the changes and the pack."""

import sys
import tempfile
from pathlib import Path

import numpy as np

from crossbar_sim.jobs.wafer_loop import Readings, reselect_run
from crossbar_sim.pipeline.finished_run import read_run

RUN = Path(sys.argv[1] if len(sys.argv) > 1 else "results/digits")
DRIFT, BROKEN = 0.05, 0.02


def measure(run: Path, path: Path) -> None:
    """Write the meter's readings after every resistor has drifted and some have broken."""
    _, mapped = read_run(run)
    rng = np.random.default_rng(0)
    with path.open("w") as file:
        file.write("layer,input,output,side,branch,ohm\n")
        for layer in mapped.layers:
            inputs, outputs = layer.source.cells
            ohm = mapped.die.measured(layer.name, inputs, outputs)
            ohm = ohm * (1 + DRIFT * rng.standard_normal(ohm.shape))
            for cell, side, branch in np.ndindex(ohm.shape):
                value = "" if rng.random() < BROKEN else repr(float(ohm[cell, side, branch]))
                sign = ("pos", "neg")[side]
                place = f"{layer.name},{inputs[cell]},{outputs[cell]},{sign},{branch}"
                file.write(f"{place},{value}\n")


with tempfile.TemporaryDirectory() as scratch:
    output = Path(sys.argv[2] if len(sys.argv) > 2 else scratch)
    output.mkdir(parents=True, exist_ok=True)
    measure(RUN, output / "measured.csv")
    measured = Readings(output / "measured.csv")
    summary = reselect_run(RUN, measured, output / "new", tolerance=0.005)
    for key, value in summary.items():
        print(f"{key}: {value:.4g}")
