"""Build the circuit of an array from its conductances and wires."""

from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mapping.tiling.tiles import Tile
from netlists.circuit.circuit import (
    BIT_LINE,
    CELL,
    DRIVER,
    WORD_LINE,
    Circuit,
    Elements,
    Grid,
    Periphery,
    Wires,
)


def array_circuit(g: np.ndarray, wires: Wires, periphery: Periphery | None = None) -> Circuit:
    """Return the circuit of a crossbar with one device at each crossing.

    g: (n_word, n_bit) conductances [S]; 0 is no device. Nodes are in_i, wl_i_j, bl_i_j, out_j.
    Raises ValueError for a matrix that is not 2-D, or a negative, NaN or infinite conductance.
    """
    g = np.asarray(g, dtype=np.float64)
    if g.ndim != 2:
        raise ValueError(f"g has shape {g.shape}; expected (n_word, n_bit)")
    return Circuit(Grid(g[None], ("",), wires), periphery or Periphery(), expand)


def tile_circuit(tile: Tile, wires: Wires, periphery: Periphery | None = None) -> Circuit:
    """Return the circuit of a tile of differential pairs.

    The amplifiers are those of this very tile: each tile has offsets of its own.
    Both banks of a pair hang on the same word-line node wl_i_j; outputs are ordered all
    positive bit lines (out_j_p), then all negative ones (out_j_n).
    """
    g = np.stack([tile.g_pos, tile.g_neg])
    ends = (periphery or Periphery()).for_tile(tile.name)
    return Circuit(Grid(g, ("_p", "_n"), wires), ends, expand)


@dataclass(frozen=True)
class _Numbering:
    """Node numbers of a regular array before shorts are merged, and their names.

    Nodes: ground, an input and a driver output for each word line, word-line nodes (word, bit),
    bit-line nodes (side, word, bit), one TIA input for each bit line (side, bit).
    """

    n_word: int
    n_bit: int
    sides: tuple[str, ...]

    @property
    def inputs(self) -> np.ndarray:
        return 1 + np.arange(self.n_word)

    @property
    def drivers(self) -> np.ndarray:
        return self.inputs + self.n_word

    @property
    def word(self) -> np.ndarray:
        return self._block(1 + 2 * self.n_word, (self.n_word, self.n_bit))

    @property
    def bit(self) -> np.ndarray:
        start = 1 + self.n_word * (2 + self.n_bit)
        return self._block(start, (len(self.sides), self.n_word, self.n_bit))

    @property
    def tia(self) -> np.ndarray:
        start = 1 + self.n_word * (2 + self.n_bit * (1 + len(self.sides)))
        return self._block(start, (len(self.sides), self.n_bit))

    @property
    def n_node(self) -> int:
        return int(self.tia[-1, -1]) + 1

    def node_names(self) -> np.ndarray:
        words, bits = range(self.n_word), range(self.n_bit)
        names = ["0", *(f"in_{i}" for i in words), *(f"drv_{i}" for i in words)]
        names += [f"wl_{i}_{j}" for i in words for j in bits]
        names += [f"bl_{i}_{j}{s}" for s in self.sides for i in words for j in bits]
        names += [f"tia_{j}{s}" for s in self.sides for j in bits]
        return np.array(names)

    @staticmethod
    def _block(start: int, shape: tuple[int, ...]) -> np.ndarray:
        return start + np.arange(np.prod(shape, dtype=int)).reshape(shape)


def expand(array: Grid) -> Elements:
    """Return every element of a regular array, shorts merged."""
    g, wires = array.g, array.wires
    grid = _Numbering(g.shape[1], g.shape[2], array.sides)
    cells = np.nonzero(g)
    word_line = np.concatenate([grid.drivers[:, None], grid.word], axis=1)
    bit_line = np.concatenate([grid.bit, grid.tia[:, None]], axis=1)
    groups = [  # tail, head, ohm, part; in the order of _branch_names
        (grid.inputs, grid.drivers, wires.r_driver, DRIVER),
        (word_line[:, :-1], word_line[:, 1:], wires.r_word, WORD_LINE),
        (bit_line[:, :-1], bit_line[:, 1:], wires.r_bit, BIT_LINE),
        (grid.word[cells[1:]], grid.bit[cells], 1.0 / g[cells], CELL),
    ]
    tail = np.concatenate([np.ravel(t) for t, _, _, _ in groups])
    head = np.concatenate([np.ravel(h) for _, h, _, _ in groups])
    ohm = np.concatenate([np.broadcast_to(r, np.size(t)) for t, _, r, _ in groups])
    part = np.concatenate([np.full(np.size(t), p) for t, _, _, p in groups])
    terminals = np.concatenate([[0], grid.inputs, grid.tia.ravel()])
    node, kept = _merge_shorts(grid.n_node, tail, head, ohm == 0, terminals)
    real = ohm > 0
    return Elements(
        n_node=len(kept),
        branch_from=node[tail[real]],
        branch_to=node[head[real]],
        branch_ohm=ohm[real],
        branch_part=part[real],
        input_nodes=node[grid.inputs],
        tia_nodes=node[grid.tia.ravel()],
        labels=partial(_labels, grid, cells, kept, real),
    )


def _merge_shorts(
    n_node: int, tail: np.ndarray, head: np.ndarray, short: np.ndarray, terminals: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Merge nodes that a short connects.

    Returns the new number of each old node, and for each new node the old one whose name it
    keeps: a terminal where there is one. Ground stays node 0.
    """
    if not short.any():
        return np.arange(n_node), np.arange(n_node)
    edges = (np.ones(short.sum()), (tail[short], head[short]))
    n_kept, node = connected_components(coo_array(edges, shape=(n_node, n_node)), directed=False)
    kept = np.empty(n_kept, dtype=int)
    kept[node] = np.arange(n_node)
    kept[node[terminals]] = terminals
    order = np.argsort(kept)
    number = np.empty(n_kept, dtype=int)
    number[order] = np.arange(n_kept)
    return number[node], kept[order]


def _labels(
    grid: _Numbering, cells: tuple[np.ndarray, ...], kept: np.ndarray, real: np.ndarray
) -> tuple[list[str], list[str]]:
    """Return the node and branch names of a grid circuit."""
    words, bits = range(grid.n_word), range(grid.n_bit)
    names = [f"Rd_{i}" for i in words]
    names += [f"Rw_{i}_{j}" for i in words for j in bits]
    names += [f"Rb_{i}_{j}{s}" for s in grid.sides for i in words for j in bits]
    names += [f"Rc_{i}_{j}{grid.sides[s]}" for s, i, j in zip(*cells)]
    return grid.node_names()[kept].tolist(), np.array(names)[real].tolist()
