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

from crossbar_sim.transfer import array_lines, symmetric_inverse
from crossbar_sim.transfer.symmetric_inverse import FAST, invert
from tinynets.files.compiled import kernels

kernel = kernels(symmetric_inverse, array_lines)
fast_kernel = kernels(symmetric_inverse, array_lines, fastmath=FAST)


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
            at = place[words]
            outputs[m : m + len(out), :n] = np.dot(out, z[at][:, :n].copy())
            for line in range(j, n_line, lines.n_bit):
                line_of[m] = line
                m += 1
    injected = z[:n, :n].copy()
    for a in range(n):
        injected[a, a] += 1.0 / lines.g_first
    invert(injected)
    found = np.dot(outputs[:m, :n].copy(), injected)
    transfer = np.zeros((n_word, n_line))
    for i in np.flatnonzero(place >= 0):
        transfer[i, line_of[:m]] = found[:, place[i]]
    return transfer


@kernel
def _words_with_devices(lines, j):
    found = np.zeros(len(lines.g))
    for line in range(j, lines.g.shape[1], lines.n_bit):
        found += lines.g[:, line]
    return np.flatnonzero(found)


@kernel
def _column(lines, j, words):
    """Return a column's conductance (k, k) between word lines, its outputs (n_side, k) [S]."""
    k, (n_word, n_line) = len(words), lines.g.shape
    y, out = np.zeros((k, k)), np.zeros((n_line // lines.n_bit, k))
    down = np.empty(k)  # to the next device of the bit line, or into the TIA
    for q in range(k - 1):
        down[q] = lines.g_bit / (words[q + 1] - words[q])
    down[k - 1] = 1.0 / ((n_word - 1 - words[k - 1]) / lines.g_bit + 1.0 / lines.g_end)
    for side in range(len(out)):
        _add_chain(lines.g[words, side * lines.n_bit + j], down, y, out[side])
    return y, out


@fast_kernel
def _add_chain(g, down, y, output):
    """Add G - G K^-1 G of a bit line, a chain of k devices g, to Y; write its output per volt."""
    k = len(g)
    above, below = np.empty(k), np.empty(k)
    seen = 0.0
    for i in range(k):
        above[i] = seen
        seen = down[i] * (seen + g[i]) / (down[i] + seen + g[i])
    seen = down[k - 1]
    for i in range(k - 1, -1, -1):
        below[i] = seen
        if i:
            seen = down[i - 1] * (seen + g[i]) / (down[i - 1] + seen + g[i])
    for i in range(k):
        if i:
            share = down[i - 1] / (down[i - 1] + below[i] + g[i])
            for q in range(i):
                output[q] *= share
        output[i] = 1.0 / (above[i] + below[i] + g[i])
        for q in range(i):
            shared = g[i] * output[q] * g[q]
            y[i, q] -= shared
            y[q, i] -= shared
        y[i, i] += g[i] - g[i] * output[i] * g[i]
    for q in range(k):
        output[q] *= down[k - 1] * g[q]


@kernel
def _join(front, n, m, words, y):
    """Connect a column Y to the n word lines known so far and to new ones; return their number.

    front: changed in place; m of its outputs are known.
    """
    place = front.place
    known = place[words] >= 0
    old, new = np.flatnonzero(known), np.flatnonzero(~known)
    at = place[words[old]]
    y_old, y_new = y[old][:, old].copy(), y[new][:, new].copy()
    invert(y_new)
    follows = np.dot(y_new, y[new][:, old].copy())  # minus a new node's voltage per old volt
    if len(old):
        y_old -= np.dot(y[old][:, new].copy(), follows)
        _in_parallel(front, n, m, at, y_old)
    for q in range(len(new)):
        place[words[new[q]]] = n + q
    if len(new):
        _append(front, n, m, at, y_new, follows)
    return n + len(new)


@kernel
def _in_parallel(front, n, m, at, y):
    """Add conductances y (k, k) [S] to ground at k of the n word nodes."""
    z, outputs = front.z, front.outputs
    columns = z[:n][:, at].copy()
    w = y.copy()
    invert(w)
    w += columns[at]
    invert(w)
    across = np.ascontiguousarray(columns.T)
    _subtract(z[:n, :n], np.dot(np.dot(columns, w), across))
    _subtract(outputs[:m, :n], np.dot(np.dot(outputs[:m][:, at].copy(), w), across))


@fast_kernel
def _subtract(matrix, update):
    for i in range(matrix.shape[0]):
        for j in range(matrix.shape[1]):
            matrix[i, j] -= update[i, j]


@kernel
def _append(front, n, m, at, own, follows):
    """Append word nodes to Z: of impedance `own` where the old nodes `at` are held at 0 V."""
    z, outputs, end = front.z, front.outputs, n + len(own)
    back = np.ascontiguousarray(follows.T)
    carried = np.dot(follows, z[at][:, :n].copy())
    z[n:end, :n] = -carried
    z[:n, n:end] = -carried.T
    z[n:end, n:end] = own + np.dot(carried[:, at].copy(), back)
    outputs[:m, n:end] = -np.dot(outputs[:m][:, at].copy(), back)
