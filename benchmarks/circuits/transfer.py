"""Transfer matrices of arrays with wires: three eliminations, and one vector after another.

Dense and pruned pairs of bit lines; all on one core, in one run, the fastest of several. The
matrices agree, or the script fails. Conjugate gradients solve one vector at a time, so their cost
for a matrix is that of as many vectors as there are word lines.

Run: python -m benchmarks.circuits.transfer  (two minutes)
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.common import machine, print_table, save_json
from crossbar_sim.solvers.conjugate_gradients import solve_vectors
from crossbar_sim.transfer.array_lines import Lines
from crossbar_sim.transfer.by_columns import eliminate_columns
from crossbar_sim.transfer.by_devices import eliminate_devices
from crossbar_sim.transfer.by_rows import eliminate_rows
from crossbar_sim.transfer.elimination import cheapest, one_blas_thread

#: Word lines, pairs of bit lines, and the share of the cells that are left.
ARRAYS = [(n, n, share) for share in (1.0, 0.1) for n in (16, 32, 64, 128, 256)]
ARRAYS += [(128, 16, 1.0), (16, 128, 1.0), (128, 128, 0.3)]
#: Larger arrays are not solved one vector after another.
MOST_VECTORS = 128
WAYS = {"columns": eliminate_columns, "devices": eliminate_devices, "rows": eliminate_rows}


def one_by_one(lines: Lines) -> np.ndarray:
    """Return the transfer matrix by conjugate gradients."""
    held = np.zeros(lines.g.shape)  # every TIA at 0 V, for each vector
    return lines.g_end * solve_vectors(lines, np.eye(len(lines.g)), held)[1][:, -1]


def fastest(call: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    """Return the shortest time [s] of several calls after a first one, and what they return."""
    found, times, start = call(), [], time.perf_counter()
    while len(times) < 2 or time.perf_counter() - start < 1.0:
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return min(times), found


def measured(n_word: int, n_bit: int, share: float) -> dict[str, Any]:
    """Return the time of each way [s], which one is chosen, and the largest disagreement."""
    rng = np.random.default_rng(n_word)
    g = rng.uniform(1e-6, 1e-4, (n_word, 2, n_bit)) * (rng.random((n_word, 1, n_bit)) < share)
    lines = Lines(g.reshape(n_word, -1), n_bit, 1 / 5.2, 1 / 5.2, 1 / 1.8, 1 / 1.8)
    ways = WAYS | ({"vectors": one_by_one} if n_word <= MOST_VECTORS else {})
    found = {name: fastest(lambda way=way: way(lines)) for name, way in ways.items()}
    largest = found["columns"][1].max()
    error = max(float(np.abs(m - found["columns"][1]).max()) for _, m in found.values()) / largest
    assert error < 1e-10, error
    chosen = next(name for name, way in WAYS.items() if way is cheapest(lines))
    seconds = {name: time for name, (time, _) in found.items()}
    size = {"n_word": n_word, "n_bit": n_bit, "share": share}
    return size | {"seconds": seconds, "chosen": chosen, "largest_difference": error}


def main() -> None:
    with one_blas_thread():
        arrays = [measured(*array) for array in ARRAYS]
    rows = [
        [
            f"{a['n_word']} × {a['n_bit']}",
            f"{a['share']:.0%}",
            *(f"{a['seconds'].get(way, np.nan) * 1e3:.2f}" for way in (*WAYS, "vectors")),
            a["chosen"],
        ]
        for a in arrays
    ]
    print_table("ms a matrix", ["array", "cells", *WAYS, "vectors", "chosen"], rows)
    save_json("transfer", {"machine": machine(), "arrays": arrays})


if __name__ == "__main__":
    main()
