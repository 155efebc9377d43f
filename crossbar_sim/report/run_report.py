"""The report of a run: one self-contained HTML file, and the same numbers as JSON.

`report_numbers` and `draw` find what it states, `headline` says it in sentences, the templates
`report.html.j2` and `run_….html.j2` are its page, and `report.schema.json` describes the JSON.
"""

import importlib.metadata
import math
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from crossbar_sim.config.schema import run_toml
from crossbar_sim.energy.inference import network_energy, verdict
from crossbar_sim.findings.outcome import Outcome, Outputs
from crossbar_sim.findings.sensitivity import Sensitivity
from crossbar_sim.ngspice.verification import TileCheck
from crossbar_sim.pipeline.finished_run import REPORT_VERSION
from crossbar_sim.pipeline.tile_limits import physics_numbers
from crossbar_sim.pipeline.trained import origin
from crossbar_sim.pipeline.workspace import write_json
from crossbar_sim.report import run_plots as plots
from crossbar_sim.report import settings
from crossbar_sim.report.headline import findings, headline
from crossbar_sim.report.modelled import in_words, modelled
from crossbar_sim.report.page import write_page, write_pictures
from crossbar_sim.report.run_plots import STYLE
from crossbar_sim.report.settings import command, setting_rows
from crossbar_sim.report.tile_view import tile_view
from crossbar_sim.system.machine import described
from mapping.network.mapped_layer import MappedLayer
from mapping.selection.bits import worst_case_bits
from mapping.tiling.compact import naive_tile_count
from mapping.tiling.tiles import TileConfig
from tinynets.files.drafts import new_file
from tinynets.version import VERSION

#: Plots that repeat a table or the view of the tiles, so that they are files alone.
UNSHOWN = ("accuracy", "costs", "energy_parts")
#: A target is out of reach if selection misses it by more than this fraction of the largest.
REACH = 0.01

_PACKAGES = ("numpy", "scipy", "numba", "torch", "PySpice", "scikit-learn")


def write_report(outcome: Outcome, directory: Path) -> None:
    """Write report.html, report.json and figures/ into a directory."""
    config, found = outcome.config, report_numbers(outcome)
    numbers = without_infinities(found)
    with rc_context(STYLE):
        pictures = draw(outcome, found)
        write_pictures(directory / "figures", pictures)
        write_page(
            directory / "report.html",
            "report.html.j2",
            {name: figure for name, figure in pictures.items() if name not in UNSHOWN},
            r=numbers,
            headline=headline(numbers),
            findings=findings(numbers),
            tiles=tile_view(outcome.mapped, _tiles_that_matter(outcome)),
            modelled=in_words(config),
            settings=setting_rows(config),
            command=command(config),
        )
    with new_file(directory / settings.FILE) as draft:
        draft.write_text(run_toml(config), encoding="utf-8")
    write_json(directory / "report.json", numbers)


def _tiles_that_matter(outcome: Outcome) -> list[str]:
    """Return the largest tile, the one that costs most, and the worst of the comparison."""
    found = outcome.sensitivity
    worst = outcome.simulated.verification.worst.tile
    return [outcome.all_on[0].name, *([found.tile] if found else []), worst]


def _check_row(check: TileCheck) -> dict[str, Any]:
    return asdict(check) | {"error": check.error}


def report_numbers(outcome: Outcome) -> dict[str, Any]:
    """Return everything the report states, ready for JSON."""
    config, mapped, simulated = outcome.config, outcome.mapped, outcome.simulated
    checks = simulated.verification
    energy = network_energy(mapped, simulated.energies)
    yardstick, outputs = outcome.yardstick, outcome.outputs
    return {
        "name": config.name,
        "quick": config.quick,
        "seed": config.seed,
        "die": {"id": mapped.die.id, "seed": mapped.die.seed},
        "accuracy": outcome.accuracies,
        "measure": outcome.measure,
        "fidelity": outcome.fidelity,
        "sparsity": outcome.network.sparsity,
        "digital_modules": list(outcome.network.digital),
        "digital_fractions": [
            {"module": path, "weights": weights, "products": products}
            for path, (weights, products) in outcome.network.digital_fractions.items()
        ],
        "layers": [layer_numbers(layer, mapped.tile, mapped.die.bank.n) for layer in mapped.layers],
        "reach": REACH,
        "rules": outcome.rules,
        "calibrated": outcome.calibrated,
        "verification": {
            "solvers": list(checks.solvers),
            "tolerance": checks.tolerance,
            "passed": checks.passed,
            "worst": _check_row(checks.worst),
            "tiles": [_check_row(check) for check in checks.checks],
        },
        "mvm_error": output_errors(outputs),
        "largest_output": outputs.largest,
        "largest_ir_drop": float(np.nan_to_num(plots.lost(*outcome.all_on)).max()),
        "costs": outcome.costs,
        "changes": outcome.changes,
        "part_costs": _part_costs(outcome.sensitivity),
        "physics": physics_numbers(config, simulated.limits, simulated.t_read),
        "energy": energy
        | {"adc_case": config.energy.adc_case, "verdict": verdict(energy["digital"])},
        "yardstick": yardstick | {"verdict": verdict(yardstick["digital"])},
        "modelled": modelled(outcome.config),
        "network": origin(config),
        "config": config.as_json(),
        "versions": versions(),
    }


