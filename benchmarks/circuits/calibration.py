"""Switches chosen against the wires: error of the matrix by round, for two arrays and real banks.

Arrays: 64 × 64 cells of up to 100 µS and 128 × 128 of up to 10 µS, 80 % pruned, 1 ohm per segment.
"Bank" is the error of the same selection without wires, the resolution of the bank.

Run: python -m benchmarks.circuits.calibration  (about two minutes)
"""

import time
import warnings

import numpy as np

from benchmarks.common import figure, machine, print_table, save_json
from crossbar_sim.calibration.switches import reselect_for_wires
from crossbar_sim.calibration.tile import pair_matrix
from mapping import Die, LadderGapWarning, ResistorBank, TileConfig, map_network
from netlists import Periphery, Wires
from tinynets import PrunedLayer, PrunedNetwork

WIRES, ENDS = Wires(1.0, 1.0), Periphery(tia_gain=1e4)
#: Lines, and the conductance of the largest weight [S].
ARRAYS = ((64, 100e-6), (128, 10e-6))
DENSITY, ROUNDS, DIES = 0.2, 24, 3


def network(size: int) -> PrunedNetwork:
    """Return a square layer of random weights."""
    rng = np.random.default_rng(size)
    weight = rng.normal(0, 0.35, (size, size)).clip(-1, 1) * (rng.random((size, size)) < DENSITY)
    return PrunedNetwork((PrunedLayer("a", weight, weight != 0),))


def bank(n: int, g_max: float, meter: float) -> ResistorBank:
    """Return a bank of total conductance 2 g_max, whose largest weight gets about g_max [S]."""
    parts = sum(1.75**-k for k in range(n))
    options = {"sigma_local": 0.05, "r_on": 100.0, "r_off": 1e10, "meter_error": meter}
    return ResistorBank(n=n, r_min=parts / (2 * g_max), **options)


def measure(size: int, g_max: float, n: int, meter: float, seed: int) -> dict:
    """Calibrate one die; errors are rms over remaining weights, as a fraction of the largest."""
    die = Die(bank(n, g_max, meter), seed)
    mapped = map_network(network(size), die, TileConfig(size, size))
    start = time.perf_counter()
    calibrated = reselect_for_wires(mapped, WIRES, ENDS, rounds=ROUNDS)
    seconds = time.perf_counter() - start
    (report,) = calibrated.layers
    return {
        "bank": float(np.sqrt(np.mean(mapped.layers[0].error ** 2))),
        "before": rms(mapped),
        "after": rms(calibrated.mapped),
        "errors": list(report.errors),
        "changed": report.n_changed / report.n_switch,
        "seconds": seconds,
    }


def rms(mapped) -> float:
    """Return the rms error of the matrix with its wires, over the cells that have devices."""
    layer = mapped.layers[0]
    (tile,) = layer.tiles
    gap = (pair_matrix(tile, WIRES, ENDS) - layer.target_of(tile)) / layer.g_per_weight[
        tile.columns
    ]
    return float(np.sqrt(np.mean(gap[tile.present] ** 2)) / layer.largest)


def main() -> None:
    """Measure, print, draw and keep."""
    warnings.simplefilter("ignore", LadderGapWarning)
    rows = []
    for size, g_max in ARRAYS:
        for n, meter in ((4, 0.0), (6, 0.0), (6, 1e-3), (8, 0.0), (8, 1e-3)):
            runs = [measure(size, g_max, n, meter, seed) for seed in range(DIES)]
            mean = {
                key: float(np.mean([f[key] for f in runs])) for key in runs[0] if key != "errors"
            }
            errors = np.mean([f["errors"] for f in runs], axis=0).tolist()
            rows.append(
                {"size": size, "g_max": g_max, "n": n, "meter": meter, **mean, "errors": errors}
            )
    header = ["array", "n", "meter", "before", "after", "bank", "seconds"]
    print_table(
        "rms error of the matrix",
        header,
        [
            [r["size"], r["n"], r["meter"], r["before"], r["after"], r["bank"], r["seconds"]]
            for r in rows
        ],
    )
    with figure("calibration", 2) as axes:
        for place, (size, _) in zip(axes, ARRAYS):
            for row in rows:
                if row["size"] == size:
                    label = f"n = {row['n']}, meter {row['meter']:.1%}"
                    place.semilogy(row["errors"], label=label)
            place.set(title=f"{size} × {size}", xlabel="round", ylabel="rms error, by the meter")
            place.legend(frameon=False, fontsize=8)
            place.grid(alpha=0.3)
    save_json("calibration", {"machine": machine(), "dies": DIES, "rounds": ROUNDS, "rows": rows})


if __name__ == "__main__":
    main()
