"""Metals, and the ohms and farads of wires that cross cells of a given pitch.

The wires and the area of this project's own cell come from its drawing, see
`netlists.layout.floorplan`; what is here compares processes.
"""

from dataclasses import dataclass

from netlists.circuit.circuit import Wires


def _check_positive(part: object, *names: str) -> None:
    for name in names:
        value = getattr(part, name)
        if not 0 < value < float("inf"):
            raise ValueError(f"{name} must be > 0 and finite; got {value}")


@dataclass(frozen=True)
class Metal:
    """A wire as drawn: sheet resistance [ohm per square], width [m], capacitance [F/m].

    layer: of its process; "" for a wire in general, of which crossing ones are on layers of their
    own.
    """

    r_sheet: float
    width: float
    c_per_length: float
    layer: str = ""

    def __post_init__(self) -> None:
        _check_positive(self, "r_sheet", "width", "c_per_length")

    @property
    def r_per_length(self) -> float:
        """Resistance [ohm/m]."""
        return self.r_sheet / self.width


@dataclass(frozen=True)
class Film:
    """A resistor's film: sheet resistance [ohm per square], width of a strip [m].

    space [m]: to the next strip. end [m]: contact at each end, which adds length but no squares.
    """

    r_sheet: float
    width: float
    space: float
    end: float

    def __post_init__(self) -> None:
        _check_positive(self, "r_sheet", "width", "space", "end")


#: Capacitance of a wire [F/m]. Source: 0.2 fF/um of NeuroSim (Chen, Peng, Yu, IEEE TCAD 2018).
_C_WIRE = 0.2e-15 / 1e-6

#: Width [nm] and resistance [ohm/um] of the wires of a node [nm]. Source: the wire widths,
#: resistivities and aspect ratios of NeuroSim.
_NODES = {
    130: (175, 0.48),
    65: (105, 1.43),
    45: (80, 2.60),
    32: (56, 5.70),
    22: (40, 11.6),
    14: (32, 19.7),
    7: (20, 69.5),
}

#: Sheet resistance [ohm per square] and least width [um]. Source: google/skywater-pdk, SKY130;
#: the capacitance is NeuroSim's, of wires in general.
_SKY130 = {"met1": (0.125, 0.14), "met2": (0.125, 0.14), "met3": (0.047, 0.3)}
_SKY130 |= {"met4": (0.047, 0.3), "met5": (0.0285, 1.6)}

#: Wires by name: "130 nm" … "7 nm", and "sky130 met1" … "sky130 met5" of least width.
METALS = {
    f"{node} nm": Metal(ohm_per_um * width * 1e-3, width * 1e-9, _C_WIRE)
    for node, (width, ohm_per_um) in _NODES.items()
} | {f"sky130 {m}": Metal(r, width * 1e-6, _C_WIRE, m) for m, (r, width) in _SKY130.items()}


def wires_from_geometry(
    pitch: float,
    word: Metal,
    bit: Metal,
    *,
    word_width: float = 1.0,
    bit_width: float = 1.0,
    r_driver: float = 0.0,
) -> Wires:
    """Return the wires of an array of square cells.

    pitch [m]: length of a segment, the side of a cell. word, bit: metal of word and bit lines.
    word_width, bit_width: how many times as wide as the metal is drawn; a wider wire has less
    resistance, and as much more capacitance. r_driver: as of `Wires`.
    Raises ValueError for lines that would cross on one layer, a length or width that is not
    positive, or wires that do not fit into the pitch: a cell has one word line and two bit lines,
    each with as much space as width.
    """
    if word.layer and word.layer == bit.layer:
        raise ValueError(
            f"word and bit lines cross, so they cannot both be of {word.layer}; give two layers"
        )
    for name, value in (("pitch", pitch), ("word_width", word_width), ("bit_width", bit_width)):
        if not 0 < value < float("inf"):
            raise ValueError(f"{name} must be > 0; got {value}")
    taken = {"word_width": 2 * word.width * word_width, "bit_width": 4 * bit.width * bit_width}
    for name, width in taken.items():
        if width > pitch:
            raise ValueError(
                f"the wires need {width:g} m of a cell of {pitch:g} m; lower {name} or take "
                "a larger cell or a finer metal"
            )
    return Wires(
        r_word=word.r_per_length * pitch / word_width,
        r_bit=bit.r_per_length * pitch / bit_width,
        r_driver=r_driver,
        c_word=word.c_per_length * pitch * word_width,
        c_bit=bit.c_per_length * pitch * bit_width,
    )
