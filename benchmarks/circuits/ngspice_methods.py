"""ngspice: the time to solve many vectors, and to write, parse and change a circuit.

Run: python -m benchmarks.circuits.ngspice_methods     (about two minutes on two cores)

Arrays: N word lines and N bit lines, conductances log-uniform in 1 … 100 µS, wires of 1 ohm per
segment, amplifiers of gain 1e4. ngspice 46 with KLU, in one thread; processor time, the best of
several runs. "rebuild": write, parse and solve the netlist again for each vector. "alter": change
each source, then `op`. "sweep": one `.dc` analysis over all vectors, the method of this project.
"""

import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.common import figure, machine, print_table, save_json
from crossbar_sim.ngspice.library import find_library
from crossbar_sim.ngspice.process import _load, _ngspice, run_job
from crossbar_sim.ngspice.worker import NgspiceWorker, sweep_job
from crossbar_sim.solvers.nodal import solve
from netlists import Circuit, Periphery, Wires, array_circuit, to_spice
from netlists.circuit.size import Size
from netlists.spice.pyspice_circuit import to_pyspice
from netlists.spice.text import OPTIONS, elements

WIRES, ENDS = Wires(1.0, 1.0), Periphery(tia_gain=1e4)
VECTORS = 32
LIBRARY = find_library()


def array(n: int, seed: int = 0) -> tuple[Circuit, np.ndarray]:
    random = np.random.default_rng([n, seed])
    circuit = array_circuit(10 ** random.uniform(-6, -4, (n, n)), WIRES, ENDS)
    return circuit, random.uniform(-0.3, 0.3, (VECTORS, n))


def cpu(call: Callable[[], object], runs: int = 3) -> float:
    """Return the least processor time [s] of several runs."""
    times = []
    for _ in range(runs):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)


class Session:
    """ngspice inside this process, so that each command can be timed."""

    def __init__(self) -> None:
        self.engine = _ngspice(LIBRARY)
        self.engine.start([], None)

    def load(self, netlist: str) -> None:
        self.engine.load(netlist)

    def commands(self, *commands: str) -> None:
        for command in ("destroy all", *commands):
            self.engine.command(command)

    def currents(self, n: int) -> np.ndarray:
        plot = self.engine.plot(None, self.engine.last_plot)
        return np.array([plot[f"vtia_{j}#branch"]._data[0] for j in range(n)])


def with_sources(circuit: Circuit, v_line: np.ndarray) -> str:
    """Return the text for one operating point; each input is a source that `alter` can change."""
    nodes = circuit.names[0]
    inputs = zip(circuit.elements.input_nodes.tolist(), v_line.tolist())
    sources = [f"vin_{i} {nodes[k]} 0 {v!r}" for i, (k, v) in enumerate(inputs)]
    saved = " ".join(f"i(vtia_{j})" for j in range(circuit.n_line))
    cards = [OPTIONS, f".save {saved}", ".op", ".end", ""]
    return "\n".join(["* array", *elements(circuit), *sources, *cards])


def per_vector(n: int, few: int) -> dict:
    """Return milliseconds per vector for three methods; the two slow ones solve `few` vectors."""
    session, (circuit, v_in) = Session(), array(n)
    reference, largest = solve(circuit, v_in).i_out, 0.0

    def rebuild() -> None:
        for v_line in v_in[:few]:
            fresh = array_circuit(circuit.grid.g[0], WIRES, ENDS)
            session.load(with_sources(fresh, v_line))
            session.commands("run")

    def alter() -> None:
        for v_line in v_in[:few]:
            sources = [f"alter vin_{i} dc = {v!r}" for i, v in enumerate(v_line.tolist())]
            session.commands(*sources, "op")

    rebuilding = cpu(rebuild, 2) / few
    largest = np.abs(session.currents(n) - reference[few - 1]).max() / np.abs(reference).max()
    session.load(with_sources(circuit, v_in[0]))
    altering = cpu(alter, 2) / few
    error = np.abs(session.currents(n) - reference[few - 1]).max() / np.abs(reference).max()
    session.engine.unload()
    job = sweep_job(NgspiceWorker(library=LIBRARY).parsed(circuit), circuit, v_in)
    sweeping = cpu(lambda: run_job(LIBRARY, job), 2) / VECTORS
    swept = run_job(LIBRARY, job).values.T[:, :n]
    return {
        "n": n,
        "rebuild_ms": rebuilding * 1e3,
        "alter_ms": altering * 1e3,
        "sweep_ms": sweeping * 1e3,
        "rebuild_over_sweep": rebuilding / sweeping,
        "alter_over_sweep": altering / sweeping,
        "error": float(
            max(largest, error, np.abs(swept - reference).max() / np.abs(reference).max())
        ),
    }


