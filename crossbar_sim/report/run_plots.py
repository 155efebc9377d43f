"""Plots of a run, as figures that become PNG or SVG."""

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from crossbar_sim.findings.run_score import SHARES, shown
from crossbar_sim.gradients.part_costs import PartCosts
from crossbar_sim.report.formats import si
from crossbar_sim.solvers.solution import Solution
from mapping.tiling.tiles import Tile
from netlists.circuit.elements import CELL

BLUE, LIGHT, ORANGE, GREY = "#2b6cb0", "#358ad0", "#c05621", "#718096"
#: The colours of a page's style, `templates/style.html.j2`, by those of the plots.
VARIABLES = {
    BLUE: "--blue",
    LIGHT: "--sky",
    ORANGE: "--orange",
    GREY: "--grey",
    "#000000": "--ink",
    "#ffffff": "--paper",
}
#: Of every plot of a page: text stays text, and the same plot gives the same bytes.
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "crossbar-sim",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.prop_cycle": cycler(color=[BLUE, ORANGE, GREY, LIGHT]),
}


def drawable(text: str) -> str:
    """Return a name as text to draw: two of its dollars would begin and end a formula."""
    return text.replace("$", r"\$")


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a new figure of a size [inch] and its axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def png(figure: Figure) -> bytes:
    """Return a figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=140, metadata={"Software": None})
    return buffer.getvalue()


def svg(figure: Figure, name: str) -> str:
    """Return a figure as SVG to be part of a page, whose colours it takes.

    name: unique in the page, since its parts get names that begin with it.
    """
    buffer = io.StringIO()
    about = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(buffer, format="svg", dpi=140, transparent=True, metadata=about)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
    size = re.search(r'viewBox="[^"]*"', text)
    assert size
    text = re.sub(r"<svg[^>]*>", f'<svg {size[0]} aria-hidden="true">', text, count=1)
    text = re.sub(r'(\bid="|url\(#|xlink:href="#)', rf"\g<1>{name}-", text)
    text = re.sub(r"font: (?:(\w+) )?([\d.]+px) [^;\"]*", _font, text)
    text = re.sub(r"font-family: [^;\"]*; ?", "", text)
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    return text


def _font(found: re.Match[str]) -> str:
    """Return a font of the page's family in place of one of matplotlib's."""
    weight = f"font-weight: {found[1]}; " if found[1] else ""
    return f"{weight}font-size: {found[2]}"


def conductances(tile: Tile) -> Figure:
    """Draw g_pos - g_neg of a tile; cells without devices stay white."""
    g = np.where(tile.present, tile.g_pos - tile.g_neg, np.nan) * 1e6
    limit = float(np.nanmax(np.abs(g)))
    style: dict[str, Any] = {"cmap": "RdBu", "vmin": -limit, "vmax": limit}
    return cells(g, f"Conductance of tile {tile.name}", "g_pos − g_neg [µS]", **style)


def ir_drop(tile: Tile, solution: Solution) -> Figure:
    """Draw what `lost` returns."""
    title = f"IR drop in tile {tile.name}, all inputs on"
    label = "voltage lost in the wires [%]"
    return cells(100 * lost(tile, solution), title, label, cmap="viridis")


def lost(tile: Tile, solution: Solution) -> np.ndarray:
    """Return the fraction of its word line's voltage that each cell loses, with every input on.

    solution: of the tile's circuit, for one vector of equal inputs.

    Of both banks (n_word, n_bit) the worse one; NaN without devices.
    """
    across = solution.drop[0, solution.circuit.elements.branch_part == CELL]
    # The circuit has its cells in the order of np.nonzero, positive banks first.
    side, word, bit = np.nonzero(np.stack([tile.g_pos, tile.g_neg]))
    drop = np.full((2, *tile.present.shape), np.nan)
    drop[side, word, bit] = 1.0 - across / solution.v_in[0, word]
    return np.fmax(drop[0], drop[1])


def part_costs(name: str, costs: PartCosts) -> Figure:
    """Draw what the wire segments at each cell of a tile cost, word line and both bit lines."""
    positive, negative = np.split(costs.bit, 2, axis=1)
    each = costs.word + positive + negative
    limit = float(np.abs(each).max()) or 1.0
    style: dict[str, Any] = {"cmap": "PuOr_r", "vmin": -limit, "vmax": limit}
    return cells(each, f"What the wires of tile {name} cost", "cross-entropy", "nat", **style)


def selection_errors(errors: Mapping[str, np.ndarray]) -> Figure:
    """Draw a histogram of |weight error| by layer, as a fraction of its largest weight."""
    figure, axes = canvas(5.2, 3.4)
    sizes = [np.maximum(np.abs(e), 1e-9) for e in errors.values()]
    everything = np.concatenate(sizes)
    bins = np.geomspace(everything.min(), everything.max() * 1.01, 40)
    axes.hist(sizes, bins, stacked=True, label=list(map(drawable, errors)))
    axes.set(
        xscale="log",
        xlabel="|realised − target| / largest weight of the layer",
        ylabel="weights",
        title="Selection error",
    )
    axes.legend(title="layer", loc="upper left", frameon=False)
    return figure


def outputs(target: np.ndarray, realised: np.ndarray) -> Figure:
    """Draw the circuits' outputs against their targets, and the difference, all [V]."""
    figure = Figure(figsize=(5.2, 4.2), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    limit = 1e3 * max(np.abs(target).max(), np.abs(realised).max())
    style: dict[str, Any] = {"ms": 2.5, "color": BLUE, "alpha": 0.5, "rasterized": True}
    upper.plot([-limit, limit], [-limit, limit], color=GREY, lw=0.8)
    upper.plot(1e3 * target, 1e3 * realised, ".", **style)
    upper.set(ylabel="circuit [mV]", title="Outputs of every tile")
    lower.axhline(0, color=GREY, lw=0.8)
    lower.plot(1e3 * target, 1e3 * (realised - target), ".", **style)
    lower.set(xlabel="target: r_feedback · v_in · g_target [mV]", ylabel="difference [mV]")
    return figure


def energy_bars(
    analog: Mapping[str, float], digital: Sequence[Mapping[str, Any]], title: str
) -> Figure:
    """Draw the analog energy beside the digital figures [J], on a log scale."""
    figure, axes = canvas(5.2, 3.4)
    bars = [("analog, this die", sum(analog.values()), ORANGE)]
    for row in digital:
        bars.append((f"{row['node']}, non-zero", float(row["nonzero"]), BLUE))
        if row["nonzero_with_fetch"] is not None:
            fetched = float(row["nonzero_with_fetch"])
            bars.append((f"{row['node']}, + weight fetch", fetched, LIGHT))
    labels, heights, colours = zip(*bars[::-1])
    _bars(axes, labels, np.array(heights), colours, (si(height, "J") for height in heights))
    axes.axvline(bars[0][1], color=ORANGE, lw=0.8, ls=":")
    axes.set(xscale="log", xlabel="energy", title=title)
    axes.xaxis.set_major_formatter(EngFormatter("J"))
    axes.margins(x=0.25)
    return figure


def energy_parts(analog: Mapping[str, float]) -> Figure:
    """Draw where the analog energy goes [J]."""
    figure, axes = canvas(6.4, 3.2)
    names = sorted(analog, key=lambda name: analog[name])
    shares = np.array([analog[name] for name in names]) * 1e12
    notes = [f"{si(share / 1e12, 'J')} ({100 * share / shares.sum():.1f} %)" for share in shares]
    _bars(axes, names, shares, ORANGE, notes, size=8)
    axes.set(xlabel="energy per inference [pJ]", title="Where the analog energy goes")
    axes.margins(x=0.25)
    return figure


def score_bars(metric: str, scores: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw the metric of a run from the float network to the die."""
    n_digital = sum(row["network"] in ("float", "pruned", "digital") for row in scores)
    colours = [BLUE] * n_digital + [ORANGE] * (len(scores) - n_digital)
    if metric in SHARES:
        rows = [{"network": row["network"], "accuracy": row["score"]} for row in scores]
        return network_bars(rows, colours, height=2.9, label=f"test {metric} [%]")
    figure, axes = canvas(6.4, 2.9)
    values = [row["score"] for row in scores][::-1]
    names = [row["network"] for row in scores][::-1]
    _bars(axes, names, values, colours[::-1], [shown(value, metric) for value in values])
    axes.set(xlabel=drawable(metric))
    axes.margins(x=0.25)
    return figure


def network_bars(
    rows: Sequence[Mapping[str, Any]],
    colours: list[str],
    height: float,
    label: str = "test accuracy [%]",
) -> Figure:
    """Draw test accuracies from top to bottom, each in its colour; height of the plot [inch]."""
    figure, axes = canvas(6.4, height)
    values = [100 * row["accuracy"] for row in rows][::-1]
    notes = [f"{value:.1f} %" for value in values]
    _bars(axes, [row["network"] for row in rows][::-1], values, colours[::-1], notes)
    axes.set(xlabel=label, xlim=(max(0, min(values) - 10), 104))
    return figure


def cost_bars(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw the effect of each non-ideality alone on the logits and on the accuracy."""
    figure, axes = canvas(6.4, 3.4)
    labels = [row["term"] for row in rows][::-1]
    errors = np.array([max(row["error"], 1e-9) for row in rows][::-1])
    labelled = rows[0]["accuracy"] is not None
    notes = [f"{100 * row['accuracy']:.1f} %" if labelled else "" for row in rows][::-1]
    _bars(axes, labels, errors, [ORANGE, *[BLUE] * (len(rows) - 1)], notes)
    axes.set(
        xscale="log",
        xlabel="rms error of the logits" + (" (label: test accuracy)" if labelled else ""),
        title="Each non-ideality alone, and all together",
    )
    axes.margins(x=0.25)
    return figure


def _bars(
    axes: Axes, labels: Sequence[str], values: Any, colours: Any, notes: Iterable[str], size=9
) -> None:
    """Draw a horizontal bar for each label, from the bottom up, with a note at its end."""
    axes.barh(labels, values, color=colours)
    for k, (value, note) in enumerate(zip(values, notes)):
        axes.annotate(f"\u00a0{note}", (value, k), va="center", size=size)


def cells(
    values: np.ndarray, title: str, label: str, unit: str | None = None, **style: Any
) -> Figure:
    """Draw a value of each cell (n_word, n_bit) of a tile; NaN stays white.

    label: of the colours. unit: of their numbers, if they are to have prefixes. style: of
        matplotlib's `imshow`.
    """
    figure, axes = canvas(5.2, 4.4)
    axes.set(title=drawable(title), xlabel="bit line (output)", ylabel="word line (input)")
    image = axes.imshow(values, interpolation="nearest", **style)
    form = EngFormatter(unit) if unit else None
    figure.colorbar(image, ax=axes, label=label, shrink=0.85, format=form)
    return figure
