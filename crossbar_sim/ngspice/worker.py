"""Solve circuits with ngspice, in a worker process that may hang or crash without harm."""

import os
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from joblib.externals.loky.process_executor import BrokenProcessPool, ProcessPoolExecutor

from crossbar_sim.ngspice.library import INSTALL_HELP, find_library
from crossbar_sim.ngspice.process import Job, JobResult, NgspiceError, Resistors, run_job, start
from crossbar_sim.solvers.solution import Solution
from crossbar_sim.system.stopping import end_with
from netlists.circuit import Circuit
from netlists.circuit.names import checked_names
from netlists.circuit.size import Size, require_room
from netlists.spice.text import elements, options

__all__ = ["INSTALL_HELP", "NgspiceError", "NgspiceWorker", "find_library", "solve_ngspice"]

#: Without KLU, ngspice re-orders its matrix for every point, which takes hours for more nodes.
MAX_NODES_WITHOUT_KLU = 10_000

#: Longest time [s] for a process to start and load ngspice.
START_LIMIT = 120.0

_PROBE = "* probe\nv1 a 0 1\nr1 a 0 1\n.options klu\n.dc v1 0 1 1\n.save i(v1)\n.end\n"


@dataclass(frozen=True)
class Parsed:
    """A circuit that ngspice parses once; others of the same topology only change its resistors.

    key: equal for circuits that differ only in the values of their branches.
    names, ohms: the branches in the netlist.
    nodes: names of the nodes whose voltages are kept, in the order of the circuit; none by default.
    """

    key: tuple
    netlist: str
    names: tuple[str, ...]
    ohms: np.ndarray
    nodes: tuple[str, ...] = ()


class NgspiceWorker:
    """ngspice in a process of its own, used as a context manager.

    After a kill or a crash, the next job gets a new process.

    time_limit [s]: a job that takes longer is killed; the start of the process does not count.
    library: path or name of the ngspice library; by default, as `find_library` finds it.
    require_klu: refuse an ngspice without the KLU solver.
    """

    def __init__(
        self, *, time_limit: float = 300.0, library: str | None = None, require_klu: bool = True
    ) -> None:
        self.library = library or find_library()
        self.time_limit = time_limit
        self.require_klu = require_klu
        self._executor: ProcessPoolExecutor | None = None
        self._owner = os.getpid()
        self._parsed: Parsed | None = None

    def __enter__(self) -> "NgspiceWorker":
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def run(self, job: Job) -> JobResult:
        """Solve one job. Raises NgspiceError when ngspice fails, hangs, crashes or lacks KLU."""
        if self._owner != os.getpid():  # after a fork, the process belongs to the parent
            self._executor, self._owner = None, os.getpid()
        if self._executor is None:
            self._executor = ProcessPoolExecutor(
                max_workers=1, initializer=end_with, initargs=(self._owner,)
            )
            self._call(START_LIMIT, start, self.library)
        result = self._call(self.time_limit, run_job, self.library, job)
        check_result(result, job)
        if self.require_klu and not result.klu:
            raise NgspiceError(
                f"ngspice {result.version} solved without KLU, which is far too slow for "
                f"crossbars; {INSTALL_HELP}"
            )
        return result

    def _call(self, limit: float, function: Callable, *arguments: object) -> Any:
        """Call a function in the process; end the process at the limit [s] or after a crash."""
        assert self._executor is not None
        try:
            return self._executor.submit(function, *arguments).result(limit)
        except FutureTimeoutError as error:
            self.close()
            raise NgspiceError(
                f"ngspice ran longer than its limit of {limit:g} s and was killed; "
                "raise the limit, or pass fewer vectors or a smaller tile"
            ) from error
        except BrokenProcessPool as error:
            self.close()
            raise NgspiceError(
                "ngspice crashed with its process; run `crossbar-sim doctor` to see "
                "which library is used"
            ) from error

    def probe(self) -> JobResult:
        """Solve a circuit of one resistor, to learn the version and the solver."""
        return self.run(Job(_PROBE, "dc", ("v1#branch",), 2))

    def parsed(self, circuit: Circuit, *, nodes: bool = False) -> Parsed:
        """Return the netlist that solves a circuit: the last one where it has the topology."""
        names, branches = checked_names(circuit)
        key = nodes, *_topology(circuit)
        if self._parsed is None or self._parsed.key != key:
            netlist, ohms = sweep_netlist(circuit, nodes=nodes), circuit.elements.branch_ohm
            kept = tuple(name.lower() for name in names[1:]) if nodes else ()
            self._parsed = Parsed(key, netlist, tuple(branches), ohms, kept)
        return self._parsed

    def forget(self) -> None:
        """Parse the next circuit anew, even if the last one has its topology."""
        self._parsed = None

    def close(self) -> None:
        """Stop the process, whatever it is doing."""
        if self._executor is not None and self._owner == os.getpid():
            self._executor.shutdown(wait=True, kill_workers=True)
        self._executor = None


