"""Arrays of nonlinear branches: the engine beside ngspice on the same polynomials.

Pairs of banks of eight branches, each a resistor in series with a transistor that is closed, or
open with a millionth of its current; 100 vectors. Times are processor times, on one thread, of the
fastest of several runs. ngspice gets one sweep over all vectors of a deck with a B source for each
cell; its time includes reading the deck, which is kept apart too, as is the time with ngspice's own
tolerances (rough).

Run: python -m benchmarks.circuits.nonlinear  (half a minute)
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numba
import numpy as np

from benchmarks.common import machine, print_table, save_json
from crossbar_sim import Branches, CellLaws, VoltageBox, solve_nonlinear
from crossbar_sim.ngspice.library import find_library
from crossbar_sim.ngspice.process import run_job
from crossbar_sim.nonlinear.deck import CLOSE, nonlinear_job
from netlists import Periphery, Wires

N_VECTOR, N_BRANCH = 100, 8
WIRES, ENDS = Wires(5.2, 1.8, 100.0), Periphery(tia_gain=1e4, v_offset_sigma=1e-3)
#: Inputs are 0 … 0.3 V; amplifiers hold the bit lines near 0 V.
V_READ = 0.3
BOX = VoltageBox((-0.02, 0.32), (-0.05, 0.1))
DEGREES = (1, 2, 3, 4, 5, 6, 8)
#: The degree whose polynomials are solved.
DEGREE = 4
#: Resistance of a closed switch at 0 V [ohm], and gate voltage above its threshold [V].
R_SWITCH, V_OVER = 1e3, 0.9


def resistor(v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the current of 20 kohm whose conductance grows by 4 % at 0.3 V, and its slope."""
    return np.sinh(1.6 * v) / (1.6 * 20e3), np.cosh(1.6 * v) / 20e3


def switch(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the current of a transistor in its triode region, and its derivatives."""
    k = 1 / (R_SWITCH * V_OVER)
    current = k * ((V_OVER - b) ** 2 - (V_OVER - a) ** 2) / 2
    return current, k * (V_OVER - a), -k * (V_OVER - b)


def law(n: int) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Return the conductances of n × n pairs of banks, with half of their switches closed."""
    rng = np.random.default_rng(n)
    shape = (2, n, n, N_BRANCH)
    ratio = 1.75 ** -np.arange(N_BRANCH) * np.exp(0.05 * rng.standard_normal(shape))
    closed, spread = rng.random(shape) < 0.5, np.exp(0.05 * rng.standard_normal(shape))
    branches = Branches(resistor, switch, ratio, spread * np.where(closed, 1.0, 1e-6))
    return branches.conductance


def fastest(call: Callable[[], Any], least: int, seconds: float) -> tuple[Any, float]:
    """Return the result and the shortest processor time [s] of several calls."""
    times, start = [], time.perf_counter()
    while len(times) < least or time.perf_counter() - start < seconds:
        begin = time.process_time()
        result = call()
        times.append(time.process_time() - begin)
    return result, min(times)


def by_the_engine(n: int) -> tuple[CellLaws, np.ndarray, Any, float]:
    """Return cells of n × n pairs, inputs, their solution and its time [s]."""
    cells = CellLaws.fitted(law(n), BOX, (DEGREE, DEGREE))
    v_in = np.random.default_rng(n).uniform(0, V_READ, (N_VECTOR, n))
    solve_nonlinear(cells, WIRES, ENDS, v_in[:2])  # compiles
    return cells, v_in, *fastest(lambda: solve_nonlinear(cells, WIRES, ENDS, v_in), 5, 3.0)


def beside_ngspice(n: int) -> dict[str, Any]:
    """Return times of both [s], their ratio, and the largest difference of currents."""
    cells, v_in, found, ours = by_the_engine(n)
    library, jobs = find_library(), [nonlinear_job(cells, WIRES, ENDS, v_in[:k]) for k in (1, None)]
    jobs.append(replace(jobs[1], netlist=jobs[1].netlist.replace(CLOSE, "")))
    (_, one), (spice, theirs), (rough, short) = (
        fastest(lambda job=job: run_job(library, job), 3, 0.0) for job in jobs
    )
    i_out, i_rough = (result.values[: 2 * n].T for result in (spice, rough))
    return {
        "n": n,
        "engine_s": ours,
        "ngspice_s": theirs,
        "ngspice_first_s": one,
        "ratio": theirs / ours,
        "ratio_without_reading": (theirs - one) / ours * N_VECTOR / (N_VECTOR - 1),
        "difference": float(np.abs(found.i_out - i_out).max() / np.abs(i_out).max()),
        "rough_ngspice_s": short,
        "rough_difference": float(np.abs(found.i_out - i_rough).max() / np.abs(i_out).max()),
        "n_step": found.n_step,
        "residual": found.residual,
    }


def main() -> None:
    """Measure, print the tables and keep them."""
    start = machine()
    numba.set_num_threads(1)
    rows = [beside_ngspice(n) for n in (4, 16)]
    print_table(
        f"{N_VECTOR} vectors, pairs of banks", list(rows[0]), [list(r.values()) for r in rows]
    )
    found, seconds = by_the_engine(64)[2:]
    large = {"n": 64, "engine_s": seconds, "n_step": found.n_step, "residual": found.residual}
    print_table("a large array", list(large), [list(large.values())])
    exact = law(16)
    errors = {d: CellLaws.fitted(exact, BOX, (d, d)).error(exact) for d in DEGREES}
    print_table("error of G by degree", ["degree", "error"], list(errors.items()))
    kept = {"machine": start, "n_vector": N_VECTOR, "n_branch": N_BRANCH, "degree": DEGREE}
    save_json("nonlinear", kept | {"rows": rows, "large": large, "errors": errors})


if __name__ == "__main__":
    main()
