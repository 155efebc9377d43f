"""A resistive network as arrays, which every solver and writer can read."""

from dataclasses import dataclass, field

import numpy as np

#: Parts of a circuit whose power is reported separately; `Elements.branch_part` indexes this.
PARTS = ("cell", "word line", "bit line", "driver")
CELL, WORD_LINE, BIT_LINE, DRIVER = range(len(PARTS))

#: Outside this range [ohm], a solver in double precision sees a short or a gap.
MIN_OHM, MAX_OHM = 1e-6, 1e18


@dataclass(frozen=True)
class Elements:
    """A resistive network as arrays; node 0 is ground.

    n_node: number of nodes, ground included.
    branch_from, branch_to: nodes (n_branch,) at the ends of each resistor.
    branch_ohm: resistances (n_branch,) [ohm], MIN_OHM … MAX_OHM. A connection of zero ohm is a
        merged node; a missing device has no branch.
    branch_part: indices (n_branch,) into PARTS.
    input_nodes: nodes (n_word,) held at the input voltages, all different.
    tia_nodes: ends (n_line,) of the bit lines in output order; none of them is driven.
    names: names of the nodes and of the branches in a netlist; for a grid see `Circuit.names`.

    Raises ValueError for a network that no solver can solve.
    """

    n_node: int
    branch_from: np.ndarray
    branch_to: np.ndarray
    branch_ohm: np.ndarray
    branch_part: np.ndarray
    input_nodes: np.ndarray
    tia_nodes: np.ndarray
    names: tuple[list[str], list[str]] = field(default_factory=lambda: ([], []))

    def __post_init__(self) -> None:
        ohm = self.branch_ohm
        usable = (ohm >= MIN_OHM) & (ohm <= MAX_OHM)
        if not usable.all():
            bad = int(np.flatnonzero(~usable)[0])
            raise ValueError(
                f"every branch must have {MIN_OHM:g} … {MAX_OHM:g} ohm; got {ohm[bad]} at branch "
                f"{bad} (merge the nodes of a short, leave out a missing device)"
            )
        ends = np.concatenate([self.branch_from, self.branch_to, self.input_nodes, self.tia_nodes])
        if ends.size and (ends.min() < 0 or ends.max() >= self.n_node):
            raise ValueError(
                f"nodes must be in 0 … {self.n_node - 1}; got {ends.min()} … {ends.max()}"
            )
        driven = np.concatenate([self.input_nodes, self.tia_nodes])
        if 0 in driven or len(np.unique(driven)) != len(driven):
            raise ValueError("input and TIA nodes must be different nodes, none of them ground")


def check_ohm(name: str, value: float) -> None:
    """Raise ValueError for a resistance that is neither 0 nor one that a solver can take."""
    if not (value == 0 or MIN_OHM <= value <= MAX_OHM):
        raise ValueError(f"{name} must be 0 (ideal) or {MIN_OHM:g} … {MAX_OHM:g} ohm; got {value}")
