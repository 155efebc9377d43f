"""The files of a study or of a search: trials as tables, and plots."""

from pathlib import Path

from matplotlib import rc_context

from crossbar_sim.report.run_plots import STYLE, png
from crossbar_sim.study.runner import Study
from crossbar_sim.study.search import Search
from crossbar_sim.study.tables import covered
from crossbar_sim.study_report.drawn import design_chart, trade_off_chart
from crossbar_sim.study_report.found import Found
from tinynets.files.outputs import write_beside


def save_study(study: Study, stem: Path, metrics: list[str]) -> list[Path]:
    """Write STEM.csv (all trials), STEM.parquet and STEM-METRIC.png; return their paths.

    Without a result, there are no plots. Raises ImportError, which names the missing extra, if
    Parquet cannot be written, and ConfigError for a metric that does not exist.
    """
    contents = {".csv": study.to_csv().encode()}
    found = Found(study, tuple(metrics))
    if found.summaries:
        contents[".parquet"] = study.to_pandas().to_parquet()
        note = covered(found.summaries)
        with rc_context(STYLE):
            for name in metrics:
                contents[f"-{name}.png"] = png(design_chart(found, name, note))
    return write_beside(stem, contents)


def save_search(search: Search, study: Study, stem: Path) -> list[Path]:
    """Write STEM-search.csv and, for the first two aims, STEM-search.png; return the paths.

    study: of the points that the search tried.
    """
    contents = {"-search.csv": search.to_csv().encode()}
    found = Found(study, search.aims.names, search)
    if found.cost and found.summaries:
        with rc_context(STYLE):
            contents["-search.png"] = png(trade_off_chart(found))
    return write_beside(stem, contents)
