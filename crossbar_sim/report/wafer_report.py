"""The report of a measured wafer: readings against nominal, and the effect of reselection."""

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from crossbar_sim.pipeline.workspace import write_json
from crossbar_sim.report import wafer_plots
from crossbar_sim.report.headline import wafer_headline
from crossbar_sim.report.page import write_page
from crossbar_sim.report.run_plots import STYLE
from crossbar_sim.report.run_report import bits, versions
from mapping.bank import Die
from mapping.network.mapped_layer import MappedLayer
from mapping.network.mapped_network import MappedNetwork
from mapping.network.repair import Repair, on_die
from netlists.fabrication.measured_wafer import Wafer

#: Most changes that the page lists; all of them are in changes.csv.
MAX_LISTED = 24
_CHUNK = 2**14  # cells whose covariance is held at once
#: Why there is no accuracy.
NO_DATA = "has no test data; give the directory of a run for the accuracy"
#: Labels of the network on the die that it was selected for, and of the two on the measured die.
DESIGNED, OLD, NEW = "as designed", "measured die, old switches", "measured die, reselected"


@dataclass(frozen=True)
class Reselection:
    """A network on its measured wafer.

    name: of the run, or of the directory.
    designed: the network before it was measured.
    measured: the same switches on the measured die.
    wafer: the readings.
    repair: the reselection on the measured die.
    tolerance: of the reselection, as a fraction of the largest weight.
    accuracies: rows of network and accuracy; none where there are no data to test it on.
    """

    name: str
    designed: MappedNetwork
    measured: MappedNetwork
    wafer: Wafer
    repair: Repair
    tolerance: float
    accuracies: list[dict[str, Any]]


def write_wafer_report(result: Reselection, directory: Path) -> None:
    """Write report.html, self-contained, and report.json into a directory."""
    numbers = wafer_numbers(result)
    with rc_context(STYLE):
        write_page(
            directory / "report.html",
            "wafer_report.html.j2",
            draw(result),
            r=numbers,
            headline=wafer_headline(numbers),
        )
    write_json(directory / "report.json", numbers)


def wafer_numbers(result: Reselection) -> dict[str, Any]:
    """Return everything the page states, ready for JSON."""
    wafer, repair, repaired = result.wafer, result.repair, result.repair.mapped
    listed = [asdict(change) for change in repair.changes]
    return {
        "name": result.name,
        "die": {"designed": result.designed.die.id, "measured": wafer.die.id},
        "tolerance": result.tolerance,
        "hint": wafer.hint,
        "branches": {"n": wafer.n_branch} | defects(wafer),
        "readings": reading_numbers(result),
        "nominal": nominal_table(result),
        "accuracy": result.accuracies,
        "errors": error_table(result),
        "cells_off": repair.n_cell,
        "cells_unmended": repair.n_unrepaired,
        "cells": sum(layer.source.n_remaining for layer in repaired.layers),
        "changes": {
            "n": len(listed),
            "switches": sum(row["switches"] for row in change_table(result)),
            "listed": listed[:MAX_LISTED],
            "tiles": change_table(result),
        },
        "missed": [row for layer in repaired.layers for row in _missed(layer, result.tolerance)],
        "versions": versions(),
    }


def defects(wafer: Wafer) -> dict[str, int]:
    """Return how many branches are defective, by what is wrong with them."""
    return {
        "missing": wafer.n_missing,
        "out_of_range": wafer.n_out_of_range,
        "off_by_1000": wafer.n_prefix,
        "stuck": wafer.n_stuck,
    }


def _missed(layer: MappedLayer, tolerance: float) -> list[dict[str, Any]]:
    """Return a row for each cell whose predicted weight is off by more than a tolerance."""
    far = layer.missed(tolerance)
    columns = {"input": far.rows, "output": far.columns}
    columns |= {"g_target": far.target, "g_predicted": far.realised}
    rows = zip(*(values.tolist() for values in columns.values()))
    return [{"layer": layer.name} | dict(zip(columns, row)) for row in rows]


def nominal_table(result: Reselection) -> list[dict[str, Any]]:
    """Return, for each branch of a bank, how its readings scatter about the nominal value."""
    deviation, defective = _deviations(result)
    missing, rows = np.isnan(deviation), []
    for k, ohm in enumerate(_nominal(result.designed)):
        good = deviation[~defective[:, k], k]
        rows.append(
            {
                "branch": k,
                "ohm": float(ohm),
                "n": len(good),
                "mean": float(np.mean(good)) if len(good) else None,
                "sigma": float(np.std(good, ddof=1)) if len(good) > 1 else None,
                "least": float(good.min()) if len(good) else None,
                "largest": float(good.max()) if len(good) else None,
                "missing": int(missing[:, k].sum()),
                "out_of_range": int((defective & ~missing)[:, k].sum()),
            }
        )
    return rows


def reading_numbers(result: Reselection) -> dict[str, Any]:
    """Return how the branches were read, and how well each branch of a bank is known.

    "uncertainty" is the median and the worst standard error of each branch, as a fraction of its
    value; None for a meter without error.
    """
    wafer, plan = result.wafer, result.wafer.plan
    return {
        "composite": plan is not None and bool((plan.closed.sum(axis=1) > 1).any()),
        "per_bank": None if plan is None else len(plan.closed),
        "unread": wafer.n_unread,
        "disagree": wafer.n_disagree,
        "meter": {"relative": wafer.meter.relative, "siemens": wafer.meter.absolute},
        "uncertainty": None if wafer.meter.exact else _uncertainty(result),
    }


