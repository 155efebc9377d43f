"""The transfer matrix of a sparse array, column by column, at a cost that follows its devices.

The same elimination as `by_columns`, with impedances in place of conductances, over the word lines
that have met a device so far. Z (n, n) [ohm] is the voltage at word nodes per current into them,
and each output a row T of current per current into them. Then

    a segment of word line adds r to the diagonal of Z, and nothing to T;
    a column with devices on k of these word lines, of conductance Y (k, k) to ground, gives
    Z' = Z - Z_k W Z_k^T and T' = T - T_k W Z_k^T, with W = (Y^-1 + Z_kk)^-1;

and a word line without devices further on is a chain of resistors: one resistor. The drivers
inject (Z + r_first)^-1 V.
"""

from typing import NamedTuple

import numpy as np

from crossbar_sim.transfer import array_lines, bit_line_elimination, symmetric_inverse
from crossbar_sim.transfer.bit_line_elimination import add_bit_line
from crossbar_sim.transfer.symmetric_inverse import FAST, dot, dot_of_rows, invert
from tinynets.files.compiled import kernels

kernel = kernels(symmetric_inverse, bit_line_elimination, array_lines)
fast_kernel = kernels(symmetric_inverse, bit_line_elimination, array_lines, fastmath=FAST)


class _Front(NamedTuple):
    """What is known beyond a column, of as many word lines and outputs as have been met.

    z: (n_word, n_word) [ohm], over word lines in the order in which they were met.
    outputs: (n_line, n_word).
    place: of each word line in that order (n_word,); -1 as long as it has no device.
    """

    z: np.ndarray
    outputs: np.ndarray
    place: np.ndarray


@kernel
def eliminate_devices(lines):
    """Return the transfer matrix (n_word, n_line) [S] of an array, `Lines`."""
    n_word, n_line = lines.g.shape
    z, outputs, place = np.zeros((n_word, n_word)), np.zeros((n_line, n_word)), np.full(n_word, -1)
    front, line_of = _Front(z, outputs, place), np.empty(n_line, np.int64)
    n = m = 0
    for j in range(lines.n_bit - 1, -1, -1):
        for a in range(n):
            z[a, a] += 1.0 / lines.g_word
        words = _words_with_devices(lines, j)
        if len(words):
            y, out = _column(lines, j, words)
            n = _join(front, n, m, words, y)
            added = dot(out, _taken(z, place[words], np.arange(n)))
            for side in range(len(out)):
                for a in range(n):
                    outputs[m, a] = added[side, a]
                line_of[m] = j + side * lines.n_bit
                m += 1
    everywhere = np.arange(n)
    injected = _taken(z, everywhere, everywhere)
    for a in range(n):
        injected[a, a] += 1.0 / lines.g_first
    invert(injected)
    found = dot(_taken(outputs, np.arange(m), everywhere), injected)
    transfer = np.zeros((n_word, n_line))
    for i in range(n_word):
        if place[i] >= 0:
            for k in range(m):
                transfer[i, line_of[k]] = found[k, place[i]]
    return transfer


@kernel
def _taken(matrix, rows, columns):
    """Return some rows and columns of a matrix."""
    found = np.empty((len(rows), len(columns)))
    for i in range(len(rows)):
        for j in range(len(columns)):
            found[i, j] = matrix[rows[i], columns[j]]
    return found


@kernel
def _words_with_devices(lines, j):
    """Return the word lines (k,) that have a device in a column."""
    n_word, n_line = lines.g.shape
    words, k = np.empty(n_word, np.int64), 0
    for i in range(n_word):
        for line in range(j, n_line, lines.n_bit):
            if lines.g[i, line] != 0:
                words[k] = i
                k += 1
                break
    return words[:k]


@kernel
def _column(lines, j, words):
    """Return a column's conductance (k, k) between word lines, its outputs (n_side, k) [S]."""
    k, (n_word, n_line) = len(words), lines.g.shape
    y, out = np.zeros((k, k)), np.zeros((n_line // lines.n_bit, k))
    g, down = np.empty(k), np.empty(k)  # down: to the next device of the bit line, or into the TIA
    for q in range(k - 1):
        down[q] = lines.g_bit / (words[q + 1] - words[q])
    down[k - 1] = 1.0 / ((n_word - 1 - words[k - 1]) / lines.g_bit + 1.0 / lines.g_end)
    for side in range(len(out)):
        for q in range(k):
            g[q] = lines.g[words[q], side * lines.n_bit + j]
        add_bit_line(g, down, y, out[side])
    return y, out


@kernel
def _join(front, n, m, words, y):
    """Connect a column Y to the n word lines known so far and to new ones; return their number.

    front: changed in place; m of its outputs are known.
    """
    old, new, n_old, n_new = np.empty_like(words), np.empty_like(words), 0, 0
    for q in range(len(words)):
        if front.place[words[q]] >= 0:
            old[n_old] = q
            n_old += 1
        else:
            new[n_new] = q
            n_new += 1
    old, new = old[:n_old], new[:n_new]
    at, y_old, y_new = front.place[words[old]], _taken(y, old, old), _taken(y, new, new)
    invert(y_new)
    follows = dot(y_new, _taken(y, new, old))  # minus a new node's voltage per old volt
    if n_old:
        _subtract(y_old, dot(_taken(y, old, new), follows))
        _in_parallel(front, n, m, at, y_old)
    for q in range(n_new):
        front.place[words[new[q]]] = n + q
    if n_new:
        _append(front, n, m, at, y_new, follows)
    return n + n_new


@kernel
def _in_parallel(front, n, m, at, y):
    """Add conductances y (k, k) [S] to ground at k of the n word nodes."""
    everywhere = np.arange(n)
    columns, w = _taken(front.z, everywhere, at), y.copy()
    invert(w)
    for i in range(len(at)):
        for j in range(len(at)):
            w[i, j] += columns[at[i], j]
    invert(w)
    _subtract(front.z, dot_of_rows(dot(columns, w), columns))
    seen = dot(_taken(front.outputs, np.arange(m), at), w)
    _subtract(front.outputs, dot_of_rows(seen, columns))


@fast_kernel
def _subtract(matrix, update):
    """Subtract from the first rows and columns of a matrix, in place."""
    for i in range(update.shape[0]):
        for j in range(update.shape[1]):
            matrix[i, j] -= update[i, j]


@kernel
def _append(front, n, m, at, own, follows):
    """Append word nodes to Z: of impedance `own` where the old nodes `at` are held at 0 V."""
    z, k = front.z, len(own)
    carried = dot(follows, _taken(z, at, np.arange(n)))
    beside = dot_of_rows(_taken(carried, np.arange(k), at), follows)
    seen = dot_of_rows(_taken(front.outputs, np.arange(m), at), follows)
    for i in range(k):
        for a in range(n):
            z[n + i, a] = z[a, n + i] = -carried[i, a]
        for j in range(k):
            z[n + i, n + j] = own[i, j] + beside[i, j]
        for a in range(m):
            front.outputs[a, n + i] = -seen[a, i]
