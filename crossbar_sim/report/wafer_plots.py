"""Plots of a measured wafer and of its reselection, as PNG bytes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from crossbar_sim.report.run_plots import png
from mapping.tiling.tiles import Tile

_BLUE, _ORANGE, _GREY = "#2b6cb0", "#dd6b20", "#718096"
_COLOURS = (_GREY, _ORANGE, _BLUE)  # designed, old switches, new switches


def deviations(values: Mapping[str, np.ndarray]) -> bytes:
    """Draw a histogram of reading / nominal - 1, stacked by nominal value.

    values: label of a nominal value -> (n_reading,) deviations.
    """
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.add_subplot()
    percent = [100 * deviation for deviation in values.values()]
    # A few outliers would squeeze all other readings into one bar, so the end bars collect them.
    low, high = np.quantile(np.concatenate(percent), [0.001, 0.999])
    bins = np.linspace(low, high + 1e-9, 41)
    axes.hist([np.clip(p, low, high) for p in percent], bins, stacked=True, label=list(values))
    axes.axvline(0, color=_GREY, lw=0.8)
    axes.set(
        xlabel="measured / nominal − 1 [%] (end bars include outliers)",
        ylabel="branches",
        title="Branches, measured against nominal",
    )
    axes.legend(title="nominal", frameon=False, fontsize=8)
    return png(figure)


def weight_errors(stages: Mapping[str, np.ndarray], limit: float) -> bytes:
    """Draw the percentage of weights within an error, one line per stage.

    stages: label -> (n_cell,) errors, as fractions of the largest weight.
    limit: the tolerance, as such a fraction.
    """
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.add_subplot()
    for colour, (label, errors) in zip(_COLOURS, stages.items()):
        sizes = np.sort(np.maximum(np.abs(errors), 1e-7))
        axes.step(sizes, 100 * np.arange(1, len(sizes) + 1) / len(sizes), color=colour, label=label)
    axes.axvline(limit, color="black", lw=0.8, ls=":", label="tolerance")
    axes.set(
        xscale="log",
        xlabel="|weight error| / largest weight of the layer",
        ylabel="weights within [%]",
        title="Predicted weight error",
    )
    axes.legend(frameon=False, fontsize=8)
    return png(figure)


def predicted(target: np.ndarray, stages: Mapping[str, np.ndarray]) -> bytes:
    """Draw predicted conductances against their targets (n_cell,), and the difference, all [S]."""
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    limit = 1e6 * float(np.abs(target).max())
    upper.plot([-limit, limit], [-limit, limit], color=_GREY, lw=0.8)
    lower.axhline(0, color=_GREY, lw=0.8)
    for colour, (label, g) in zip(_COLOURS[1:], stages.items()):
        style: dict[str, Any] = {"ms": 3, "color": colour, "alpha": 0.5, "rasterized": True}
        upper.plot(1e6 * target, 1e6 * g, ".", label=label, **style)
        lower.plot(1e6 * target, 1e6 * (g - target), ".", **style)
    upper.set(ylabel="predicted g_pos − g_neg [µS]", title="Cells on the measured die")
    upper.legend(frameon=False, fontsize=8)
    lower.set(xlabel="target g_pos − g_neg [µS]", ylabel="difference [µS]")
    return png(figure)


def accuracies(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Draw test accuracy: digital, as designed, and with old and new switches on the wafer."""
    figure = Figure(figsize=(6.4, 2.6), layout="constrained")
    axes = figure.add_subplot()
    labels = [row["network"] for row in rows][::-1]
    values = [100 * row["accuracy"] for row in rows][::-1]
    axes.barh(labels, values, color=[_BLUE, _ORANGE, *[_GREY] * (len(rows) - 2)])
    for k, value in enumerate(values):
        axes.annotate(f" {value:.2f} %", (value, k), va="center", size=9)
    axes.set(xlabel="test accuracy [%]", xlim=(max(0.0, min(values) - 10), 104))
    return png(figure)


def changes(tile: Tile, n_changed: np.ndarray) -> bytes:
    """Draw the number of switches (n_word, n_bit) that change in each cell of a tile."""
    figure = Figure(figsize=(5.2, 4.6), layout="constrained")
    axes = figure.add_subplot()
    shown = np.where(tile.present, n_changed, np.nan)
    limit = max(1.0, float(n_changed.max()))
    image = axes.imshow(shown, cmap="viridis", interpolation="nearest", vmin=0, vmax=limit)
    title = f"Switches changed in tile {tile.name}"
    axes.set(title=title, xlabel="bit line (output)", ylabel="word line (input)")
    figure.colorbar(image, ax=axes, label="switches", shrink=0.85)
    return png(figure)
