"""Everything around the cells of a die, in one object."""

from dataclasses import dataclass, field

from crossbar_sim.periphery.converters import Converters
from crossbar_sim.periphery.noise import Noise
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
