"""Everything around the cells of a die, in one object."""

from dataclasses import dataclass, field
from typing import Any

from crossbar_sim.periphery.converters import Converters
from crossbar_sim.periphery.noise import Noise
from mapping.network.header import built
from netlists.circuit import Periphery, Wires


@dataclass(frozen=True)
class Hardware:
    """The hardware of a network on a die besides its cells; everything is ideal by default.

    wires: of the arrays, with their drivers.
    periphery: the amplifiers at the ends of the bit lines.
    converters: DACs and ADCs.
    noise: of every read, or None.
    """

    wires: Wires = field(default_factory=Wires)
    periphery: Periphery = field(default_factory=Periphery)
    converters: Converters = field(default_factory=Converters)
    noise: Noise | None = None


def built_hardware(entry: Any) -> Hardware:
    """Return the hardware of a file's values, of exactly the types that its fields have.

    Raises ValueError for values that no hardware has.
    """
    parts = {"wires": Wires, "periphery": Periphery, "converters": Converters, "noise": Noise}
    if not isinstance(entry, dict) or entry.keys() != parts.keys():
        raise ValueError(f"hardware must be an object of {', '.join(parts)}; got {entry!r:.60}")
    given = {name: kind for name, kind in parts.items() if entry[name] is not None}
    return Hardware(**{name: built(kind, entry[name], name) for name, kind in given.items()})