def writing(n: int) -> dict:
    """Return the time to write a netlist from arrays, as text and with PySpice's objects."""
    logging.getLogger("PySpice").setLevel(logging.CRITICAL)
    g, v_in = array(n)[0].grid.g[0], array(n)[1][0]
    text = cpu(lambda: to_spice(array_circuit(g, WIRES, ENDS), v_in))
    objects = cpu(lambda: str(to_pyspice(array_circuit(g, WIRES, ENDS), v_in)), 1)
    return {"n": n, "text_s": text, "pyspice_s": objects, "ratio": objects / text}


def changing(n: int) -> dict:
    """Return the time to change the cells of a circuit: alter the parsed one, or parse again."""
    session = Session()
    worker = NgspiceWorker(library=LIBRARY)
    jobs = []
    for seed in range(4):
        circuit, v_in = array(n, seed)
        jobs.append(sweep_job(worker.parsed(circuit), circuit, v_in[:1]))
    first, *others = jobs
    fresh, _ = array(n, 1)

    def parse() -> None:
        rebuilt = array_circuit(fresh.grid.g[0], WIRES, ENDS)
        session.load(NgspiceWorker(library=LIBRARY).parsed(rebuilt).netlist)

    parsing = cpu(parse)
    run_job(LIBRARY, first)
    solving = cpu(lambda: run_job(LIBRARY, first))
    altering = min(cpu(lambda job=job: _load(session.engine, job), 1) for job in others)
    altered = run_job(LIBRARY, others[-1]).values
    session.engine.unload()
    circuit, v_in = array(n, 3)
    job = sweep_job(NgspiceWorker(library=LIBRARY).parsed(circuit), circuit, v_in[:1])
    reparsed = run_job(LIBRARY, job).values
    return {
        "n": n,
        "parse_s": parsing,
        "alter_s": altering,
        "ratio": parsing / altering,
        "solve_one_s": solving,
        "difference": float(np.abs(altered - reparsed).max() / np.abs(reparsed).max()),
    }


#: Runs in a separate process, because a child's peak memory starts at its parent's.
_MEASURE = """
import resource, subprocess, sys
subprocess.run(["ngspice", "-b", "-r", "array.raw", "array.cir"], cwd=sys.argv[1], check=True,
               capture_output=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_maxrss, used.ru_utime + used.ru_stime)
"""


def footprint(n: int, n_vector: int = 4) -> dict:
    """Return memory and time of ngspice in batch mode, with the estimates of `Size`."""
    circuit, v_in = array(n)
    size = Size.of_circuits([len(circuit.elements.branch_ohm) + 3 * n], n_vector)
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "array.cir").write_text(to_spice(circuit, v_in[:n_vector]))
        command = [sys.executable, "-c", _MEASURE, directory]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    kilobytes, seconds = done.stdout.split()
    return {
        "n": n,
        "elements": size.n_element,
        "memory_mb": int(kilobytes) / 1e3,
        "stated_mb": size.memory / 1e6,
        "cpu_s": float(seconds),
        "stated_s": size.time,
    }


def plot(rows: list[dict]) -> None:
    with figure("ngspice_methods") as axes:
        for key, label in (
            ("rebuild_ms", "rebuild the netlist"),
            ("alter_ms", "alter the sources, op"),
            ("sweep_ms", "one .dc sweep"),
        ):
            axes.loglog([row["n"] for row in rows], [row[key] for row in rows], "o-", label=label)
        axes.set(xlabel="word lines = bit lines", ylabel="processor time per vector [ms]")
        axes.set_title("Many input vectors in ngspice")
        axes.grid(alpha=0.3)
        axes.legend()


def main() -> None:
    about = machine()
    vectors = [per_vector(n, few) for n, few in ((16, 16), (32, 8), (64, 4), (128, 2))]
    print_table("milliseconds per vector", list(vectors[0]), [list(r.values()) for r in vectors])
    texts = [writing(n) for n in (32, 64, 128)]
    print_table("text and objects", list(texts[0]), [list(r.values()) for r in texts])
    changes = [changing(n) for n in (32, 64, 128)]
    print_table("alter and parse", list(changes[0]), [list(r.values()) for r in changes])
    sizes = [footprint(n) for n in (64, 128, 256)]
    print_table("stock ngspice", list(sizes[0]), [list(r.values()) for r in sizes])
    plot(vectors)
    results = {"vectors": vectors, "writing": texts, "changing": changes, "footprint": sizes}
    save_json("ngspice_methods", {"machine": about, **results})


if __name__ == "__main__":
    main()
