"""A small technology for drawing resistors: layers, rules and films, modelled on open SKY130.

It is a subset with the published figures of the process: enough to draw and check banks of poly
resistors between metal lines, not enough to send to a foundry (docs/how_to/masks.md lists what is
missing). A layer is named by its part in the drawing, as SKY130 names it; another process gives
that name its own layer (`netlists.layout.ihp_sg13g2`).

Source: google/skywater-pdk, docs/rules: the periphery rules (named in `Rule.source`), the layer
numbers, and the measured P+ poly resistors of 0.35 um.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from netlists.circuit.wire_geometry import METALS, Film, Metal
from tinynets.files.extras import optional

#: Database unit of every layout [m].
DBU = 1e-9

#: Everything drawn lies on this grid [database units]. Source: rule x.1b.
GRID = 5

Kind = Literal["width", "space", "area", "separation", "enclosure", "size"]


@dataclass(frozen=True)
class Rule:
    """A design rule.

    kind: least width, space or area of `layer`, least separation of `layer` from `other`, least
        enclosure of `layer` by `other` on all sides, or the exact size of a cut.
    layer: the layer that the rule constrains.
    value: the limit [m], for an area [m²].
    source: published name of the rule.
    other: the second layer, if any.
    length: the longer side of a cut [m].
    """

    kind: Kind
    layer: str
    value: float
    source: str
    other: str = ""
    length: float = 0.0

    def __str__(self) -> str:
        other = {"separation": f" from {self.other}", "enclosure": f" by {self.other}"}
        name = f"{self.kind} of {self.layer}{other.get(self.kind, '')}"
        size = f"{self.value * 1e12:g} um²" if self.kind == "area" else f"{self.value * 1e6:g} um"
        return f"{name} {size} ({self.source})"


@dataclass(frozen=True)
class Transistor:
    """The switch of a branch as drawn, its current from top to bottom [m].

    width, length: of its channel; the defaults are the least of SKY130.
    endcap: how far the gate reaches beyond the channel's side. Source: poly.8.
    contact: from the middle of the gate to that of the contacts of source and drain.
    half: from the middle of the gate to the end of the diffusion. Source: poly.7.
    pad: half the side of the interconnect about one contact.
    """

    width: float = 0.42e-6
    length: float = 0.15e-6
    endcap: float = 0.13e-6
    contact: float = 0.27e-6
    half: float = 0.415e-6
    pad: float = 0.165e-6


@dataclass(frozen=True)
class Technology:
    """The layers, rules and dimensions that a layout is drawn with and checked against.

    layers: GDS layer and datatype, by name.
    rules: rules for these layers and for the derived layers of `netlists.layout.drc`.
    implant: the layer that turns poly into the film.
    film: the film of the resistors, with its sheet resistance per drawn square.
    r_end: resistance of one contacted end of a strip [ohm]; with `lengths` it may be negative,
        since a body may conduct as if it were shorter than drawn.
    word_width, bit_width: widths of the lines [m].
    pad: side of a square pad [m].
    pad_pitch: distance from one pad to the next [m].
    lengths: length of the one straight strip of each branch [m]; empty where strips follow from
        the ohms of the bank.
    transistor: the switch of a branch.
    covers: layers drawn over whole strips, as the implant is.
    body: layers drawn exactly over the bodies of the resistors; without "poly", that is drawn at
        their ends alone.
    block: layer over the bodies alone, wider than these; empty for none.
    gap: from a body to its contacts [m].
    slots_across: whether the long contacts of the ends lie across the strip, not along it.
    metals: sheet resistance and capacitance of "met1" and "met3"; empty where nobody states them.
    """

    name: str
    layers: Mapping[str, tuple[int, int]]
    rules: tuple[Rule, ...]
    implant: str
    film: Film
    r_end: float
    word_width: float = 1e-6
    bit_width: float = 1e-6
    pad: float = 60e-6
    pad_pitch: float = 80e-6
    lengths: tuple[float, ...] = ()
    transistor: Transistor = Transistor()
    covers: tuple[str, ...] = ()
    body: tuple[str, ...] = ("poly", "poly_res")
    block: str = ""
    gap: float = 0.0
    slots_across: bool = False
    metals: Mapping[str, Metal] = field(default_factory=lambda: METALS)

    def __post_init__(self) -> None:
        least = {
            "word_width": self._least_line("mcon", "met1"),
            "bit_width": self._least_line("via2", "met3"),
            "pad": 10e-6,
            "pad_pitch": self.pad + self.rule("space", "met3") * DBU,
        }
        for name, limit in least.items():
            if not limit * (1 - 1e-9) <= getattr(self, name) <= 1e-3:
                raise ValueError(f"{name} must be {limit:g} … 0.001 m; got {getattr(self, name)}")
        narrow = (self.slot[0] + 2 * self.rule("enclosure", "poly licon", "poly")) * DBU
        if not self.film.width >= narrow * (1 - 1e-9):
            raise ValueError(
                f"a film {self.film.width:g} m wide cannot hold its contacts; "
                f"use at least {narrow:g} m"
            )
        if not (self.lengths or self.r_end >= 0) or not abs(self.r_end) < float("inf"):
            raise ValueError(f"r_end must be >= 0 ohm and finite; got {self.r_end}")

    @property
    def slot(self) -> tuple[int, int]:
        """The size of a long contact of a resistor's end, across and along it [database units]."""
        rule = self.find("size", "slot licon")
        short, long = to_dbu(rule.value), to_dbu(rule.length)
        return (long, short) if self.slots_across else (short, long)

    def ohm(self, width: float, length: float) -> float:
        """Return the resistance [ohm] of a strip whose body has this width and length [m]."""
        return length / width * self.film.r_sheet + 2 * self.r_end

    def _least_line(self, cut: str, metal: str) -> float:
        """Return the least width [m] of a line that holds its cuts."""
        return (self.rule("size", cut) + 2 * self.rule("enclosure", cut, metal)) * DBU

    def rule(self, kind: Kind, layer: str, other: str = "") -> int:
        """Return the value of a rule [database units]; raises KeyError if it does not exist."""
        return to_dbu(self.find(kind, layer, other).value)

    def find(self, kind: Kind, layer: str, other: str = "") -> Rule:
        """Return a rule; raises KeyError if it does not exist."""
        found = self._found(kind, layer, other)
        if found is None:
            raise KeyError(f"{self.name} has no rule of {kind} for {layer!r} {other!r}")
        return found

    def has(self, kind: Kind, layer: str, other: str = "") -> bool:
        """Return whether the process has such a rule."""
        return self._found(kind, layer, other) is not None

    def _found(self, *wanted: str) -> Rule | None:
        found = (rule for rule in self.rules if (rule.kind, rule.layer, rule.other) == wanted)
        return next(found, None)


