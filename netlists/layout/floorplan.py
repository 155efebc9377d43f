"""The plan of a cell before it is drawn: where each part goes, in database units.

From bottom to top, each bank of a cell has a collector that connects to the bit line; for each
branch a switch or the position of a via; and the strips of the resistors, in series from the word
line at the top. Strips are side by side, so resistors of any value have about the same height.
"""

import math
from dataclasses import dataclass
from typing import Literal

from mapping.bank import ResistorBank
from netlists.circuit import Wires
from netlists.circuit.wire_geometry import Metal
from netlists.layout.technology import DBU, GRID, Technology, to_dbu

Programming = Literal["switch", "via"]

#: Largest side of a cell [m].
MAX_SIDE = 2e-3

#: Height of a collector, and its least distance from the edge of the cell [database units].
COLLECTOR, _MARGIN = 420, 100

#: Distance from the left edge of a branch to its gate [database units].
GATE_EDGE = 75


@dataclass(frozen=True)
class Branch:
    """A drawn resistor [database units].

    n_strip: strips in series.
    length: length of the body of each strip.
    x: left edge of its strips.
    """

    n_strip: int
    length: int
    x: int


@dataclass(frozen=True)
class SwitchPlan:
    """Where the parts of a switch are, from the middle of its gate [database units].

    n_contact: contacts of source, and of drain.
    interconnect: half the width of the interconnect over these.
    gate: position of the gate's contact.
    left, right: how far the switch reaches, on poly.
    """

    n_contact: int
    interconnect: int
    gate: int
    left: int
    right: int


