"""The circuit engine compared with its peers, on the same arrays, in the same run.

Run: python -m benchmarks.circuits.peers [CROSSSIM]     (about two minutes on an idle machine)

CROSSSIM: a checkout of github.com/sandialabs/cross-sim (3.2), which is not packaged. Without it
the rows of the last run with a checkout are kept, with their date. badcrossbar 1.1.0 comes with the
extra `bench`; without its plotting library it only warns.

Arrays: N word lines and N bit lines, conductances log-uniform in 1 … 100 µS, wires of 1 ohm per
segment, ideal drivers and virtual grounds. Times are processor time on one thread, the best of
several runs, because clocks of a shared machine vary. "new array" includes building the circuit,
factorising and solving. Errors are the largest difference of an output current, as a fraction of
the largest current.
"""

import json
import logging
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace

import numba
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.linalg import splu

from benchmarks.common import RESULTS, figure, machine, print_table, save_json
from crossbar_sim.ngspice.library import find_library
from crossbar_sim.ngspice.process import run_job
from crossbar_sim.ngspice.worker import NgspiceWorker, sweep_job
from crossbar_sim.solvers.nodal import solve, transfer_matrix
from netlists import Periphery, Wires, array_circuit

WIRES, R_WIRE = Wires(1.0, 1.0), 1.0
#: ngspice gets amplifiers of finite gain, and so does the engine when compared with it.
FINITE = Periphery(tia_gain=1e4)
V_READ = 0.3


