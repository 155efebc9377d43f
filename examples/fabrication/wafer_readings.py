"""A wafer measured by readings of several branches at once: export, read, re-select.

Run: crossbar-sim run examples/runs/digits.toml --quick
     python examples/fabrication/wafer_readings.py [RUN [OUTPUT]]
OUTPUT, if given, receives pack/ with plan.csv, readings.csv, and new/ with the report and the new
pack.
"""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from crossbar_sim.jobs.wafer_loop import Readings, export_run, reselect_run
from crossbar_sim.pipeline.finished_run import read_run
from mapping import Die
from netlists.fabrication.plan_file import read_plan

RUN = Path(sys.argv[1] if len(sys.argv) > 1 else "results/digits")
FIXED, DRIFT = 1e-8, 0.2  # the meter's error [S]; relative drift of every resistor since selection

with tempfile.TemporaryDirectory() as scratch:
    output = Path(sys.argv[2] if len(sys.argv) > 2 else scratch)
    pack = export_run(RUN, output / "pack", relative=0.0, absolute=FIXED)
    mapped, rng = read_run(RUN)[1], np.random.default_rng(0)
    plan, meter = read_plan(pack / "plan.csv", mapped.die.bank.n)
    die = Die(replace(mapped.die.bank, drift_sigma=DRIFT), mapped.die.seed).aged(1000)
    with (table := output / "readings.csv").open("w") as file:
        file.write("layer,input,output,side,reading,siemens\n")
        for layer in mapped.layers:
            inputs, outputs = layer.source.cells
            true = die.branches(layer.name, inputs, outputs, measured=False)
            g = (true.g_closed - true.g_open) @ plan.closed.T + true.g_open.sum(-1, keepdims=True)
            g += meter.sigma(g) * rng.standard_normal(g.shape)
            for cell, side, k in np.ndindex(g.shape):
                place = f"{layer.name},{inputs[cell]},{outputs[cell]},{('pos', 'neg')[side]},{k}"
                file.write(f"{place},{float(g[cell, side, k])!r}\n")
    readings = Readings(table, plan=pack / "plan.csv")
    summary = reselect_run(RUN, readings, output / "new", tolerance=0.002)
    for key, value in summary.items():
        print(f"{key}: {value:.4g}")
