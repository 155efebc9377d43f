"""The whole path: from a trained network to a simulated die and its report."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from crossbar_sim.config import RunConfig
from crossbar_sim.findings.estimate import RunAmount, run_amount
from crossbar_sim.findings.outcome import MAX_NETLIST_VECTORS, find_outcome
from crossbar_sim.ngspice.worker import NgspiceWorker
from crossbar_sim.pipeline.deployment import Deployment
from crossbar_sim.pipeline.kept import Kept
from crossbar_sim.pipeline.own import given
from crossbar_sim.pipeline.steps import single_thread
from crossbar_sim.pipeline.warm_up import compile_kernels
from crossbar_sim.pipeline.workspace import Workspace
from crossbar_sim.report.run_report import write_report
from tinynets.progress import Progress, silent


def simulate(
    model: nn.Module,
    data: Any,
    *,
    name: str = "network",
    root: str | Path = "results",
    settings: Mapping[str, Any] | RunConfig | None = None,
    **options: Any,
) -> Path:
    """Take a torch module the whole path of `run`; return the directory `root/<name>`.

    options: leave_digital, paths of modules that stay digital; and resume, progress and announce of
        `run`.

    The other arguments are those of `given`.
    """
    digital = {"leave_digital": tuple(options.pop("leave_digital", ()))}
    return run(given(model, data, settings=settings, name=name, **digital), root, **options)


def estimate(
    model: nn.Module,
    data: Any,
    *,
    settings: Mapping[str, Any] | RunConfig | None = None,
    leave_digital: tuple[str, ...] = (),
) -> RunAmount:
    """Return what `simulate` takes after training, to be printed: tiles, seconds and bytes.

    The circuits of `to_torch` are the same ones, without ngspice. The arguments are those of
    `given`; a network with tables for that is trained and pruned here.
    """
    config = given(model, data, settings=settings, leave_digital=leave_digital).ready()
    return run_amount(config, Deployment(config, Kept()).network, MAX_NETLIST_VECTORS)


def run(
    config: RunConfig,
    root: str | Path = "results",
    *,
    resume: bool = False,
    progress: Progress = silent,
    announce: Callable[[RunAmount], object] = lambda _amount: None,
) -> Path:
    """Take a run's whole path and return the directory `root/<name>` with its report.

    resume: whether to continue an interrupted run of the same settings.
    progress: told of every step; see `tinynets.progress.Progress`.
    announce: told what the steps after training take, if that is more than seconds.

    The directory appears only when everything is done. Raises ConfigError, NgspiceError if ngspice
    cannot be used, OSError if the disk cannot hold it, and
    VerificationError if the two solvers disagree.
    """
    config = config.ready()
    config.require_known_energy()
    with NgspiceWorker(time_limit=config.simulation.time_limit) as worker, single_thread():
        worker.probe()  # if ngspice does not work, fail before the work
        compile_kernels(progress)
        work = Workspace(Path(root), config, resume=resume)
        outcome = find_outcome(config, work, worker, progress, announce)
        progress("report", 0, 1)
        write_report(outcome, work.directory)
        progress("report", 1, 1)
        return work.finish()
