"""From geometry to ohms: the area of a cell follows from its bank, and the wires from the cell.

A cell is the differential pair of one weight: two banks of branches, each a resistor drawn as a
strip of film, a switch, and the memory bit that holds it open or closed. More branches are a larger
cell, and longer wires between cells.
"""

from dataclasses import dataclass

from mapping.bank import ResistorBank
from netlists.circuit import Wires

#: Banks of a cell.
_SIDES = 2


def _check_positive(part: object, *names: str) -> None:
    for name in names:
        value = getattr(part, name)
        if not 0 < value < float("inf"):
            raise ValueError(f"{name} must be > 0 and finite; got {value}")


@dataclass(frozen=True)
class Metal:
    """A wire as drawn: sheet resistance [ohm per square], width [m], capacitance [F/m]."""

    r_sheet: float
    width: float
    c_per_length: float

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

    def area(self, ohm: float) -> float:
        """Return the area [m²] of a resistor of `ohm`, half the space around it included."""
        length = ohm / self.r_sheet * self.width
        return (length + 2 * self.end + self.space) * (self.width + self.space)


@dataclass(frozen=True)
class Process:
    """What a cell is made of: film, area of one switch and of one memory bit [m²]."""

    film: Film
    switch_area: float
    bit_area: float

    def __post_init__(self) -> None:
        _check_positive(self, "switch_area", "bit_area")


@dataclass(frozen=True)
class CellArea:
    """Area of one weight [m²] by part, both banks together."""

    resistors: float
    switches: float
    bits: float

    @property
    def total(self) -> float:
        """Area of the cell [m²]: its parts lie side by side."""
        return self.resistors + self.switches + self.bits

    @property
    def pitch(self) -> float:
        """Side of the square cell [m], the length of one wire segment."""
        return self.total**0.5


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
} | {f"sky130 {m}": Metal(r, width * 1e-6, _C_WIRE) for m, (r, width) in _SKY130.items()}

#: Films by name. Source: sheet resistance and least width of google/skywater-pdk
#: (sky130_fd_pr, res_high_po and res_xhigh_po); space and end are assumed.
FILMS = {
    "sky130 high_po": Film(319.8, 0.35e-6, 0.48e-6, 0.6e-6),
    "sky130 xhigh_po": Film(2000.0, 0.35e-6, 0.48e-6, 0.6e-6),
}


def process(film: str, node: float) -> Process:
    """Return a process of a film of FILMS and a CMOS node [m].

    A memory bit is a static cell of 146 squares of the node; a transmission gate with its inverter
    is assumed to be as large. Raises ValueError for a film that is not known.
    Source: the static cell of NVSim (Dong et al., IEEE TCAD 31 (2012) 994).
    """
    if film not in FILMS:
        raise ValueError(f"no film {film!r} is known; choose one of {sorted(FILMS)}, or make one")
    return Process(FILMS[film], 146 * node**2, 146 * node**2)


def cell_area(bank: ResistorBank, process: Process) -> CellArea:
    """Return the area of one weight: a pair of banks of nominal resistors."""
    strips = sum(process.film.area(float(r)) for r in bank.r_nominal)
    n_branch = _SIDES * bank.n
    return CellArea(_SIDES * strips, n_branch * process.switch_area, n_branch * process.bit_area)


def tile_area(area: CellArea, n_word: int, n_bit: int) -> float:
    """Return the area [m²] of the cells of a tile, without drivers, amplifiers and converters."""
    return n_word * n_bit * area.total


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

    pitch [m]: length of a segment, `CellArea.pitch`. word, bit: metal of word and bit lines.
    word_width, bit_width: how many times as wide as the metal is drawn; a wider wire has less
    resistance, and as much more capacitance. r_driver: as of `Wires`.
    Raises ValueError for a length or width that is not positive, or wires that do not fit into
    the pitch: a cell has one word line and two bit lines, each with as much space as width.
    """
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
