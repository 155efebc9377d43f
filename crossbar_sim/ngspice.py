"""Solve circuits with ngspice, in a worker process that may hang or crash without harm."""

import ctypes.util
import os
import sys
import warnings
from concurrent.futures import TimeoutError as FutureTimeoutError
from pathlib import Path
from types import TracebackType

import numpy as np
from joblib.externals.loky import ProcessPoolExecutor
from joblib.externals.loky.process_executor import BrokenProcessPool

from crossbar_sim.ngspice_process import Job, JobResult, NgspiceError, run_job
from crossbar_sim.solution import Solution
from netlists.circuit import Circuit
from netlists.spice import MAX_VECTORS, to_spice

#: Without KLU ngspice re-orders its matrix for every point; with more nodes that is hopeless.
MAX_NODES_WITHOUT_KLU = 10_000

_PROBE = "* probe\nv1 a 0 1\nr1 a 0 1\n.options klu\n.dc v1 0 1 1\n.save i(v1)\n.end\n"

INSTALL_HELP = (
    "install ngspice with its shared library and the KLU solver (44 and 46 have it): "
    "run `make setup`, or see what it prints; NGSPICE_LIBRARY_PATH names a library elsewhere"
)


def find_library() -> str:
    """Return the path or name of the ngspice library.

    Looked for in the environment variable NGSPICE_LIBRARY_PATH, the environment Python runs in
    (conda), and the system. Raises NgspiceError that says how to install it.
    """
    given = os.environ.get("NGSPICE_LIBRARY_PATH")
    if given:
        if "/" in given and not Path(given).exists():
            raise NgspiceError(
                f"NGSPICE_LIBRARY_PATH is {given!r}, which does not exist; {INSTALL_HELP}"
            )
        return given
    here = Path(sys.prefix) / "lib"
    for name in ("libngspice.so.0", "libngspice.so", "libngspice.dylib"):
        if (here / name).exists():
            return str(here / name)
    found = ctypes.util.find_library("ngspice")
    if not found:
        raise NgspiceError(f"no ngspice library found; {INSTALL_HELP}")
    return found


class NgspiceWorker:
    """ngspice in a process of its own, used as a context manager.

    time_limit [s]: a job that takes longer is killed. After a kill or a crash the next job gets
    a new process. require_klu: refuse an ngspice without the KLU solver.
    """

    def __init__(
        self, *, time_limit: float = 300.0, library: str | None = None, require_klu: bool = True
    ) -> None:
        self.library = library or find_library()
        self.time_limit = time_limit
        self.require_klu = require_klu
        self._executor: ProcessPoolExecutor | None = None

    def __enter__(self) -> "NgspiceWorker":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def run(self, job: Job) -> JobResult:
        """Solve one job. Raises NgspiceError when ngspice fails, hangs, crashes or lacks KLU."""
        self._executor = self._executor or ProcessPoolExecutor(max_workers=1)
        try:
            result = self._executor.submit(run_job, self.library, job).result(self.time_limit)
        except FutureTimeoutError as error:
            self.close()
            raise NgspiceError(
                f"ngspice ran longer than its limit of {self.time_limit:g} s and was killed; "
                "raise the limit or pass fewer vectors or a smaller tile"
            ) from error
        except BrokenProcessPool as error:
            self.close()
            raise NgspiceError(
                "ngspice crashed and took its process with it; run `crossbar-sim doctor` to see "
                "which library is used"
            ) from error
        if self.require_klu and not result.klu:
            raise NgspiceError(
                f"ngspice {result.version} solved without KLU, which is far too slow for "
                f"crossbars; {INSTALL_HELP}"
            )
        return result

    def probe(self) -> JobResult:
        """Solve a one-resistor circuit, to learn version and solver."""
        return self.run(Job(_PROBE, "dc", ("v1#branch",), 2))

    def close(self) -> None:
        """Stop the process, whatever it is doing."""
        if self._executor is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._executor.shutdown(wait=True, kill_workers=True)
            self._executor = None


def solve_ngspice(
    circuit: Circuit, v_in: np.ndarray, *, worker: NgspiceWorker | None = None
) -> Solution:
    """Return the outputs that ngspice computes for every input vector.

    circuit, v_in: as for `crossbar_sim.solve`; every vector is solved by ngspice itself, in one
    `.dc` sweep on one parsed circuit. worker: a running one, else one is started for this call.
    Raises ValueError for inputs that do not fit, NgspiceError when ngspice cannot be trusted.
    """
    if worker is None:
        with NgspiceWorker() as worker:
            return solve_ngspice(circuit, v_in, worker=worker)
    v_in = circuit.check_inputs(v_in)
    if not worker.require_klu and circuit.elements.n_node > MAX_NODES_WITHOUT_KLU:
        raise NgspiceError(
            f"{circuit.elements.n_node} nodes without KLU would take hours; the limit is "
            f"{MAX_NODES_WITHOUT_KLU}; use an ngspice with KLU or smaller tiles"
        )
    lines = range(circuit.n_line)
    vectors = (*(f"vtia_{j}#branch" for j in lines), *(f"out_{j}" for j in lines))
    parts = []
    for start in range(0, len(v_in), MAX_VECTORS):
        rows = v_in[start : start + MAX_VECTORS]
        parts.append(worker.run(Job(to_spice(circuit, rows), "dc", vectors, len(rows))))
    values = np.concatenate([part.values for part in parts], axis=1).T
    version, klu = parts[0].version, parts[0].klu
    return Solution(
        circuit=circuit,
        v_in=v_in,
        i_out=values[:, : circuit.n_line],
        v_out=values[:, circuit.n_line :],
        v_node=None,
        solver=f"ngspice {version} ({'KLU' if klu else 'Sparse'})",
        residual=float("nan"),
    )
