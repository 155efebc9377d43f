"""The fabrication pack: a directory that is complete, checkable, and comes back as it left."""

import hashlib
import io
import json
import os
import shutil
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.image import imsave

from mapping.bank import Die
from mapping.design import MappedNetwork
from mapping.metrology import Meter, Plan, plan_for
from mapping.repair import on_die
from mapping.tiles import Tile
from netlists.circuit import Periphery, Wires
from netlists.fabrication import COLUMNS, bitstream, branch_table, masks_of
from netlists.network import write_network
from netlists.plan import write_plan
from tinynets.extras import optional

FORMAT, VERSION = "crossbar-sim fabrication pack", 1

#: JSON Schema of the manifest; written into every pack.
SCHEMA: dict[str, Any] = json.loads(
    Path(__file__).with_name("pack.schema.json").read_text(encoding="utf-8")
)


class PackError(ValueError):
    """A pack that is incomplete, altered, of another version, or not a pack."""


def write_pack(
    mapped: MappedNetwork,
    directory: str | Path,
    *,
    wires: Wires | None = None,
    periphery: Periphery | None = None,
    meter: Meter | None = None,
    plan: Plan | None = None,
) -> Path:
    """Write everything that fabrication needs; return the directory.

    meter: what banks will be read with, by default one of the bank's meter_error; plan: the
    readings of a bank, by default the best with that meter.

    manifest.json with a SHA-256 of each file, its schema; bitstreams/ (binary and hexadecimal);
    pictures/; branches.csv and .parquet; cells.csv (targets and what is realised); pins.csv;
    bom.csv; plan.csv (which switches each reading of a bank closes); netlists/ where open switches
    have a resistance; network.npz; README.md.
    Raises FileExistsError when the directory is there, ImportError that names the extra `fab`.
    """
    directory = Path(directory)
    if directory.exists():
        raise FileExistsError(f"{directory} exists; remove it or choose another directory")
    draft = directory.with_name(f".{directory.name}.{os.getpid()}.tmp")
    shutil.rmtree(draft, ignore_errors=True)
    bank = mapped.die.bank
    meter = Meter(bank.meter_error) if meter is None else meter
    plan = plan_for(bank, meter) if plan is None else plan
    try:
        _write_files(mapped, draft, wires or Wires(), periphery or Periphery(), plan, meter)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    draft.rename(directory)
    return directory


def read_pack(directory: str | Path, *, die: Die | None = None) -> MappedNetwork:
    """Return the network of a pack: its switches as the bitstreams say, on its own die.

    die: the chip at hand, where it matters; the pack of another one is then refused.
    Raises PackError naming the file that is missing, altered, of another version, or outside the
    directory. Nothing in a pack is executed.
    """
    directory = Path(directory)
    manifest = _read_manifest(directory)
    for name, wanted in manifest["files"].items():
        _check_file(directory, name, wanted)
    mapped = MappedNetwork.load(directory / "network.npz")
    if mapped.die.id != manifest["die"]["id"]:
        raise PackError(f"{directory}: network.npz is of another die than manifest.json says")
    if die is not None and mapped.die != die:
        raise PackError(
            f"{directory} is of die {mapped.die.id}, not of {die.id}; its switches would give "
            "other weights there: reselect, or take that die's own pack"
        )
    entries = {entry["name"]: entry for entry in manifest["tiles"]}
    if set(entries) != {tile.name for tile in mapped.tiles}:
        raise PackError(f"{directory}: manifest.json lists other tiles than network.npz holds")
    layers = []
    for layer in mapped.layers:
        tiles = tuple(
            _with_bits(tile, directory, entries[tile.name], mapped) for tile in layer.tiles
        )
        layers.append(replace(layer, tiles=tiles))
    return on_die(replace(mapped, layers=tuple(layers)), mapped.die)


