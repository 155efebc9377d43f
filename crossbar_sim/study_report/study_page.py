"""The page of a study or of a search: one self-contained HTML file.

`found` holds its results, `sentences` says them, `drawn` draws them and `reproduction` makes single
runs of its best points. The templates `study_report.html.j2` and `study_….html.j2` are the page.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from crossbar_sim.report.modelled import in_words
from crossbar_sim.report.page import write_page
from crossbar_sim.report.run_plots import STYLE
from crossbar_sim.report.run_report import versions, without_infinities
from crossbar_sim.report.settings import setting_rows
from crossbar_sim.study.metrics import METRICS
from crossbar_sim.study.tables import covered, image_share
from crossbar_sim.study_report import sentences
from crossbar_sim.study_report.drawn import design_chart, trade_off_chart
from crossbar_sim.study_report.found import Found
from crossbar_sim.study_report.names import (
    bounds_text,
    difference_text,
    key_of,
    metric_text,
    point_text,
    value_text,
)
from crossbar_sim.study_report.reproduction import reproduction

#: Most points whose single run the page holds.
MAX_RUNS = 8


def write_study_page(f: Found, path: Path, command: str) -> Path:
    """Write the page; return its path.

    command: that computed the study, to be stated.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with rc_context(STYLE):
        write_page(
            path,
            "study_report.html.j2",
            draw(f),
            r=page_numbers(f) | {"command": command, "stem": path.stem},
            headline=sentences.headline(f),
        )
    return path


def page_numbers(f: Found) -> dict[str, Any]:
    """Return everything that the page states besides its headline and its charts."""
    study, config = f.study, f.study.config
    known = f.summaries[0].metrics if f.summaries else {}
    return {
        "name": config.name,
        "search": f.search is not None,
        "facts": facts(f),
        "keys": [{"key": key, "label": label} for key, (label, _) in f.keys.items()],
        "metrics": [{"name": name, "label": METRICS[name].label} for name in shown_metrics(f)],
        "judge": METRICS[f.judge].label if f.summaries else "",
        "yield_of": f"{METRICS[image_share(f.summaries[0])].label}" if f.summaries else "",
        "yield_least": value_text(config.yield_accuracy, "%"),
        "points": list(point_rows(f)),
        "compared": f.best is not None and f.pairs.n_test > 0 and len(f.allowed) > 1,
        "n_test": f.pairs.n_test if f.best is not None else 0,
        "covered": covered(f.summaries) if f.summaries else "",
        "texts": {name: sentences.chart_text(f, name) for name in f.metrics if name in known},
        "runs": [reproduction(f, k) for k in chosen(f)],
        "failures": failure_rows(f),
        "study": study_settings(f),
        "variants": variant_rows(f),
        "settings": setting_rows(study.base),
        "modelled": in_words(study.base),
        "machines": study.machines if f.summaries else [],
        "versions": versions(),
    }


def shown_metrics(f: Found) -> list[str]:
    """Return the metrics of the table: those asked for, and what points are judged by and cost."""
    if not f.summaries:
        return []
    more = [f.judge, *([f.cost] if f.cost else [])]
    if f.search is not None:
        more += [
            *f.search.aims.budget,
            *(["accuracy"] if "accuracy" in f.summaries[0].metrics else []),
        ]
    return list(dict.fromkeys([*f.metrics, *more]))


def facts(f: Found) -> dict[str, str]:
    """Return short facts on the whole study."""
    study, n_done = f.study, sum(map(len, f.records))
    found = {"points with a result": f"{len(f.summaries):,} of {_n_point(f):,}"}
    found |= {"trials that count": f"{n_done:,}", "trials failed": f"{len(study.failures):,}"}
    if f.summaries:
        found["test images"] = metric_text(f.mean(0, "n_test"), "n_test")
        seconds = sum(record.seconds for records in f.records for record in records)
        found["computing time of the trials"] = _time(seconds)
    return found


def _n_point(f: Found) -> int:
    return f.search.aims.n if f.search else len(f.study.points)


