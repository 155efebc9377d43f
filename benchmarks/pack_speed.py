"""A fabrication pack of a million branches: time to write and to read, and memory.

Run: python benchmarks/pack_speed.py
"""

import resource
import shutil
import tempfile
import warnings
from pathlib import Path

import numpy as np
from _common import machine, print_table, save_json, timed

from mapping import Die, ResistorBank, TileConfig, map_network
from netlists import read_pack, write_pack
from tinynets.layers import PrunedLayer, PrunedNetwork


def main() -> None:
    """Measure and keep."""
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(300, 280))  # 84,000 cells of 2 x 6 branches
    layer = PrunedLayer("dense", weight, np.ones(weight.shape, bool))
    # Perfect switches: the pack then holds no netlists, which have a time of their own.
    die = Die(ResistorBank(n=6, sigma_local=0.05, meter_error=1e-3, r_on=1e3), seed=1)
    mapped = map_network(PrunedNetwork((layer,)), die, TileConfig(64, 64))
    n_branch = 12 * weight.size
    directory = Path(tempfile.mkdtemp()) / "pack"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _, write_s, write_cpu = timed(lambda: write_pack(mapped, directory))
    _, read_s, read_cpu = timed(lambda: read_pack(directory))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    shutil.rmtree(directory.parent)
    rows = [("write", write_s, write_cpu), ("read", read_s, read_cpu)]
    print_table(f"{n_branch:,} branches, {size / 1e6:.0f} MB", ("", "wall s", "CPU s"), rows)
    save_json(
        "pack_speed",
        {
            "machine": machine(),
            "n_branch": n_branch,
            "bytes": size,
            "write_s": write_s,
            "write_cpu_s": write_cpu,
            "read_s": read_s,
            "read_cpu_s": read_cpu,
            "memory_grown_MB": grown / 1024,
        },
    )


if __name__ == "__main__":
    main()
