"""Draw, check and write a tile of 64 × 64 cells of 2 × 6 branches; draw the pictures of the docs.

The branches are of a film of SKY130, programmed in both ways, and of the devices of two foundries.

Run: python -m benchmarks.fabrication.layout  (about a minute on one core; the models of both
foundries must be here: scripts/foundry.sh)
"""

import resource
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from benchmarks.common import RESULTS, machine, print_table, save_json, timed
from crossbar_sim.foundry.bank import foundry_bank
from crossbar_sim.foundry.measured import measured
from mapping import Die, ResistorBank, TileConfig, map_network
from netlists.circuit.wire_geometry import METALS
from netlists.foundry.branch import FoundryBranch
from netlists.layout.drawing import cell_layout, tile_layout, write_layout, write_picture
from netlists.layout.drc import check_rules
from netlists.layout.floorplan import plan_cell
from netlists.layout.foundry_technology import foundry_technology
from netlists.layout.lvs import compare_layout
from netlists.layout.technology import DBU, HIGH_PO, Technology, klayout
from tinynets.networks.layers import PrunedLayer, PrunedNetwork

N = 64
BANK = ResistorBank.sky130_high_po(n=6, r_min=20e3)
#: The branches of examples/foundry.
BRANCHES = (
    FoundryBranch(
        "sky130",
        "xhigh_po",
        (7e-6, 12.3e-6, 21.4e-6, 37.5e-6, 65.7e-6, 115e-6),
        v_max=0.22,
    ),
    FoundryBranch(
        "ihp-sg13g2",
        "rhigh",
        (7.5e-6, 13.1e-6, 23e-6, 40.2e-6, 70.3e-6, 123e-6),
        v_max=0.22,
    ),
)


@dataclass(frozen=True)
class Kind:
    """What a tile is made of."""

    bank: ResistorBank
    technology: Technology
    programming: Literal["switch", "via"]

    @property
    def name(self) -> str:
        """What files are called."""
        stated = "_lengths" if self.technology.lengths else ""
        return f"{self.technology.name}{stated}_{self.programming}"


def foundry_kind(branch: FoundryBranch) -> Kind:
    """Return a foundry's branches with what its models say of them."""
    found = measured(branch)
    return Kind(foundry_bank(found), foundry_technology(branch, found.r), "switch")


def line_error(kind: Kind) -> float | None:
    """Return the largest error of the line through the ohms of a foundry's lengths."""
    technology = kind.technology
    if not technology.lengths:
        return None
    drawn = [technology.ohm(technology.film.width, length) for length in technology.lengths]
    return float(np.abs(np.array(drawn) / kind.bank.r_nominal - 1).max())


def risers(kind: Kind) -> float | None:
    """Return what the metal below the shortest resistor adds to its ohms, as a fraction.

    Its metal is that of SKY130; no file of the other process states one.
    """
    technology, bank = kind.technology, kind.bank
    if not technology.lengths or not technology.metals:
        return None
    squares = (technology.lengths[-1] - technology.lengths[0]) / technology.film.width
    return float(squares * METALS["met1"].r_sheet / bank.r_nominal[0])


def mapped_tile(bank: ResistorBank, n_word: int, n_bit: int, density: float):
    """Return a mapped tile of random weights."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(n_bit, n_word)) * (rng.random((n_bit, n_word)) < density)
    network = PrunedNetwork((PrunedLayer("fc", weight, weight != 0),))
    return map_network(network, Die(bank, seed=1), TileConfig(n_word, n_bit)).tiles[0]


def measure(kind: Kind, directory: Path) -> dict:
    """Return the time of each step on one tile [s], and the results of the checks."""
    tile = mapped_tile(kind.bank, N, N, 1.0)
    bank, technology, how = kind.bank, kind.technology, {"programming": kind.programming}
    layout, *draw = timed(lambda: tile_layout(tile, bank, technology, **how))
    broken, *drc = timed(lambda: check_rules(layout, technology))
    comparison, *lvs = timed(lambda: compare_layout(layout, tile, bank, technology, **how))
    files = [directory / f"{kind.name}.gds", directory / f"{kind.name}.oas"]
    _, *write = timed(lambda: [write_layout(layout, path) for path in files])
    plan = plan_cell(bank, technology, kind.programming)
    steps = {"draw": draw, "DRC": drc, "LVS": lvs, "write": write}
    box = layout.top_cell().dbbox()
    return {
        "technology": technology.name,
        "lengths": list(technology.lengths),
        "programming": kind.programming,
        "cell_um": [round(side * DBU * 1e6, 3) for side in (plan.width, plan.height)],
        "line_error": line_error(kind),
        "riser_of_shortest": risers(kind),
        "branches": comparison.n_branch,
        "switches": comparison.n_switch,
        "rules_broken": len(broken),
        "mismatches": len(comparison.mismatches),
        "size_mm": [round(box.width() / 1e3, 3), round(box.height() / 1e3, 3)],
        "bytes": {path.suffix[1:]: path.stat().st_size for path in files},
        "seconds_total": round(sum(wall for wall, _ in steps.values()), 2),
        "cpu_seconds": {name: round(cpu, 2) for name, (_, cpu) in steps.items()},
        "cpu_seconds_total": round(sum(cpu for _, cpu in steps.values()), 2),
    }


def draw_pictures(kinds: list[Kind]) -> None:
    """Draw a cell with switches, its lower part, a tile with vias, and foundries' cells."""
    plan = plan_cell(BANK, HIGH_PO, "switch")
    cell = cell_layout(BANK, programming="switch")
    write_picture(cell, RESULTS / "layout_cell.png")
    foot = (-0.5e-6, -0.5e-6, plan.branches[0][3].x * DBU + 2e-6, 6e-6)
    write_picture(cell, RESULTS / "layout_switches.png", box=foot)
    tile = tile_layout(mapped_tile(BANK, 4, 3, 0.6), BANK, programming="via")
    write_picture(tile, RESULTS / "layout_tile.png")
    for kind in kinds:
        if kind.technology.lengths:
            cell = cell_layout(kind.bank, kind.technology)
            name = kind.technology.name.replace("-", "_")
            foot = (-0.5e-6, -0.5e-6, 11e-6, 8e-6)
            write_picture(cell, RESULTS / f"layout_foot_{name}.png", box=foot)


def main() -> None:
    """Measure, print and keep."""
    warnings.simplefilter("ignore")
    kinds = [Kind(BANK, HIGH_PO, "switch"), Kind(BANK, HIGH_PO, "via")]
    kinds += map(foundry_kind, BRANCHES)
    with tempfile.TemporaryDirectory() as directory:
        rows = [measure(kind, Path(directory)) for kind in kinds]
    kept = {
        "machine": machine(),
        "klayout": klayout().__version__,
        "cells": [N, N],
        "branches_a_side": BANK.n,
        "tiles": rows,
        "peak_memory_MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    header = ("technology", "by", "branches", "rules broken", "mismatches", "s", "cpu s")
    keys = ("technology", "programming", "branches", "rules_broken", "mismatches", "seconds_total")
    table = [[*(row[key] for key in keys), row["cpu_seconds_total"]] for row in rows]
    print_table(f"{N} × {N} cells of 2 × {BANK.n} branches", header, table)
    save_json("layout", kept)
    draw_pictures(kinds)


if __name__ == "__main__":
    main()
