"""Mask data of tiles in one call: drawn, checked, and written only if every check passes."""

from collections.abc import Sequence
from pathlib import Path

from mapping.bank import ResistorBank
from mapping.tiling.tiles import Tile
from netlists.layout.drawing import tile_layout, write_layout, write_picture
from netlists.layout.drc import check_rules
from netlists.layout.floorplan import Programming
from netlists.layout.lvs import compare_layout
from netlists.layout.technology import HIGH_PO, Technology
from tinynets.files.drafts import added_files
from tinynets.progress import Progress, silent

#: What no layout contains.
UNDRAWN = (
    "the memory that drives the gates, amplifiers and converters, ties of the substrate, wells, "
    "fill, ESD protection, a seal ring, and of SKY130 the source and drain implants and the "
    "nitride cut; pads stop at the metal of the bit lines"
)

_SUFFIXES = (".gds", ".oas", ".png")


def write_masks(
    tile: Tile | Sequence[Tile],
    bank: ResistorBank,
    directory: str | Path,
    technology: Technology = HIGH_PO,
    *,
    programming: Programming = "switch",
    progress: Progress = silent,
) -> list[Path]:
    """Write the layout of one or several tiles as `<tile>_<programming>` .gds, .oas and .png.

    tile: one tile, or several.
    bank, technology, programming: see `netlists.layout.drawing.tile_layout`.
    directory: new or existing; the files appear only when all are written.
    progress: see `Progress`.

    Every layout is checked first, against the rules of the technology and against the tile.
    Returns the paths. Raises what `tile_layout` does, and ValueError for a layout that fails a
    check.
    """
    directory = Path(directory)
    tiles = [tile] if isinstance(tile, Tile) else tile
    with added_files(directory) as draft:
        for k, each in enumerate(tiles):
            _write_tile(each, bank, draft, technology, programming)
            progress("masks", k + 1, len(tiles))
    names = [f"{each.name}_{programming}" for each in tiles]
    return [directory / f"{name}{suffix}" for name in names for suffix in _SUFFIXES]


def _write_tile(
    tile: Tile,
    bank: ResistorBank,
    directory: Path,
    technology: Technology,
    programming: Programming,
) -> None:
    layout = tile_layout(tile, bank, technology, programming=programming)
    problems = [f"{v.rule}: {v.count} places" for v in check_rules(layout, technology)]
    comparison = compare_layout(layout, tile, bank, technology, programming=programming)
    problems += comparison.mismatches
    if problems:
        raise ValueError(
            f"the layout of tile {tile.name} is not written, {len(problems)} checks failed, "
            f"the first: {problems[0]}; draw it with `tile_layout` to inspect it"
        )
    geometry, archive, picture = (
        directory / f"{tile.name}_{programming}{suffix}" for suffix in _SUFFIXES
    )
    write_layout(layout, geometry)
    write_layout(layout, archive)
    write_picture(layout, picture)
