"""Fabrication packs and measured tables of growing size: time to write and to read, and memory.

Each step runs in a separate process. It runs once on a small pack before it is measured, so imports
and the start of pools do not count. Memory is the growth of the peak resident set, as Linux reports
it. Reading a pack must hold the network; the network's own size is given too.

Run: python -m benchmarks.fabrication.pack_speed
"""

import ctypes
import json
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.common import ROOT, machine, print_table, save_json, timed
from mapping import Die, MappedLayer, MappedNetwork, ResistorBank, TileConfig, map_network
from netlists import read_pack, write_pack
from netlists.fabrication.measured_wafer import read_wafer
from tinynets.networks.layers import PrunedLayer, PrunedNetwork

N_OUT = (75, 300, 1200)  # outputs of a dense layer of 280 inputs, 2 x 6 branches a cell
WAFER = (1000, 834)  # inputs, outputs: ten million branches
STEPS = ("write", "read")


def main() -> None:
    """Measure, print and keep."""
    if len(sys.argv) > 1:
        print(json.dumps(step(sys.argv[1], Path(sys.argv[2]))))
        return
    packs, wafers = [], []
    with tempfile.TemporaryDirectory() as root:
        make(4).save(Path(root) / "small.npz")
        for n_out in N_OUT:
            mapped = make(n_out)
            mapped.save(Path(root) / "network.npz")
            costs = {name: in_process(name, root) for name in STEPS}
            size = sum(p.stat().st_size for p in (Path(root) / "pack").rglob("*") if p.is_file())
            entry = {"n_branch": 12 * 280 * n_out, "bytes": size, "network_MB": size_of(mapped)}
            entry |= {f"{k}_{key}": v for k, row in costs.items() for key, v in row.items()}
            packs.append(entry)
            shutil.rmtree(Path(root) / "pack")
        n_row = write_tables(Path(root))
        for suffix in ("csv", "parquet"):
            wafers.append({"table": suffix, "n_row": n_row, **in_process(suffix, root)})
    header = ("branches", "write s", "MB", "read s", "MB", "network MB")
    keys = ("n_branch", "write_s", "write_MB", "read_s", "read_MB", "network_MB")
    print_table("packs", header, [[row[k] for k in keys] for row in packs])
    print_table("tables", ("table", "rows", "s", "CPU s", "MB"), [list(w.values()) for w in wafers])
    million = packs[1]
    save_json(
        "pack_speed",
        {"machine": machine(), **million, "packs": packs, "wafers": wafers},
    )


def make(n_out: int) -> MappedNetwork:
    """Return a dense layer on a die; its pack includes netlists."""
    warnings.simplefilter("ignore")
    weight = np.random.default_rng(0).normal(size=(n_out, 280))
    layer = PrunedLayer("dense", weight, np.ones(weight.shape, bool))
    die = Die(ResistorBank(n=6, sigma_local=0.05, meter_error=1e-3, r_on=1e3, r_off=1e9), seed=1)
    return map_network(PrunedNetwork((layer,)), die, TileConfig(64, 64))


def size_of(mapped: MappedNetwork) -> float:
    """Return the size of the arrays of a network [MB]."""
    arrays = [a for tile in mapped.tiles for a in vars(tile).values() if isinstance(a, np.ndarray)]
    for layer in mapped.layers:
        arrays += [layer.predicted, layer.source.weight, layer.source.mask]
    return sum(a.nbytes for a in arrays) / 1e6


def in_process(name: str, root: str) -> dict[str, float]:
    """Return time and memory of a step, measured in a separate process."""
    command = [sys.executable, "-m", "benchmarks.fabrication.pack_speed", name, root]
    done = subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True)
    return json.loads(done.stdout)


def step(name: str, root: Path) -> dict[str, float]:
    """Run one step on a small pack, then measure it."""
    if name in ("csv", "parquet"):
        mapped = wafer_network(4, 4)
        read_wafer(root / f"small.{name}", mapped)
        mapped = wafer_network(*WAFER)
        return measure(lambda: read_wafer(root / f"wafer.{name}", mapped))
    if name == "read":
        read_pack(root / "small")
        return measure(lambda: read_pack(root / "pack"))
    small, mapped = (MappedNetwork.load(root / f"{k}.npz") for k in ("small", "network"))
    shutil.rmtree(root / "small", ignore_errors=True)
    write_pack(small, root / "small")
    return measure(lambda: write_pack(mapped, root / "pack"))


def measure(call: Callable[[], object]) -> dict[str, float]:
    """Return wall and processor time [s] of a call, and the peak growth of memory [MB]."""
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # freed memory would hide the memory of the call
    Path("/proc/self/clear_refs").write_text("5")
    before = peak()
    _, wall, cpu = timed(call)
    return {"s": wall, "cpu_s": cpu, "MB": peak() - before}


def peak() -> float:
    """Return the largest resident set since it was last reset [MB]."""
    (line,) = (x for x in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in x)
    return int(line.split()[1]) * 1024 / 1e6


def wafer_network(n_in: int, n_out: int) -> MappedNetwork:
    """Return a network without selections; reading a table needs only its cells."""
    made, weight = make(4), np.ones((n_out, n_in))
    layer = PrunedLayer("dense", weight, np.ones(weight.shape, bool))
    empty = MappedLayer(layer, np.ones(n_out), np.zeros(weight.shape), ())
    return MappedNetwork((empty,), made.die, made.tile)


def write_tables(root: Path) -> int:
    """Write small and large tables of readings, CSV and Parquet; return the large one's rows."""
    import pyarrow
    from pyarrow import csv, parquet

    for name, (n_in, n_out) in {"small": (4, 4), "wafer": WAFER}.items():
        i, j, s, b = (a.ravel() for a in np.indices((n_in, n_out, 2, 6)))
        spread = np.random.default_rng(1).normal(1, 0.05, len(b))
        columns = {"layer": np.repeat("dense", len(i)), "input": i, "output": j}
        columns |= {"side": np.array(["pos", "neg"])[s], "branch": b}
        ohm = (make(4).die.bank.r_nominal + 1e3)[b] * spread
        table = pyarrow.table(columns | {"ohm": ohm})
        csv.write_csv(table, root / f"{name}.csv")
        parquet.write_table(table, root / f"{name}.parquet")
    return len(i)


if __name__ == "__main__":
    main()
