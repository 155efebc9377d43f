"""Node voltages of a regular array, one input vector at a time, by conjugate gradients.

With u the voltages of the word nodes, w those of the bit nodes, and G the cells between them,
Kirchhoff's law reads

    A u - G w = f    (word nodes: A tridiagonal for each word line; f what the drivers inject)
    B w - G' u = h   (bit nodes: B tridiagonal for each bit line; h what the TIAs inject).

A bit line is counted from the voltage at its TIA: w = t + x with t the same along a line. No
current flows along a line at one voltage, so B t - h = D t with D the cells alone. The word lines
are eliminated exactly, u = A^-1 (f + G w), which leaves

    (B - G' A^-1 G) x = G' A^-1 (f + G t) - D t,

symmetric and positive definite. Counting from t also keeps the digits of the currents, which are
small differences from it. Conjugate gradients solve it, preconditioned by B. The number of
iterations grows with the IR drop and hardly with the size.

Both tridiagonal systems are kept as the factors of their elimination: going up a line, node j
receives `low[j]` times its neighbour below; then, going down, its voltage is `inverse[j]` times
what it received plus `rise[j]` times the neighbour above. Pivots are sums: what leads away from a
node but upwards is its cells and, through the segment below, what leads away from the neighbour
there. Nothing cancels where segments conduct far better than cells.
Source: W. K. Grassmann, M. I. Taksar, D. P. Heyman, Oper. Res. 33 (1985) 1107-1116.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numba
import numpy as np

from crossbar_sim.transfer import array_lines
from crossbar_sim.transfer.array_lines import Lines
from tinynets.files.compiled import kernels

#: The conjugate gradients stop when the residual is this fraction of what the cells inject.
TOLERANCE = 1e-13
MAX_ITERATIONS = 2000
#: Product of cells and vectors above which a second thread pays.
_WORTH_THREADS = 200_000

#: Lets sums be taken in any order, so that they use vector instructions.
_FAST = {"contract", "reassoc"}

kernel = kernels(array_lines)
fast_kernel = kernels(array_lines, fastmath=_FAST)


class Ends(NamedTuple):
    """The voltages at the ends of the lines, of one input vector or of each of a batch.

    v_in: of the drivers (…, n_word) [V].
    v_tia: behind the TIAs (…, n_line) [V].
    """

    v_in: np.ndarray
    v_tia: np.ndarray


class Factor(NamedTuple):
    """Factors of tridiagonal systems, one for each line; see the module's docstring."""

    low: np.ndarray
    inverse: np.ndarray
    rise: np.ndarray


