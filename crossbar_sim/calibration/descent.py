"""Coordinate descent over the cells of a tile: each choice knows what it does to its neighbours.

A cell's banks load their lines, and on wires that have resistance a load takes a little from every
other cell of the same lines. To first order in that loss, the squared error of the whole tile is a
quadratic function of how the two banks of one cell change. So a cell is given the subset of its
switches at which that function is least, and the errors of its neighbours are brought up to date.
"""

import numpy as np
from numba import njit

#: Switches of a cell that are tried in all combinations; the most conducting ones stay as they are.
MAX_FREE = 16


def descend(
    values: np.ndarray,
    masks: np.ndarray,
    cells: tuple[np.ndarray, np.ndarray],
    g: tuple[np.ndarray, np.ndarray],
    gap: np.ndarray,
    resistances: tuple[float, float, float, float],
    care: float,
) -> np.ndarray:
    """Return the masks (n_cell,) uint64 after each cell has been chosen once, in place of `masks`.

    values: (n_cell, 2 n) [S], what closing each switch adds to its bank, the positive bank first.
    cells: word and bit line (n_cell,) of each. g: conductances (n_word, n_bit) [S] of the positive
    and the negative banks; gap: what the tile's matrix lacks [S], zero where there is no cell.
    resistances [ohm]: driver, word-line segment, bit-line segment, input of the amplifier.
    care: what a neighbour's squared error counts beside the cell's own; less than 1 lets a cell
    reach its target at the cost of others, which then reach theirs.
    Cost: 2^MAX_FREE steps a cell, at most.
    """
    order = np.argsort(values, axis=1)[:, :MAX_FREE]
    pos, neg, rest = (np.array(part, float) for part in (*g, gap))
    i, j = cells
    return _descend(
        values, masks.astype(np.uint64), i, j, pos, neg, rest, order, care, np.array(resistances)
    )


@njit(cache=True)
def _descend(values, masks, i, j, pos, neg, gap, order, care, resistances):
    n_word, n_bit = gap.shape
    r_driver, r_word, r_bit, r_input = resistances
    # What one siemens more in the positive (0) or negative (1) bank of a cell does to its row and
    # to its column.
    row, column = np.zeros((2, n_bit)), np.zeros((2, n_word))
    for c in range(len(masks)):
        a, b = i[c], j[c]
        for k in range(n_bit):
            near, far = min(k, b) + 1, n_bit + min(k, b) + 1
            row[0, k] = neg[a, k] * (r_driver + r_word * (b + 1))
            row[0, k] -= pos[a, k] * (r_driver + r_word * near)
            row[1, k] = neg[a, k] * (r_driver + r_word * far)
            row[1, k] -= pos[a, k] * (r_driver + r_word * (k + 1))
        for k in range(n_word):
            shared = r_input + r_bit * (n_word - max(k, a))
            column[0, k], column[1, k] = -pos[k, b] * shared, neg[k, b] * shared
        # The cell itself is in its row and in its column, and moves by its own change above all.
        row[0, b] += 1.0 + column[0, a]
        row[1, b] += -1.0 + column[1, a]
        column[0, a] = column[1, a] = 0.0
        squares = np.zeros(3)
        slope = np.zeros(2)
        for k in range(n_bit):
            if k == b or pos[a, k] + neg[a, k]:  # pruned places do not count
                weight = 1.0 if k == b else care
                _add(squares, slope, row[0, k], row[1, k], gap[a, k], weight)
        for k in range(n_word):
            if pos[k, b] + neg[k, b]:
                _add(squares, slope, column[0, k], column[1, k], gap[k, b], care)
        masks[c], more_pos, more_neg = _choose(values[c], masks[c], order[c], squares, slope)
        if more_pos or more_neg:
            pos[a, b] += more_pos
            neg[a, b] += more_neg
            for k in range(n_bit):
                gap[a, k] -= more_pos * row[0, k] + more_neg * row[1, k]
            for k in range(n_word):
                gap[k, b] -= more_pos * column[0, k] + more_neg * column[1, k]
    return masks


@njit(cache=True)
def _add(squares, slope, by_pos, by_neg, gap, weight):
    """Add what one place of the tile contributes to the squared error."""
    squares[0] += weight * by_pos * by_pos
    squares[1] += weight * by_pos * by_neg
    squares[2] += weight * by_neg * by_neg
    slope[0] += weight * gap * by_pos
    slope[1] += weight * gap * by_neg


@njit(cache=True)
def _choose(values, mask, order, squares, slope):
    """Walk through all combinations of the free switches, flipping one at a time (Gray code)."""
    one, n = np.uint64(1), len(values) // 2
    more_pos = more_neg = 0.0
    least, best, best_pos, best_neg, now = 0.0, mask, 0.0, 0.0, mask
    for step in range(1, 1 << len(order)):
        bit = 0
        while not (step >> bit) & 1:
            bit += 1
        k = order[bit]
        change = -values[k] if now >> np.uint64(k) & one else values[k]
        now ^= one << np.uint64(k)
        if k < n:
            more_pos += change
        else:
            more_neg += change
        cost = more_pos * (squares[0] * more_pos + 2.0 * squares[1] * more_neg - 2.0 * slope[0])
        cost += more_neg * (squares[2] * more_neg - 2.0 * slope[1])
        if cost < least:
            least, best, best_pos, best_neg = cost, now, more_pos, more_neg
    return best, best_pos, best_neg