def solve_ngspice(
    circuit: Circuit,
    v_in: np.ndarray,
    *,
    worker: NgspiceWorker | None = None,
    force: bool = False,
    nodes: bool = False,
) -> Solution:
    """Return the outputs that ngspice computes for every input vector.

    ngspice itself solves every vector, in one `.dc` sweep on one parsed circuit.

    circuit, v_in: as for `crossbar_sim.solve`.
    worker: a running one; without it, one is started for this call. A worker that gets one circuit
    after another of the same topology only changes the resistors.
    force: go on even if the circuit looks too large for this machine.
    nodes: keep the voltages of all nodes, as ngspice gives them.

    Raises ValueError for inputs that do not fit or a name that is not safe in a netlist,
    NetlistTooLarge before ngspice would exhaust the machine, NgspiceError when it fails.
    """
    if worker is None:
        with NgspiceWorker() as worker:
            return solve_ngspice(circuit, v_in, worker=worker, force=force, nodes=nodes)
    v_in = circuit.check_inputs(v_in)
    if not worker.require_klu and circuit.elements.n_node > MAX_NODES_WITHOUT_KLU:
        raise NgspiceError(
            f"{circuit.elements.n_node} nodes without KLU would take hours; the limit is "
            f"{MAX_NODES_WITHOUT_KLU}; use an ngspice with KLU or smaller tiles"
        )
    size = Size.of_circuits([len(circuit.elements.branch_ohm)], len(v_in))
    require_room(size, "the circuit", force=force)
    result = worker.run(sweep_job(worker.parsed(circuit, nodes=nodes), circuit, v_in))
    n_line, values = circuit.n_line, result.values.T
    ground = np.zeros((len(v_in), 1))
    return Solution(
        circuit=circuit,
        v_in=v_in,
        i_out=values[:, :n_line],
        v_out=values[:, n_line : 2 * n_line],
        v_node=np.hstack([ground, values[:, 2 * n_line :]]) if nodes else None,
        solver=f"ngspice {result.version} ({'KLU' if result.klu else 'Sparse'})",
        residual=float("nan"),
    )


def sweep_netlist(circuit: Circuit, *, nodes: bool = False) -> str:
    """Return a netlist that asks for its input voltages at each point of a sweep of `vsel`."""
    names, inputs = circuit.names[0], circuit.elements.input_nodes.tolist()
    sources = [f"vext_{i} {names[k]} 0 external" for i, k in enumerate(inputs)]
    outputs = " ".join(f"i(vtia_{j}) v(out_{j})" for j in range(circuit.n_line))
    saved = "all" if nodes else outputs
    cards = ["vsel sel 0 0", options(circuit.periphery), f".save {saved}", ".end", ""]
    return "\n".join(["* crossbar", *elements(circuit), *sources, *cards])


def sweep_job(parsed: Parsed, circuit: Circuit, v_in: np.ndarray) -> Job:
    """Return the job that solves a circuit of the parsed topology for v_in (n_batch, n_word)."""
    lines = range(circuit.n_line)
    return Job(
        parsed.netlist,
        "dc",
        (*(f"vtia_{j}#branch" for j in lines), *(f"out_{j}" for j in lines), *parsed.nodes),
        len(v_in),
        command=f"dc vsel 0 {len(v_in) - 1} 1",
        resistors=Resistors(parsed.names, parsed.ohms, circuit.elements.branch_ohm),
        v_in=v_in,
    )


def check_result(result: object, job: Job) -> None:
    """Raise NgspiceError unless a result is finite and of the shape that its job expects."""
    expected = (len(job.vectors), job.n_point)
    values = result.values if isinstance(result, JobResult) else np.empty(0)
    if values.shape != expected or not np.isfinite(values).all():
        raise NgspiceError(
            f"expected a finite JobResult of shape {expected}; got {type(result).__name__} with "
            f"values of shape {values.shape}; run the job again"
        )


def _topology(circuit: Circuit) -> tuple:
    """Return what circuits share that differ only in the values of their branches."""
    parts = circuit.elements
    ends = circuit.periphery
    arrays = (parts.branch_from, parts.branch_to, parts.input_nodes, parts.tia_nodes)
    arrays = (*arrays, ends.offsets(circuit.n_line))
    return parts.n_node, *(a.tobytes() for a in arrays), replace(ends, seed=0, tile="")
