"""What leaves a finished run for a laboratory or a fab, and what comes back from it."""

import csv
import warnings
import zipfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import nn

from crossbar_sim.config import ConfigError, RunConfig
from crossbar_sim.on_die.to_torch import to_torch
from crossbar_sim.pipeline.steps import build_model, load_data, tuned
from crossbar_sim.pipeline.workspace import left_behind
from crossbar_sim.report.wafer_report import DESIGNED, NEW, OLD, Reselection, write_wafer_report
from mapping.bank import Die
from mapping.network.header import first_problem
from mapping.network.mapped_network import MappedNetwork
from mapping.network.repair import on_die, reselect
from mapping.tiling.tiles import Tile
from mapping.wafer.meter import Meter
from mapping.wafer.reading_plan import Plan
from netlists.fabrication.measured_wafer import Wafer, read_wafer
from netlists.fabrication.pack import PackError, write_pack
from netlists.fabrication.plan_file import read_plan
from tinynets.files.drafts import new_directory
from tinynets.formats.weights import load_weights
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


def read_run(directory: Path) -> tuple[RunConfig, MappedNetwork]:
    """Return configuration and mapped network of a finished run.

    Raises ConfigError naming the file that is missing, damaged, or of another run.
    """
    if not (directory / "report.json").exists():
        raise ConfigError(
            f"{directory} is not a finished run; give what `crossbar-sim run` made"
            f"{left_behind(directory)}"
        )
    config = _read_config(directory / "config.json")
    try:
        mapped = MappedNetwork.load(directory / "mapped.npz")
    except (ValueError, OSError) as error:
        raise ConfigError(f"{error}; do the run again") from error
    if mapped.die != _die(config) or mapped.tile != config.tile.size:
        raise ConfigError(
            f"{directory / 'mapped.npz'} is of another die or tile size than config.json says; "
            "do the run again"
        )
    return config, mapped


def _read_config(path: Path) -> RunConfig:
    try:
        return RunConfig.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); do the run again") from error
    except ValidationError as error:
        raise ConfigError(f"{path}: {first_problem(error)}; do the run again") from error


def _die(config: RunConfig) -> Die:
    """Return the die of a run, after what [life] says."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # shown when the run was made
        die = config.chip
        return config.life.later(die) if config.life.happens else die


def named_tiles(mapped: MappedNetwork, names: list[str] | None) -> list[Tile]:
    """Return the tiles of those names, or all; ConfigError names the ones there are."""
    by_name = {tile.name: tile for tile in mapped.tiles}
    unknown = [name for name in names or () if name not in by_name]
    if unknown:
        raise ConfigError(f"no tile {unknown[0]!r}; there are {', '.join(by_name)}")
    return [by_name[name] for name in names] if names else mapped.tiles


def pruned_model(config: RunConfig, directory: Path) -> nn.Module:
    """Return the pruned network of a finished run.

    Raises ConfigError naming the file that is missing, damaged, or of another model.
    """
    path = directory / "model" / "pruned.pt"
    try:
        with zipfile.ZipFile(path) as file:  # torch itself reads past wrong checksums
            if damaged := file.testzip():
                raise ValueError(f"{path} is damaged: the checksum of {damaged} does not match")
        return load_weights(build_model(config), path).eval()
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        named = "" if str(path) in str(error) else f"{path}: "
        raise ConfigError(f"{named}{error}; do the run again") from error


def score(config: RunConfig, model: nn.Module, mapped: MappedNetwork) -> float:
    """Return the test accuracy of a mapped network with the run's wires, TIA and converters.

    What [tune] says is done for it, as for the run's own die.
    """
    data = load_data(config)
    quiet = replace(config.hardware, noise=None)
    calibration = torch.from_numpy(data.x_train)
    on_chip = to_torch(model, mapped, quiet, calibration=calibration)
    on_chip = tuned(config, on_chip, model, data)
    return accuracy(on_chip, data.x_test, data.y_test)
