"""Charts of studies: a metric against what is varied, and what is gained against what it costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator, NullFormatter, NullLocator

from crossbar_sim.findings.shares import Interval
from crossbar_sim.report.run_plots import BLUE, GREY, LIGHT, ORANGE, drawable
from crossbar_sim.study.metrics import METRICS
from crossbar_sim.study_report.names import Key, point_text, value_text, values_text

#: Points of a chart of two metrics: not beaten in both, beaten, not allowed.
FRONT, OTHER, OVER = "beaten by none in both", "beaten", "over budget"
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

    @property
    def of_line(self) -> dict[str, Key]:
        """The keys whose values have lines of their own."""
        return {k: v for k, v in self.keys.items() if k != self.x and k not in self.panel}

    @property
    def line_name(self) -> str:
        """What the labels of lines are values of; variants need no name."""
        names = [label for key, (label, _) in self.of_line.items() if key != "variant"]
        return f"{', '.join(names)}:" if names else ""


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
        shared = {"sharey" if numeric else "sharex": figure.axes[0] if figure.axes else None}
        axes = figure.add_subplot(n_row, n_column, k, **shared)
        if numeric:
            _draw_lines(axes, lines, how.line_name)
            _number_axis(axes, seen, how.keys.get(how.x, Key(how.x)))
            value_axis(axes.yaxis, metric)
        else:
            _draw_rows(axes, lines, how.keys.get(how.x, Key(how.x)))
            value_axis(axes.xaxis, metric)
        axes.set_title(fill(title, 48), fontsize=9, loc="left")
    if handles := figure.axes[0].get_legend_handles_labels()[0]:
        about = {"title": how.line_name or None, "title_fontsize": 8, "fontsize": 8}
        figure.legend(handles=handles, loc="outside right upper", frameon=False, **about)
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
    for k, (point, interval) in enumerate(zip(points, intervals)):
        title = drawable(point_text(point, of_panel)) if of_panel else ""
        label = drawable(values_text(point, how.of_line))
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


def _draw_lines(axes: Axes, lines: Mapping[str, list[Row]], name: str) -> None:
    """Draw a line for each label; of more lines than can be told apart, the points alone.

    Points whose x are all different, as those of a sample, are not joined and have a legend.
    """
    everything = [row for rows in lines.values() for row in rows]
    if len(lines) > MAX_LINES:
        _draw_line(axes, everything, "o", color=BLUE)
        return
    scattered = len(lines) > 1 and len({row[0] for row in everything}) == len(everything)
    for k, (label, rows) in enumerate(lines.items()):
        line = "" if scattered else _STYLES[k // len(_COLOURS) % len(_STYLES)]
        shape = _MARKERS[k % len(_MARKERS)] + line
        style = {"color": _COLOURS[k % 4], "label": label if scattered else None}
        _draw_line(axes, sorted(rows, key=lambda row: row[0]), shape, **style)
    if len(lines) > 1 and not scattered:
        ends = {label: max(rows, key=lambda row: row[0]) for label, rows in lines.items()}
        _label_lines(axes, ends, name)


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


def _label_lines(axes: Axes, ends: Mapping[str, Row], name: str) -> None:
    """Write the label of each line to the right of its end, with what they are values of."""
    low, high = axes.get_ylim()
    order = sorted(ends, key=lambda label: ends[label][1].value)
    texts = [fill(label, 22) for label in order]
    wanted = [(ends[label][1].value - low) / (high - low) for label in order]
    places = _apart(wanted, [_GAP * (text.count("\n") + 1) for text in texts])
    for label, text, place in zip(order, texts, places):
        x, interval = ends[label]
        axes.annotate(
            text,
            (x, interval.value),
            (1.04, place),
            textcoords="axes fraction",
            va="center",
            fontsize=8,
            arrowprops={"arrowstyle": "-", "color": GREY, "lw": 0.6},
        )
    if name:
        top = places[-1] + _GAP
        axes.annotate(fill(name, 22), (1.04, top), xycoords="axes fraction", fontsize=8)


def _apart(wanted: Sequence[float], heights: Sequence[float]) -> list[float]:
    """Return places as near to rising ones as texts of these heights allow, within 0 … 1."""
    places: list[float] = []
    for k, place in enumerate(wanted):
        least = places[-1] + (heights[k - 1] + heights[k]) / 2 if places else place
        places.append(max(place, least))
    shift = float(np.mean(np.subtract(places, wanted)))
    shift = max(min(shift, places[0]), places[-1] - 1.0)
    return [place - shift for place in places]


def _number_axis(axes: Axes, seen: Sequence[float], key: Key) -> None:
    """Mark the values that were tried, and give them their unit."""
    if 0 < 20 * min(seen) < max(seen):
        axes.set_xscale("log")
    values = sorted(set(seen))
    if len(values) <= _MAX_TICKS:
        texts = [value_text(value, key.unit) for value in values]
        axes.set_xticks(values, texts, rotation=40 if sum(map(len, texts)) > 45 else 0)
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        if all(isinstance(value, int) for value in values) and axes.get_xscale() == "linear":
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.xaxis.set_major_formatter(lambda value, _: value_text(float(value), key.unit))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(key.label)
    axes.grid(alpha=0.3)


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
    texts = [fill(drawable(value_text(name, key.unit)), 32) for name in names]
    axes.set_yticks(range(len(names)), texts)
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
    kinds: OTHER or OVER, or the number of a point of the front, of each point.
    metrics: the two names.

    Points of the front are joined, and have their numbers.
    """
    figure = Figure(figsize=(6.4, 3.9), layout="constrained")
    axes = figure.add_subplot()
    styles = {OVER: (GREY, "x"), OTHER: (BLUE, "o"), FRONT: (ORANGE, "D-")}
    for label, (colour, shape) in styles.items():
        here = [k for k, kind in enumerate(kinds) if (kind if kind in styles else FRONT) == label]
        here.sort(key=lambda k: values[k][1].value)
        if not here:
            continue
        gains, costs = ([(None, values[k][side]) for k in here] for side in (0, 1))
        axes.errorbar(
            [row[1].value for row in costs],
            [row[1].value for row in gains],
            xerr=_reach(costs),
            yerr=_reach(gains),
            fmt=shape,
            color=colour,
            markersize=4.5,
            capsize=2,
            lw=1.2,
            elinewidth=0.8,
            label=label,
        )
        for k in here if label == FRONT else ():
            at = values[k][1].value, values[k][0].value
            axes.annotate(kinds[k], at, (4, 5), textcoords="offset points", fontsize=8)
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
