"""The wires of an array.

A new field is a number that is 0 where it does nothing. It is a key of [wires] once `WiresConfig`
of `crossbar_sim/config/sections.py` has it, and stated by a run's report: `modelled.py` and the
wires of `report.schema.json` in `crossbar_sim/report`. It acts in `array_topology.py` beside this
file, branches and names in one order, which both solvers read. What knows only some fields asks
`Wires.others` and has a list of its own: the kernels of regular arrays leave the rest to the
general solver; settling (which every run asks), calibration and derivatives refuse it.
"""

from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import ClassVar

from pydantic import ConfigDict

from netlists.circuit.elements import check_ohm
from tinynets.settings import TABLE, NotNegative, check_fields


@dataclass(frozen=True)
class Wires:
    """Resistance and capacitance of the wires of an array; zero means ideal.

    There is one segment before the first cell of a word line, between neighbours, and after the
    last cell of a bit line.

    Source: this geometry is badcrossbar's (Joksas, Mehonic, SoftwareX 2020), so results compare
    directly.
    """

    __pydantic_config__: ClassVar[ConfigDict] = TABLE

    r_word: NotNegative = 0.0
    """Resistance of a word-line segment [ohm]."""
    r_bit: NotNegative = 0.0
    """Resistance of a bit-line segment [ohm]."""
    r_driver: NotNegative = 0.0
    """Output resistance of each word-line driver [ohm]."""
    c_word: NotNegative = 0.0
    """Capacitance of a word-line segment to ground, at the node of the cell [F]."""
    c_bit: NotNegative = 0.0
    """Capacitance of a bit-line segment to ground, at the node of the cell [F]."""

    def __post_init__(self) -> None:
        check_fields(self)
        for name, ohm in self._resistances().items():
            check_ohm(name, ohm)

    @property
    def ideal(self) -> bool:
        """True if no wire and no driver has any resistance."""
        return not any(self._resistances().values())

    def others(self, known: Collection[str]) -> list[str]:
        """Return the names of the fields that are set and are not among the known ones."""
        rest = (field for field in fields(self) if field.name not in known)
        return [field.name for field in rest if getattr(self, field.name) != field.default]

    def _resistances(self) -> dict[str, float]:
        names = (field.name for field in fields(self) if field.name.startswith("r_"))
        return {name: getattr(self, name) for name in names}
