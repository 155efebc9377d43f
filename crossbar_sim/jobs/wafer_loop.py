"""What a mapped network sends to a laboratory or a fab, and what it gets back."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from crossbar_sim.config import ConfigError
from crossbar_sim.findings.shares import compared
from crossbar_sim.jobs.source import Source, read_source
from crossbar_sim.ngspice.verification import chosen_tiles
from crossbar_sim.pipeline.finished_run import pruned_model, right_answers
from crossbar_sim.pipeline.steps import load_data
from crossbar_sim.report.wafer_report import (
    DESIGNED,
    NEW,
    OLD,
    Reselection,
    defects,
    write_wafer_report,
)
from mapping.network.mapped_network import MappedNetwork
from mapping.network.repair import Change, on_die, reselect
from mapping.tiling.tiles import Tile
from mapping.wafer.meter import Meter
from mapping.wafer.reading_plan import Plan
from netlists.fabrication.measured_wafer import Wafer, read_wafer
from netlists.fabrication.pack import PackError, write_pack
from netlists.fabrication.plan_file import read_plan
from netlists.spice.deck_directory import write_network
from tinynets.files.drafts import new_directory
from tinynets.files.outputs import csv_text
from tinynets.networks.training import predict
from tinynets.progress import Progress, silent


@dataclass(frozen=True)
class Readings:
    """A table of a wafer's readings, and how they were taken.

    table: CSV or Parquet file.
    plan: plan.csv of the pack, for composite readings; None for single ones.
    relative: error of the meter, as a fraction of the reading; None for that of the plan, or
        without a plan the meter_error of the bank.
    absolute: error of the meter [S]; None for that of the plan, or without a plan zero.
    """

    table: Path
    plan: Path | None = None
    relative: float | None = None
    absolute: float | None = None

    def of_wafer(self, mapped: MappedNetwork) -> Wafer:
        """Return the wafer of a network; ConfigError or ValueError for unusable readings."""
        bank = mapped.die.bank
        known: tuple[Plan | None, Meter] = None, Meter(bank.meter_error)
        if self.plan is not None:
            known = read_plan(self.plan, bank.n)
        meter = _meter(known[1], self.relative, self.absolute)
        return read_wafer(self.table, mapped, plan=known[0], meter=meter)


def export_run(
    directory: Path,
    output: Path,
    *,
    relative: float | None = None,
    absolute: float | None = None,
    chosen: Mapping[str, Any] | None = None,
    **contents: Any,
) -> Path:
    """Write the fabrication pack of a mapped network, and return its directory.

    directory: of a run, a saved network, a mapping or a pack; see `read_source`.
    relative: error of the meter for which the pack plans its readings, as a fraction of the
        reading; by default the meter_error of the bank.
    absolute: its error [S]; by default zero.
    chosen: arguments of `chosen_tiles`, for a pack of some tiles; None for all.
    contents: fields of `netlists.fabrication.pack.Contents`.

    Raises ConfigError as `read_source` does, for a negative error, and when the pack does not read
    back as it was written; no pack is left then.
    """
    source = read_source(directory)
    meter = _meter(Meter(source.mapped.die.bank.meter_error), relative, absolute)
    try:
        contents |= {"tiles": _tiles(source, chosen), "v_read": source.v_read}
        return write_pack(source.mapped, output, **source.parts, meter=meter, **contents)
    except PackError as error:
        raise ConfigError(str(error)) from error


def write_decks(
    directory: Path, output: Path, *, chosen: Mapping[str, Any] | None = None, **options: Any
) -> Path:
    """Write the netlists of a mapped network, and return their directory.

    directory: of a run, a saved network, a mapping or a pack; see `read_source`.
    chosen: arguments of `chosen_tiles`, for the netlists of some tiles; None for all.
    options: fields of `netlists.spice.deck_directory.Decks`.

    Raises as `read_source` and `write_network` do.
    """
    source = read_source(directory)
    options |= {"tiles": _tiles(source, chosen), "v_read": source.v_read}
    return write_network(source.mapped, directory=output, **source.parts, **options)


def _tiles(source: Source, chosen: Mapping[str, Any] | None) -> list[Tile] | None:
    return None if chosen is None else chosen_tiles(source.mapped, **chosen)


def reselect_run(
    directory: Path,
    readings: Readings,
    output: Path,
    *,
    tolerance: float,
    extra: int = 0,
    progress: Progress = silent,
) -> dict[str, float]:
    """Adapt a network to a measured wafer; write OUTPUT with pack/, changes.csv and report.html.

    directory: of a run, a saved network, a mapping or a pack; see `read_source`.
    readings: if their meter has an error, cells that must change take it into account.
    output: appears whole, or not at all.
    tolerance: largest error at which a cell stays as it is, as a fraction of the largest weight.
    extra: number of changes that a cell may have beyond those it needs.

    Returns counts of branches, defects, cells and changes, and for a run the test accuracy on the
    measured die before and after; "off_by_1000" counts branches whose readings seem to be in
    another unit.
    Raises ConfigError for unusable readings.
    """
    source = read_source(directory)
    mapped = source.mapped
    if output.exists():
        raise FileExistsError(f"{output} exists; choose another directory")
    try:
        wafer = readings.of_wafer(mapped)
        doubt = None if wafer.meter.exact else wafer.covariance
        unknown = wafer.defective
        repair = reselect(
            mapped, wafer.die, tolerance=tolerance, unknown=unknown, doubt=doubt, extra=extra
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error
    old = on_die(mapped, wafer.die)
    accuracies = _accuracies(source, [mapped, old, repair.mapped])
    result = Reselection(source.name, mapped, old, wafer, repair, tolerance, accuracies)
    with new_directory(output) as draft:
        _write_reselection(source, result, draft, progress)
    return {
        "branches": wafer.n_branch,
        **defects(wafer),
        **({"unread": wafer.n_unread, "disagree": wafer.n_disagree} if wafer.plan else {}),
        "cells_off": repair.n_cell,
        "cells_unmended": repair.n_unrepaired,
        "switches_changed": len(repair.changes),
        **{
            f"accuracy_{when}": row["accuracy"]
            for when, row in zip(("before", "after"), accuracies[-2:])
        },
    }


def _meter(default: Meter, relative: float | None, absolute: float | None) -> Meter:
    """Return the default meter with the given errors in place of its own."""
    try:
        return Meter(
            default.relative if relative is None else relative,
            default.absolute if absolute is None else absolute,
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _accuracies(source: Source, networks: list[MappedNetwork]) -> list[dict[str, Any]]:
    """Return rows of network and test accuracy: digital, then as designed and measured.

    Each is compared with the digital network, and the last one with the old switches as well. Only
    a run has the whole network and its data; without them, or without labels, there are no rows.
    """
    config = source.config
    if config is None or not (data := load_data(config)).has_labels:
        return []
    model = pruned_model(config, source.path)
    digital = predict(model, data.x_test).argmax(1) == data.y_test
    right = [digital, *(right_answers(config, model, network) for network in networks)]
    labels = ("pruned, digital", DESIGNED, OLD, NEW)
    rows: list[dict[str, Any]] = [
        {"network": label, "accuracy": float(each.mean()), "n_image": len(each)}
        | compared(each, digital)
        for label, each in zip(labels, right)
    ]
    rows[-1]["against_old"] = compared(right[-1], right[-2])
    return rows


def _write_reselection(
    source: Source, result: Reselection, directory: Path, tell: Progress
) -> None:
    survey = {"meter": result.wafer.meter, "plan": result.wafer.plan}
    write_pack(result.repair.mapped, directory / "pack", **source.parts, **survey, progress=tell)
    rows = [asdict(change) | {"closed": int(change.closed)} for change in result.repair.changes]
    text = csv_text(rows, names=[field.name for field in fields(Change)])
    (directory / "changes.csv").write_bytes(text.encode())
    write_wafer_report(result, directory)