def array(n: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(n)
    return 10 ** random.uniform(-6, -4, (n, n)), random.uniform(0, V_READ, (1, n))


def best(call: Callable[[], object], *, runs: int = 5, limit: float = 8.0) -> tuple[object, float]:
    """Return the last result and the least processor time [s] of several runs in a time limit."""
    least, start = np.inf, time.perf_counter()
    for _ in range(runs):
        cpu = time.process_time()
        result = call()
        least = min(least, time.process_time() - cpu)
        if time.perf_counter() - start > limit:
            break
    return result, least


def difference(values: np.ndarray, reference: np.ndarray) -> float:
    return float(np.abs(values - reference).max() / np.abs(reference).max())


def against_badcrossbar(n: int) -> dict:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import badcrossbar
    logging.getLogger("badcrossbar").setLevel(logging.ERROR)
    g, v_in = array(n)
    fast, ours = best(lambda: solve(array_circuit(g, WIRES), v_in), runs=20)
    slow, theirs = best(lambda: badcrossbar.compute(v_in.T, 1 / g, r_i=R_WIRE), runs=3)
    error = difference(fast.i_out, slow.currents.output)
    return {"n": n, "ours_s": ours, "badcrossbar_s": theirs, "ratio": theirs / ours, "error": error}


def against_crosssim(n: int, tolerance: float) -> dict:
    """CrossSim's array solver, warm: it reuses the relaxation factor of an earlier run."""
    from simulator import CrossSimParameters
    from simulator.backend import ComputeBackend
    from simulator.circuits.array.NonInterleaved_InputSource import NoninterleavedInputSourceArray

    ComputeBackend(use_gpu=False)
    g, v_in = array(n)
    fast, ours = best(lambda: solve(array_circuit(g, WIRES), v_in), runs=20)
    settings = CrossSimParameters()
    settings.xbar.device.Rmin, settings.xbar.device.Rmax = 1e4, 1e6
    wires = settings.xbar.array.parasitics
    wires.enable, wires.Rp_row, wires.Rp_col = True, R_WIRE, R_WIRE
    settings.simulation.Verr_th_mvm = tolerance
    settings.simulation.hide_convergence_msg = True
    if tolerance < 1e-3:
        settings.simulation.Niters_max_parasitics = 1000
    solver = NoninterleavedInputSourceArray(settings)
    matrix, vector = np.ascontiguousarray(g.T) * 1e4, v_in[0] / V_READ
    _, first = best(lambda: solver.iterative_solve(matrix, vector), runs=1)
    currents, theirs = best(lambda: solver.iterative_solve(matrix, vector), runs=6)
    error = difference(currents * V_READ / 1e4, fast.i_out[0])
    return {
        "n": n,
        "tolerance": tolerance,
        "ours_s": ours,
        "crosssim_first_s": first,
        "crosssim_s": theirs,
        "ratio": theirs / ours,
        "crosssim_error": error,
    }


def whole_matrix(n: int, n_solve: int) -> dict:
    """Compare the transfer matrix with one sparse factorisation and n solves; time n_solve."""
    g, _ = array(n)
    circuit = array_circuit(g, WIRES)
    matrix, ours = best(lambda: transfer_matrix(circuit), runs=3)
    options = {
        "permc_spec": "MMD_AT_PLUS_A",
        "diag_pivot_thresh": 0.0,
        "options": {"SymmetricMode": True},
    }
    factor, factorising = best(lambda: splu(nodal_matrix(n, g), **options), runs=2)
    inputs = np.zeros((2 * n * n, n_solve))
    inputs[np.arange(n_solve) * n, np.arange(n_solve)] = 1 / R_WIRE
    volts, solving = best(lambda: factor.solve(inputs), runs=2)
    last = n * n + (n - 1) * n + np.arange(n)
    theirs = factorising + solving * n / n_solve
    return {
        "n": n,
        "ours_s": ours,
        "splu_s": theirs,
        "ratio": theirs / ours,
        "solves_timed": n_solve,
        "error": difference(matrix[:n_solve], volts[last].T / R_WIRE),
    }


def nodal_matrix(n: int, g: np.ndarray):
    """Return the nodal matrix (word nodes, then bit nodes), written independently of the engine."""
    word, bit = np.arange(2 * n * n).reshape(2, n, n)
    tail = np.concatenate([word[:, :-1].ravel(), bit[:-1].ravel(), word.ravel()])
    head = np.concatenate([word[:, 1:].ravel(), bit[1:].ravel(), bit.ravel()])
    value = np.concatenate([np.full(2 * n * (n - 1), 1 / R_WIRE), g.ravel()])
    ends = np.concatenate([word[:, 0], bit[-1]])
    rows = np.concatenate([tail, head, tail, head, ends])
    columns = np.concatenate([tail, head, head, tail, ends])
    values = np.concatenate([value, value, -value, -value, np.full(2 * n, 1 / R_WIRE)])
    return coo_array((values, (rows, columns)), shape=(2 * n * n, 2 * n * n)).tocsc()


def largest() -> dict:
    """Solve a 1024 × 1024 array in a separate process and return its peak memory."""
    code = """
import json, re, time, numpy as np
from crossbar_sim.solvers.nodal import solve
from netlists import Wires, array_circuit
peak = lambda: 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
g = 10 ** np.random.default_rng(0).uniform(-6, -4, (1024, 1024))
v = np.full((1, 1024), 0.1)
solve(array_circuit(g[:8, :8], Wires(1.0, 1.0)), v[:, :8])
before, cpu = peak(), time.process_time()
solution = solve(array_circuit(g, Wires(1.0, 1.0)), v)
cpu = time.process_time() - cpu
print(json.dumps({"cpu_s": cpu, "residual": solution.residual, "before": before, "peak": peak()}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {"n": 1024} | json.loads(done.stdout)


def against_ngspice(n: int, n_vector: int, n_solved: int) -> dict:
    """Solve a batch by one `.dc` sweep, ngspice's best method; time n_solved vectors and scale."""
    g, _ = array(n)
    v_in = np.random.default_rng(1).uniform(0, V_READ, (n_vector, n))
    fast, ours = best(lambda: solve(array_circuit(g, WIRES, FINITE), v_in))
    circuit = array_circuit(g, WIRES, FINITE)
    library, times = find_library(), {}
    parsed = NgspiceWorker(library=library).parsed(circuit)  # text alone; this process runs it
    for count in (1, n_solved):  # the difference is the time of the vectors, without parsing
        job = replace(sweep_job(parsed, circuit, v_in[:count]), resistors=None)
        result, times[count] = best(lambda job=job: run_job(library, job), runs=2)
    spice = result.values[:n].T
    per_vector = (times[n_solved] - times[1]) / (n_solved - 1)
    theirs = times[1] + per_vector * (n_vector - 1)
    return {
        "n": n,
        "vectors": n_vector,
        "ours_s": ours,
        "ngspice_s_scaled": theirs,
        "ngspice_vectors_solved": n_solved,
        "ngspice_first_s": times[1],
        "ratio": theirs / ours,
        "error": difference(fast.i_out[:n_solved], spice),
    }


def superposed(batch: dict, n_vector: int, n_solved: int) -> dict:
    """Solve the batch by superposition in ngspice: n unit vectors, then a product.

    The time per vector is that of `batch`, so both figures rest on one measurement.
    """
    n = batch["n"]
    per_vector = (batch["ngspice_s_scaled"] - batch["ngspice_first_s"]) / (batch["vectors"] - 1)
    g, _ = array(n)
    circuit = array_circuit(g, WIRES, FINITE)
    library = find_library()
    parsed = NgspiceWorker(library=library).parsed(circuit)
    job = replace(sweep_job(parsed, circuit, V_READ * np.eye(n)[:n_solved]), resistors=None)
    result, _ = best(lambda: run_job(library, job), runs=1)
    error = difference(result.values[:n].T / V_READ, transfer_matrix(circuit)[:n_solved])
    v_in = np.random.default_rng(1).uniform(0, V_READ, (n_vector, n))
    matrix = np.random.default_rng(2).uniform(size=(n, n))
    _, product = best(lambda: v_in @ matrix)
    theirs = batch["ngspice_first_s"] + per_vector * (n - 1) + product
    return {
        "n": n,
        "vectors": n_vector,
        "unit_vectors_checked": n_solved,
        "ngspice_s_scaled": theirs,
        "ratio": theirs / batch["ours_s"],
        "error": error,
    }


def growth() -> list[dict]:
    """Return the processor time against size for one vector and for the transfer matrix."""
    rows = []
    for n in (16, 32, 64, 128, 256, 512, 1024):
        g, v_in = array(n)
        _, one = best(lambda g=g, v_in=v_in: solve(array_circuit(g, WIRES), v_in), limit=3)
        whole = None
        if n <= 256:
            _, whole = best(lambda g=g: transfer_matrix(array_circuit(g, WIRES)), limit=3)
        rows.append({"n": n, "one_vector_s": one, "matrix_s": whole})
    return rows


def kept_rivals() -> list[dict]:
    """Return CrossSim's rows of an earlier run with their dates, for a run without a checkout."""
    path = RESULTS / "circuits.json"
    return json.loads(path.read_text())["crosssim"] if path.exists() else []


def plot(rows: list[dict], badcrossbar: list[dict], matrices: list[dict], batch: dict) -> None:
    with figure("circuits") as axes:
        axes.loglog(
            [r["n"] for r in rows],
            [r["one_vector_s"] for r in rows],
            "o-",
            label="engine, one vector",
        )
        whole = {r["n"]: r["matrix_s"] for r in rows if r["matrix_s"]}
        whole |= {r["n"]: r["ours_s"] for r in matrices}
        axes.loglog(list(whole), list(whole.values()), "s-", label="engine, transfer matrix")
        axes.loglog(
            [r["n"] for r in badcrossbar],
            [r["badcrossbar_s"] for r in badcrossbar],
            "^-",
            label="badcrossbar 1.1.0, one vector",
        )
        splu_s = [r["splu_s"] for r in matrices]
        axes.loglog([r["n"] for r in matrices], splu_s, "v-", label="N solves with SuperLU")
        axes.plot(batch["n"], batch["ngspice_first_s"], "k*", label="ngspice 46, one vector")
        axes.set(xlabel="word lines = bit lines", ylabel="processor time [s]")
        axes.set_title("New array of N × N, wires of 1 ohm")
        axes.grid(alpha=0.3)
        axes.legend()


def main() -> None:
    about = machine()
    numba.set_num_threads(1)
    solve(array_circuit(*array(8)[:1], WIRES), array(8)[1])  # load the compiled code
    transfer_matrix(array_circuit(array(128)[0], WIRES))
    peers = [against_badcrossbar(n) for n in (128, 256, 512)]
    header = list(peers[0])
    print_table("new array, one vector", header, [list(row.values()) for row in peers])
    rivals = kept_rivals()
    if len(sys.argv) > 1:
        sys.path.insert(0, sys.argv[1])
        rivals = [
            against_crosssim(n, tol) | {"measured": time.strftime("%Y-%m-%d")}
            for n in (128, 256)
            for tol in (1e-3, 1e-8)
        ]
        print_table("CrossSim 3.2", list(rivals[0]), [list(row.values()) for row in rivals])
    matrices = [whole_matrix(n, min(n, 32)) for n in (128, 256, 512)]
    print_table("transfer matrix", list(matrices[0]), [list(row.values()) for row in matrices])
    batch = against_ngspice(128, 1000, 9)
    print_table("a batch, ngspice .dc", list(batch), [list(batch.values())])
    units = superposed(batch, 1000, 4)
    print_table("the same by unit vectors", list(units), [list(units.values())])
    large = largest()
    print_table("largest", list(large), [list(large.values())])
    rows = growth()
    print_table("growth", ("n", "one vector s", "matrix s"), [list(r.values()) for r in rows])
    plot(rows, peers, matrices, batch)
    results = {"badcrossbar": peers, "crosssim": rivals, "matrix": matrices}
    save_json(
        "circuits",
        {"machine": about, **results, "batch": batch}
        | {"superposed": units, "large": large, "size": rows},
    )


if __name__ == "__main__":
    main()
