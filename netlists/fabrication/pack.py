"""The fabrication pack: a directory that is complete, can be checked, and reads back unchanged."""

import io
import json
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.image import imsave

from mapping.network.mapped_network import MappedNetwork
from mapping.tiling.tiles import Tile
from mapping.wafer.meter import Meter
from mapping.wafer.reading_plan import Plan, best_plan
from netlists.circuit import Periphery, Wires
from netlists.fabrication.manifest import FORMAT, SCHEMA, VERSION, PackError, write_manifest
from netlists.fabrication.pack_reader import read_pack
from netlists.fabrication.plan_file import write_plan
from netlists.fabrication.switch_tables import bitstream
from netlists.fabrication.tables import write_branches, write_texts
from netlists.spice.deck_directory import write_network
from tinynets.files.drafts import new_directory
from tinynets.files.templates import rendered

__all__ = ["FORMAT", "SCHEMA", "VERSION", "PackError", "read_pack", "write_pack"]


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

    wires, periphery: those of the netlists, ideal by default.
    meter: the meter that banks will be read with; by default one with the bank's meter_error.
    plan: the readings of a bank; by default the best plan for that meter.

    The pack holds manifest.json (a SHA-256 of each file) and its schema; bitstreams/ (binary and
    hexadecimal); pictures/; branches.csv and .parquet; cells.csv (target and realised values);
    pins.csv; bom.csv; plan.csv (the switches that each reading closes); netlists/ if r_off is
    finite; network.npz; README.md. It appears when it is complete and has been read back.

    Raises FileExistsError if the directory exists, ValueError for a network whose parts do not
    belong together, PackError if the pack does not read back as it was written, and ImportError
    without the extra `fab`.
    """
    bank = mapped.die.bank
    meter = Meter(bank.meter_error) if meter is None else meter
    plan = best_plan(bank, meter) if plan is None else plan
    with new_directory(directory) as draft:
        circuits = wires or Wires(), periphery or Periphery()
        _write_files(mapped, draft, circuits, plan, meter)
        _read_back(mapped, draft)
    return Path(directory)


def _read_back(mapped: MappedNetwork, draft: Path) -> None:
    """Raise PackError unless a pack reads back as the network that it was written from."""
    reread = read_pack(draft, die=mapped.die)
    for a, b in zip(mapped.tiles, reread.tiles, strict=True):
        names = ("rows", "columns", "present", "chosen_pos", "chosen_neg")
        if not all(np.array_equal(getattr(a, name), getattr(b, name)) for name in names):
            raise PackError(f"tile {a.name} does not read back as it was written; no pack was made")


def _write_files(
    mapped: MappedNetwork,
    draft: Path,
    circuits: tuple[Wires, Periphery],
    plan: Plan,
    meter: Meter,
) -> None:
    (draft / "bitstreams").mkdir()
    (draft / "pictures").mkdir()
    mapped.save(draft / "network.npz")
    write_branches(mapped, draft)
    write_texts(mapped, draft)
    write_plan(plan, meter, draft / "plan.csv")
    if np.isfinite(mapped.die.bank.r_off):
        write_network(mapped, *circuits, draft / "netlists")
    for tile in mapped.tiles:
        bits = bitstream(tile, mapped.die.bank.n)
        (draft / "bitstreams" / f"{tile.name}.bin").write_bytes(bits)
        (draft / "bitstreams" / f"{tile.name}.hex").write_bytes(f"{bits.hex()}\n".encode())
        (draft / "pictures" / f"{tile.name}.png").write_bytes(_picture(tile, mapped.die.bank.n))
    schema = json.dumps(SCHEMA, indent=1) + "\n"
    (draft / "manifest.schema.json").write_text(schema, encoding="utf-8")
    readme = rendered("netlists.fabrication", "README.md.j2", mapped=mapped)
    (draft / "README.md").write_text(readme, encoding="utf-8")
    write_manifest(mapped, plan, meter, draft, circuits)


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
