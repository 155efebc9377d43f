"""The manifest of a fabrication pack: its content, made from the network, and its JSON Schema."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from mapping.network.header import built
from mapping.network.mapped_layer import MappedLayer
from mapping.network.mapped_network import MappedNetwork
from mapping.selection.certificate import SelectionCertificate
from mapping.tiling.tiles import Tile
from mapping.wafer.meter import Meter
from mapping.wafer.reading_plan import Plan
from netlists.circuit import Periphery, Wires
from netlists.fabrication.file_names import (
    ALWAYS,
    BRANCHES,
    CELLS,
    CELLS_BINARY,
    MANIFEST,
    NETLISTS,
    PLAN,
    SELECTIONS,
    bits_file,
    hex_file,
    picture_file,
    table_files,
)
from netlists.spice.deck_directory import network_files
from tinynets.files.extras import optional
from tinynets.version import VERSION as OURS

FORMAT, VERSION = "crossbar-sim fabrication pack", 1
UNITS = {"resistance": "ohm", "conductance": "siemens", "temperature": "kelvin"}

#: JSON Schema of the manifest; written into every pack.
SCHEMA: dict[str, Any] = json.loads(
    Path(__file__).with_name("pack.schema.json").read_text(encoding="utf-8")
)


class PackError(ValueError):
    """A directory that is no pack, or a pack that is incomplete, altered or of another version."""


def described(mapped: MappedNetwork) -> dict[str, Any]:
    """Return the part of a manifest that describes a network, as it reads back from JSON."""
    n, bank = mapped.die.bank.n, asdict(mapped.die.bank)
    n_cell = sum(int(tile.present.sum()) for tile in mapped.tiles)
    # JSON has no infinity, so an infinite r_off is null.
    finite = {k: v if v != np.inf else None for k, v in bank.items()}
    description = {
        "die": {"id": mapped.die.id, "seed": int(mapped.die.seed), "bank": finite},
        "units": UNITS,
        "counts": {"tiles": len(mapped.tiles), "cells": n_cell, "branches": 2 * n * n_cell},
        "tile_size": asdict(mapped.tile),
        "layers": [_layer(layer) for layer in mapped.layers],
        "tiles": [_tile(tile, n) for tile in mapped.tiles],
    }
    return json.loads(json.dumps(description))


def described_plan(plan: Plan, meter: Meter) -> dict[str, Any]:
    """Return the part of a manifest that describes the measurement plan."""
    return {
        "file": PLAN,
        "n_reading": len(plan.closed),
        "composite": bool((plan.closed.sum(axis=1) > 1).any()),
        "meter": {"relative": float(meter.relative), "siemens": float(meter.absolute)},
    }


def described_selections(proof: SelectionCertificate) -> dict[str, Any]:
    """Return the part of a manifest that describes the certificate of the selections."""
    n_cell, optimal = len(proof.optimal), int(proof.optimal.sum())
    return {"file": SELECTIONS, "cells": n_cell, "optimal": optimal}


def described_circuits(wires: Wires, periphery: Periphery) -> dict[str, Any]:
    """Return the part of a manifest that describes the wires and amplifiers of the netlists."""
    # JSON has no infinity, so an infinite value is null.
    return {
        name: {k: v if v != np.inf else None for k, v in asdict(part).items()}
        for name, part in (("wires", wires), ("periphery", periphery))
    }


def circuits_of(manifest: dict[str, Any]) -> tuple[Wires, Periphery] | None:
    """Return the wires and amplifiers that a manifest states, or None; ValueError for bad ones."""
    if "circuits" not in manifest:
        return None
    stated = {
        name: {k: np.inf if v is None else v for k, v in part.items()}
        for name, part in manifest["circuits"].items()
    }
    wires = built(Wires, stated["wires"], "circuits.wires")
    return wires, built(Periphery, stated["periphery"], "circuits.periphery")


@dataclass(frozen=True)
class LeftOut:
    """The parts of a network that its pack has files of, apart from network.npz.

    tiles: names of the tiles; None for all.
    pictures, tables, netlists: whether there are pictures of the tiles, tables of branches and
        cells, and netlists.
    """

    tiles: tuple[str, ...] | None = None
    pictures: bool = True
    tables: bool = True
    netlists: bool = True

    @staticmethod
    def read(manifest: dict[str, Any]) -> "LeftOut":
        """Return what a manifest, checked against the schema, says."""
        stated = manifest.get("part", {})
        tiles = stated.get("tiles")
        return LeftOut(tiles and tuple(tiles), *(stated.get(k, True) for k in _KINDS))

    def described(self) -> dict[str, Any]:
        """Return the entry of the manifest; none for a whole pack."""
        stated = {k: False for k in _KINDS if not getattr(self, k)}
        stated |= {} if self.tiles is None else {"tiles": list(self.tiles)}
        return {"part": stated} if stated else {}

    def of(self, mapped: MappedNetwork) -> MappedNetwork:
        """Return the network with these tiles only; PackError for one that it does not have."""
        if self.tiles is None:
            return mapped
        named = {tile.name: tile for tile in mapped.tiles}
        if unknown := [name for name in self.tiles if name not in named]:
            raise PackError(f"manifest.json names tile {unknown[0]!r}, which network.npz lacks")
        return mapped.part(named[name] for name in self.tiles)


_KINDS = ("pictures", "tables", "netlists")


@dataclass(frozen=True)
class Described:
    """What a manifest says beside the network: parts, measurements, circuits, proof of choices."""

    left_out: LeftOut
    plan: Plan
    meter: Meter
    circuits: tuple[Wires, Periphery]
    selections: SelectionCertificate | None


def pack_files(part: MappedNetwork, left_out: LeftOut) -> set[str]:
    """Return the names of all files in a pack that neither manifest.json nor an option names.

    part: the network with the tiles that the pack has files of.
    """
    names = {*ALWAYS, *(table_files(part) if left_out.tables else ())}
    for tile in part.tiles:
        names |= {bits_file(tile.name), hex_file(tile.name)}
        if left_out.pictures:
            names.add(picture_file(tile.name))
    if left_out.netlists and np.isfinite(part.die.bank.r_off):
        names |= {f"{NETLISTS}/{name}" for name in network_files(part)}
    return names


def write_manifest(part: MappedNetwork, about: Described, draft: Path) -> None:
    """Write manifest.json, with a checksum of every file in the draft.

    part: the network with the tiles that the pack has files of.
    """
    paths = sorted(path for path in draft.rglob("*") if path.is_file())
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "versions": {"crossbar-sim": OURS} | {k: version(k) for k in ("numpy", "pyarrow")},
        **described(part),
        **about.left_out.described(),
        "circuits": described_circuits(*about.circuits),
        "files": {path.relative_to(draft).as_posix(): file_digest(path) for path in paths},
        "plan": described_plan(about.plan, about.meter),
    }
    if about.selections is not None:
        manifest["selections"] = described_selections(about.selections)
    text = json.dumps(manifest, indent=1, allow_nan=False) + "\n"
    (draft / MANIFEST).write_text(text, encoding="utf-8")


def read_manifest(path: Path) -> dict[str, Any]:
    """Return a manifest, checked against the schema; raises PackError for anything else."""
    try:
        manifest = json.loads(path.read_bytes(), parse_constant=_no_number)
    except OSError as error:
        raise PackError(f"{path} is missing: {path.parent} is not a fabrication pack") from error
    except (ValueError, RecursionError) as error:
        raise PackError(f"{path} is not JSON: {str(error)[:200]}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise PackError(f"{path} is not the manifest of a fabrication pack")
    if manifest.get("version") != VERSION:
        raise PackError(
            f"{path} is a pack of version {str(manifest.get('version'))[:20]}{_writer(manifest)}; "
            f"crossbar-sim {OURS} reads version {VERSION}; use the program that wrote it"
        )
    jsonschema = optional("jsonschema", extra="fab")
    try:
        jsonschema.validate(manifest, SCHEMA)
    except jsonschema.ValidationError as error:
        raise PackError(f"{path}: {error.json_path}: {error.message[:200]}") from error
    return manifest


def _writer(manifest: dict[str, Any]) -> str:
    """Return which program wrote a manifest of another version, if it says so."""
    versions = manifest.get("versions")
    ours = versions.get("crossbar-sim") if isinstance(versions, dict) else None
    return f", written by crossbar-sim {str(ours)[:20]}" if ours else ""


def check_manifest(manifest: dict[str, Any], mapped: MappedNetwork, path: Path) -> None:
    """Raise PackError unless a manifest agrees with the network of its pack.

    mapped: the network with the tiles that the pack has files of.
    """
    if manifest["die"]["id"] != mapped.die.id:
        raise PackError(f"{path.parent}: network.npz is of another die than manifest.json says")
    expected = described(mapped)
    bank = manifest["die"]["bank"]
    stated = manifest | {"die": manifest["die"] | {"bank": _defaults(mapped) | bank}}
    # Older packs have no layers and no tile_size.
    for key in (key for key in expected if key in stated):
        if difference := _difference(stated[key], expected[key], key):
            raise PackError(f"{path} {difference}")
    _check_names(manifest, mapped, path)


def _check_names(manifest: dict[str, Any], mapped: MappedNetwork, path: Path) -> None:
    left_out, files = LeftOut.read(manifest), set(manifest["files"])
    named = pack_files(mapped, left_out)
    if left_out.tables:  # older packs have text of any length
        named |= files & {BRANCHES, CELLS}
        named -= {CELLS_BINARY} if CELLS in files else set()
    named |= {name for key, name in (("plan", PLAN), ("selections", SELECTIONS)) if key in manifest}
    if missing := sorted(named - files):
        raise PackError(f"{path} lists no checksum for {', '.join(missing[:3])}")
    if extra := sorted(files - named):
        raise PackError(
            f"{path} lists {extra[0][:80]!r}, which is not a file of this network's pack"
        )


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _layer(layer: MappedLayer) -> dict[str, Any]:
    source = layer.source
    known = {key: getattr(source, key) for key in ("name", "module", "n_in", "n_out", "n_mvm")}
    return known | {"conv": asdict(source.conv) if source.conv else None}


def _tile(tile: Tile, n: int) -> dict[str, Any]:
    n_cell = int(tile.present.sum())
    return {
        "name": tile.name,
        "layer": tile.layer,
        "inputs": tile.rows.tolist(),
        "outputs": tile.columns.tolist(),
        "n_cell": n_cell,
        "n_bit": n_cell * 2 * n,
        "bitstream": bits_file(tile.name),
    }


def _defaults(mapped: MappedNetwork) -> dict[str, Any]:
    """Return the fields of a bank that are off by default; older versions may lack them."""
    return {name: 0.0 for name, value in asdict(mapped.die.bank).items() if value == 0.0}


def _difference(stated: Any, expected: Any, where: str) -> str:
    """Return a text that says where two JSON values differ, empty if they are equal."""
    if isinstance(stated, dict) and isinstance(expected, dict):
        keys: Iterable[Any] = sorted(stated.keys() | expected.keys())
        pairs = [(key, stated.get(key), expected.get(key)) for key in keys]
    elif isinstance(stated, list) and isinstance(expected, list):
        if len(stated) != len(expected):
            return f"lists {len(stated)} {where}; network.npz holds {len(expected)}"
        pairs = list(zip(range(len(stated)), stated, expected))
    elif type(stated) is type(expected) and stated == expected:
        return ""
    else:
        return f"says {where} = {str(stated)[:60]}; network.npz gives {str(expected)[:60]}"
    inside = (_difference(a, b, f"{where}.{key}") for key, a, b in pairs)
    return next((text for text in inside if text), "")


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is not a JSON number")
