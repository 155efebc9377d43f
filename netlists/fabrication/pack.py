"""The fabrication pack: a directory that is complete, can be checked, and reads back unchanged."""

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.image import imsave

from mapping.network.certified import certify_selections
from mapping.network.mapped_network import MappedNetwork
from mapping.tiling.tiles import Tile
from mapping.wafer.meter import Meter
from mapping.wafer.reading_plan import Plan, best_plan
from netlists.circuit import Periphery, Wires
from netlists.fabrication import file_names
from netlists.fabrication.manifest import (
    FORMAT,
    SCHEMA,
    VERSION,
    Described,
    LeftOut,
    PackError,
    write_manifest,
)
from netlists.fabrication.pack_reader import read_pack
from netlists.fabrication.plan_file import write_plan
from netlists.fabrication.switch_tables import bitstream
from netlists.fabrication.tables import write_pack_tables
from netlists.spice.amount import Amount, netlist_amount, unannounced
from netlists.spice.deck_directory import Decks, write_network
from tinynets.files.drafts import new_directory
from tinynets.files.templates import rendered
from tinynets.progress import Progress, silent

__all__ = ["FORMAT", "SCHEMA", "VERSION", "PackError", "read_pack", "write_pack"]


#: Most tiles whose pictures are drawn without being asked for.
MOST_PICTURES = 50


@dataclass(frozen=True)
class Contents:
    """What a pack holds of its network; network.npz holds the whole network in any case.

    tiles: those with bitstreams, netlists and rows in the tables; all by default.
    pictures: whether there is a picture of each tile; None for up to MOST_PICTURES tiles.
    netlists: whether there are netlists of the tiles.
    tables: whether there are tables of branches and cells.
    certificate: whether there is a certificate of the selections.
    each_input, v_read: of the netlists; see `netlists.spice.deck_directory.Decks`.
    progress: see `Progress`.
    announce: called with the `Amount` that is going to be written, before anything is.
    """

    tiles: Sequence[Tile] | None = None
    pictures: bool | None = None
    netlists: bool = True
    tables: bool = True
    certificate: bool = True
    each_input: bool = False
    v_read: float = 0.2
    progress: Progress = silent
    announce: Callable[[Amount], object] = unannounced

    def amount(self, mapped: MappedNetwork, wires: Wires) -> Amount:
        """Return what a pack takes, fitted like `netlist_amount`; the bytes within 20 %."""
        part, n = self.part(mapped), mapped.die.bank.n
        n_weight = sum(layer.source.weight.size for layer in mapped.layers)
        n_byte, seconds = 20_000 + 0.35 * n_weight, 0.5 + 3e-7 * n_weight
        names, drawn = file_names.table_files(part), self.draws(part)
        per_cell = 20 * n + (156 if file_names.CELLS in names else 56)
        per_cell += 132 * n if file_names.BRANCHES in names else 0
        for tile in mapped.tiles:
            n_byte += 33 * int(tile.present.sum()) + 1.8 * tile.present.size
        for tile in part.tiles:
            cells, lines = int(tile.present.sum()), tile.n_word + 2 * tile.n_bit
            n_byte += 900 + 39 * lines + 0.8 * n * cells
            n_byte += per_cell * cells if self.tables else 0
            n_byte += (54 + 32 * n) * cells if self.certificate else 0
            n_byte += 630 + 2.9 * cells + 1.4 * tile.present.size if drawn else 0
            seconds += 0.013 + 9e-6 * n * cells
        files = Amount(n_byte, 10 + 3 * len(part.tiles), seconds)
        if not (self.netlists and np.isfinite(mapped.die.bank.r_off)):
            return files
        sweep = Decks(each_input=self.each_input, v_read=self.v_read).sweep(mapped)
        return files + netlist_amount(part.layers, n, wires, sweep)

    def part(self, mapped: MappedNetwork) -> MappedNetwork:
        """Return the network with these tiles only."""
        return mapped if self.tiles is None else mapped.part(self.tiles)

    def draws(self, part: MappedNetwork) -> bool:
        """Return whether the tiles of a pack are drawn."""
        return len(part.tiles) <= MOST_PICTURES if self.pictures is None else self.pictures

    def left_out(self, mapped: MappedNetwork) -> LeftOut:
        """Return what the manifest says of parts that are not there."""
        part = self.part(mapped)
        whole = len(part.tiles) == len(mapped.tiles)
        names = None if whole else tuple(tile.name for tile in part.tiles)
        return LeftOut(names, self.draws(part), self.tables, self.netlists)


