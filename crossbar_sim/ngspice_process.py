"""What runs inside a worker process: PySpice's ngspice, one job after another.

libngspice can hang, crash or call exit, and its return code says 0 whatever happens. So it lives
in a process that can be killed, and a result counts only when it is complete.
"""

import os
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

#: Said by ngspice for every run that uses its KLU solver.
KLU_SIGN = "using klu as direct linear solver"
#: Fragments of messages after which ngspice goes on with a result that must not be used.
FATAL = (
    "error",
    "singular",
    "no convergence",
    "non-convergence",
    "gmin step",
    "source stepping",
    "aborted",
    "not parsed",
    "no circuit",
    "unknown",
    "can't find",
    "too small",
    "failed",
)
#: Harmless messages that hold one of those words.
HARMLESS = ("can't find init file", "can't find the initialization file")


class NgspiceError(RuntimeError):
    """ngspice is missing, failed, or gave a result that cannot be trusted."""


@dataclass(frozen=True)
class Job:
    """A netlist with one analysis, and what it must yield.

    netlist: text. plot: kind of plot expected ("dc"). vectors: names expected, each of n_point.
    """

    netlist: str
    plot: str
    vectors: tuple[str, ...]
    n_point: int


@dataclass(frozen=True)
class JobResult:
    """values (n_vector, n_point) in the job's order; the solver's version; whether it used KLU."""

    values: np.ndarray
    version: int
    klu: bool


def run_job(library: str, job: Job) -> JobResult:
    """Solve a job with the ngspice of this process; NgspiceError quotes what ngspice said."""
    engine = _engine(library)
    messages: list[str] = []
    try:
        engine.listen(messages)
        engine.command("destroy all")
        engine.load(job.netlist)
        engine.command("run")
        _refuse_failures(messages)
        values = _read_vectors(engine, job)
    finally:
        engine.command("destroy all")
        engine.command("remcirc")
    klu = any(KLU_SIGN in message.lower() for message in messages)
    return JobResult(values, engine.ngspice_version, klu)


@cache
def _engine(library: str) -> Any:
    """Return this process's ngspice; PySpice reads the library's path when it is imported."""
    os.environ["NGSPICE_LIBRARY_PATH"] = library
    try:
        from PySpice.Spice.NgSpice.Shared import NgSpiceShared, ffi
    except ImportError as error:
        raise NgspiceError(f"PySpice cannot be imported: {error}") from error

    class Engine(NgSpiceShared):
        """PySpice's engine, with messages kept and judged by us instead of by their first word."""

        def listen(self, messages: list[str]) -> None:
            self._messages = messages

        def send_char(self, message: str, ngspice_id: int) -> int:
            getattr(self, "_messages", []).append(message.partition(" ")[2])
            return 0

        def command(self, command: str) -> None:
            library: Any = self._ngspice_shared
            if library.ngSpice_Command(command.encode("ascii")):
                raise NgspiceError(f"ngspice refused the command {command!r}")

        def load(self, netlist: str) -> None:
            lines = [ffi.new("char[]", line.encode("ascii")) for line in netlist.split("\n")]
            array = ffi.new("char *[]", [*lines, ffi.new("char[]", b""), ffi.NULL])
            library: Any = self._ngspice_shared
            if library.ngSpice_Circ(array):
                raise NgspiceError("ngspice refused the netlist")

    import logging

    logging.getLogger("PySpice").setLevel(logging.CRITICAL)
    try:
        return Engine()
    except OSError as error:
        raise NgspiceError(f"cannot load the ngspice library {library!r}: {error}") from error


def _refuse_failures(messages: list[str]) -> None:
    """Raise NgspiceError when a message says that something went wrong."""
    for message in messages:
        text = message.lower()
        if any(sign in text for sign in FATAL) and not any(sign in text for sign in HARMLESS):
            raise NgspiceError(f"ngspice said: {message.strip()}")


def _read_vectors(engine: Any, job: Job) -> np.ndarray:
    """Return the expected vectors of the run just made, complete and finite."""
    name = engine.last_plot
    if not name.startswith(job.plot):
        raise NgspiceError(f"ngspice made no {job.plot!r} plot (the last one is {name!r})")
    plot = engine.plot(None, name)
    values = np.empty((len(job.vectors), job.n_point))
    for k, vector in enumerate(job.vectors):
        if vector not in plot:
            raise NgspiceError(f"ngspice gave no vector {vector!r} in plot {name!r}")
        found = plot[vector]._data
        if found.shape != (job.n_point,) or not np.isfinite(found).all():
            raise NgspiceError(
                f"vector {vector!r} has {len(found)} of {job.n_point} points, "
                f"{np.isfinite(found).sum()} of them finite"
            )
        values[k] = found
    return values
