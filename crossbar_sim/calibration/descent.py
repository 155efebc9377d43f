"""Coordinate descent over the cells of a tile, in which each choice allows for its neighbours.

A cell loads its word line and its bit lines, and on resistive wires a load takes a little from
every other cell on the same lines. Let the positive bank of one cell change by p [S] and its
negative bank by q [S]. To first order in the IR drop, the tile's matrix changes at place k of the
cell's row and column by a_k p + b_k q, so the weighted squared error of the tile becomes

    E(p, q) = sum_k w_k (gap_k - a_k p - b_k q)^2
            = E(0, 0) + aa p^2 + 2 ab p q + bb q^2 - 2 (a_gap p + b_gap q).

One cell after another gets the subset of its switches with the least E, and the gaps of its row
and column are brought up to date.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

#: Switches of a cell that are tried in all combinations; the most conducting ones stay as they are.
MAX_FREE = 16


class Resistances(NamedTuple):
    """What the current of a cell flows through [ohm]; numba takes it whole.

    driver: of a word line.
    word, bit: one segment of a word line and of a bit line.
    tia: input of an amplifier.
    """

    driver: float
    word: float
    bit: float
    tia: float


class TileState(NamedTuple):
    """A tile between two choices; numba takes it whole.

    word, bit: (n_cell,) word line and bit line of each cell.
    g_pos, g_neg: (n_word, n_bit) [S], conductance of the positive and the negative banks.
    gap: (n_word, n_bit) [S], target minus realised matrix; zero where there is no cell.
    """

    word: np.ndarray
    bit: np.ndarray
    g_pos: np.ndarray
    g_neg: np.ndarray
    gap: np.ndarray


class Quadratic(NamedTuple):
    """The factors of E(p, q), the error as a function of a cell's two changes."""

    aa: float
    ab: float
    bb: float
    a_gap: float
    b_gap: float


def descend(
    values: np.ndarray, masks: np.ndarray, tile: TileState, resistances: Resistances, care: float
) -> np.ndarray:
    """Return new masks (n_cell,) uint64, after each cell has been chosen once.

    values: (n_cell, 2 n) [S], what closing each switch adds to its bank, the positive bank first.
    masks: (n_cell,) uint64, the switches that are closed now.
    tile: the tile with these switches; it is not changed.
    resistances: of the lines.
    care: weight of a neighbour's squared error beside the cell's own; less than 1 lets a cell
    reach its target at the cost of others, which then reach theirs.
    Cost: at most 2^MAX_FREE steps per cell.
    """
    free = np.argsort(values, axis=1)[:, :MAX_FREE]
    pos, neg, gap = (np.array(part, float) for part in (tile.g_pos, tile.g_neg, tile.gap))
    state = TileState(tile.word, tile.bit, pos, neg, gap)
    return _descend(values, masks.astype(np.uint64), free, state, resistances, care)


@njit(cache=True)
def _descend(values, masks, free, tile, resistances, care):
    for c in range(len(masks)):
        word, bit = tile.word[c], tile.bit[c]
        a, b = _effects(word, bit, tile, resistances)
        weight = _weights(word, bit, tile, care)
        error = _quadratic(a, b, _cross(tile.gap, word, bit), weight)
        masks[c], p, q = _best_subset(values[c], masks[c], free[c], error)
        if p or q:
            _update(tile, word, bit, (p, q), a * p + b * q)
    return masks


@njit(cache=True)
def _cross(matrix, word, bit):
    """Return what stands in a cell's row (n_bit,), then in its column (n_word,)."""
    return np.concatenate((matrix[word], matrix[:, bit]))


@njit(cache=True)
def _effects(word, bit, tile, resistances):
    """Return a and b over a cell's row and column: what one siemens more in each bank does there.

    A load of 1 S takes from a cell g times the resistance that both currents flow through. All
    positive bit lines lie nearer to the driver than the negative ones.
    """
    n_word, n_bit = tile.gap.shape
    a, b = np.empty(n_bit + n_word), np.empty(n_bit + n_word)
    for k in range(n_bit):
        pos, neg = tile.g_pos[word, k], tile.g_neg[word, k]
        near = _shared_word(bit, k, resistances)
        a[k] = neg * _shared_word(bit, n_bit + k, resistances) - pos * near
        far = _shared_word(n_bit + bit, n_bit + k, resistances)
        b[k] = neg * far - pos * _shared_word(n_bit + bit, k, resistances)
    for k in range(n_word):
        shared = resistances.tia + resistances.bit * (n_word - max(k, word))
        a[n_bit + k] = -tile.g_pos[k, bit] * shared
        b[n_bit + k] = tile.g_neg[k, bit] * shared
    # The cell is in its row and in its column, counts once, and above all moves by its own change.
    own = n_bit + word
    a[bit] += 1.0 + a[own]
    b[bit] += -1.0 + b[own]
    a[own] = b[own] = 0.0
    return a, b


@njit(cache=True)
def _shared_word(line, other, resistances):
    """Return the resistance [ohm] from the driver to where two bit lines' currents part."""
    return resistances.driver + resistances.word * (min(line, other) + 1)


@njit(cache=True)
def _weights(word, bit, tile, care):
    """Return w over a cell's row and column: 1 for itself, `care` for others, 0 if pruned."""
    present = _cross(tile.g_pos, word, bit) + _cross(tile.g_neg, word, bit)
    weight = np.where(present != 0.0, care, 0.0)
    weight[bit] = 1.0
    return weight


@njit(cache=True)
def _quadratic(a, b, gap, weight):
    """Return the factors of E from a, b, gap and w over a cell's row and column."""
    aa = ab = bb = a_gap = b_gap = 0.0
    for k in range(len(gap)):
        aa += weight[k] * a[k] * a[k]
        ab += weight[k] * a[k] * b[k]
        bb += weight[k] * b[k] * b[k]
        a_gap += weight[k] * gap[k] * a[k]
        b_gap += weight[k] * gap[k] * b[k]
    return Quadratic(aa, ab, bb, a_gap, b_gap)


@njit(cache=True)
def _best_subset(values, mask, free, error):
    """Return the mask with the least E, and its changes p and q [S].

    All combinations of the free switches are tried, one switch flipped at a time (Gray code).
    """
    one, n = np.uint64(1), len(values) // 2
    p = q = 0.0
    now, best = mask, (0.0, mask, 0.0, 0.0)
    for step in range(1, 1 << len(free)):
        bit = 0
        while not (step >> bit) & 1:
            bit += 1
        k = free[bit]
        change = -values[k] if now >> np.uint64(k) & one else values[k]
        now ^= one << np.uint64(k)
        if k < n:
            p += change
        else:
            q += change
        e = p * (error.aa * p + 2.0 * error.ab * q - 2.0 * error.a_gap)
        e += q * (error.bb * q - 2.0 * error.b_gap)
        if e < best[0]:
            best = (e, now, p, q)
    return best[1:]


@njit(cache=True)
def _update(tile, word, bit, changes, moved):
    """Put a cell's changes [S] into its banks, and what they moved into its row and column."""
    n_word, n_bit = tile.gap.shape
    tile.g_pos[word, bit] += changes[0]
    tile.g_neg[word, bit] += changes[1]
    for k in range(n_bit):
        tile.gap[word, k] -= moved[k]
    for k in range(n_word):
        tile.gap[k, bit] -= moved[n_bit + k]