def _uncertainty(result: Reselection) -> list[dict[str, Any]]:
    """Return the median and the worst relative standard error of each branch, if not defective."""
    parts: list[list[np.ndarray]] = [[] for _ in _nominal(result.designed)]
    for layer in result.designed.layers:
        rows, columns = layer.source.cells
        for start in range(0, len(rows), _CHUNK):
            cells = layer.name, rows[start : start + _CHUNK], columns[start : start + _CHUNK]
            variance = np.diagonal(result.wafer.covariance(*cells), axis1=-2, axis2=-1)
            good = ~result.wafer.defective[layer.name][cells[1:]]
            ohm = result.wafer.readings[layer.name][cells[1:]]
            for k, part in enumerate(parts):
                at = ..., k
                part.append(np.sqrt(variance[at][good[at]]) * ohm[at][good[at]])
    values = [np.concatenate(part) for part in parts]
    return [
        {
            "branch": k,
            "median": float(np.median(value)) if len(value) else None,
            "worst": float(value.max()) if len(value) else None,
        }
        for k, value in enumerate(values)
    ]


def error_table(result: Reselection) -> list[dict[str, Any]]:
    """Return the weight errors at each stage, as fractions of the layer's largest weight."""
    nominal = on_die(result.designed, Die(result.designed.die.bank.without_spread))
    stages = {"same switches, every resistor nominal": _errors(nominal), **_stages(result)}
    rows = []
    for label, errors in stages.items():
        size = np.abs(errors)
        median, p99, worst = np.quantile(size, [0.5, 0.99, 1])
        rows.append(
            {
                "stage": label,
                "rms": float(np.sqrt(np.mean(size**2))),
                "median": float(median),
                "p99": float(p99),
                "worst": float(worst),
                "bits": bits(median),
                "n_off": int((size > result.tolerance).sum()),
            }
        )
    return rows


def change_table(result: Reselection) -> list[dict[str, Any]]:
    """Return, for each tile, how many switches close and open, and in how many cells."""
    changes = result.repair.changes
    closed = Counter(change.tile for change in changes if change.closed)
    opened = Counter(change.tile for change in changes if not change.closed)
    cells = Counter(tile for tile, *_ in {(c.tile, c.word_line, c.bit_line) for c in changes})
    n = 2 * result.designed.die.bank.n
    return [
        {
            "tile": tile.name,
            "cells": int(tile.present.sum()),
            "switches": int(tile.present.sum()) * n,
            "cells_changed": cells[tile.name],
            "closed": closed[tile.name],
            "opened": opened[tile.name],
        }
        for tile in result.designed.tiles
    ]


def draw(result: Reselection) -> dict[str, Figure]:
    """Return the plots of the page, by name."""
    deviation, defective = _deviations(result)
    target = np.concatenate([layer.target[layer.source.mask] for layer in result.designed.layers])
    n_changed = {tile.name: np.zeros(tile.present.shape) for tile in result.designed.tiles}
    for change in result.repair.changes:
        n_changed[change.tile][change.word_line, change.bit_line] += 1
    most = max(result.designed.tiles, key=lambda tile: n_changed[tile.name].sum())
    return {
        "deviations": wafer_plots.deviations(deviation[~defective]),
        "errors": wafer_plots.weight_errors(_stages(result), result.tolerance),
        "predicted": wafer_plots.predicted(
            target, {OLD: _conductances(result.measured), NEW: _conductances(result.repair.mapped)}
        ),
        "changes": wafer_plots.changes(most, n_changed[most.name]),
    }


def _stages(result: Reselection) -> dict[str, np.ndarray]:
    """Return the weight errors of all cells: as designed, then with old and with new switches."""
    designed = []
    for layer in result.designed.layers:
        target, mask = layer.source.weight, layer.source.mask
        error = layer.predicted / layer.g_per_weight[:, None] - target
        designed.append(error[mask] / (np.abs(target).max() or 1.0))
    networks = {OLD: result.measured, NEW: result.repair.mapped}
    return {DESIGNED: np.concatenate(designed)} | {k: _errors(v) for k, v in networks.items()}


def _errors(mapped: MappedNetwork) -> np.ndarray:
    return np.concatenate([layer.error for layer in mapped.layers])


def _conductances(mapped: MappedNetwork) -> np.ndarray:
    g = [(x.g_per_weight[:, None] * x.weight)[x.source.mask] for x in mapped.layers]
    return np.concatenate(g)


def _nominal(mapped: MappedNetwork) -> np.ndarray:
    """Return the nominal reading of each branch [ohm], closed switch included."""
    return mapped.die.bank.r_nominal + mapped.die.bank.r_on


def _deviations(result: Reselection) -> tuple[np.ndarray, np.ndarray]:
    """Return reading / nominal - 1 (n_bank, n) of all banks, and which branches are defective."""
    wafer, n = result.wafer, result.designed.die.bank.n
    present = {layer.name: layer.source.pattern.written_out().T for layer in result.designed.layers}
    reading, defective = (
        np.concatenate([values[name][cells].reshape(-1, n) for name, cells in present.items()])
        for values in (wafer.readings, wafer.defective)
    )
    return reading / _nominal(result.designed) - 1, defective
