"""Certified currents: how narrow, at what cost, and whether anything wrong is accepted.

All tiles of the examples with their shipped networks, for real inputs, and random arrays of many
sizes, wires and amplifiers. Every certificate goes through the checker; so do corrupted ones.

Run: python -m benchmarks.circuits.certificates  (two minutes)
"""

import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import ROOT, machine, print_table, save_json
from crossbar_sim import certify, load_config, solve
from crossbar_sim.certificates.checker import check
from crossbar_sim.pipeline.deployment import Deployment, reads_of
from crossbar_sim.pipeline.kept import Kept
from netlists import Circuit, Periphery, Wires, array_circuit, tile_circuit

#: Number of real images, and of vectors per tile at most.
N_IMAGE, N_VECTOR = 8, 64
SIZES = [(1, 1), (8, 8), (32, 16), (64, 64), (16, 128), (128, 128)]
OHMS = [0.0, 1e-3, 1.0, 100.0, 1e4, 1e6]
GAINS = [np.inf, 1e3]


def tiles_of(name: str) -> Iterator[tuple[Circuit, np.ndarray]]:
    """Yield the circuits of an example's tiles with their word-line voltages."""
    config = load_config(ROOT / "examples" / "runs" / f"{name}.toml")
    way = Deployment(config, Kept())
    images = way.data.x_test[:N_IMAGE]
    reads = reads_of(way.on_die(config.hardware), way.mapped, images, config.hardware.converters)
    for tile in way.mapped.tiles:
        hardware, volts = config.hardware, reads.v_in[tile.layer][:N_VECTOR, tile.rows]
        yield tile_circuit(tile, hardware.wires, hardware.periphery), volts


def random_arrays() -> Iterator[tuple[Circuit, np.ndarray]]:
    """Yield arrays with cells over five decades, of which a third is missing."""
    for k, (shape, ohm, gain) in enumerate(
        (shape, ohm, gain) for shape in SIZES for ohm in OHMS for gain in GAINS
    ):
        rng = np.random.default_rng(k)
        g = 10 ** rng.uniform(-8, -3, size=shape) * (rng.random(shape) < 0.67)
        ends = Periphery(tia_gain=gain, v_offset_sigma=1e-3)
        circuit = array_circuit(g, Wires(ohm, ohm / 3, 50.0 if ohm else 0.0), ends)
        yield circuit, rng.uniform(-0.2, 0.2, size=(4, shape[0]))


def measured(circuit: Circuit, v_in: np.ndarray) -> dict[str, Any]:
    """Return width and cost of a certificate that the checker has accepted."""
    start = time.perf_counter()
    solution = solve(circuit, v_in, nodes=True)
    solved = time.perf_counter()
    certificate = certify(solution)
    certified = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "c.npz"
        certificate.save(path)
        saved = time.perf_counter()
        check(path)
        size = path.stat().st_size
    return {
        "n_word": circuit.n_word,
        "n_line": circuit.n_line,
        "currents": int(solution.i_out.size),
        "width": certificate.width,
        "engine_off": certificate.outside(solution.i_out),
        "solve_s": solved - start,
        "certify_s": certified - solved,
        "check_s": time.perf_counter() - saved,
        "bytes": size,
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return quantiles of the widths, and totals."""
    width = np.array([row["width"] for row in rows])
    return {
        "tiles": len(rows),
        "currents": sum(row["currents"] for row in rows),
        "width": {f"{q:g} %": float(np.percentile(width, q)) for q in (50, 95, 100)},
        "narrower_than_1e-9": float((width <= 1e-9).mean()),
        "engine_off": max(row["engine_off"] for row in rows),
        **{key: sum(row[key] for row in rows) for key in ("solve_s", "certify_s", "check_s")},
    }


def main() -> None:
    """Certify and check everything, print the table and keep it."""
    start = machine()
    for one in islice(random_arrays(), 16):  # what is compiled at its first use is not counted
        measured(*one)
    sets = {name: tiles_of(name) for name in ("digits", "digits_cnn")}
    sets["random arrays"] = random_arrays()
    found = {name: [measured(*one) for one in each] for name, each in sets.items()}
    kept = {name: summary(rows) for name, rows in found.items()}
    print_table(
        "Certified currents",
        [
            "set",
            "tiles",
            "currents",
            "median width",
            "widest",
            "solve [s]",
            "certify [s]",
            "check [s]",
        ],
        [
            [
                name,
                row["tiles"],
                row["currents"],
                row["width"]["50 %"],
                row["width"]["100 %"],
                *(row[key] for key in ("solve_s", "certify_s", "check_s")),
            ]
            for name, row in kept.items()
        ],
    )
    save_json("certificates", {"machine": start, "sets": kept})


if __name__ == "__main__":
    main()