def plan_switch(technology: Technology) -> SwitchPlan:
    """Return the plan of a switch, whose gate ends in a contact at its right.

    Raises ValueError for a switch that is too narrow for a contact.
    """
    drawn, rule = technology.transistor, technology.rule
    side, pad, half = rule("size", "square licon"), to_dbu(drawn.pad), to_dbu(drawn.width) // 2
    step = side + rule("space", "square licon")
    inside = 2 * (half - rule("enclosure", "diff licon", "diff"))
    if inside < side:
        least = (side - inside) * DBU + drawn.width
        raise ValueError(
            f"a switch {drawn.width:g} m wide is too narrow for a contact; use at least {least:g} m"
        )
    n = (inside - side) // step + 1
    wide = max(((n - 1) * step + side) // 2 + rule("enclosure", "licon", "li1"), pad)
    gate = max(
        wide + rule("space", "li1") + pad,
        half + rule("separation", "poly licon", "diff") + side // 2,
    )
    gate += -gate % GRID
    return SwitchPlan(n, wide, gate, half + to_dbu(drawn.endcap), gate + pad)


@dataclass(frozen=True)
class CellPlan:
    """The plan of a cell [database units].

    programming: "switch" or "via".
    width, height: size of the cell.
    branches: by side, then by branch.
    y_strip: lowest end of the longest strips.
    y_head: top of the bodies, where the upper contacts begin; also the lower edge of the word line.
    x_bit: centre of each bit line.
    """

    programming: Programming
    width: int
    height: int
    branches: tuple[tuple[Branch, ...], ...]
    y_strip: int
    y_head: int
    x_bit: tuple[int, ...]

    @property
    def area(self) -> float:
        """Area of the drawn cell [m²], without the memory of its switches."""
        return self.width * DBU * self.height * DBU


def plan_cell(bank: ResistorBank, technology: Technology, programming: Programming) -> CellPlan:
    """Return the plan of a pair of banks of nominal resistors, roughly square.

    Raises ValueError for another programming, a resistor too short for its contacts, or a cell with
    a side above MAX_SIDE.
    """
    if programming not in ("switch", "via"):
        raise ValueError(f'programming must be "switch" or "via"; got {programming!r}')
    if technology.lengths and programming == "via":
        raise ValueError(
            f"a branch of {technology.name} has a transistor, which a cell programmed by vias "
            'lacks; give programming "switch"'
        )
    strips = _strips(bank, technology)
    pitch, lead, least = strip_pitch(technology), 0, 0
    if programming == "switch":
        lead, least = _switch_widths(technology)
    branches, x = [], 0
    for n_strip, length in strips:
        branches.append(Branch(n_strip, length, x + lead))
        x += max(n_strip * pitch + lead, least)
    side = max(x, to_dbu(technology.bit_width) + technology.rule("space", "met3"))
    side += -side % (2 * GRID)
    shifted = tuple(Branch(b.n_strip, b.length, b.x + side) for b in branches)
    y_strip = _lowest_strip(technology, programming)
    end = to_dbu(technology.film.end)
    y_head = y_strip + end + max(b.length for b in branches)
    top = max(
        y_head + end + technology.rule("enclosure", "resistor", "implant"),
        y_head + to_dbu(technology.word_width) + technology.rule("space", "met1"),
    )
    sides, x_bit = (tuple(branches), shifted), (side // 2, side + side // 2)
    plan = CellPlan(programming, 2 * side, top, sides, y_strip, y_head, x_bit)
    if max(plan.width, plan.height) * DBU > MAX_SIDE:
        raise ValueError(
            f"a cell would be {plan.width * DBU:g} × {plan.height * DBU:g} m; the limit is "
            f"{MAX_SIDE:g} m: use fewer or smaller resistors, or a film with more ohm per square"
        )
    return plan


def drawn_wires(plan: CellPlan, technology: Technology, r_driver: float = 0.0) -> Wires:
    """Return the wires of an array of such cells: word lines in met1, bit lines in met3.

    r_driver: see `Wires`.

    Capacitance is that of a line of least width, scaled by width. Raises ValueError for a
    technology that does not state its metals.
    """
    if not technology.metals:
        raise ValueError(
            f"nothing states the sheet resistance of the metals of {technology.name}; give the "
            "wires themselves"
        )

    def segment(metal: Metal, length: float, width: float) -> tuple[float, float]:
        """Return the resistance [ohm] and the capacitance [F] of a wire."""
        return metal.r_sheet * length / width, metal.c_per_length * length * width / metal.width

    r_word, c_word = segment(technology.metals["met1"], plan.width * DBU, technology.word_width)
    r_bit, c_bit = segment(technology.metals["met3"], plan.height * DBU, technology.bit_width)
    return Wires(r_word=r_word, r_bit=r_bit, r_driver=r_driver, c_word=c_word, c_bit=c_bit)


def margin(technology: Technology) -> int:
    """Return how far a collector is from the edges of its half of a cell [database units]."""
    half = technology.rule("space", "met2") // 2
    return max(_MARGIN, half + -half % GRID)


def strip_pitch(technology: Technology) -> int:
    """Return the distance from one strip of film to the next [database units]."""
    return to_dbu(technology.film.width) + to_dbu(technology.film.space)


def strip_centres(branch: Branch, technology: Technology) -> list[int]:
    """Return the centre of each strip of a branch, starting at the word line."""
    pitch = strip_pitch(technology)
    return [branch.x + pitch // 2 + t * pitch for t in reversed(range(branch.n_strip))]


def _switch_widths(technology: Technology) -> tuple[int, int]:
    """Return what a switch needs to the left of a branch's strips, and its least width."""
    switch, first = plan_switch(technology), strip_pitch(technology) // 2
    lead = max(switch.left + GATE_EDGE - first, 0)
    least = switch.left + switch.right + technology.rule("space", "poly")
    lead, least = lead + -lead % GRID, least + -least % (2 * GRID)
    if technology.block and least > (pitch := strip_pitch(technology)):
        # Where the blocks of neighbours do not meet, they keep their distance.
        apart = pitch + technology.rule("space", technology.block)
        least = max(least, apart + -apart % (2 * GRID))
    return lead, least


def _strips(bank: ResistorBank, technology: Technology) -> list[tuple[int, int]]:
    """Return the number and length of the strips of each branch.

    The number is odd, so that the last strip ends at the bottom.
    """
    if technology.lengths:
        return _stated_strips(bank, technology)
    film, pitch = technology.film, strip_pitch(technology) * DBU
    squares = [float(r) / film.r_sheet for r in bank.r_nominal]
    # Both sides together fill a square: total strip length × pitch = height².
    longest = max(math.sqrt(2 * sum(squares) * film.width * pitch), 4 * film.end)
    return [
        _fold(r, 2 * math.ceil((n * film.width / longest - 1) / 2) + 1, technology)
        for r, n in zip(bank.r_nominal.tolist(), squares)
    ]


def _stated_strips(bank: ResistorBank, technology: Technology) -> list[tuple[int, int]]:
    """Return a straight strip of each length that is stated."""
    lengths = technology.lengths
    if bank.n != len(lengths):
        raise ValueError(
            f"{technology.name} has {len(lengths)} lengths, but the bank has {bank.n} branches"
        )
    least = technology.rule("space", "slot licon") * DBU - 2 * technology.gap
    if min(lengths) < least * (1 - 1e-9):
        raise ValueError(
            f"a resistor {min(lengths):g} m long is too short for the contacts of "
            f"{technology.name}; use at least {least:g} m"
        )
    return [(1, to_dbu(length)) for length in lengths]


def _fold(ohm: float, n_strip: int, technology: Technology) -> tuple[int, int]:
    film = technology.film
    n_strip = max(n_strip, 1)
    squares = (ohm / n_strip - 2 * technology.r_end) / film.r_sheet
    # The contacts at the ends of a body must keep their distance.
    least = max(film.width, technology.rule("space", "slot licon") * DBU) / film.width
    if squares < least:
        limit = math.ceil(least * film.r_sheet + 2 * technology.r_end)
        raise ValueError(
            f"a resistor of {ohm:g} ohm is too short for {technology.name}; use at least "
            f"{limit} ohm, or a film with fewer ohm per square"
        )
    return n_strip, to_dbu(squares * film.width)


def _lowest_strip(technology: Technology, programming: Programming) -> int:
    """Return the lowest position of the strips above the cell's lower edge."""
    enclosure = technology.rule("enclosure", "resistor", "implant")
    if programming == "via":
        return enclosure + technology.rule("space", "implant")
    switch_top = margin(technology) + COLLECTOR + 2 * to_dbu(technology.transistor.half)
    away = [technology.rule("separation", "resistor", "diff")]
    if technology.has("separation", "implant", "diff"):
        away.append(enclosure + technology.rule("separation", "implant", "diff"))
    return switch_top + max(away)
