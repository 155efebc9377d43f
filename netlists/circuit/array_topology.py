"""The topology of a regular array: its nodes, its branches and their names, with shorts merged."""

import math
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from netlists.circuit.elements import BIT_LINE, CELL, DRIVER, WORD_LINE, Elements
from netlists.circuit.wires import Wires


class _Nodes(NamedTuple):
    """Numbers of the nodes of a regular array, in this order after ground; shorts are not merged.

    inputs: (n_word,), to which the voltages are applied.
    drivers: (n_word,), outputs of the drivers.
    word: (n_word, n_bit), on the word lines.
    bit: (n_side, n_word, n_bit), on the bit lines.
    tia: (n_side, n_bit), inputs of the TIAs.
    """

    inputs: np.ndarray
    drivers: np.ndarray
    word: np.ndarray
    bit: np.ndarray
    tia: np.ndarray


def _number(n_side: int, n_word: int, n_bit: int) -> _Nodes:
    shapes = ((n_word,), (n_word,), (n_word, n_bit), (n_side, n_word, n_bit), (n_side, n_bit))
    sizes = [math.prod(shape) for shape in shapes]
    numbers = np.split(1 + np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
    return _Nodes(*(part.reshape(shape) for part, shape in zip(numbers, shapes)))


def expand(g: np.ndarray, wires: Wires) -> Elements:
    """Return the elements of a regular array of g (n_side, n_word, n_bit) [S], shorts merged."""
    grid = _number(*g.shape)
    raw = _branches(grid, g, wires)
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


class GridNodes(NamedTuple):
    """The numbers of the nodes of `expand`: those that a short connects have the same.

    drivers: (n_word,); word: (n_word, n_bit); bit: (n_side, n_word, n_bit).
    """

    drivers: np.ndarray
    word: np.ndarray
    bit: np.ndarray


def grid_nodes(g: np.ndarray, wires: Wires) -> GridNodes:
    """Return the numbers of the nodes of an array in `expand`."""
    grid = _number(*g.shape)
    node, _ = _merge_shorts(grid, _branches(grid, g, wires))
    return GridNodes(node[grid.drivers], node[grid.word], node[grid.bit])


def grid_names(g: np.ndarray, sides: tuple[str, ...], wires: Wires) -> tuple[list[str], list[str]]:
    """Return the names of the nodes and branches of `expand`."""
    grid = _number(*g.shape)
    raw = _branches(grid, g, wires)
    _, kept = _merge_shorts(grid, raw)
    words, bits = range(g.shape[1]), range(g.shape[2])
    nodes = ["0", *(f"in_{i}" for i in words), *(f"drv_{i}" for i in words)]
    nodes += [f"wl_{i}_{j}" for i in words for j in bits]
    nodes += [f"bl_{i}_{j}{s}" for s in sides for i in words for j in bits]
    nodes += [f"tia_{j}{s}" for s in sides for j in bits]
    names = [f"Rd_{i}" for i in words]
    names += [f"Rw_{i}_{j}" for i in words for j in bits]
    names += [f"Rb_{i}_{j}{s}" for s in sides for i in words for j in bits]
    names += [f"Rc_{i}_{j}{sides[s]}" for s, i, j in zip(*np.nonzero(g))]
    return np.array(nodes)[kept].tolist(), np.array(names)[raw.ohm > 0].tolist()


class _Branches(NamedTuple):
    """All branches of an array, (n_branch,) each, before shorts are merged; see `Elements`."""

    tail: np.ndarray
    head: np.ndarray
    ohm: np.ndarray
    part: np.ndarray


def _branches(grid: _Nodes, g: np.ndarray, wires: Wires) -> _Branches:
    """Return the branches in the order of their names in `grid_names`."""
    cells = np.nonzero(g)
    word_line = np.concatenate([grid.drivers[:, None], grid.word], axis=1)
    bit_line = np.concatenate([grid.bit, grid.tia[:, None]], axis=1)
    groups = [  # tail, head, ohm, part
        (grid.inputs, grid.drivers, wires.r_driver, DRIVER),
        (word_line[:, :-1].ravel(), word_line[:, 1:].ravel(), wires.r_word, WORD_LINE),
        (bit_line[:, :-1].ravel(), bit_line[:, 1:].ravel(), wires.r_bit, BIT_LINE),
        (grid.word[cells[1:]], grid.bit[cells], 1.0 / g[cells], CELL),
    ]
    return _Branches(*map(np.concatenate, zip(*(np.broadcast_arrays(*each) for each in groups))))


def _merge_shorts(grid: _Nodes, raw: _Branches) -> tuple[np.ndarray, np.ndarray]:
    """Merge the nodes that shorts connect; ground stays node 0.

    Returns the new number of each old node, and the old node whose name each new one keeps: a
    terminal if it contains one.
    """
    n_node, short = int(grid.tia.max()) + 1, raw.ohm == 0
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
