"""Metals and films of a process; `netlists.layout` makes wires and resistors of them."""

from dataclasses import dataclass


def _check_positive(part: object, *names: str) -> None:
    for name in names:
        value = getattr(part, name)
        if not 0 < value < float("inf"):
            raise ValueError(f"{name} must be > 0 and finite; got {value}")


@dataclass(frozen=True)
class Metal:
    """A drawn wire.

    r_sheet: sheet resistance [ohm per square].
    width: width [m].
    c_per_length: capacitance per length [F/m].
    """

    r_sheet: float
    width: float
    c_per_length: float

    def __post_init__(self) -> None:
        _check_positive(self, "r_sheet", "width", "c_per_length")


@dataclass(frozen=True)
class Film:
    """The film of a resistor.

    r_sheet: sheet resistance [ohm per square].
    width: width of a strip [m].
    space: distance from one strip to the next [m].
    end: length of the contact at each end [m]; it adds no squares.
    """

    r_sheet: float
    width: float
    space: float
    end: float

    def __post_init__(self) -> None:
        _check_positive(self, "r_sheet", "width", "space", "end")


#: Capacitance of a wire [F/m]. Source: 0.2 fF/um of NeuroSim (Chen, Peng, Yu, IEEE TCAD 2018).
_C_WIRE = 0.2e-15 / 1e-6

#: Sheet resistance [ohm per square] and least width [um]. Source: google/skywater-pdk, SKY130.
_SKY130 = {"met1": (0.125, 0.14), "met3": (0.047, 0.3)}

#: Wires of least width, by layer; the capacitance is NeuroSim's, for wires in general.
METALS = {name: Metal(r, width * 1e-6, _C_WIRE) for name, (r, width) in _SKY130.items()}
