"""The command for accuracy studies."""

import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crossbar_sim.system.failures import naming
from crossbar_sim.system.figures import Json, Rows, print_json, print_rows
from crossbar_sim.system.terminal import TRUST, messages, progress_bars
from tinynets.files.extras import require

if TYPE_CHECKING:
    from crossbar_sim.config import RunConfig
    from crossbar_sim.config.study import StudyConfig
    from crossbar_sim.study.runner import Study
    from crossbar_sim.study.search import Search
    from crossbar_sim.study.store import Store


def _check_jobs(jobs: int) -> int:
    if jobs < 1 and jobs != -1:
        raise typer.BadParameter(f"must be 1 or more, or -1 for one per core; got {jobs}")
    return jobs


def _check_extras(*, optimise: bool, output: Path | None, dask: str | None) -> None:
    """Raise ImportError now for a package that would only be missed after all trials."""
    needed = [("optuna", "optimise")] if optimise else []
    if output and not optimise:
        needed += [("pandas", "study"), ("pyarrow", "study")]
    if dask is not None:
        needed.append(("distributed", "cluster"))
    for package, extra in needed:
        require(package, extra=extra)


_Config = Annotated[
    Path, typer.Argument(help="TOML file of the study, such as examples/studies/first.toml.")
]
_Store = Annotated[
    Path, typer.Option(help="SQLite file that keeps every trial as soon as it ends.")
]
_Jobs = Annotated[
    int, typer.Option(callback=_check_jobs, help="Number of processes; -1 for one per core.")
]
_Dask = Annotated[
    str | None,
    typer.Option(help="Address of a Dask scheduler, tcp://HOST:PORT, to use in place of --jobs."),
]
_Output = Annotated[
    Path | None,
    typer.Option(
        help="Path without suffix of a page (.html), the trials as CSV and Parquet, and plots."
    ),
]
_Search = Annotated[
    bool,
    typer.Option("--optimise", help="Search of the study's \\[optimise] table, not all points."),
]
_Metrics = Annotated[
    list[str] | None,
    typer.Option(
        help="Metric to print and plot; may be repeated.  \\[default: accuracy (without labels, "
        "agreement), mvm_error and energy]"
    ),
]


def study(
    config: _Config,
    store: _Store = Path("results/studies.sqlite"),
    jobs: _Jobs = -1,
    dask: _Dask = None,
    output: _Output = None,
    optimise: _Search = False,
    metric: _Metrics = None,
    trust: Annotated[bool, typer.Option("--trust", help=TRUST)] = False,
    as_json: Json = False,
) -> None:
    """Accuracy, error, power and yield over many settings and dies, with confidence intervals.

    With --optimise, a search for the settings that are best for several aims under a budget
    (needs the extra `optimise`). Prints one CSV line per point. A trial that is in the store is
    not computed again, so the same command continues an interrupted study. Exit code 1 when a
    trial failed.

    Example: crossbar-sim study examples/studies/first.toml --output results/first
    """
    from crossbar_sim.config.study import load_study

    settings, base = load_study(config, trust=trust)  # mistakes are told before torch is loaded
    _check_extras(optimise=optimise, output=output, dask=dask)
    from crossbar_sim.study import tables
    from crossbar_sim.study.runner import Study
    from crossbar_sim.study.search import optimise as search
    from crossbar_sim.study.store import Store

    kept = Store(store)
    with progress_bars() as tell:
        if optimise:
            result = search(
                settings,
                base,
                kept,
                n_jobs=jobs,
                dask=dask,
                progress=tell,
            )
            rows = result.rows()
        else:
            result = Study(settings, base, kept)
            result.run(n_jobs=jobs, dask=dask, progress=tell)
            metric = metric or tables.usual_metrics(result)
            rows = tables.summary_rows(result, metric)
    failed = [asdict(failure) for failure in result.failures]
    if sys.stdout.isatty() and not as_json:
        rows = _numbered(result, rows)
    print_rows(rows, as_json=as_json, form=".6g", facts={"failures": failed})
    if output:
        with naming(output), progress_bars() as tell:
            tell("report", 0, 1)
            paths = _save(result, output, metric or [], (settings, base, kept))
            tell("report", 1, 1)
        for path in paths:
            messages.print(f"wrote {path}", markup=False, soft_wrap=True)
    _report(result)
    raise typer.Exit(1 if result.failures else 0)


def _numbered(result: "Study | Search", rows: Rows) -> Rows:
    """Return rows that begin with the number of their point, as the page has it.

    A narrow terminal has several tables one below the other, of which each repeats that column.
    """
    from crossbar_sim.study.runner import Study

    if not isinstance(result, Study):
        return [{"point": k, **row} for k, row in enumerate(rows, 1)]
    numbers = [result.points.index(summary.point) + 1 for summary in result.summary()]
    return [{"point": k, **row} for k, row in zip(numbers, rows, strict=True)]


def _save(
    result: "Study | Search",
    output: Path,
    metrics: list[str],
    asked: "tuple[StudyConfig, RunConfig, Store]",
) -> list[Path]:
    """Write the tables, the plots and the page of a study or a search; return their paths.

    asked: the study, the run that it varies, and where trials are kept.
    """
    from crossbar_sim.study.runner import Study
    from crossbar_sim.study_report.files import save_search, save_study
    from crossbar_sim.study_report.found import Found
    from crossbar_sim.study_report.study_page import write_study_page

    command = shlex.join(["crossbar-sim", *sys.argv[1:]])
    if isinstance(result, Study):
        paths, found, end = save_study(result, output, metrics), Found(result, tuple(metrics)), ""
    else:
        points = [tried.summary.point for tried in result.tried]
        study = Study(*asked, points, result.failures)
        paths, end = save_search(result, study, output), "-search"
        found = Found(study, result.aims.names, result)
    page = output.with_name(f"{output.name}{end}.html")
    return [*paths, write_study_page(found, page, command)]


def _report(result: "Study | Search") -> None:
    """Say on which kinds of machines the trials ran, and which of them failed."""
    if len(result.machines) > 1:
        what = "these trials come from several kinds of machines, on which training may differ: "
        messages.print(what + " | ".join(result.machines), markup=False, soft_wrap=True)
    for failure in result.failures:
        messages.print(f"{failure.point}, die {failure.die}: {failure.reason}", markup=False)


# ---- published chips -----------------------------------------------------------------------------


def reproduce(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="The chip; without it, all are listed.")
    ] = None,
    dies: Annotated[int, typer.Option(min=2, max=1000, help="Number of dies simulated.")] = 3,
    networks: Annotated[
        Path, typer.Option(help="Directory that keeps the trained network.")
    ] = Path("results/published"),
    as_json: Json = False,
) -> None:
    """Published figures of a chip beside those of an ordinary run here.

    Prints a CSV line for each figure: published, ours with its 95 % interval over dies, the
    tolerance stated before the run, the verdict and why they differ; figures that cannot be
    reproduced are lines too. Without NAME, lists the chips.

    Example: crossbar-sim reproduce li2018
    """
    from crossbar_sim.jobs import published

    if name is None and as_json:
        known = published.chips().items()
        chips = [{"name": key, "title": chip.title, "source": chip.source} for key, chip in known]
        print_json({"chips": chips})
        return
    if name is None:
        for known, chip in published.chips().items():
            typer.echo(f"{known}: {chip.title} ({chip.source})")
        return
    published.chip_named(name)
    with progress_bars() as tell:
        rows = published.reproduce(name, networks, n_die=dies, progress=tell)
    print_rows(rows, as_json=as_json, form=".4g")
