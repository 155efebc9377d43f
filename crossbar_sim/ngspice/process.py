"""What runs inside a worker process: PySpice's ngspice, one job after another.

libngspice can hang, crash or call exit, and its return code says 0 whatever happens. So it lives
in a process that can be killed, and a result counts only when it is complete.
"""

import logging
import os
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from crossbar_sim.ngspice.errors import NgspiceError

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
    "unrecognized parameter",
)
#: Harmless messages that hold one of those words.
HARMLESS = ("can't find init file", "can't find the initialization file")


@dataclass(frozen=True)
class Resistors:
    """Resistors of a netlist that is parsed once and then given other values.

    names: their names. written, wanted (n_resistor,): values in the netlist and for this job [ohm].
    """

    names: tuple[str, ...]
    written: np.ndarray
    wanted: np.ndarray


@dataclass(frozen=True)
class Job:
    """A netlist with one analysis, and what it must yield.

    netlist: text. plot: kind of plot expected ("dc"). vectors: names expected, each of n_point.
    command: what makes ngspice do it; by default, the analysis that the netlist asks for.
    resistors: values that differ from the netlist's; jobs with them and the same netlist, one
    after another, parse it once. v_in (n_point, n_word) [V]: at each point, of the sources
    `vext_<i>` that the netlist declares `external`.
    """

    netlist: str
    plot: str
    vectors: tuple[str, ...]
    n_point: int
    command: str = "run"
    resistors: Resistors | None = None
    v_in: np.ndarray | None = None


@dataclass(frozen=True)
class JobResult:
    """values (n_vector, n_point) in the job's order; the solver's version; whether it used KLU."""

    values: np.ndarray
    version: int
    klu: bool


def start(library: str) -> None:
    """Load ngspice into this process; NgspiceError when it cannot be."""
    _engine(library)


def run_job(library: str, job: Job) -> JobResult:
    """Solve a job with the ngspice of this process; NgspiceError quotes what ngspice said."""
    engine = _engine(library)
    messages: list[str] = []
    try:
        engine.start(messages, job.v_in)
        engine.command("destroy all")
        _load(engine, job)
        engine.command(job.command)
        _refuse_failures(messages)
        values = _read_vectors(engine, job)
    except BaseException:
        engine.unload()
        raise
    finally:
        engine.command("destroy all")
    if job.resistors is None:
        engine.unload()
    klu = any(KLU_SIGN in message.lower() for message in messages)
    return JobResult(values, engine.ngspice_version, klu)


def _load(engine: Any, job: Job) -> None:
    """Parse the job's netlist unless it is there already, and set its resistors."""
    if job.resistors is None:
        engine.load(job.netlist)
        return
    if engine.netlist != job.netlist:
        engine.load(job.netlist)
        engine.ohms = job.resistors.written
    wanted = job.resistors.wanted
    changed = np.flatnonzero(engine.ohms != wanted)
    for k, ohm in zip(changed.tolist(), wanted[changed].tolist()):
        engine.command(f"alter {job.resistors.names[k]} = {ohm!r}")
    engine.ohms = wanted


@cache
def _engine(library: str) -> Any:
    """Return this process's ngspice; PySpice reads the library's path when it is imported."""
    os.environ["NGSPICE_LIBRARY_PATH"] = library
    try:
        from crossbar_sim.ngspice.shared import Engine
    except ImportError as error:
        raise NgspiceError(f"PySpice cannot be imported: {error}") from error
    logging.getLogger("PySpice").setLevel(logging.CRITICAL)
    try:
        return Engine(send_data=True)
    except OSError as error:
        raise NgspiceError(f"cannot load the ngspice library {library!r}: {error}") from error
    except AttributeError as error:
        raise NgspiceError(
            f"{library!r} is a library, but not ngspice's ({error}); NGSPICE_LIBRARY_PATH must "
            "name libngspice"
        ) from error


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
