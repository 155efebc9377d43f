"""What the circuits of a die are made of, besides the resistors of its bank, in one object."""

from dataclasses import dataclass, field
from typing import Any

from crossbar_sim.periphery.converters import Converters
from crossbar_sim.periphery.noise import Noise
from mapping.network.header import built
from netlists.circuit import Periphery, Wires
from netlists.foundry.branch import FoundryBranch


@dataclass(frozen=True)
class Hardware:
    """The hardware of a network on a die besides its cells; everything is ideal by default.

    wires: of the arrays, with their drivers.
    periphery: the amplifiers at the ends of the bit lines.
    converters: DACs and ADCs.
    noise: of every read, or None.
    devices: of a foundry, whose curves the branches have; None for straight lines, the resistors
        and switches of the die's bank.
    """

    wires: Wires = field(default_factory=Wires)
    periphery: Periphery = field(default_factory=Periphery)
    converters: Converters = field(default_factory=Converters)
    noise: Noise | None = None
    devices: FoundryBranch | None = None


def built_hardware(entry: Any) -> Hardware:
    """Return the hardware of a file's values, of exactly the types that its fields have.

    Raises ValueError for values that no hardware has.
    """
    parts = {"wires": Wires, "periphery": Periphery, "converters": Converters, "noise": Noise}
    more = {"devices": FoundryBranch}  # files of before have none
    if not isinstance(entry, dict) or entry.keys() - more.keys() != parts.keys():
        raise ValueError(f"hardware must be an object of {', '.join(parts)}; got {entry!r:.60}")
    given = {k: kind for k, kind in (parts | more).items() if entry.get(k) is not None}
    values: dict[str, Any] = {name: built(kind, entry[name], name) for name, kind in given.items()}
    return Hardware(**values)