def to_dbu(metres: float) -> int:
    """Return a length in database units, on the grid."""
    return round(metres / DBU / GRID) * GRID


def on_grid(metres: float) -> float:
    """Return a length [m] as the next one on the grid that is no shorter."""
    step = GRID * DBU
    return math.ceil(metres / step - 1e-6) * step


def klayout(part: Literal["db", "lay"] = "db") -> Any:
    """Return KLayout's Python module of that name; raises ImportError if it is not installed."""
    return optional(f"klayout.{part}", extra="layout")


#: Layers, named as in SKY130; "met3_text" holds the names of nets, "names" those of terminals.
_LAYERS = {
    "diff": (65, 20),
    "poly": (66, 20),
    "poly_res": (66, 13),
    "rpm": (86, 20),
    "urpm": (79, 20),
    "licon": (66, 44),
    "li1": (67, 20),
    "names": (67, 5),
    "mcon": (67, 44),
    "met1": (68, 20),
    "via": (68, 44),
    "met2": (69, 20),
    "via2": (69, 44),
    "met3": (70, 20),
    "met3_text": (70, 5),
    "pad": (76, 20),
}

#: Least width, then least space of each layer [um], each with its published name.
_LINES = {
    "diff": (0.15, "difftap.1", 0.27, "difftap.3"),
    "poly": (0.15, "poly.1a", 0.21, "poly.2"),
    "resistor": (0.33, "poly.3", 0.48, "poly.9"),
    "implant": (1.27, "rpm.1a", 0.84, "rpm.2"),
    "li1": (0.17, "li.1", 0.17, "li.3"),
    "met1": (0.14, "m1.1", 0.14, "m1.2"),
    "met2": (0.14, "m2.1", 0.14, "m2.2"),
    "met3": (0.30, "m3.1", 0.40, "m3.3c, kept for narrow lines too"),
}