def _time(seconds: float) -> str:
    """Return a time in the unit that people would take."""
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def point_rows(f: Found) -> Iterator[dict[str, Any]]:
    """Yield a row of the table for each point: values, means with intervals, yield, comparison."""
    for k, summary in enumerate(f.summaries):
        cells = []
        for name in shown_metrics(f):
            found = summary.metric(name)
            mean = metric_text(found.value, name, f.score)
            bounds = bounds_text(found, name, f.score)
            cells.append({"text": mean, "bounds": bounds, "value": found.value})
        share = summary.yield_
        yield without_infinities(
            {
                "number": f.number(k),
                "values": [
                    {"text": value_text(summary.point[key], unit), "value": summary.point[key]}
                    if key in summary.point
                    else {"text": "–", "value": None}
                    for key, (_, unit) in f.keys.items()
                ],
                "metrics": cells,
                "yield": {"value": share.value, "low": share.low, "high": share.high},
                "dies": summary.n_die,
                "trainings": summary.n_training,
                "failed": sum(failure.point == summary.point for failure in f.study.failures),
                "front": k in f.front,
                "verdict": sentences.verdict(f, k),
                "best": k == f.best,
                "difference": _difference(f, k),
            }
        )


def _difference(f: Found, k: int) -> dict[str, Any]:
    """Return what a point has more than the best, on the dies that both have."""
    if f.best is None or k == f.best or np.isnan(f.pairs.mean[f.best, k]):
        return {"text": "–", "value": None}
    found = f.pairs.interval(f.best, k)
    return {"text": difference_text(found, f.judge), "value": found.value}


def chosen(f: Found) -> list[int]:
    """Return the points with a single run: the best, its equals, then the rest of the front."""
    if not f.summaries:
        return []
    first = [] if f.best is None else [f.best]
    order = [*f.front, *first] if f.search else [*first, *f.equals, *f.front]
    return list(dict.fromkeys(order or range(len(f.summaries))))[:MAX_RUNS]


def failure_rows(f: Found) -> list[dict[str, Any]]:
    """Return a row for each failed trial: its point in words, its die and why."""
    config = f.study.by_point[0][0].config
    rows = []
    for failure in f.study.failures:
        keys = {key: key_of(key, config) for key in failure.point}
        text = point_text(failure.point, keys)
        rows.append({"point": text, "die": failure.die, "reason": failure.reason})
    return rows


def study_settings(f: Found) -> list[dict[str, str]]:
    """Return rows of key, value and meaning of the study's own settings."""
    config, first = f.study.config, f.study.by_point[0][0].config
    rows = [("base", str(config.base), "the run that is varied")]
    for key, values in config.grid.items():
        label, unit = key_of(key, first)
        rows.append((key, ", ".join(value_text(value, unit) for value in values), label))
    ranges = config.sample.range if config.sample else {}
    ranges = ranges | (f.search.aims.range if f.search else {})
    for key, choice in ranges.items():
        label, unit = key_of(key, first)
        rows.append((key, _range_text(choice, unit), label))
    seeds = f"{config.first_die} … {config.first_die + config.dies - 1}"
    rows.append(("dies", str(config.dies), f"dies of each training, of the first: seeds {seeds}"))
    rows.append(("trainings", str(config.trainings), "networks trained at every point"))
    if config.stop:
        stop = f"{config.stop.metric} to ± {config.stop.half_width:g}"
        rows.append(("stop", stop, "a point needs no more dies once its mean is known so well"))
    return [dict(zip(("key", "value", "meaning"), row)) for row in rows]


def _range_text(choice: Any, unit: str) -> str:
    """Return a range, or the values of a list."""
    if isinstance(choice, list):
        return ", ".join(value_text(value, unit) for value in choice)
    scale = ", on a log scale" if choice.log else ""
    whole = ", whole numbers" if choice.integer else ""
    return f"{value_text(choice.low, unit)} … {value_text(choice.high, unit)}{whole}{scale}"


def variant_rows(f: Found) -> list[dict[str, str]]:
    """Return a row for each variant: its name and the keys that it sets."""
    return [
        {"name": name, "keys": ", ".join(f"{key} = {value}" for key, value in keys.items())}
        for name, keys in f.study.config.variants.items()
    ]


def draw(f: Found) -> dict[str, Figure]:
    """Return the charts of the page, by name; none without a result."""
    if not f.summaries:
        return {}
    charts = {}
    if f.search is None:
        charts = {f"design-{name}": design_chart(f, name) for name in f.metrics}
    if f.cost is not None and len(f.summaries) > 1:
        charts["trade-off"] = trade_off_chart(f)
    return charts
