"""The inside of a worker process: PySpice's ngspice, one job after another.

libngspice can hang, crash or call exit, and its return code is 0 whatever happens. So it runs in a
process that can be killed, and a result counts only when it is complete.
"""

import logging
import os
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from crossbar_sim.ngspice.errors import NgspiceError

#: ngspice prints this for every run with its KLU solver.
KLU_SIGN = "using klu as direct linear solver"
#: Fragments of messages after which ngspice continues with a result that must not be used.
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
#: Harmless messages that contain one of those words.
HARMLESS = ("can't find init file", "can't find the initialization file")


@dataclass(frozen=True)
class Resistors:
    """Resistors of a netlist that is parsed once and then given other values.

    names: their names.
    written: (n_resistor,) values in the netlist [ohm].
    target: (n_resistor,) values for this job [ohm].
    """

    names: tuple[str, ...]
    written: np.ndarray
    target: np.ndarray


@dataclass(frozen=True)
class Job:
    """A netlist with one analysis, and what it must yield.

    netlist: its text.
    plot: kind of the expected plot ("dc").
    vectors: names of the expected vectors.
    n_point: length of each vector.
    command: starts the analysis; by default the one in the netlist.
    resistors: values that differ from the netlist's. Consecutive jobs with the same netlist and
    with resistors parse it once.
    v_in: (n_point, n_word) [V] at each point, for the sources `vext_<i>` that the netlist declares
    `external`.
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
    """What a job yielded.

    values: (n_vector, n_point), in the job's order.
    version: of ngspice.
    klu: whether the KLU solver was used.
    """

    values: np.ndarray
    version: int
    klu: bool


def start(library: str) -> None:
    """Load ngspice into this process. Raises NgspiceError when that fails."""
    _ngspice(library)


def run_job(library: str, job: Job) -> JobResult:
    """Solve a job with this process's ngspice. Raises NgspiceError that quotes its message."""
    ngspice = _ngspice(library)
    messages: list[str] = []
    try:
        ngspice.start(messages, job.v_in)
        ngspice.command("destroy all")
        _load(ngspice, job)
        ngspice.command(job.command)
        _refuse_failures(messages)
        values = _read_vectors(ngspice, job)
    except BaseException:
        ngspice.unload()
        raise
    finally:
        ngspice.command("destroy all")
    if job.resistors is None:
        ngspice.unload()
    klu = any(KLU_SIGN in message.lower() for message in messages)
    return JobResult(values, ngspice.ngspice_version, klu)


def _load(ngspice: Any, job: Job) -> None:
    """Parse the job's netlist unless it is loaded already, and set its resistors."""
    if job.resistors is None:
        ngspice.load(job.netlist)
        return
    if ngspice.netlist != job.netlist:
        ngspice.load(job.netlist)
        ngspice.ohms = job.resistors.written
    target = job.resistors.target
    changed = np.flatnonzero(ngspice.ohms != target)
    for k, ohm in zip(changed.tolist(), target[changed].tolist()):
        ngspice.command(f"alter {job.resistors.names[k]} = {ohm!r}")
    ngspice.ohms = target


@cache
def _ngspice(library: str) -> Any:
    """Return this process's ngspice; PySpice reads the library's path when it is imported."""
    os.environ["NGSPICE_LIBRARY_PATH"] = library
    try:
        from crossbar_sim.ngspice.shared import SharedNgspice
    except ImportError as error:
        raise NgspiceError(f"PySpice cannot be imported: {error}") from error
    logging.getLogger("PySpice").setLevel(logging.CRITICAL)
    try:
        return SharedNgspice(send_data=True)
    except OSError as error:
        raise NgspiceError(f"cannot load the ngspice library {library!r}: {error}") from error
    except AttributeError as error:
        raise NgspiceError(
            f"{library!r} is a library, but not ngspice's ({error}); set NGSPICE_LIBRARY_PATH "
            "to libngspice"
        ) from error


def _refuse_failures(messages: list[str]) -> None:
    """Raise NgspiceError when a message reports a failure."""
    for message in messages:
        text = message.lower()
        if any(sign in text for sign in FATAL) and not any(sign in text for sign in HARMLESS):
            raise NgspiceError(f"ngspice said: {message.strip()}")


def _read_vectors(ngspice: Any, job: Job) -> np.ndarray:
    """Return the expected vectors of the last run, complete and finite."""
    name = ngspice.last_plot
    if not name.startswith(job.plot):
        raise NgspiceError(f"ngspice made no {job.plot!r} plot (the last one is {name!r})")
    plot = ngspice.plot(None, name)
    values = np.empty((len(job.vectors), job.n_point))
    for k, vector in enumerate(job.vectors):
        if vector not in plot:
            raise NgspiceError(f"ngspice gave no vector {vector!r} in plot {name!r}")
        points = plot[vector]._data
        if points.shape != (job.n_point,) or not np.isfinite(points).all():
            raise NgspiceError(
                f"vector {vector!r} has {len(points)} of {job.n_point} points, "
                f"{np.isfinite(points).sum()} of them finite"
            )
        values[k] = points
    return values
