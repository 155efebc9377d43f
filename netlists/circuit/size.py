"""Size of a netlist for ngspice: elements, memory and time, estimated before it runs."""

import os
from collections.abc import Iterable
from dataclasses import dataclass

#: What ngspice 46 with KLU takes, fitted to arrays of 32 × 32 … 256 × 256 by
#: benchmarks/circuits/ngspice_methods.py: bytes per element, seconds per element ** 1.5 to solve a
#: point of a sweep, seconds per element to parse. Memory is an upper estimate, time is within a
#: factor of 3.
BYTES_BASE, BYTES_PER_ELEMENT = 60e6, 2_000
SECONDS_PER_POINT, SECONDS_TO_PARSE = 2.5e-8, 8e-6


class NetlistTooLarge(ValueError):
    """A netlist too large for the memory of this machine."""


@dataclass(frozen=True)
class Size:
    """Size of a netlist.

    n_element: lines of the flattened netlist.
    memory: estimated memory of ngspice [byte].
    time: estimated time of ngspice [s].
    """

    n_element: int
    memory: float
    time: float

    @classmethod
    def of_circuits(cls, n_element: Iterable[int], n_point: int) -> "Size":
        """Return the size of several circuits in one netlist.

        n_element: number of elements of each circuit. Fill-in stays within a circuit, so several
            small ones cost less than a large one.
        n_point: points of the sweep.
        """
        counts = list(n_element)
        points = n_point * sum(SECONDS_PER_POINT * n**1.5 for n in counts)
        total = sum(counts)
        return cls(total, BYTES_BASE + BYTES_PER_ELEMENT * total, points + SECONDS_TO_PARSE * total)

    def __str__(self) -> str:
        return (
            f"{self.n_element:,} elements, about {self.memory / 1e9:.2g} GB "
            f"and {self.time:.2g} s in ngspice"
        )


def free_memory() -> float:
    """Return the free memory of this machine [byte]."""
    try:
        with open("/proc/meminfo", encoding="utf-8") as file:
            lines = dict(line.split(":", 1) for line in file)
        return float(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


def require_room(size: Size, what: str, *, force: bool = False) -> None:
    """Raise NetlistTooLarge if ngspice would need more than the free memory, unless forced."""
    free = free_memory()
    if size.memory > free and not force:
        raise NetlistTooLarge(
            f"{what} has {size}, but {free / 1e9:.2g} GB are free; "
            "use smaller tiles, fewer layers or a machine with more memory"
        )
