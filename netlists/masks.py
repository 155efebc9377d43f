"""Mask data of a tile in one call: drawn, checked, and written only when it is clean."""

from pathlib import Path

from mapping.bank import ResistorBank
from mapping.tiles import Tile
from netlists.drc import check_rules
from netlists.floorplan import Programming
from netlists.layout import tile_layout, write_layout, write_picture
from netlists.lvs import compare_layout
from netlists.technology import HIGH_PO, Technology


def write_masks(
    tile: Tile,
    bank: ResistorBank,
    directory: str | Path,
    technology: Technology = HIGH_PO,
    *,
    programming: Programming = "switch",
) -> list[Path]:
    """Write `<tile>_<programming>` as .gds, .oas and .png; return the paths.

    Arguments as of `netlists.layout.tile_layout`. The layout is checked first, against the rules
    of the technology and against the tile.
    Raises what `tile_layout` does, and ValueError for a layout that a check does not pass.
    """
    layout = tile_layout(tile, bank, technology, programming=programming)
    problems = [f"{v.rule}: {v.count} places" for v in check_rules(layout, technology)]
    found = compare_layout(layout, tile, bank, technology, programming=programming)
    problems += found.mismatches
    if problems:
        raise ValueError(
            f"the layout of tile {tile.name} is not written, {len(problems)} checks failed, "
            f"the first: {problems[0]}; draw it with `tile_layout` to look at it"
        )
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    paths = [directory / f"{tile.name}_{programming}{suffix}" for suffix in (".gds", ".oas")]
    for path in paths:
        write_layout(layout, path)
    picture = paths[0].with_suffix(".png")
    write_picture(layout, picture)
    return [*paths, picture]
