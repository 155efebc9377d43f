"""The energy of the same arithmetic in digital logic."""

from dataclasses import dataclass
from typing import Any

from tinynets.networks.flops import Counts

PJ = 1e-12
KB = 1024


@dataclass(frozen=True)
class DigitalNode:
    """Energies of arithmetic and memory in a process node.

    name: node and number format.
    multiply, add: energy of a product and of a sum [J].
    bits: of a weight.
    sram: memories, smallest first, as (bytes, energy of a 64-bit read [J]); empty if no figure is
        available, and then no weight fetch is counted.
    source: of the figures.
    certainty: "published", or what is uncertain about the figures.
    """

    name: str
    multiply: float
    add: float
    bits: int
    sram: tuple[tuple[int, float], ...]
    source: str
    certainty: str = "published"


#: His table as quoted by gist.github.com/V0XNIHILI/2b6fa61edd4c06d9ffce5551065124c1 (arithmetic and
#: all three memories), stillwater-sc/esim (arithmetic) and PMC8934428, table 3 (fp32, 8 KB).
_HOROWITZ = (
    "Horowitz, ISSCC 2014, 45 nm, 0.9 V, as public code and PMC8934428 (table 3) quote his table"
)
#: Quoted by the function tot_energy of published code for networks of text and graphs.
_JOUPPI = "Jouppi et al., ISCA 2021, table 2, as a listing in public code quotes it"
_SECOND_HAND = "arithmetic read second hand; memory not read, so not stated"
_SRAM = ((8 * KB, 10 * PJ), (32 * KB, 20 * PJ), (1024 * KB, 100 * PJ))

#: int8 multiplies into 32-bit sums.
NODES = (
    DigitalNode("45 nm int8", 0.2 * PJ, 0.1 * PJ, 8, _SRAM, _HOROWITZ),
    DigitalNode("45 nm fp32", 3.7 * PJ, 0.9 * PJ, 32, _SRAM, _HOROWITZ),
    DigitalNode("7 nm int8", 0.07 * PJ, 0.03 * PJ, 8, (), _JOUPPI, _SECOND_HAND),
    DigitalNode("7 nm fp32", 1.31 * PJ, 0.38 * PJ, 32, (), _JOUPPI, _SECOND_HAND),
)

#: A 32-bit addition [J], such as the die's own logic does outside its tiles.
ADD = NODES[0].add


def arithmetic(node: DigitalNode, n_mac: int) -> float:
    """Return the energy [J] of multiplications and additions alone."""
    return n_mac * (node.multiply + node.add)


def memory(node: DigitalNode, n_weight: int) -> tuple[str, float]:
    """Return the name of the smallest memory that holds the weights, and its 64-bit read [J].

    Weights that exceed the largest memory lie in several of that size. This leaves out the wires
    between them, so the name says that it is a lower bound. Raises ValueError for a node without
    memories.
    """
    if not node.sram:
        raise ValueError(f"node {node.name} has no figure for memory; compare the arithmetic alone")
    n_byte = -(-n_weight * node.bits // 8)
    for size, read in node.sram:
        if n_byte <= size:
            return f"{size // KB} KB", read
    size, read = node.sram[-1]
    return f"{-(-n_byte // size)} × {size // KB} KB, a lower bound", read


def weight_fetch(node: DigitalNode, n_weight: int) -> float:
    """Return the energy [J] of reading each weight once per inference from `memory`.

    This favours the digital side: a convolution's weights stay in registers for all positions, and
    the indices of a sparse format are free (`crossbar_sim.energy.uncounted`).
    """
    return n_weight * node.bits / 64 * memory(node, n_weight)[1]


def energies(counts: Counts) -> list[dict[str, Any]]:
    """Return, for every node, the energy per inference [J], dense and of non-zero weights only.

    Keys "…_with_fetch" and "…_memory" are None for a node without a figure for memory.
    """
    return [_row(node, counts) for node in NODES]


def _row(node: DigitalNode, counts: Counts) -> dict[str, Any]:
    row: dict[str, Any] = {"node": node.name}
    kinds = {
        "dense": (counts.n_mac, counts.n_weight),
        "nonzero": (counts.n_mac_nonzero, counts.n_remaining),
    }
    for kind, (n_mac, n_weight) in kinds.items():
        row[kind] = arithmetic(node, n_mac)
        fetch = weight_fetch(node, n_weight) if node.sram else None
        row[f"{kind}_with_fetch"] = None if fetch is None else row[kind] + fetch
        row[f"{kind}_memory"] = memory(node, n_weight)[0] if node.sram else None
    return row | {"source": node.source, "certainty": node.certainty}
