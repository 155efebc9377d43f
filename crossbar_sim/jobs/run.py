"""The whole path: from a trained network to a simulated die and its report."""

from pathlib import Path

from crossbar_sim.config import RunConfig
from crossbar_sim.findings.outcome import find_outcome
from crossbar_sim.ngspice.worker import NgspiceWorker
from crossbar_sim.pipeline.steps import Progress, silent, single_thread
from crossbar_sim.pipeline.warm_up import compile_kernels
from crossbar_sim.pipeline.workspace import Workspace
from crossbar_sim.report.run_report import write_report


def run(
    config: RunConfig,
    root: str | Path = "results",
    *,
    resume: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Take a run's whole path and return the directory `root/<name>` with its report.

    resume: whether to continue an interrupted run of the same settings.
    progress: see `Progress`.

    The directory appears only when everything is done. Raises ConfigError, NgspiceError if ngspice
    cannot be used, and VerificationError if the two solvers disagree.
    """
    tell = progress or silent
    with NgspiceWorker(time_limit=config.simulation.time_limit) as worker, single_thread():
        worker.probe()  # if ngspice does not work, fail before the work
        compile_kernels(tell)
        work = Workspace(Path(root), config, resume=resume)
        outcome = find_outcome(config, work, worker, tell)
        tell("report", 0, 1)
        write_report(outcome, work.directory)
        tell("report", 1, 1)
        return work.finish()
