"""What leaves a finished run for a laboratory or a fab, and what comes back from it."""

import csv
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from crossbar_sim.analog import to_torch
from crossbar_sim.config import ConfigError, RunConfig
from crossbar_sim.network import build_model, load_data, tuned
from crossbar_sim.wafer_report import DESIGNED, NEW, OLD, Reselection, write_wafer_report
from mapping.design import MappedNetwork
from mapping.metrology import Meter, Plan
from mapping.repair import on_die, reselect
from mapping.tiles import Tile
from netlists.pack import read_pack, write_pack
from netlists.plan import read_plan
from netlists.wafer import Wafer, read_wafer
from tinynets.train import accuracy


def export_run(
    run_directory: Path,
    output: Path,
    *,
    relative: float | None = None,
    absolute: float | None = None,
) -> Path:
    """Write the fabrication pack of a finished run, read it back, and return its directory.

    relative, absolute [S]: error of the meter that the pack's plan is for; by default the
    meter_error of the run's bank, and none.
    Raises ConfigError when the directory is no finished run, and for an error below zero.
    """
    config, mapped = read_run(run_directory)
    meter = _meter(Meter(mapped.die.bank.meter_error), relative, absolute)
    parts = {"wires": config.build_wires(), "periphery": config.periphery.build()}
    pack = write_pack(mapped, output, **parts, meter=meter)
    again = read_pack(pack)
    for a, b in zip(mapped.tiles, again.tiles, strict=True):
        same = np.array_equal(a.chosen_pos, b.chosen_pos) and np.allclose(
            a.g_pos, b.g_pos, 1e-12, atol=0
        )
        if not same:
            raise ConfigError(f"{pack}: tile {a.name} did not come back as it was written")
    return pack


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
    die before and after. Raises ConfigError for what cannot be used. OUTPUT appears whole, or not
    at all.
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
    _write_whole(output, lambda draft: _write_reselection(config, found, draft))
    return {
        "branches": wafer.n_branch,
        "missing": wafer.n_missing,
        "out_of_range": wafer.n_out_of_range,
        "stuck": wafer.n_stuck,
        **({"unread": wafer.n_unread, "disagree": wafer.n_disagree} if wafer.plan else {}),
        "cells_off": repair.n_cell,
        "cells_unmended": repair.n_unmended,
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
    parts = {"wires": config.build_wires(), "periphery": config.periphery.build()}
    survey = {"meter": found.wafer.meter, "plan": found.wafer.plan}
    write_pack(found.repair.mapped, directory / "pack", **parts, **survey)
    with (directory / "changes.csv").open("w", newline="", encoding="utf-8") as file:
        names = ["layer", "tile", "word_line", "bit_line", "side", "branch", "closed"]
        table = csv.DictWriter(file, names, lineterminator="\n")
        table.writeheader()
        table.writerows({**asdict(c), "closed": int(c.closed)} for c in found.repair.changes)
    write_wafer_report(found, directory)


def _write_whole(output: Path, write: Callable[[Path], None]) -> None:
    """Let a directory be written under another name, and rename it when it is complete."""
    draft = output.with_name(f".{output.name}.{os.getpid()}.tmp")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        write(draft)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    draft.rename(output)


def read_run(directory: Path) -> tuple[RunConfig, MappedNetwork]:
    """Return configuration and mapped network of a finished run."""
    if not (directory / "report.json").exists():
        raise ConfigError(f"{directory} is not a finished run; give what `crossbar-sim run` made")
    config = RunConfig.model_validate_json((directory / "config.json").read_text(encoding="utf-8"))
    return config, MappedNetwork.load(directory / "mapped.npz")


def named_tiles(mapped: MappedNetwork, names: list[str] | None) -> list[Tile]:
    """Return the tiles of those names, or all; ConfigError names the ones there are."""
    by_name = {tile.name: tile for tile in mapped.tiles}
    unknown = [name for name in names or () if name not in by_name]
    if unknown:
        raise ConfigError(f"no tile {unknown[0]!r}; there are {', '.join(by_name)}")
    return [by_name[name] for name in names] if names else mapped.tiles


def pruned_model(config: RunConfig, directory: Path) -> nn.Module:
    """Return the pruned network of a finished run."""
    model = build_model(config)
    model.load_state_dict(torch.load(directory / "model" / "pruned.pt", weights_only=True))
    return model.eval()


def score(config: RunConfig, model: nn.Module, mapped: MappedNetwork) -> float:
    """Return the test accuracy of a mapped network with the run's wires, TIA and converters.

    What [tune] says is done for it, as for the run's own die.
    """
    data = load_data(config)
    parts = config.build_wires(), config.periphery.build(), config.periphery.converters()
    calibration = torch.from_numpy(data.x_train)
    on_chip = to_torch(model, mapped, *parts, calibration=calibration)
    on_chip = tuned(config, on_chip, model, data)
    return accuracy(on_chip, data.x_test, data.y_test)
