"""Charts of studies: a metric against what is varied, and what is gained against what it costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator, NullLocator

from crossbar_sim.findings.shares import Interval
from crossbar_sim.report.run_plots import BLUE, GREY, LIGHT, ORANGE
from crossbar_sim.study.metrics import METRICS
from crossbar_sim.study_report.names import Key, point_text, value_text

#: Most lines that a reader can tell apart; more points are drawn without lines.
MAX_LINES = 8
#: Most values of a key that all have their tick.
_MAX_TICKS = 8
_COLOURS, _MARKERS, _STYLES = (BLUE, ORANGE, GREY, LIGHT), "os^Dvp*X", ("-", "--")
_PREFIXED = ("J", "W", "s")
#: Distance of two labels of lines [share of the height].
_GAP = 0.075
#: How far a chart of two metrics reaches beyond its means, as a share of their range, at most.
_ROOM = 0.5


@dataclass(frozen=True)
class Drawing:
    """How a metric is drawn against what is varied.

    x: the key on the x axis. panel: keys whose values have axes of their own.
    keys: the keys that vary, for people.
    title: what is drawn, and what was repeated.
    note: what the intervals cover, in small print.
    """

    x: str
    panel: tuple[str, ...] = ()
    keys: Mapping[str, Key] = field(default_factory=dict)
    title: str = ""
    note: str = ""


Row = tuple[Any, Interval]


def design(
    points: Sequence[Mapping[str, Any]],
    intervals: Sequence[Interval],
    metric: str,
    how: Drawing,
) -> Figure:
    """Draw a metric with its intervals, one line per combination of the keys besides x and panel.

    points: parameters of each point, by key. intervals: of the metric at each point.

    Values of x that are no numbers stand one below the other; so does the metric lie along x then.
    """
    panels = _panels(points, intervals, how)
    n_column = min(len(panels), 2)
    n_row = -(-len(panels) // n_column)
    seen = [row[0] for lines in panels.values() for rows in lines.values() for row in rows]
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in seen)
    figure = Figure(figsize=_size(panels, numeric=numeric), layout="constrained")
    for k, (title, lines) in enumerate(panels.items(), 1):
        axes = figure.add_subplot(n_row, n_column, k)
        if numeric:
            _draw_lines(axes, lines)
            _number_axis(axes, seen, how.keys.get(how.x, Key(how.x)))
            value_axis(axes.yaxis, metric)
        else:
            _draw_rows(axes, lines, how.keys.get(how.x, Key(how.x)))
            value_axis(axes.xaxis, metric)
            if k == 1 and axes.get_legend_handles_labels()[0]:
                handles = axes.get_legend_handles_labels()[0]
                figure.legend(handles=handles, frameon=False, fontsize=8, loc="outside lower left")
        axes.set_title(fill(title, 48), fontsize=9)
    _head(figure, fill(how.title, 60 if n_column == 1 else 90))
    if how.note:
        figure.supxlabel(fill(how.note, 95), fontsize=7)
    return figure


def _head(figure: Figure, title: str) -> None:
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, weight="bold")


def _panels(
    points: Sequence[Mapping[str, Any]], intervals: Sequence[Interval], how: Drawing
) -> dict[str, dict[str, list[Row]]]:
    """Return the rows of x and interval, by the titles of panels and the labels of lines."""
    panels: dict[str, dict[str, list[Row]]] = {}
    of_panel = {key: how.keys.get(key, Key(key)) for key in how.panel}
    of_line = {k: v for k, v in how.keys.items() if k != how.x and k not in how.panel}
    for k, (point, interval) in enumerate(zip(points, intervals)):
        title = point_text(point, of_panel) if of_panel else ""
        label = point_text(point, of_line) if of_line else ""
        lines = panels.setdefault(title, {})
        lines.setdefault(label, []).append((point.get(how.x, k + 1), interval))
    return panels


def _size(panels: Mapping[str, Mapping[str, list[Row]]], *, numeric: bool) -> tuple[float, float]:
    """Return the width and the height of a figure [inch]."""
    n_row = -(-len(panels) // 2)
    width = 6.4 if len(panels) == 1 else 10.4
    if numeric:
        return width, 3.9 if n_row == 1 else 3.4 * n_row
    lines = max(len(rows) for lines in panels.values() for rows in lines.values())
    each = max(len(lines) for lines in panels.values())
    return width, n_row * (1.5 + 0.24 * lines * min(max(each, 1), 4))


# ---- lines over a number -------------------------------------------------------------------------


def _draw_lines(axes: Axes, lines: Mapping[str, list[Row]]) -> None:
    """Draw a line for each label; of more lines than can be told apart, the points alone."""
    single = all(len(rows) == 1 for rows in lines.values())
    if len(lines) > MAX_LINES or (single and len(lines) > 1):
        rows = [row for each in lines.values() for row in each]
        _draw_line(axes, rows, "o", color=BLUE)
        return
    for k, rows in enumerate(lines.values()):
        line = _STYLES[k // len(_COLOURS) % len(_STYLES)]
        shape = _MARKERS[k % len(_MARKERS)] + line
        _draw_line(axes, sorted(rows, key=lambda row: row[0]), shape, color=_COLOURS[k % 4])
    if len(lines) > 1:
        _label_lines(axes, {label: max(r, key=lambda row: row[0]) for label, r in lines.items()})


def _draw_line(axes: Axes, rows: list[Row], shape: str, **style: Any) -> None:
    values = [row[0] for row in rows]
    means = [row[1].value for row in rows]
    axes.errorbar(
        values, means, yerr=_reach(rows), fmt=shape, markersize=4, capsize=3, lw=1.4, **style
    )


def _reach(rows: list[Row]) -> np.ndarray:
    """Return how far intervals reach down and up (2, n); 0 where there is none."""
    value, low, high = np.array([[row[1].value, row[1].low, row[1].high] for row in rows]).T
    return np.maximum(np.nan_to_num([value - low, high - value], posinf=0.0, neginf=0.0), 0.0)


def _label_lines(axes: Axes, ends: Mapping[str, Row]) -> None:
    """Write the label of each line to the right of its end, as far apart as can be read."""
    low, high = axes.get_ylim()
    name, texts = _shared_name(list(ends))
    texts = {label: fill(text, 22) for label, text in texts.items()}
    order = sorted(ends, key=lambda label: ends[label][1].value)
    places: list[float] = []
    for k, label in enumerate(order):
        wanted = (ends[label][1].value - low) / (high - low)
        lines = texts[label].count("\n") + 1 + (texts[order[k - 1]].count("\n") + 1 if k else 0)
        places.append(max(wanted, places[-1] + _GAP * lines / 2) if places else wanted)
    over = max(places[-1] - 1.0, 0.0)
    for label, place in zip(order, places):
        x, interval = ends[label]
        axes.annotate(
            texts[label],
            (x, interval.value),
            (1.04, place - over),
            textcoords="axes fraction",
            va="center",
            fontsize=8,
            arrowprops={"arrowstyle": "-", "color": GREY, "lw": 0.6},
        )
    if name:
        top = max(places[-1] - over, 0.0) + _GAP
        axes.annotate(name, (1.04, top), xycoords="axes fraction", fontsize=8)


def _shared_name(labels: list[str]) -> tuple[str, dict[str, str]]:
    """Return a name that all labels `name: value` begin with, and what follows it in each."""
    heads = {label.partition(": ")[0] for label in labels}
    single = all(label.count(": ") == 1 and ", " not in label for label in labels)
    if len(heads) == 1 and single:
        return f"{heads.pop()}:", {label: label.partition(": ")[2] for label in labels}
    return "", {label: label for label in labels}


def _number_axis(axes: Axes, seen: Sequence[float], key: Key) -> None:
    """Mark the values that were tried, and give them their unit."""
    if 0 < 20 * min(seen) < max(seen):
        axes.set_xscale("log")
    values = sorted(set(seen))
    if len(values) <= _MAX_TICKS:
        texts = [value_text(value, key.unit) for value in values]
        axes.set_xticks(values, texts, rotation=40 if sum(map(len, texts)) > 45 else 0)
        axes.xaxis.set_minor_locator(NullLocator())
    elif all(isinstance(value, int) for value in values) and axes.get_xscale() == "linear":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(key.label if len(values) <= _MAX_TICKS or not key.unit else _bracketed(key))
    axes.grid(alpha=0.3)


def _bracketed(key: Key) -> str:
    return f"{key.label} [fraction]" if key.unit == "%" else f"{key.label} [{key.unit}]"


# ---- rows of words -------------------------------------------------------------------------------


def _draw_rows(axes: Axes, lines: Mapping[str, list[Row]], key: Key) -> None:
    """Draw the metric along x, a row for each value of the key, from the top down."""
    names = list(dict.fromkeys(str(row[0]) for rows in lines.values() for row in rows))
    several = 1 < len(lines) <= MAX_LINES
    for k, (label, rows) in enumerate(lines.items()):
        shift = 0.6 * ((k + 0.5) / len(lines) - 0.5) if several else 0.0
        places = [names.index(str(row[0])) + shift for row in rows]
        axes.errorbar(
            [row[1].value for row in rows],
            places,
            xerr=_reach(rows),
            fmt=_MARKERS[k % len(_MARKERS)] if several else "o",
            color=_COLOURS[k % 4] if several else BLUE,
            markersize=4,
            capsize=3,
            label=label if several else None,
        )
    axes.set_yticks(range(len(names)), [fill(value_text(name, key.unit), 32) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_ylabel("" if key.label == "variant" else key.label)
    axes.grid(alpha=0.3, axis="x")


# ---- gained against cost -------------------------------------------------------------------------


def trade_off(
    values: Sequence[tuple[Interval, Interval]],
    kinds: Sequence[str],
    metrics: tuple[str, str],
    title: str,
) -> Figure:
    """Draw points by what they gain (upwards) and what they cost (to the right).

    values: both metrics of each point, what is gained first.
    kinds: "front", "other" or "over budget", of each point.
    metrics: the two names.

    Points of the front are joined, and have their numbers, which count from 1.
    """
    figure = Figure(figsize=(6.4, 3.9), layout="constrained")
    axes = figure.add_subplot()
    styles = {"over budget": (GREY, "x"), "other": (BLUE, "o"), "front": (ORANGE, "D")}
    for kind, (colour, marker) in styles.items():
        here = [k for k, of in enumerate(kinds) if of == kind]
        here.sort(key=lambda k: values[k][1].value)
        if not here:
            continue
        gains, costs = ([(None, values[k][side]) for k in here] for side in (0, 1))
        axes.errorbar(
            [row[1].value for row in costs],
            [row[1].value for row in gains],
            xerr=_reach(costs),
            yerr=_reach(gains),
            fmt=marker + ("-" if kind == "front" else ""),
            color=colour,
            markersize=4.5,
            capsize=2,
            lw=1.2,
            elinewidth=0.8,
            label={"front": "front (numbers: points)", "other": "beaten in both"}.get(kind, kind),
        )
        for k in here if kind == "front" else ():
            at = values[k][1].value, values[k][0].value
            axes.annotate(f"{k + 1}", at, (4, 5), textcoords="offset points", fontsize=8)
    value_axis(axes.yaxis, metrics[0])
    value_axis(axes.xaxis, metrics[1])
    axes.grid(alpha=0.3)
    _frame(axes, values)
    figure.legend(frameon=False, fontsize=8, loc="outside lower center", ncols=3)
    _head(figure, fill(title, 60))
    return figure


def _frame(axes: Axes, values: Sequence[tuple[Interval, Interval]]) -> None:
    """Show the means, and as much of their intervals as leaves the means apart."""
    for side, limits, limit in (
        (1, axes.get_xlim, axes.set_xlim),
        (0, axes.get_ylim, axes.set_ylim),
    ):
        means = [value[side].value for value in values]
        room = _ROOM * ((max(means) - min(means)) or abs(means[0]) or 1.0)
        low, high = limits()
        limit(max(low, min(means) - room), min(high, max(means) + room))


def value_axis(axis: Axis, metric: str) -> None:
    """Give an axis the name and the unit of a metric; shares in percent."""
    label, unit = METRICS[metric].label, METRICS[metric].unit
    if unit == "%":
        axis.set_major_formatter(lambda value, _: f"{100 * value:.4g} %".replace("-", "−"))
    elif unit in _PREFIXED:
        axis.set_major_formatter(EngFormatter(unit))
    elif unit == "m²":
        axis.set_major_formatter(lambda value, _: f"{1e6 * value:.4g} mm²")
    else:
        axis.set_major_formatter(lambda value, _: f"{value:,.4g}".replace("-", "−"))
    axis.set_label_text(label)