def solve_vectors(
    lines: Lines, v_in: np.ndarray, v_tia: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the voltages of word nodes, those of bit nodes above their TIA, and the residuals.

    lines: the array.
    v_in: (n_batch, n_word) [V].
    v_tia: (n_batch, n_line) [V] at the end of each bit line.

    Returns (n_batch, n_word, n_bit) [V], (n_batch, n_word, n_line) [V], and (n_batch, 2): the
    residual relative to what the cells inject, and the size of the terms that cancel in it.
    """
    n_batch, shape = len(v_in), lines.g.shape
    v_word = np.empty((n_batch, shape[0], lines.n_bit))
    v_bit = np.empty((n_batch, *shape))
    residual = np.empty((n_batch, 2))

    def work(rows: np.ndarray) -> None:
        part = slice(rows[0], rows[-1] + 1)
        ends = Ends(v_in[part], v_tia[part])
        _solve_batch(ends, lines, v_word[part], v_bit[part], residual[part])

    # Not by numba's threads: their OpenMP layer changes the number of threads that torch uses.
    large = n_batch * lines.g.size > _WORTH_THREADS
    n_part = min(n_batch, numba.get_num_threads()) if large else 1
    parts = [rows for rows in np.array_split(np.arange(n_batch), n_part) if len(rows)]
    if len(parts) > 1:
        with ThreadPoolExecutor(len(parts)) as pool:
            list(pool.map(work, parts))
    elif parts:
        work(parts[0])
    return v_word, v_bit, residual


@kernel
def _solve_batch(ends, lines, v_word, v_bit, residual):
    """Solve every input vector of a batch."""
    words, bits = _factor_words(lines), _factor_bits(lines)
    for b in range(len(v_word)):
        one = Ends(ends.v_in[b], ends.v_tia[b])
        net, cancelled = _solve_one(one, lines, words, bits, v_word[b], v_bit[b])
        residual[b, 0], residual[b, 1] = net, cancelled


@fast_kernel
def _solve_one(ends, lines, words, bits, u, x):
    """Solve for one input vector; return the relative residual and what cancels in it.

    u (n_word, n_bit) and x (n_word, n_line) become the word-line voltages, and the bit-line
    voltages above those of the TIAs.
    """
    shape = lines.g.shape
    residual, direction, z = np.empty(shape), np.empty(shape), np.empty(shape)
    b_direction, image = np.empty(shape), np.empty(shape)  # B p, and G' A^-1 G p
    x[:] = 0.0
    _cells_inject(ends, lines, words, x, u, residual)
    size = np.sqrt(_dot(residual, residual))
    if size == 0.0:
        return 0.0, 0.0
    _bit_solve(residual, bits, z)
    rz = _dot(residual, z)
    direction[:] = z
    b_direction[:] = residual  # since B z is the residual, B p follows p without a product
    for _ in range(MAX_ITERATIONS):
        u[:] = 0.0
        _through_words(lines, words, direction, u, image)
        curve = _dot(direction, b_direction) - _dot(direction, image)
        step = rz / curve
        for i in range(shape[0]):
            for k in range(shape[1]):
                x[i, k] += step * direction[i, k]
                residual[i, k] -= step * (b_direction[i, k] - image[i, k])
        if np.sqrt(_dot(residual, residual)) <= TOLERANCE * size:
            break
        _bit_solve(residual, bits, z)
        new = _dot(residual, z)
        ratio = new / rz
        rz = new
        for i in range(shape[0]):
            for k in range(shape[1]):
                direction[i, k] = z[i, k] + ratio * direction[i, k]
                b_direction[i, k] = residual[i, k] + ratio * b_direction[i, k]
    _cells_inject(ends, lines, words, x, u, image)
    net, cancelled = _residual(lines, image, x)
    return np.sqrt(net) / size, np.sqrt(cancelled) / size


@kernel
def _cells_inject(ends, lines, words, x, u, out):
    """Set out = G' A^-1 (f + G (t + x)) - D t: what the cells inject, D x apart.

    u (n_word, n_bit) becomes the word-line voltages.
    """
    w, v_tia = np.empty(x.shape), ends.v_tia
    for i in range(len(x)):
        for k in range(len(v_tia)):
            w[i, k] = x[i, k] + v_tia[k]
    _inject(ends.v_in, lines.g_first, u)
    _through_words(lines, words, w, u, out)
    for i in range(len(x)):
        for k in range(len(v_tia)):
            out[i, k] -= lines.g[i, k] * v_tia[k]


@kernel
def _inject(v, g_first, f):
    """Set f (n_word, n_bit) to the currents that the drivers inject into the word nodes."""
    f[:] = 0.0
    for i in range(len(v)):
        f[i, 0] = g_first * v[i]


@kernel
def _factor_words(lines):
    """Return the factors of A, every word line with its cells."""
    g, n_bit, g_first, g_word = lines.g, lines.n_bit, lines.g_first, lines.g_word
    n_word, n_line = g.shape
    shape = (n_word, n_bit)
    low, inverse, rise = np.empty(shape), np.empty(shape), np.empty(shape)
    for i in range(n_word):
        away = g_first
        for j in range(n_bit):
            low[i, j] = g_word * inverse[i, j - 1] if j else 0.0
            if j:
                away *= low[i, j]
            for k in range(j, n_line, n_bit):
                away += g[i, k]
            inverse[i, j] = 1.0 / (away + (g_word if j < n_bit - 1 else 0.0))
            rise[i, j] = g_word * inverse[i, j]
    return Factor(low, inverse, rise)


@kernel
def _factor_bits(lines):
    """Return the factors of B, every bit line with its cells."""
    g, g_bit, g_end = lines.g, lines.g_bit, lines.g_end
    n_word, n_line = g.shape
    low, inverse, rise = np.empty(g.shape), np.empty(g.shape), np.empty(g.shape)
    away = np.zeros(n_line)
    for i in range(n_word):
        for k in range(n_line):
            low[i, k] = g_bit * inverse[i - 1, k] if i else 0.0
            away[k] = low[i, k] * away[k] + g[i, k]
            inverse[i, k] = 1.0 / (away[k] + (g_bit if i < n_word - 1 else g_end))
            rise[i, k] = g_bit * inverse[i, k]
    return Factor(low, inverse, rise)


@fast_kernel
def _word_solve(f, words):
    """Solve every word line in place: f (n_word, n_bit) becomes its node voltages."""
    low, inverse, rise = words.low, words.inverse, words.rise
    n_word, n_bit = f.shape
    for i in range(n_word):
        for j in range(1, n_bit):
            f[i, j] += low[i, j] * f[i, j - 1]
        f[i, n_bit - 1] *= inverse[i, n_bit - 1]
        for j in range(n_bit - 2, -1, -1):
            f[i, j] = inverse[i, j] * f[i, j] + rise[i, j] * f[i, j + 1]


@fast_kernel
def _bit_solve(residual, bits, z):
    """Solve every bit line alone: B z = residual, both (n_word, n_line)."""
    low, inverse, rise = bits.low, bits.inverse, bits.rise
    n_word, n_line = residual.shape
    for k in range(n_line):
        z[0, k] = residual[0, k]
    for i in range(1, n_word):
        for k in range(n_line):
            z[i, k] = residual[i, k] + low[i, k] * z[i - 1, k]
    for k in range(n_line):
        z[n_word - 1, k] *= inverse[n_word - 1, k]
    for i in range(n_word - 2, -1, -1):
        for k in range(n_line):
            z[i, k] = inverse[i, k] * z[i, k] + rise[i, k] * z[i + 1, k]


@fast_kernel
def _through_words(lines, words, p, f, out):
    """Set out = G' A^-1 (f + G p): what the cells inject when the bit nodes are at p.

    f (n_word, n_bit) holds the drivers' currents; it becomes the word nodes' voltages.
    """
    g, n_bit = lines.g, lines.n_bit
    n_word, n_line = g.shape
    for i in range(n_word):
        for start in range(0, n_line, n_bit):
            for j in range(n_bit):
                f[i, j] += g[i, start + j] * p[i, start + j]
    _word_solve(f, words)
    for i in range(n_word):
        for start in range(0, n_line, n_bit):
            for j in range(n_bit):
                out[i, start + j] = g[i, start + j] * f[i, j]


@fast_kernel
def _dot(a, b):
    total = 0.0
    for i in range(a.shape[0]):
        for k in range(a.shape[1]):
            total += a[i, k] * b[i, k]
    return total


@fast_kernel
def _residual(lines, injected, x):
    """Return |injected - B x|^2, and |B| |x| squared, the size of what cancels in it."""
    g, g_bit, g_end = lines.g, lines.g_bit, lines.g_end
    n_word, n_line = g.shape
    net, size = 0.0, 0.0
    for i in range(n_word):
        for k in range(n_line):
            own = (g_bit if i else 0.0) + (g_bit if i < n_word - 1 else g_end) + g[i, k]
            near = (x[i - 1, k] if i else 0.0) + (x[i + 1, k] if i < n_word - 1 else 0.0)
            gap = injected[i, k] - own * x[i, k] + g_bit * near
            net += gap * gap
            size += (own * x[i, k]) ** 2
    return net, size
