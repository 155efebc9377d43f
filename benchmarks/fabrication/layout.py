"""Draw, check and write a tile of 64 × 64 cells of 2 × 6 branches; draw the pictures of the docs.

Run: python -m benchmarks.fabrication.layout  (about a minute on one core)
"""

import resource
import tempfile
import warnings
from pathlib import Path

import numpy as np

from benchmarks.common import RESULTS, machine, print_table, save_json, timed
from mapping import Die, ResistorBank, TileConfig, map_network
from netlists.layout.drawing import cell_layout, tile_layout, write_layout, write_picture
from netlists.layout.drc import check_rules
from netlists.layout.floorplan import plan_cell
from netlists.layout.lvs import compare_layout
from netlists.layout.technology import DBU, HIGH_PO, klayout
from tinynets.networks.layers import PrunedLayer, PrunedNetwork

N = 64
BANK = ResistorBank.sky130_high_po(n=6, r_min=20e3)


def mapped_tile(n_word: int, n_bit: int, density: float):
    """Return a mapped tile of random weights."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(n_bit, n_word)) * (rng.random((n_bit, n_word)) < density)
    network = PrunedNetwork((PrunedLayer("fc", weight, weight != 0),))
    return map_network(network, Die(BANK, seed=1), TileConfig(n_word, n_bit)).tiles[0]


def measure(tile, programming: str, directory: Path) -> dict:
    """Return the time of each step on one tile [s], and the results of the checks."""
    layout, *draw = timed(lambda: tile_layout(tile, BANK, programming=programming))
    broken, *drc = timed(lambda: check_rules(layout, HIGH_PO))
    comparison, *lvs = timed(
        lambda: compare_layout(layout, tile, BANK, HIGH_PO, programming=programming)
    )
    files = [directory / f"{programming}.gds", directory / f"{programming}.oas"]
    _, *write = timed(lambda: [write_layout(layout, path) for path in files])
    steps = {"draw": draw, "DRC": drc, "LVS": lvs, "write": write}
    box = layout.top_cell().dbbox()
    return {
        "programming": programming,
        "branches": comparison.n_branch,
        "switches": comparison.n_switch,
        "rules_broken": len(broken),
        "mismatches": len(comparison.mismatches),
        "size_mm": [round(box.width() / 1e3, 3), round(box.height() / 1e3, 3)],
        "bytes": {path.suffix[1:]: path.stat().st_size for path in files},
        "seconds": {name: round(wall, 2) for name, (wall, _) in steps.items()},
        "seconds_total": round(sum(wall for wall, _ in steps.values()), 2),
        "cpu_seconds_total": round(sum(cpu for _, cpu in steps.values()), 2),
    }


def draw_pictures() -> None:
    """Draw a cell with switches, its lower part, and a small tile programmed by vias."""
    plan = plan_cell(BANK, HIGH_PO, "switch")
    cell = cell_layout(BANK, programming="switch")
    write_picture(cell, RESULTS / "layout_cell.png")
    foot = (-0.5e-6, -0.5e-6, plan.branches[0][3].x * DBU + 2e-6, 6e-6)
    write_picture(cell, RESULTS / "layout_switches.png", box=foot)
    tile = tile_layout(mapped_tile(4, 3, 0.6), BANK, programming="via")
    write_picture(tile, RESULTS / "layout_tile.png")


def main() -> None:
    """Measure, print and keep."""
    warnings.simplefilter("ignore")
    tile = mapped_tile(N, N, 1.0)
    with tempfile.TemporaryDirectory() as directory:
        rows = [measure(tile, p, Path(directory)) for p in ("switch", "via")]
    plan = plan_cell(BANK, HIGH_PO, "switch")
    kept = {
        "machine": machine(),
        "klayout": klayout().__version__,
        "cells": [N, N],
        "branches_a_side": BANK.n,
        "cell_um": [round(side * DBU * 1e6, 3) for side in (plan.width, plan.height)],
        "tiles": rows,
        "peak_memory_MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    header = ("programming", "branches", "rules broken", "mismatches", "s", "cpu s")
    keys = ("programming", "branches", "rules_broken", "mismatches", "seconds_total")
    table = [[*(row[key] for key in keys), row["cpu_seconds_total"]] for row in rows]
    print_table(f"{N} × {N} cells of 2 × {BANK.n} branches", header, table)
    save_json("layout", kept)
    draw_pictures()


if __name__ == "__main__":
    main()
