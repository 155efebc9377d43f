"""What the same arithmetic costs in digital logic."""

from dataclasses import dataclass
from typing import Any

from tinynets.flops import Counts

PJ = 1e-12


@dataclass(frozen=True)
class DigitalNode:
    """Energies in a process node [J]: a product, a sum, a 64-bit read of a 32 KB SRAM.

    certainty: "published", or what is uncertain about it.
    """

    name: str
    multiply: float
    add: float
    bits: int
    sram_64: float
    source: str
    certainty: str = "published"


_HOROWITZ = "Horowitz, ISSCC 2014, 0.9 V"
_JOUPPI = "Jouppi et al., ISCA 2021, table 2"
_SECOND_HAND = "read second hand; SRAM figure from memory"

#: int8 multiplies into 32-bit sums.
NODES = (
    DigitalNode("45 nm int8", 0.2 * PJ, 0.1 * PJ, 8, 20 * PJ, _HOROWITZ),
    DigitalNode("45 nm fp32", 3.7 * PJ, 0.9 * PJ, 32, 20 * PJ, _HOROWITZ),
    DigitalNode("7 nm int8", 0.07 * PJ, 0.03 * PJ, 8, 8.5 * PJ, _JOUPPI, _SECOND_HAND),
    DigitalNode("7 nm fp32", 1.31 * PJ, 0.38 * PJ, 32, 8.5 * PJ, _JOUPPI, _SECOND_HAND),
)


@dataclass(frozen=True)
class Accelerator:
    """A product and what its maker says of it: operations per second [1/s] and power [W].

    A multiplication and an addition are two operations. operations, power: None where nothing was
    published. certainty: "published", or what is uncertain about it.
    """

    name: str
    operations: float | None
    power: float | None
    source: str
    certainty: str

    @property
    def per_joule(self) -> float | None:
        """Operations per joule, at peak."""
        if self.operations is None or self.power is None:
            return None
        return self.operations / self.power


_READ = "read second hand"
_MEMORY = "unverified, from memory"

#: Peak figures at each maker's own precision; what a network reaches is less.
ACCELERATORS = (
    Accelerator(
        "Mythic M1076 (analog flash, int8)",
        25e12,
        3.5,
        "Mythic product brief, 2021: up to 25 TOPS at 3 … 4 W",
        _READ,
    ),
    Accelerator(
        "Intel NCS2 (Myriad X)",
        4e12,
        2.0,
        "Intel, 2018: over 4 TOPS in all, 1 TOPS of it for networks; stick at about 2 W",
        _MEMORY,
    ),
    Accelerator(
        "IBM AIU",
        None,
        None,
        "IBM Research, 2022: 32 cores, 5 nm, no figures published",
        _READ,
    ),
    Accelerator(
        "IBM Spyre (successor of the AIU)",
        300e12,
        75.0,
        "IBM, Hot Chips 2024: over 300 TOPS, 75 W",
        _MEMORY,
    ),
    Accelerator(
        "Cerebras WSE-2 (CS-2, fp16)",
        7.5e15,
        20e3,
        "7.5 PFLOPS are quoted for the second wafer; system at about 20 kW",
        _MEMORY,
    ),
)


def arithmetic(node: DigitalNode, n_mac: int) -> float:
    """Return the energy [J] of multiplications and additions alone."""
    return n_mac * (node.multiply + node.add)


def weight_fetch(node: DigitalNode, n_weight: int) -> float:
    """Return the energy [J] of reading each weight once per inference from a 32 KB SRAM.

    This favours the digital side: a convolution's weights are taken to stay in registers for all
    positions, and the indices of a sparse format cost nothing.
    """
    return n_weight * node.bits / 64 * node.sram_64


def energies(counts: Counts) -> list[dict[str, Any]]:
    """Return for every node the energy per inference [J], dense and with non-zero weights only."""
    rows = []
    for node in NODES:
        dense, sparse = arithmetic(node, counts.n_mac), arithmetic(node, counts.n_mac_nonzero)
        rows.append(
            {
                "node": node.name,
                "dense": dense,
                "dense_with_fetch": dense + weight_fetch(node, counts.n_weight),
                "nonzero": sparse,
                "nonzero_with_fetch": sparse + weight_fetch(node, counts.n_remaining),
                "source": node.source,
                "certainty": node.certainty,
            }
        )
    return rows