def write_pack(
    mapped: MappedNetwork,
    directory: str | Path,
    *,
    wires: Wires | None = None,
    periphery: Periphery | None = None,
    meter: Meter | None = None,
    plan: Plan | None = None,
    **options: Any,
) -> Path:
    """Write everything that fabrication needs; return the directory.

    wires, periphery: those of the netlists, ideal by default.
    meter: the meter that banks will be read with; by default one with the bank's meter_error.
    plan: the readings of a bank; by default the best plan for that meter.
    options: the fields of `Contents`: tiles, pictures, netlists, tables, certificate, each_input,
        v_read, progress, announce.

    The pack holds manifest.json (a SHA-256 of each file) and its schema; bitstreams/ (binary and
    hexadecimal); pictures/; branches.csv and .parquet; cells.csv (target and realised values), both
    without text above a million rows; pins.csv; bom.csv; plan.csv (the switches that each reading
    closes); netlists/ if r_off is finite; network.npz; selections.npz (a `SelectionCertificate`);
    README.md. It appears when it is complete and has been read back.

    Raises FileExistsError if the directory exists, ValueError for a network whose parts do not
    belong together, OSError for more than the disk has room for, PackError if the pack does not
    read back as it was written, and ImportError without the extra `fab`.
    """
    contents = Contents(**options)
    meter = Meter(mapped.die.bank.meter_error) if meter is None else meter
    plan = best_plan(mapped.die.bank, meter) if plan is None else plan
    circuits = wires or Wires(), periphery or Periphery()
    tell, amount = contents.progress, contents.amount(mapped, circuits[0])
    amount.require_disk(Path(directory))
    contents.announce(amount)
    with new_directory(directory) as draft:
        mapped.save(draft / file_names.NETWORK)
        write_plan(plan, meter, draft / file_names.PLAN)
        _write_files(mapped, contents, draft, circuits)
        part = contents.part(mapped)
        proof = certify_selections(part) if contents.certificate else None
        if proof is not None:
            proof.save(draft / file_names.SELECTIONS)
        about = Described(contents.left_out(mapped), plan, meter, circuits, proof)
        write_manifest(part, about, draft)
        tell("read back", 0, 1)
        _read_back(mapped, draft)
        tell("read back", 1, 1)
    return Path(directory)


def _read_back(mapped: MappedNetwork, draft: Path) -> None:
    """Raise PackError unless a pack reads back as the network that it was written from."""
    reread = read_pack(draft, die=mapped.die)
    for a, b in zip(mapped.tiles, reread.tiles, strict=True):
        names = ("rows", "columns", "present", "chosen_pos", "chosen_neg")
        if not all(np.array_equal(getattr(a, name), getattr(b, name)) for name in names):
            raise PackError(f"tile {a.name} does not read back as it was written; no pack was made")


def _write_files(
    mapped: MappedNetwork, contents: Contents, draft: Path, circuits: tuple[Wires, Periphery]
) -> None:
    """Write what a pack holds of its tiles, and what describes it to people."""
    part, n, tell = contents.part(mapped), mapped.die.bank.n, contents.progress
    write_pack_tables(part, draft, whole=contents.tables, tell=tell)
    if contents.netlists and np.isfinite(mapped.die.bank.r_off):
        options = {"tiles": contents.tiles, "progress": tell}
        sweep = {"each_input": contents.each_input, "v_read": contents.v_read}
        write_network(mapped, *circuits, draft / file_names.NETLISTS, **options, **sweep)
    (draft / file_names.BITSTREAMS).mkdir()
    drawn = contents.draws(part)
    if drawn:
        (draft / file_names.PICTURES).mkdir()
    for k, tile in enumerate(part.tiles):
        tell("bitstreams", k, len(part.tiles))
        bits = bitstream(tile, n)
        (draft / file_names.bits_file(tile.name)).write_bytes(bits)
        (draft / file_names.hex_file(tile.name)).write_bytes(f"{bits.hex()}\n".encode())
        if drawn:
            (draft / file_names.picture_file(tile.name)).write_bytes(_picture(tile, n))
    tell("bitstreams", len(part.tiles), len(part.tiles))
    schema = json.dumps(SCHEMA, indent=1) + "\n"
    (draft / file_names.SCHEMA_COPY).write_text(schema, encoding="utf-8")
    tables = file_names.table_files(part)
    values = {"mapped": part, "n_tile": len(mapped.tiles), "contents": contents, "tables": tables}
    values["drawn"] = drawn
    readme = rendered("netlists.fabrication", "README.md.j2", **values)
    (draft / file_names.README).write_text(readme, encoding="utf-8")


def _picture(tile: Tile, n: int) -> bytes:
    """Return a PNG of how many of n switches each cell closes.

    Positive banks are on the left, negative ones on the right, word lines run from top to bottom.
    Colours go from dark (none) to light (all); white means no device. A cell is eight pixels wide.
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