#: Exact size, then least space of each cut [um].
_CUTS = {
    "square licon": (0.17, 0.17, "licon.1", 0.17, "licon.2"),
    "slot licon": (0.19, 2.0, "licon.1b, 1c", 0.51, "licon.2c"),
    "mcon": (0.17, 0.17, "ct.1", 0.19, "ct.2"),
    "via": (0.15, 0.15, "via.1a", 0.17, "via.2"),
    "via2": (0.20, 0.20, "via2.1a", 0.20, "via2.2"),
}

#: Inner layer, outer layer, least enclosure on all sides [um]. Where the process requires more on
#: two sides only, the larger figure is used on all four.
_ENCLOSURES = (
    ("resistor", "implant", 0.20, "rpm.3"),
    ("poly licon", "poly", 0.08, "licon.8a"),
    ("diff licon", "diff", 0.06, "licon.5c"),
    ("licon", "poly or diff", 0.0, "licon.4"),
    ("licon", "li1", 0.08, "li.5"),
    ("mcon", "li1", 0.0, "ct.4"),
    ("mcon", "met1", 0.06, "m1.5"),
    ("via", "met1", 0.085, "via.5a"),
    ("via", "met2", 0.085, "m2.5"),
    ("via2", "met2", 0.085, "via2.5"),
    ("via2", "met3", 0.065, "m3.4"),
    ("pad", "met3", 0.85, "m4.16, of the copper flow's met4"),
)

_SEPARATIONS = (
    ("resistor", "diff", 0.48, "poly.9"),
    ("implant", "plain poly", 0.20, "rpm.7"),
    ("diff licon", "gate", 0.055, "licon.11"),
    ("poly licon", "diff", 0.19, "licon.14"),
    ("slot licon", "square licon", 0.51, "licon.2d"),
)

#: Least area of a shape [um²].
_AREAS = {"li1": (0.0561, "li.6"), "met1": (0.083, "m1.6"), "met2": (0.0676, "m2.6")}
_AREAS |= {"met3": (0.24, "m3.6")}


def _rules() -> tuple[Rule, ...]:
    um = 1e-6
    rules = [Rule("space", "pad", 1.27 * um, "pad.2")]
    for layer, (width, width_name, space, space_name) in _LINES.items():
        rules.append(Rule("width", layer, width * um, width_name))
        rules.append(Rule("space", layer, space * um, space_name))
    for cut, (side, length, size_name, space, space_name) in _CUTS.items():
        rules.append(Rule("size", cut, side * um, size_name, length=length * um))
        rules.append(Rule("space", cut, space * um, space_name))
    rules += [Rule("area", layer, v * um**2, s) for layer, (v, s) in _AREAS.items()]
    rules += [Rule("enclosure", a, v * um, s, other=b) for a, b, v, s in _ENCLOSURES]
    rules += [Rule("separation", a, v * um, s, other=b) for a, b, v, s in _SEPARATIONS]
    return tuple(rules)


#: Measured resistances of P+ poly, 0.35 um wide [ohm]: 1 square and 20 squares. Their difference
#: is 364.4 ohm per drawn square (319.8 ohm of film, etched narrower than drawn); the rest is two
#: ends of 299.9 ohm. The other entries of the table, 2 and 4 squares, agree within 0.3 %.
_ONE, _TWENTY = 964.2, 7888.0
_SQUARE = (_TWENTY - _ONE) / 19
_END = (_ONE - _SQUARE) / 2

#: The film between the contacts' slots of 2 um, each 0.08 um from the end of the strip.
_STRIP = (0.35e-6, 0.48e-6, 2.08e-6)

#: P+ poly, 364 ohm per drawn square, as measured by the foundry (± 15 % at 20 squares).
HIGH_PO = Technology("sky130_high_po", _LAYERS, _rules(), "rpm", Film(_SQUARE, *_STRIP), _END)

#: P- poly, 2,000 ohm per square as published; its ends are assumed to equal those of P+ poly.
XHIGH_PO = Technology("sky130_xhigh_po", _LAYERS, _rules(), "urpm", Film(2000.0, *_STRIP), _END)

#: Technologies by name.
TECHNOLOGIES = {technology.name: technology for technology in (HIGH_PO, XHIGH_PO)}
