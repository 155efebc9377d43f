"""Plots of a measured wafer and of its reselection, as figures."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from crossbar_sim.report.run_plots import BLUE, GREY, ORANGE, canvas, cells
from mapping.tiling.tiles import Tile

_COLOURS = (GREY, ORANGE, BLUE)  # designed, old switches, new switches


def deviations(values: np.ndarray) -> Figure:
    """Draw a histogram of reading / nominal - 1 (n_reading,)."""
    figure, axes = canvas(5.2, 3.4)
    percent = 100 * values
    # A few outliers would squeeze all other readings into one bar, so the end bars collect them.
    low, high = np.quantile(percent, [0.001, 0.999])
    axes.hist(np.clip(percent, low, high), np.linspace(low, high + 1e-9, 41), color=BLUE)
    axes.axvline(0, color=GREY, lw=0.8)
    axes.set(
        xlabel="measured / nominal − 1 [%] (end bars include outliers)",
        ylabel="branches",
        title="Branches, measured against nominal",
    )
    return figure


def weight_errors(stages: Mapping[str, np.ndarray], limit: float) -> Figure:
    """Draw the percentage of weights within an error, one line per stage.

    stages: label -> (n_cell,) errors, as fractions of the largest weight.
    limit: the tolerance, as such a fraction.
    """
    figure, axes = canvas(5.2, 3.4)
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
    axes.legend(loc="lower right", frameon=False, fontsize=8)
    return figure


def predicted(target: np.ndarray, stages: Mapping[str, np.ndarray]) -> Figure:
    """Draw predicted conductances against their targets (n_cell,), and the difference, all [S]."""
    figure = Figure(figsize=(5.2, 4.2), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    limit = 1e6 * float(np.abs(target).max())
    upper.plot([-limit, limit], [-limit, limit], color=GREY, lw=0.8)
    lower.axhline(0, color=GREY, lw=0.8)
    for colour, (label, g) in zip(_COLOURS[1:], stages.items()):
        style: dict[str, Any] = {"ms": 3, "color": colour, "alpha": 0.5, "rasterized": True}
        upper.plot(1e6 * target, 1e6 * g, ".", label=label, **style)
        lower.plot(1e6 * target, 1e6 * (g - target), ".", **style)
    upper.set(ylabel="predicted g_pos − g_neg [µS]", title="Cells on the measured die")
    upper.legend(loc="upper left", frameon=False, fontsize=8)
    lower.set(xlabel="target g_pos − g_neg [µS]", ylabel="difference [µS]")
    return figure


def changes(tile: Tile, n_changed: np.ndarray) -> Figure:
    """Draw the number of switches (n_word, n_bit) that change in each cell of a tile."""
    shown = np.where(tile.present, n_changed, np.nan)
    style: dict[str, Any] = {"cmap": "viridis", "vmin": 0, "vmax": max(1.0, float(n_changed.max()))}
    return cells(shown, f"Switches changed in tile {tile.name}", "switches", **style)
