"""What leaves a finished run for a laboratory or a fab, and what comes back from it."""

import csv
from dataclasses import asdict
from pathlib import Path
from typing import Any

from crossbar_sim.config import ConfigError, RunConfig
from crossbar_sim.pipeline.finished_run import pruned_model, read_run, score
from crossbar_sim.pipeline.steps import load_data
from crossbar_sim.report.wafer_report import DESIGNED, NEW, OLD, Reselection, write_wafer_report
from mapping.network.mapped_network import MappedNetwork
from mapping.network.repair import on_die, reselect
from mapping.wafer.meter import Meter
from mapping.wafer.reading_plan import Plan
from netlists.fabrication.measured_wafer import Wafer, read_wafer
from netlists.fabrication.pack import PackError, write_pack
from netlists.fabrication.plan_file import read_plan
from tinynets.files.drafts import new_directory
from tinynets.networks.training import accuracy


def export_run(
    run_directory: Path,
    output: Path,
    *,
    relative: float | None = None,
    absolute: float | None = None,
) -> Path:
    """Write the fabrication pack of a finished run, and return its directory.

    relative, absolute [S]: error of the meter that the pack's plan is for; by default the
    meter_error of the run's bank, and none.
    Raises ConfigError when the directory is no finished run, for an error below zero, and when the
    pack does not come back as it was written: there is none then.
    """
    config, mapped = read_run(run_directory)
    meter = _meter(Meter(mapped.die.bank.meter_error), relative, absolute)
    parts = {"wires": config.hardware.wires, "periphery": config.hardware.periphery}
    try:
        return write_pack(mapped, output, **parts, meter=meter)
    except PackError as error:
        raise ConfigError(str(error)) from error


def reselect_run(
    run_directory: Path,
    measured: Path,
    output: Path,
    *,
    tolerance: float,
    plan: Path | None = None,
    relative: float | None = None,
    absolute: float | None = None,
    extra: int = 0,
) -> dict[str, float]:
    """Adapt a run to a measured wafer; write OUTPUT with pack/, changes.csv and report.html.

    plan: plan.csv of the pack, which a table of composite readings follows; None for single ones.
    relative, absolute [S]: the meter's error; by default as in the plan, or without one the
    meter_error of the run's bank, and none. Where it is above zero, cells that must change mind it.
    extra: changes that each of these may have beyond those it needs.

    Returns counts of branches, defects, cells and changes, and the test accuracy on the measured
    die before and after; "off_by_1000" are branches that seem to be in another unit. Raises
    ConfigError for what cannot be used. OUTPUT appears whole, or not at all.
    """
    config, mapped = read_run(run_directory)
    if output.exists():
        raise FileExistsError(f"{output} exists; choose another directory")
    try:
        wafer = _read_readings(measured, mapped, plan, relative, absolute)
        doubt = None if wafer.meter.exact else wafer.covariance
        unknown = wafer.defective
        repair = reselect(
            mapped, wafer.die, tolerance=tolerance, unknown=unknown, doubt=doubt, extra=extra
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error
    old = on_die(mapped, wafer.die)
    accuracies = _accuracies(config, run_directory, [mapped, old, repair.mapped])
    found = Reselection(config.name, mapped, old, wafer, repair, tolerance, accuracies)
    with new_directory(output) as draft:
        _write_reselection(config, found, draft)
    return {
        "branches": wafer.n_branch,
        "missing": wafer.n_missing,
        "out_of_range": wafer.n_out_of_range,
        "off_by_1000": wafer.n_prefix,
        "stuck": wafer.n_stuck,
        **({"unread": wafer.n_unread, "disagree": wafer.n_disagree} if wafer.plan else {}),
        "cells_off": repair.n_cell,
        "cells_unmended": repair.n_unrepaired,
        "switches_changed": len(repair.changes),
        "accuracy_before": accuracies[-2]["accuracy"],
        "accuracy_after": accuracies[-1]["accuracy"],
    }


def _read_readings(
    measured: Path,
    mapped: MappedNetwork,
    plan: Path | None,
    relative: float | None,
    absolute: float | None,
) -> Wafer:
    bank = mapped.die.bank
    known: tuple[Plan | None, Meter] = None, Meter(bank.meter_error)
    if plan is not None:
        known = read_plan(plan, bank.n)
    meter = _meter(known[1], relative, absolute)
    return read_wafer(measured, mapped, plan=known[0], meter=meter)


def _meter(default: Meter, relative: float | None, absolute: float | None) -> Meter:
    """Return the meter with the errors that are given in place of the default ones."""
    try:
        return Meter(
            default.relative if relative is None else relative,
            default.absolute if absolute is None else absolute,
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _accuracies(
    config: RunConfig, run_directory: Path, networks: list[MappedNetwork]
) -> list[dict[str, Any]]:
    """Return rows of network and test accuracy: digital, then as designed and measured."""
    model, data = pruned_model(config, run_directory), load_data(config)
    digital = accuracy(model, data.x_test, data.y_test)
    found = [digital, *(score(config, model, network) for network in networks)]
    labels = ("pruned, digital", DESIGNED, OLD, NEW)
    return [{"network": label, "accuracy": value} for label, value in zip(labels, found)]


def _write_reselection(config: RunConfig, found: Reselection, directory: Path) -> None:
    parts = {"wires": config.hardware.wires, "periphery": config.hardware.periphery}
    survey = {"meter": found.wafer.meter, "plan": found.wafer.plan}
    write_pack(found.repair.mapped, directory / "pack", **parts, **survey)
    with (directory / "changes.csv").open("w", newline="", encoding="utf-8") as file:
        names = ["layer", "tile", "word_line", "bit_line", "side", "branch", "closed"]
        table = csv.DictWriter(file, names, lineterminator="\n")
        table.writeheader()
        table.writerows({**asdict(c), "closed": int(c.closed)} for c in found.repair.changes)
    write_wafer_report(found, directory)