def _with_bits(tile: Tile, directory: Path, entry: dict[str, Any], mapped: MappedNetwork) -> Tile:
    """Return a tile with the switches of its bitstream."""
    bits = (directory / entry["bitstream"]).read_bytes()
    try:
        pos, neg = masks_of(bits, tile.present, mapped.die.bank.n)
    except ValueError as error:
        raise PackError(f"{directory / entry['bitstream']}: {error}") from error
    return replace(tile, chosen_pos=pos, chosen_neg=neg)


def _read_manifest(directory: Path) -> dict[str, Any]:
    path = directory / "manifest.json"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PackError(f"{path} is missing: {directory} is not a fabrication pack") from error
    except ValueError as error:
        raise PackError(f"{path} is not JSON: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise PackError(f"{path} is not the manifest of a fabrication pack")
    if manifest.get("version") != VERSION:
        raise PackError(f"{path} has version {manifest.get('version')}; {VERSION} can be read")
    _validate(manifest, path)
    return manifest


def _validate(manifest: dict[str, Any], path: Path) -> None:
    """Check a manifest against the schema."""
    jsonschema = optional("jsonschema", extra="fab")
    try:
        jsonschema.validate(manifest, SCHEMA)
    except jsonschema.ValidationError as error:
        raise PackError(f"{path}: {error.json_path}: {error.message}") from error
    missing = {entry["bitstream"] for entry in manifest["tiles"]} - manifest["files"].keys()
    missing |= (
        {manifest["plan"]["file"]} - manifest["files"].keys() if "plan" in manifest else set()
    )
    if missing or "network.npz" not in manifest["files"]:
        raise PackError(f"{path} lists no checksum for {sorted(missing) or 'network.npz'}")


def _check_file(directory: Path, name: str, wanted: str) -> None:
    relative = PurePosixPath(name)
    path = directory / name
    inside = not relative.is_absolute() and ".." not in relative.parts
    if not inside or not path.resolve().is_relative_to(directory.resolve()):
        raise PackError(f"manifest.json names {name!r}, which is outside the pack")
    if not path.is_file():
        raise PackError(f"{path} is missing")
    if _sha256(path) != wanted:
        raise PackError(f"{path} was altered or cut short: its checksum does not match")


def _write_files(
    mapped: MappedNetwork,
    draft: Path,
    wires: Wires,
    periphery: Periphery,
    plan: Plan,
    meter: Meter,
) -> None:
    (draft / "bitstreams").mkdir(parents=True)
    mapped.save(draft / "network.npz")
    _write_branches(mapped, draft)
    _write_cells(mapped, draft / "cells.csv")
    _write_pins(mapped, draft / "pins.csv")
    _write_bom(mapped, draft / "bom.csv")
    write_plan(plan, meter, draft / "plan.csv")
    if np.isfinite(mapped.die.bank.r_off):
        write_network(mapped, wires, periphery, draft / "netlists")
    for tile in mapped.tiles:
        bits = bitstream(tile, mapped.die.bank.n)
        (draft / "bitstreams" / f"{tile.name}.bin").write_bytes(bits)
        (draft / "bitstreams" / f"{tile.name}.hex").write_text(bits.hex() + "\n", encoding="utf-8")
    (draft / "pictures").mkdir()
    for tile in mapped.tiles:
        (draft / "pictures" / f"{tile.name}.png").write_bytes(_picture(tile, mapped.die.bank.n))
    (draft / "manifest.schema.json").write_text(
        json.dumps(SCHEMA, indent=1) + "\n", encoding="utf-8"
    )
    (draft / "README.md").write_text(_readme(mapped), encoding="utf-8")
    manifest = _manifest(mapped, draft) | {"plan": _describe_plan(plan, meter)}
    (draft / "manifest.json").write_text(
        json.dumps(manifest, indent=1, allow_nan=False) + "\n", encoding="utf-8"
    )


def _write_branches(mapped: MappedNetwork, draft: Path) -> None:
    """Write branches.csv and branches.parquet tile by tile, so that memory stays bounded."""
    arrow, arrow_csv = optional("pyarrow", extra="fab"), optional("pyarrow.csv", extra="fab")
    parquet = optional("pyarrow.parquet", extra="fab")
    schema = arrow.table(dict(zip(COLUMNS, _empty(mapped)))).schema
    with (
        arrow_csv.CSVWriter(str(draft / "branches.csv"), schema) as text,
        parquet.ParquetWriter(str(draft / "branches.parquet"), schema) as binary,
    ):
        for tile in mapped.tiles:
            table = arrow.table(branch_table(mapped, tile)).cast(schema)
            text.write_table(table)
            binary.write_table(table)


def _empty(mapped: MappedNetwork) -> list[Any]:
    first = branch_table(mapped, mapped.tiles[0])
    return [column[:1] for column in first.values()]


def _write_cells(mapped: MappedNetwork, path: Path) -> None:
    """Write the target of every cell, what its switches should give, what they do, and the error.

    error: of g_pos - g_neg, as a part of the largest target of the layer.
    """
    head = "layer,tile,word_line,bit_line,input,output,weight,g_target,g_predicted,g_pos,g_neg"
    with path.open("w", encoding="utf-8") as file:
        file.write(f"{head},error\n")
        for layer in mapped.layers:
            largest = np.abs(layer.g_per_weight[:, None] * layer.layer.weight).max()
            for tile in layer.tiles:
                i, j = np.nonzero(tile.present)
                rows, columns = tile.rows[i], tile.columns[j]
                weight = layer.layer.weight[columns, rows]
                target = weight * layer.g_per_weight[columns]
                g_pos, g_neg = tile.g_pos[i, j], tile.g_neg[i, j]
                numbers = (
                    *(i, j, rows, columns, weight, target, layer.predicted[columns, rows]),
                    *(g_pos, g_neg, (g_pos - g_neg - target) / largest),
                )
                cells = zip(*(values.tolist() for values in numbers))
                start = f"{tile.layer},{tile.name},"
                file.writelines(start + ",".join(map(repr, cell)) + "\n" for cell in cells)


def _write_pins(mapped: MappedNetwork, path: Path) -> None:
    """Write which pin of each tile is which input or output of its layer."""
    lines = ["tile,pin,direction,layer,index,side"]
    for tile in mapped.tiles:
        lines += [f"{tile.name},in_{k},in,{tile.layer},{r}," for k, r in enumerate(tile.rows)]
        lines += [
            f"{tile.name},out_{k}_{side[0]},out,{tile.layer},{c},{side}"
            for side in ("pos", "neg")
            for k, c in enumerate(tile.columns)
        ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_bom(mapped: MappedNetwork, path: Path) -> None:
    """Write how many resistors of each nominal value, and how many switches, the tiles take."""
    n_bank = 2 * sum(int(tile.present.sum()) for tile in mapped.tiles)
    values, counts = np.unique(mapped.die.bank.r_nominal, return_counts=True)
    lines = ["part,value_ohm,count"]
    lines += [f"resistor,{r!r},{c * n_bank}" for r, c in zip(values.tolist(), counts.tolist())]
    lines.append(f"switch,{mapped.die.bank.r_on!r},{mapped.die.bank.n * n_bank}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _manifest(mapped: MappedNetwork, draft: Path) -> dict[str, Any]:
    n = mapped.die.bank.n
    n_cell = sum(int(tile.present.sum()) for tile in mapped.tiles)
    paths = sorted(path for path in draft.rglob("*") if path.is_file())
    return {
        "format": FORMAT,
        "version": VERSION,
        "versions": {name: version(name) for name in ("crossbar-sim", "numpy", "pyarrow")},
        "die": {
            "id": mapped.die.id,
            "seed": int(mapped.die.seed),
            "bank": _plain(asdict(mapped.die.bank)),
        },
        "units": {"resistance": "ohm", "conductance": "siemens", "temperature": "kelvin"},
        "counts": {"tiles": len(mapped.tiles), "cells": n_cell, "branches": 2 * n * n_cell},
        "tiles": [
            {
                "name": tile.name,
                "layer": tile.layer,
                "inputs": tile.rows.tolist(),
                "outputs": tile.columns.tolist(),
                "n_cell": int(tile.present.sum()),
                "n_bit": int(tile.present.sum()) * 2 * n,
                "bitstream": f"bitstreams/{tile.name}.bin",
            }
            for tile in mapped.tiles
        ],
        "files": {path.relative_to(draft).as_posix(): _sha256(path) for path in paths},
    }


def _describe_plan(plan: Plan, meter: Meter) -> dict[str, Any]:
    return {
        "file": "plan.csv",
        "n_reading": len(plan.closed),
        "composite": bool((plan.closed.sum(axis=1) > 1).any()),
        "meter": {"relative": float(meter.relative), "siemens": float(meter.absolute)},
    }


def _picture(tile: Tile, n: int) -> bytes:
    """Draw how many of n switches each cell closes: positive banks left, negative ones right.

    From dark (none) to light (all); white is no device. Eight pixels a cell, word lines downwards.
    """
    panels = []
    for chosen in (tile.chosen_pos, tile.chosen_neg):
        colours = colormaps["viridis"](np.bitwise_count(chosen) / n)
        colours[~tile.present] = 1.0
        panels.append(np.kron(colours, np.ones((8, 8, 1))))
    gap = np.full((len(panels[0]), 8, 4), 0.5)
    buffer = io.BytesIO()
    imsave(buffer, np.concatenate([panels[0], gap, panels[1]], axis=1), format="png")
    return buffer.getvalue()


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """JSON has no infinity: an r_off without end is null."""
    return {
        k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in values.items()
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _readme(mapped: MappedNetwork) -> str:
    n = mapped.die.bank.n
    rows = "\n".join(
        f"| {t.name} | {t.n_word} × {t.n_bit} | {int(t.present.sum())} | "
        f"{int(t.present.sum()) * 2 * n} |"
        for t in mapped.tiles
    )
    pictures = "\n\n".join(f"{t.name}:\n\n![{t.name}](pictures/{t.name}.png)" for t in mapped.tiles)
    return f"""# Fabrication pack of die {mapped.die.id}

| tile | word lines × pairs of bit lines | cells | switch bits |
|---|---|---|---|
{rows}

A cell is two banks (pos, neg) of {n} branches, each a resistor in series with a switch, between a
word line and the two bit lines of its pair. A cell that is not listed has no devices.

- `bitstreams/<tile>.bin`, `.hex`: one bit a switch, 1 is closed; order: word line, bit line, side
  (pos, neg), branch; first switch in the highest bit of the first byte, last byte filled with
  zeros. In a chain of shift registers the first bit goes farthest.
- `branches.csv`, `branches.parquet`: the same as a table, with nominal and measured ohm (of the
  meter, through the closed switch; nominal is without the switch).
- `cells.csv`: weight, target, what the selection expects from measured values, what the die truly
  conducts [S], and the error of that as a part of the layer's largest target.
- `pins.csv`: each pin of a tile, the net of that name in its netlist and the pad in its layout, and
  which input or output of the layer it is; `bom.csv`: parts by nominal value.
- `plan.csv`: how to measure a bank: for each reading, 1 for every branch whose switch is closed;
  the last two columns are the error of the meter that it is for, a part of a reading and siemens.
- `netlists/`: SPICE, with a README of its own; not there when open switches are perfect.
- `network.npz`: the network, for `netlists.read_pack`.
- `manifest.json`: all of it with SHA-256 sums, by `manifest.schema.json`.

## Tiles

How many switches each cell closes: dark for none, light for all, white without devices. Word lines
downwards, positive banks left, negative ones right.

{pictures}
"""
