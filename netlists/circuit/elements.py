"""A resistive network as arrays, and the expansion of a regular array into one."""

from dataclasses import dataclass, field

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

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


@dataclass(frozen=True)
class _Numbering:
    """Numbers and names of the nodes of a regular array, before shorts are merged.

    The order is: ground, the input of each word line, the output of each driver, word-line nodes
    (word, bit), bit-line nodes (side, word, bit), the TIA input of each bit line (side, bit).
    """

    n_word: int
    n_bit: int
    sides: tuple[str, ...]

    @property
    def inputs(self) -> np.ndarray:
        """Inputs (n_word,), to which the voltages are applied."""
        return 1 + np.arange(self.n_word)

    @property
    def drivers(self) -> np.ndarray:
        """Outputs (n_word,) of the drivers."""
        return self.inputs + self.n_word

    @property
    def word(self) -> np.ndarray:
        """Word-line nodes (n_word, n_bit)."""
        return self._block(1 + 2 * self.n_word, (self.n_word, self.n_bit))

    @property
    def bit(self) -> np.ndarray:
        """Bit-line nodes (n_side, n_word, n_bit)."""
        start = 1 + self.n_word * (2 + self.n_bit)
        return self._block(start, (len(self.sides), self.n_word, self.n_bit))

    @property
    def tia(self) -> np.ndarray:
        """Inputs (n_side, n_bit) of the TIAs."""
        start = 1 + self.n_word * (2 + self.n_bit * (1 + len(self.sides)))
        return self._block(start, (len(self.sides), self.n_bit))

    @property
    def n_node(self) -> int:
        """Number of nodes, ground included."""
        return int(self.tia[-1, -1]) + 1

    def node_names(self) -> np.ndarray:
        """Return the names (n_node,) of all nodes in a netlist."""
        words, bits = range(self.n_word), range(self.n_bit)
        names = ["0", *(f"in_{i}" for i in words), *(f"drv_{i}" for i in words)]
        names += [f"wl_{i}_{j}" for i in words for j in bits]
        names += [f"bl_{i}_{j}{s}" for s in self.sides for i in words for j in bits]
        names += [f"tia_{j}{s}" for s in self.sides for j in bits]
        return np.array(names)

    @staticmethod
    def _block(start: int, shape: tuple[int, ...]) -> np.ndarray:
        return start + np.arange(np.prod(shape, dtype=int)).reshape(shape)


#: Resistance of a driver, of a word-line segment and of a bit-line segment [ohm].
Ohms = tuple[float, float, float]


def expand(g: np.ndarray, sides: tuple[str, ...], ohms: Ohms) -> Elements:
    """Return the elements of a regular array of g (n_side, n_word, n_bit) [S], shorts merged."""
    grid = _Numbering(g.shape[1], g.shape[2], sides)
    raw = _branches(grid, g, ohms)
    node, kept = _merge_shorts(grid, raw)
    real = raw.ohm > 0
    return Elements(
        n_node=len(kept),
        branch_from=node[raw.tail[real]],
        branch_to=node[raw.head[real]],
        branch_ohm=raw.ohm[real],
        branch_part=raw.part[real],
        input_nodes=node[grid.inputs],
        tia_nodes=node[grid.tia.ravel()],
    )


def grid_names(g: np.ndarray, sides: tuple[str, ...], ohms: Ohms) -> tuple[list[str], list[str]]:
    """Return the names of the nodes and branches of `expand`."""
    grid = _Numbering(g.shape[1], g.shape[2], sides)
    raw = _branches(grid, g, ohms)
    _, kept = _merge_shorts(grid, raw)
    words, bits = range(grid.n_word), range(grid.n_bit)
    names = [f"Rd_{i}" for i in words]
    names += [f"Rw_{i}_{j}" for i in words for j in bits]
    names += [f"Rb_{i}_{j}{s}" for s in grid.sides for i in words for j in bits]
    names += [f"Rc_{i}_{j}{grid.sides[s]}" for s, i, j in zip(*np.nonzero(g))]
    return grid.node_names()[kept].tolist(), np.array(names)[raw.ohm > 0].tolist()


@dataclass(frozen=True)
class _Branches:
    """All branches of an array, (n_branch,) each, before shorts are merged; see `Elements`."""

    tail: np.ndarray
    head: np.ndarray
    ohm: np.ndarray
    part: np.ndarray


def _branches(grid: _Numbering, g: np.ndarray, ohms: Ohms) -> _Branches:
    """Return the branches in the order of their names in `grid_names`."""
    cells, (r_driver, r_word, r_bit) = np.nonzero(g), ohms
    word_line = np.concatenate([grid.drivers[:, None], grid.word], axis=1)
    bit_line = np.concatenate([grid.bit, grid.tia[:, None]], axis=1)
    groups = [  # tail, head, ohm, part
        (grid.inputs, grid.drivers, r_driver, DRIVER),
        (word_line[:, :-1], word_line[:, 1:], r_word, WORD_LINE),
        (bit_line[:, :-1], bit_line[:, 1:], r_bit, BIT_LINE),
        (grid.word[cells[1:]], grid.bit[cells], 1.0 / g[cells], CELL),
    ]
    return _Branches(
        tail=np.concatenate([np.ravel(t) for t, _, _, _ in groups]),
        head=np.concatenate([np.ravel(h) for _, h, _, _ in groups]),
        ohm=np.concatenate([np.broadcast_to(r, np.size(t)) for t, _, r, _ in groups]),
        part=np.concatenate([np.full(np.size(t), p) for t, _, _, p in groups]),
    )


def _merge_shorts(grid: _Numbering, raw: _Branches) -> tuple[np.ndarray, np.ndarray]:
    """Merge the nodes that shorts connect; ground stays node 0.

    Returns the new number of each old node, and the old node whose name each new one keeps: a
    terminal if it contains one.
    """
    n_node, short = grid.n_node, raw.ohm == 0
    if not short.any():
        return np.arange(n_node), np.arange(n_node)
    terminals = np.concatenate([[0], grid.inputs, grid.tia.ravel()])
    edges = (np.ones(short.sum()), (raw.tail[short], raw.head[short]))
    n_kept, node = connected_components(coo_array(edges, shape=(n_node, n_node)), directed=False)
    kept = np.empty(n_kept, dtype=int)
    kept[node] = np.arange(n_node)
    kept[node[terminals]] = terminals
    order = np.argsort(kept)
    number = np.empty(n_kept, dtype=int)
    number[order] = np.arange(n_kept)
    return number[node], kept[order]
