"""Draw a tile as mask data: cells of poly resistors, lines, pads and their programming.

There are two programmings. "switch": each branch has a transistor, and the bits that drive the
gates hold the selection. "via": a mask holds the selection, with a via in each closed branch.
"""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mapping.bank import ResistorBank
from mapping.bank.switches import closed_switches
from mapping.tiling.tiles import Tile
from netlists.layout.floorplan import (
    COLLECTOR,
    GRID,
    Branch,
    CellPlan,
    Programming,
    margin,
    plan_cell,
    plan_switch,
    strip_centres,
)
from netlists.layout.technology import DBU, HIGH_PO, Technology, klayout, to_dbu
from tinynets.files.drafts import new_file

if TYPE_CHECKING:
    import klayout.db as db

SIDES = ("p", "n")

#: Side of the stack of vias under a pad and at the end of a bit line [database units].
_STACK = 1000

#: Distance by which metal overlaps a via or a contact in a row of strips [database units].
_VIA_METAL = 160


@dataclass(frozen=True)
class _Pen:
    """Draws boxes, cuts and texts into one cell of a layout."""

    layout: Any
    cell: Any
    technology: Technology

    def box(self, layer: str, x0: int, y0: int, x1: int, y1: int) -> None:
        """Draw a box on a layer."""
        self._insert(layer, klayout().Box(x0, y0, x1, y1))

    def cut(self, layer: str, x: int, y: int, kind: str = "") -> None:
        """Draw a cut of its exact size, centred at a point."""
        rule = self.technology.find("size", kind or layer)
        w, h = to_dbu(rule.value), to_dbu(rule.length)
        self.box(layer, x - w // 2, y - h // 2, x - w // 2 + w, y - h // 2 + h)

    def cuts(self, layer: str, x0: int, y0: int, x1: int, y1: int) -> None:
        """Fill a box with as many square cuts as fit, centred."""
        side = self.technology.rule("size", layer)
        step = side + self.technology.rule("space", layer)
        for x in _places(x0, x1, side, step):
            for y in _places(y0, y1, side, step):
                self.box(layer, x, y, x + side, y + side)

    def text(self, layer: str, name: str, x: int, y: int) -> None:
        """Put a name at a point."""
        self._insert(layer, klayout().Text(name, x, y))

    def _insert(self, layer: str, shape: Any) -> None:
        number = self.layout.layer(*self.technology.layers[layer])
        self.cell.shapes(number).insert(shape)


def tile_layout(
    tile: Tile,
    bank: ResistorBank,
    technology: Technology = HIGH_PO,
    *,
    programming: Programming = "switch",
) -> "db.Layout":
    """Return the layout of a tile; its top cell has the tile's name, and all others begin with it.

    tile: its cells with devices are drawn, and its closed branches programmed.
    bank: nominal values and number of branches.
    technology: layers, rules and films.
    programming: "switch" or "via".

    Pads have the names of the nodes in the tile's netlist: in_i at the left, out_j_p and out_j_n at
    the bottom. Coordinates are multiples of DBU.
    Raises ValueError for closed branches that the bank lacks and whatever `plan_cell` refuses, and
    ImportError without KLayout.
    """
    tile.closed(bank.n)  # refuses branches that the bank does not have
    plan = plan_cell(bank, technology, programming)
    layout = _new_layout()
    pen = _Pen(layout, layout.create_cell(tile.name), technology)
    if tile.present.any():
        _place_cells(pen, tile, plan)
    if programming == "via":
        _draw_program(pen, tile, plan)
    _draw_word_lines(pen, tile, plan)
    _draw_bit_lines(pen, tile, plan)
    return layout


def cell_layout(
    bank: ResistorBank, technology: Technology = HIGH_PO, *, programming: Programming = "switch"
) -> "db.Layout":
    """Return the layout of one cell, a differential pair of banks, with its line segments."""
    plan, layout = plan_cell(bank, technology, programming), _new_layout()
    pen = _Pen(layout, _draw_cell(layout, "cell", plan, technology), technology)
    half = to_dbu(technology.bit_width) // 2
    pen.box("met1", 0, plan.y_head, plan.width, plan.y_head + to_dbu(technology.word_width))
    for x in plan.x_bit:
        pen.box("met3", x - half, 0, x + half, plan.height)
    return layout


def write_layout(layout: "db.Layout", path: str | Path) -> None:
    """Write a layout as GDSII (.gds) or OASIS (.oas).

    The file appears when it is complete; the same layout gives the same bytes. Raises ValueError
    for another suffix.
    """
    path, options = Path(path), klayout().SaveLayoutOptions()
    formats = {".gds": "GDS2", ".oas": "OASIS"}
    if path.suffix not in formats:
        raise ValueError(f"the suffix of a layout must be .gds or .oas; got {path.name!r}")
    options.format = formats[path.suffix]
    options.gds2_write_timestamps = False
    content = layout.write_bytes(options)  # KLayout's own files miss a full disk at their end
    with new_file(path) as draft:
        draft.write_bytes(content)


def write_picture(
    layout: "db.Layout",
    path: str | Path,
    *,
    box: tuple[float, float, float, float] | None = None,
    size: tuple[int, int] = (1200, 1000),
) -> None:
    """Write a PNG of a layout, or of part of it.

    box: left, bottom, right and top edge [m]; by default the whole layout.
    size: width and height in pixels.

    Raises ImportError without KLayout.
    """
    view = klayout("lay").LayoutView()
    view.set_config("background-color", "#ffffff")
    view.set_config("grid-visible", "false")
    view.set_config("text-visible", "true" if box else "false")
    view.show_layout(layout.dup(), False)  # the view takes ownership
    view.max_hier()
    view.zoom_fit()
    if box:
        view.zoom_box(klayout().DBox(*(1e6 * edge for edge in box)))
    content = view.get_pixels_with_options(*size).to_png_data()
    with new_file(path) as draft:
        draft.write_bytes(content)


def _new_layout() -> Any:
    layout = klayout().Layout()
    layout.dbu = DBU * 1e6
    return layout


def _places(low: int, high: int, side: int, step: int) -> range:
    """Return the lower edges of the cuts that fit between low and high."""
    count = max((high - low - side) // step + 1, 0)
    slack = high - low - (count - 1) * step - side
    start = low + slack // (2 * GRID) * GRID
    return range(start, start + count * step, step)


def _draw_cell(layout: Any, name: str, plan: CellPlan, technology: Technology) -> Any:
    pen = _Pen(layout, layout.create_cell(name), technology)
    switch = None
    if plan.programming == "switch":
        switch = _draw_switch(layout, f"{name}_switch", technology)
    for side, branches in enumerate(plan.branches):
        for branch in branches:
            _draw_branch(pen, plan, branch, switch)
        _draw_collector(pen, plan, side)
    around = technology.rule("enclosure", "resistor", "implant")
    top = plan.y_head + to_dbu(technology.film.end) + around
    for layer in (technology.implant, *technology.covers):
        pen.box(layer, 0, plan.y_strip - around, plan.width, top)
    return pen.cell


def _draw_branch(pen: _Pen, plan: CellPlan, branch: Branch, switch: Any) -> None:
    """Draw strips from right to left, linked alternately at the bottom and at the top."""
    centres = strip_centres(branch, pen.technology)
    half = to_dbu(pen.technology.film.width) // 2
    for x in centres:
        _draw_strip(pen, x, plan.y_head - branch.length, plan.y_head)
    bottom, top = _heads(pen.technology, plan.y_head - branch.length, plan.y_head)
    for t, (right, left) in enumerate(pairwise(centres)):
        y0, y1 = top if t % 2 else bottom
        pen.box("li1", left - half, y0, right + half, y1)
    pen.box("li1", centres[0] - half, top[0], centres[0] + half, top[1])
    _draw_word_contact(pen, centres[0], plan.y_head, top[1])
    x = centres[-1]
    pen.box("li1", x - half, bottom[0], x + half, bottom[1])
    inside = _around_mcon(pen.technology)
    pen.cuts("mcon", x - half + inside, bottom[0] + inside, x + half - inside, bottom[1] - inside)
    _draw_riser(pen, x, bottom[1], switch)


def _heads(technology: Technology, low: int, high: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the spans of local interconnect over the contacts below `low` and above `high`."""
    near = to_dbu(technology.gap) - technology.rule("enclosure", "licon", "li1")
    via = technology.rule("size", "mcon") + 2 * _around_mcon(technology)
    far = max(to_dbu(technology.film.end), near + via)
    return (low - far, low - near), (high + near, high + far)


def _around_mcon(technology: Technology) -> int:
    """Return how far interconnect and metal reach beyond the contact between them."""
    return max(technology.rule("enclosure", "mcon", metal) for metal in ("li1", "met1"))


def _draw_strip(pen: _Pen, x: int, low: int, high: int) -> None:
    """Draw a strip of film with its body from low to high and contacts at either end."""
    technology = pen.technology
    end, half = to_dbu(technology.film.end), to_dbu(technology.film.width) // 2
    if "poly" in technology.body:
        pen.box("poly", x - half, low - end, x + half, high + end)
    else:
        pen.box("poly", x - half, low - end, x + half, low)
        pen.box("poly", x - half, high, x + half, high + end)
    for layer in technology.body:
        if layer != "poly":
            pen.box(layer, x - half, low, x + half, high)
    if technology.block:
        beyond = technology.rule("enclosure", "resistor", "lengthened block")
        pen.box(technology.block, x - half - beyond, low, x + half + beyond, high)
    _draw_slots(pen, x, low, high)


def _draw_slots(pen: _Pen, x: int, low: int, high: int) -> None:
    """Draw as many long contacts at the ends of a strip as fit side by side."""
    (across, along), gap = pen.technology.slot, to_dbu(pen.technology.gap)
    inside = to_dbu(pen.technology.film.width) // 2
    inside -= pen.technology.rule("enclosure", "poly licon", "poly")
    step = across + pen.technology.rule("space", "slot licon")
    for left in _places(x - inside, x + inside, across, step):
        pen.box("licon", left, low - gap - along, left + across, low - gap)
        pen.box("licon", left, high + gap, left + across, high + gap + along)


def _draw_word_contact(pen: _Pen, x: int, low: int, high: int) -> None:
    """Draw contacts where the word line, above `low`, crosses the top end of a strip."""
    technology = pen.technology
    inside = _around_mcon(technology)
    half = to_dbu(technology.film.width) // 2 - technology.rule("enclosure", "mcon", "li1")
    high = min(high, low + to_dbu(technology.word_width))
    low = max(low, low + to_dbu(technology.gap) - technology.rule("enclosure", "licon", "li1"))
    pen.cuts("mcon", x - half, low + inside, x + half, high - inside)


def _draw_riser(pen: _Pen, x: int, top: int, switch: Any) -> None:
    """Draw metal from a resistor down to the point where its branch is programmed."""
    half = to_dbu(pen.technology.film.width) // 2
    bottom = _program_y(pen.technology) - _VIA_METAL
    if switch is None:
        pen.box("met1", x - half, bottom, x + half, top)
        return
    transistor = pen.technology.transistor
    y = margin(pen.technology) + COLLECTOR + to_dbu(transistor.half)
    pen.cell.insert(klayout().CellInstArray(switch.cell_index(), klayout().Trans(x, y)))
    around = pen.technology.rule("size", "mcon") // 2 + _around_mcon(pen.technology)
    edge = to_dbu(transistor.contact) - around - -around % GRID
    pen.box("met1", x - half, y + edge, x + half, top)
    pen.box("met1", x - half, bottom, x + half, y - edge)
    pen.cut("via", x, _program_y(pen.technology))


def _program_y(technology: Technology) -> int:
    """Return the height of the vias that connect branches to the collector."""
    return margin(technology) + COLLECTOR // 2


def _draw_collector(pen: _Pen, plan: CellPlan, side: int) -> None:
    """Draw the metal that joins the branches of a bank, with vias up to its bit line."""
    left = side * plan.width // 2
    edge = margin(pen.technology)
    right, low, high = left + plan.width // 2, edge, edge + COLLECTOR
    pen.box("met2", left + edge, low, right - edge, high)
    half, x = to_dbu(pen.technology.bit_width) // 2, plan.x_bit[side]
    pen.box("met3", x - half, low, x + half, high)
    up, down = (pen.technology.rule("enclosure", "via2", m) for m in ("met3", "met2"))
    pen.cuts("via2", x - half + up, low + down, x + half - up, high - down)


def _draw_switch(layout: Any, name: str, technology: Technology) -> Any:
    """Draw a transistor with terminals S (to the resistor), D and G.

    The gate ends in local interconnect; the memory bit that drives it is not drawn.
    """
    pen, drawn = _Pen(layout, layout.create_cell(name), technology), technology.transistor
    w, g, pad = to_dbu(drawn.width) // 2, to_dbu(drawn.length / 2), to_dbu(drawn.pad)
    y_contact, half, plan = to_dbu(drawn.contact), to_dbu(drawn.half), plan_switch(technology)
    pen.box("diff", -w, -half, w, half)
    pen.box("poly", -plan.left, -g, plan.gate, g)
    pen.box("poly", plan.gate - pad, -pad, plan.gate + pad, pad)
    step = technology.rule("size", "square licon") + technology.rule("space", "square licon")
    first = -(plan.n_contact - 1) * step // 2
    for name, y in (("S", y_contact), ("D", -y_contact)):
        for k in range(plan.n_contact):
            pen.cut("licon", first + k * step, y, "square licon")
        pen.box("li1", -plan.interconnect, y - pad, plan.interconnect, y + pad)
        pen.cut("mcon", 0, y)
        pen.text("names", name, 0, y)
    pen.cut("licon", plan.gate, 0, "square licon")
    pen.box("li1", plan.gate - pad, -pad, plan.gate + pad, pad)
    pen.text("names", "G", plan.gate, 0)
    return pen.cell


def _place_cells(pen: _Pen, tile: Tile, plan: CellPlan) -> None:
    """Draw the cell once and place it wherever a cell has devices; word line 0 is at the top."""
    cell = _draw_cell(pen.layout, f"{tile.name}_cell", plan, pen.technology)
    for i, j in np.argwhere(tile.present).tolist():
        place = klayout().Trans(j * plan.width, _row_y(tile, plan, i))
        pen.cell.insert(klayout().CellInstArray(cell.cell_index(), place))


def _row_y(tile: Tile, plan: CellPlan, i: int) -> int:
    return (tile.n_word - 1 - i) * plan.height


def _draw_program(pen: _Pen, tile: Tile, plan: CellPlan) -> None:
    """Draw a via in each closed branch."""
    n, y = len(plan.branches[0]), _program_y(pen.technology)
    for side, chosen in enumerate((tile.chosen_pos, tile.chosen_neg)):
        x = [strip_centres(branch, pen.technology)[-1] for branch in plan.branches[side]]
        for i, j, k in np.argwhere(closed_switches(chosen, n)).tolist():
            pen.cut("via", j * plan.width + x[k], _row_y(tile, plan, i) + y)


def _draw_word_lines(pen: _Pen, tile: Tile, plan: CellPlan) -> None:
    width = to_dbu(pen.technology.word_width)
    for i in range(tile.n_word):
        low = _row_y(tile, plan, i) + plan.y_head
        y = low + width // (2 * GRID) * GRID
        x = -_pad_distance(pen.technology, i, plan.height)
        pen.box("met1", x, low, tile.n_bit * plan.width, low + width)
        _draw_stack(pen, x, y, ("met1", "via", "met2", "via2", "met3"))
        _draw_pad(pen, x, y, f"in_{i}")


def _draw_bit_lines(pen: _Pen, tile: Tile, plan: CellPlan) -> None:
    """Draw bit lines in met3; they change to met2 to pass under the pads of their neighbours."""
    half = to_dbu(pen.technology.bit_width) // 2
    for j in range(tile.n_bit):
        for side, name in enumerate(SIDES):
            x = j * plan.width + plan.x_bit[side]
            y = -_pad_distance(pen.technology, 2 * j + side, plan.width // 2)
            pen.box("met3", x - half, -3 * _STACK, x + half, tile.n_word * plan.height)
            pen.box("met2", x - half, y, x + half, -2 * _STACK)
            for at in (-5 * _STACK // 2, y):
                _draw_stack(pen, x, at, ("met2", "via2", "met3"))
            _draw_pad(pen, x, y, f"out_{j}_{name}")


def _pad_distance(technology: Technology, line: int, pitch: int) -> int:
    """Return the distance of a line's pad from the array; adjacent pads are staggered."""
    step = to_dbu(technology.pad_pitch)
    turns = -(-step // pitch)
    return step * (line % turns + 1)


def _draw_stack(pen: _Pen, x: int, y: int, layers: tuple[str, ...]) -> None:
    """Draw metals and the vias between them at one point."""
    for layer in layers:
        is_via = layer.startswith("via")
        draw, half = (pen.cuts if is_via else pen.box), _STACK // 2 - 90 * is_via
        draw(layer, x - half, y - half, x + half, y + half)


def _draw_pad(pen: _Pen, x: int, y: int, name: str) -> None:
    """Draw a pad with its opening and the name of its net."""
    half = to_dbu(pen.technology.pad) // (2 * GRID) * GRID
    inside = half - pen.technology.rule("enclosure", "pad", "met3")
    pen.box("met3", x - half, y - half, x + half, y + half)
    pen.box("pad", x - inside, y - inside, x + inside, y + inside)
    pen.text("met3_text", name, x, y)
