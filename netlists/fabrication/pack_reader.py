"""Read a fabrication pack: every file is checked against its checksum and against the network."""

import os
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from mapping.bank import Die
from mapping.network.mapped_network import MappedNetwork
from mapping.tiling.tiles import Tile
from netlists.fabrication.manifest import (
    PackError,
    check_manifest,
    described_plan,
    file_digest,
    read_manifest,
)
from netlists.fabrication.plan_file import read_plan
from netlists.fabrication.switch_tables import masks_of
from netlists.fabrication.tables import check_tables


def read_pack(directory: str | Path, *, die: Die | None = None) -> MappedNetwork:
    """Return the network of a pack, on its own die.

    Manifest, bitstreams and tables must say what the network in it does. Netlists, pictures and
    README are for others to use: only their checksums are compared, so that what they hold is as
    trustworthy as whoever made the pack. Nothing in a pack is executed.

    die: the chip at hand, where it matters; the pack of another one is then refused.
    Raises PackError naming the file that is missing, altered, damaged, of another version, that
    contradicts another, or that is outside the directory.
    """
    directory = Path(directory)
    try:
        mapped = _read(directory)
    except PackError:
        raise
    except (ValueError, OSError) as error:
        raise PackError(f"{directory} cannot be read: {str(error)[:400]}") from error
    if die is not None and mapped.die != die:
        raise PackError(
            f"{directory} is of die {mapped.die.id}, not of {die.id}; its switches would give "
            "other weights there: reselect, or take that die's own pack"
        )
    return mapped


def _read(directory: Path) -> MappedNetwork:
    path = directory / "manifest.json"
    manifest = read_manifest(path)
    if "network.npz" not in manifest["files"]:
        raise PackError(f"{path} lists no checksum for network.npz")
    for name, wanted in manifest["files"].items():
        _check_file(directory, name, wanted)
    mapped = MappedNetwork.load(directory / "network.npz")
    check_manifest(manifest, mapped, path)
    for tile in mapped.tiles:
        _check_bits(tile, directory / "bitstreams", mapped.die.bank.n)
    check_tables(mapped, directory)
    if "plan" in manifest:
        _check_plan(manifest["plan"], directory / "plan.csv", mapped.die.bank.n)
    return mapped


def _check_file(directory: Path, name: str, wanted: str) -> None:
    relative = PurePosixPath(name)
    path = directory / name
    inside = not relative.is_absolute() and ".." not in relative.parts
    real, root = Path(os.path.realpath(path)), Path(os.path.realpath(directory))
    if not inside or not real.is_relative_to(root):
        raise PackError(f"manifest.json names {name[:80]!r}, which is outside the pack")
    if not path.is_file():
        raise PackError(f"{path} is missing")
    if file_digest(path) != wanted:
        raise PackError(f"{path} was altered or cut short: its checksum does not match")


def _check_bits(tile: Tile, directory: Path, n: int) -> None:
    """Raise PackError unless both forms of a bitstream close the switches of the tile."""
    path = directory / f"{tile.name}.bin"
    bits = path.read_bytes()
    try:
        masks = masks_of(bits, tile.present, n)
    except ValueError as error:
        raise PackError(f"{path}: {error}") from error
    if not all(map(np.array_equal, masks, (tile.chosen_pos, tile.chosen_neg))):
        raise PackError(f"{path} closes other switches than network.npz; export the pack again")
    if path.with_suffix(".hex").read_bytes() != f"{bits.hex()}\n".encode():
        raise PackError(f"{path.with_suffix('.hex')} has other bits than {path.name}")


def _check_plan(entry: dict[str, Any], path: Path, n: int) -> None:
    if described_plan(*read_plan(path, n)) != entry:
        raise PackError(f"{path} is another plan than manifest.json says")
