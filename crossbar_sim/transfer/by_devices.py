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

import numpy as np
from numba import njit

from crossbar_sim.transfer.symmetric_inverse import FAST, invert


@njit(cache=True, nogil=True)
def eliminate_devices(lines):
    """Return the transfer matrix (n_word, n_line) [S] of an array, `Lines`."""
    n_word, n_line = lines.g.shape
    z = np.zeros((n_word, n_word))
    outputs, line_of = np.zeros((n_line, n_word)), np.empty(n_line, np.int64)
    place = np.full(n_word, -1)  # of a word line in Z; -1 as long as it has no device
    n = m = 0
    for j in range(lines.n_bit - 1, -1, -1):
        for a in range(n):
            z[a, a] += 1.0 / lines.g_word
        words = np.flatnonzero(lines.g[:, j] + lines.g[:, lines.n_bit + j])
        if len(words):
            y, out = _column(lines, j, words)
            n = _join(z, outputs, n, m, place, words, y)
            at = place[words]
            outputs[m : m + 2, :n] = np.dot(out, z[at][:, :n].copy())
            line_of[m], line_of[m + 1] = j, lines.n_bit + j
            m += 2
    injected = z[:n, :n].copy()
    for a in range(n):
        injected[a, a] += 1.0 / lines.g_first
    invert(injected)
    found = np.dot(outputs[:m, :n].copy(), injected)
    transfer = np.zeros((n_word, n_line))
    for i in np.flatnonzero(place >= 0):
        transfer[i, line_of[:m]] = found[:, place[i]]
    return transfer


@njit(cache=True, nogil=True)
def _column(lines, j, words):
    """Return a column's conductance (k, k) [S] between word lines, and its outputs (2, k) [S]."""
    k, n_word = len(words), len(lines.g)
    y, out = np.zeros((k, k)), np.zeros((2, k))
    down = np.empty(k)  # to the next device of the bit line, or into the TIA
    for q in range(k - 1):
        down[q] = lines.g_bit / (words[q + 1] - words[q])
    down[k - 1] = 1.0 / ((n_word - 1 - words[k - 1]) / lines.g_bit + 1.0 / lines.g_end)
    for side in range(2):
        _add_chain(lines.g[words, side * lines.n_bit + j], down, y, out[side])
    return y, out


@njit(cache=True, nogil=True, fastmath=FAST)
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


@njit(cache=True, nogil=True)
def _join(z, outputs, n, m, place, words, y):
    """Connect a column Y to the n word lines known so far and to new ones; return their number.

    z, outputs (of which m are known), place: changed in place.
    """
    known = place[words] >= 0
    old, new = np.flatnonzero(known), np.flatnonzero(~known)
    at = place[words[old]]
    y_old, y_new = y[old][:, old].copy(), y[new][:, new].copy()
    invert(y_new)
    follows = np.dot(y_new, y[new][:, old].copy())  # minus a new node's voltage per old volt
    if len(old):
        y_old -= np.dot(y[old][:, new].copy(), follows)
        _in_parallel(z, outputs, n, m, at, y_old)
    for q in range(len(new)):
        place[words[new[q]]] = n + q
    if len(new):
        _append(z, outputs, n, m, at, y_new, follows)
    return n + len(new)


@njit(cache=True, nogil=True)
def _in_parallel(z, outputs, n, m, at, y):
    """Add conductances y (k, k) [S] to ground at k of the n word nodes."""
    columns = z[:n][:, at].copy()
    w = y.copy()
    invert(w)
    w += columns[at]
    invert(w)
    across = np.ascontiguousarray(columns.T)
    _subtract(z[:n, :n], np.dot(np.dot(columns, w), across))
    _subtract(outputs[:m, :n], np.dot(np.dot(outputs[:m][:, at].copy(), w), across))


@njit(cache=True, nogil=True, fastmath=FAST)
def _subtract(matrix, update):
    for i in range(matrix.shape[0]):
        for j in range(matrix.shape[1]):
            matrix[i, j] -= update[i, j]


@njit(cache=True, nogil=True)
def _append(z, outputs, n, m, at, own, follows):
    """Append word nodes to Z: of impedance `own` where the old nodes `at` are held at 0 V."""
    end = n + len(own)
    back = np.ascontiguousarray(follows.T)
    carried = np.dot(follows, z[at][:, :n].copy())
    z[n:end, :n] = -carried
    z[:n, n:end] = -carried.T
    z[n:end, n:end] = own + np.dot(carried[:, at].copy(), back)
    outputs[:m, n:end] = -np.dot(outputs[:m][:, at].copy(), back)
