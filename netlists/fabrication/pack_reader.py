"""Read a fabrication pack; every file is checked against its checksum and the network."""

import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from mapping.bank import Die
from mapping.network.certified import check_certificate
from mapping.network.mapped_network import MappedNetwork
from mapping.selection.certificate import SelectionCertificate
from mapping.tiling.tiles import Tile
from netlists.circuit import Periphery, Wires
from netlists.fabrication.file_names import (
    MANIFEST,
    NETWORK,
    PLAN,
    SELECTIONS,
    bits_file,
    hex_file,
)
from netlists.fabrication.manifest import (
    LeftOut,
    PackError,
    check_manifest,
    circuits_of,
    described_plan,
    described_selections,
    file_digest,
    read_manifest,
)
from netlists.fabrication.plan_file import read_plan
from netlists.fabrication.switch_tables import switches_from_bits
from netlists.fabrication.tables import check_tables


def read_pack(
    directory: str | Path,
    *,
    die: Die | None = None,
    certificates: Callable[[Path], object] | None = None,
) -> MappedNetwork:
    """Return the network of a pack, on its own die.

    die: the chip at hand; if given, the pack of another one is refused.
    certificates: what checks a file's proof and raises ValueError for a wrong one, such as
        `crossbar_sim.certificates.selection_checker.check`; a pack without a proof is then
        refused. None leaves the proof itself unchecked. (The checker is passed because it lives
        in a package that this one may not import.)

    Manifest, bitstreams, tables and what the certificate of selections is about must agree with the
    network in the pack. Of netlists, pictures
    and README only the checksums are compared: their content is as trustworthy as the maker of the
    pack. Nothing in a pack is executed.
    Raises PackError, naming the file, if one is missing, altered, damaged, of another version,
    outside the directory, or contradicts another.
    """
    directory = Path(directory)
    try:
        mapped = _read(directory, certificates)
    except PackError:
        raise
    except (ValueError, OSError) as error:
        raise PackError(f"{directory} cannot be read: {str(error)[:400]}") from error
    if die is not None and mapped.die != die:
        raise PackError(
            f"{directory} must be of die {die.id}; got die {mapped.die.id}, whose switches would "
            "give other weights there: re-select, or use the pack of that die"
        )
    return mapped


def read_circuits(directory: str | Path) -> tuple[Wires, Periphery] | None:
    """Return the wires and amplifiers of a pack's netlists; None for an older pack.

    Raises PackError for a manifest that is missing or damaged.
    """
    path = Path(directory) / MANIFEST
    try:
        return circuits_of(read_manifest(path))
    except PackError:
        raise
    except ValueError as error:
        raise PackError(f"{path}: {str(error)[:300]}") from error


def _read(directory: Path, prove: Callable[[Path], object] | None) -> MappedNetwork:
    path = directory / MANIFEST
    manifest = read_manifest(path)
    if NETWORK not in manifest["files"]:
        raise PackError(f"{path} lists no checksum for {NETWORK}")
    for name, checksum in manifest["files"].items():
        _check_file(directory, name, checksum)
    mapped = MappedNetwork.load(directory / NETWORK)
    left_out = LeftOut.read(manifest)
    part = left_out.of(mapped)
    check_manifest(manifest, part, path)
    circuits_of(manifest)
    for tile in part.tiles:
        _check_bits(tile, directory, mapped.die.bank.n)
    check_tables(part, directory, whole=left_out.tables)
    if "plan" in manifest:
        _check_plan(manifest["plan"], directory / PLAN, mapped.die.bank.n)
    if "selections" in manifest:
        _check_selections(manifest["selections"], directory / SELECTIONS, part)
    elif prove:
        raise PackError(f"{path} lists no certificate of selections; export the pack again")
    if prove:
        prove(directory / SELECTIONS)
    return mapped


def _check_file(directory: Path, name: str, checksum: str) -> None:
    relative = PurePosixPath(name)
    path = directory / name
    inside = not relative.is_absolute() and ".." not in relative.parts
    real, root = Path(os.path.realpath(path)), Path(os.path.realpath(directory))
    if not inside or not real.is_relative_to(root):
        raise PackError(
            f"{directory / MANIFEST} names {name[:80]!r}, which is outside the pack; remove it, or "
            "export the pack again"
        )
    if not path.is_file():
        raise PackError(f"{path} is missing")
    if file_digest(path) != checksum:
        raise PackError(f"{path} was altered or truncated: its checksum does not match")


def _check_bits(tile: Tile, directory: Path, n: int) -> None:
    """Raise PackError unless both forms of a bitstream close the switches of a tile."""
    path, text = directory / bits_file(tile.name), directory / hex_file(tile.name)
    bits = path.read_bytes()
    try:
        switches = switches_from_bits(bits, tile.present, n)
    except ValueError as error:
        raise PackError(f"{path}: {error}") from error
    if not all(map(np.array_equal, switches, (tile.chosen_pos, tile.chosen_neg))):
        raise PackError(f"{path} closes other switches than network.npz; export the pack again")
    if text.read_bytes() != f"{bits.hex()}\n".encode():
        raise PackError(f"{text} has other bits than {path.name}")


def _check_plan(entry: dict[str, Any], path: Path, n: int) -> None:
    if described_plan(*read_plan(path, n)) != entry:
        raise PackError(
            f"{path} is not the plan that manifest.json describes; export the pack again"
        )


def _check_selections(entry: dict[str, Any], path: Path, part: MappedNetwork) -> None:
    """Raise ValueError unless a certificate is the one described, and about this network."""
    proof = SelectionCertificate.load(path)
    check_certificate(proof, part)
    if described_selections(proof) != entry:
        raise PackError(f"{path} claims other selections than manifest.json says")