def _part_costs(found: Sensitivity | None) -> dict[str, Any]:
    return {"layers": found.layers, "tile": found.tile} if found else {"layers": [], "tile": None}


def output_errors(outputs: Outputs) -> dict[str, float]:
    """Return rms and worst error of the tiles' outputs, as fractions of the largest target."""
    error, largest = outputs.realised - outputs.target, np.abs(outputs.target).max()
    return {
        "rms": float(np.sqrt(np.mean(error**2)) / largest),
        "worst": float(np.abs(error).max() / largest),
    }


def without_infinities(value: Any) -> Any:
    """Return the same numbers with None in place of infinities and NaN, which JSON lacks."""
    if isinstance(value, dict):
        return {key: without_infinities(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_infinities(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def layer_numbers(layer: MappedLayer, config: TileConfig, n_branch: int) -> dict[str, Any]:
    """Return the row of one layer: counts, and the errors of its realised weights.

    config: tile size.
    n_branch: number of branches in a bank.
    """
    source, error = layer.source, np.abs(layer.error)
    missed = layer.missed(REACH)
    quantiles = dict(
        zip(("median", "p90", "p99", "worst"), np.quantile(error, [0.5, 0.9, 0.99, 1]))
    )
    return {
        "name": source.name,
        "kind": "convolution (im2col)" if source.conv else "dense",
        "n_in": source.n_in,
        "n_out": source.n_out,
        "n_weight": source.n_weight,
        "n_remaining": source.n_remaining,
        "n_tile": len(layer.tiles),
        "n_tile_naive": naive_tile_count((source.n_out, source.n_in), config),
        "n_branch": 2 * source.n_remaining * n_branch,
        "n_closed": layer.n_closed,
        "error": {name: float(value) for name, value in quantiles.items()},
        "bits": {name: bits(value) for name, value in quantiles.items()},
        "missed": [
            {"output": int(o), "input": int(i)} for o, i in zip(missed.columns, missed.rows)
        ],
    }


def bits(error: float) -> float:
    """Return the worst-case bits of a weight in ±largest with an error of error * largest."""
    return float(worst_case_bits(max(error, 1e-18), 2.0))  # JSON has no infinity


def versions() -> dict[str, str]:
    """Return the versions and the machine that computed the results."""
    packages = {name: importlib.metadata.version(name) for name in _PACKAGES}
    ours = {"crossbar-sim": VERSION, "report.json": REPORT_VERSION}
    return {"python": platform.python_version()} | packages | ours | described()


def draw(outcome: Outcome, numbers: dict[str, Any]) -> dict[str, Figure]:
    """Return the plots of the report, by name; those of UNSHOWN are files beside it alone."""
    tile, all_on = outcome.all_on
    energy, yardstick = numbers["energy"], numbers["yardstick"]
    errors = {layer.name: layer.error for layer in outcome.mapped.layers}
    found = outcome.sensitivity
    of_parts = {"part_costs": plots.part_costs(found.tile, found.costs)} if found else {}
    return of_parts | {
        "accuracy": plots.score_bars(**outcome.measure),
        "costs": plots.cost_bars(outcome.costs),
        "selection": plots.selection_errors(errors),
        "conductances": plots.conductances(tile),
        "ir_drop": plots.ir_drop(tile, all_on),
        "outputs": plots.outputs(outcome.outputs.target, outcome.outputs.realised),
        "energy": plots.energy_bars(energy["analog"], energy["digital"], "Energy of one inference"),
        "energy_parts": plots.energy_parts(energy["analog"]),
        "yardstick": plots.energy_bars(
            yardstick["analog"], yardstick["digital"], "One dense 100 × 100 product"
        ),
    }
