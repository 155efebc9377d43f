"""The command of accuracy studies."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from crossbar_sim.system.failures import naming
from crossbar_sim.system.terminal import messages, progress_bars
from tinynets.files.extras import optional


def _check_jobs(jobs: int) -> int:
    if jobs < 1 and jobs != -1:
        raise typer.BadParameter(f"must be 1 or more, or -1 for one per core; got {jobs}")
    return jobs


def _check_extras(*, optimise: bool, output: Path | None, dask: str | None) -> None:
    """Raise ImportError for a package that would be missed when all trials are done."""
    wanted = [("optuna", "optimise")] if optimise else []
    if output and not optimise:
        wanted += [("pandas", "study"), ("pyarrow", "study")]
    if dask is not None:
        wanted.append(("distributed", "cluster"))
    for package, extra in wanted:
        optional(package, extra=extra)


def study(
    config: Annotated[Path, typer.Argument(help="TOML file, such as examples/studies/first.toml")],
    store: Annotated[
        Path, typer.Option(help="SQLite file that keeps every trial as it ends")
    ] = Path("results/studies.sqlite"),
    jobs: Annotated[
        int, typer.Option(callback=_check_jobs, help="processes; -1 for one per core")
    ] = -1,
    dask: Annotated[
        str | None, typer.Option(help="address of a Dask scheduler, tcp://HOST:PORT")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="write OUTPUT.csv, OUTPUT.parquet and a plot per metric")
    ] = None,
    optimise: Annotated[
        bool, typer.Option("--optimise", help="search as \\[optimise] says, not all points")
    ] = False,
    metric: Annotated[list[str], typer.Option(help="metrics to print and plot")] = [  # noqa: B006
        "accuracy",
        "mvm_error",
        "energy",
    ],
) -> None:
    """Many dies × many settings: accuracy, error, power, yield, with confidence intervals.

    With --optimise, a search for the settings that are best for several aims under a budget
    (needs the extra `optimise`). Prints one CSV line per point. Trials that the store has are not
    computed again, so the same command goes on where an interrupted one stopped. Exit code 1 when
    some trials failed.
    """
    from crossbar_sim.config.study import load_study
    from crossbar_sim.study.runner import Study
    from crossbar_sim.study.search import optimise as search
    from crossbar_sim.study.store import Store
    from crossbar_sim.study.tables import save_study, summary_csv

    settings, base = load_study(config)
    _check_extras(optimise=optimise, output=output, dask=dask)
    kept = Store(store)
    with progress_bars() as tell:
        options = {"n_jobs": jobs, "dask": dask}
        if optimise:
            found = search(
                settings, base, kept, **options, progress=lambda *done: tell("points", *done)
            )
            text, save = found.to_csv(), found.save
        else:
            found = Study(settings, base, kept)
            found.run(**options, progress=lambda *done: tell("trials", *done))
            text = summary_csv(found, metric)
            save = partial(save_study, found, metrics=metric)
    typer.echo(text, nl=False)
    if output:
        with naming(output):
            for path in save(output):
                messages.print(f"wrote {path}", markup=False, soft_wrap=True)
    if len(found.machines) > 1:
        what = "trials of several kinds of machines are mixed, on which training may differ: "
        messages.print(what + " | ".join(found.machines), markup=False, soft_wrap=True)
    for failure in found.failures:
        messages.print(f"{failure.point}, die {failure.die}: {failure.reason}", markup=False)
    raise typer.Exit(1 if found.failures else 0)
