"""The fast engine for regular arrays with resistive wires.

A word line is a tridiagonal system, and so is a bit line; the cells couple them. Two exact ways:

- One vector: word lines are eliminated exactly, and conjugate gradients solve for the bit lines,
  preconditioned by their exact tridiagonal solution. The iteration count grows with the IR drop
  and hardly with the size.
- All inputs at once (the transfer matrix): the array is eliminated word line by word line, from
  the top. What is above a word line acts on its bit nodes as a dense symmetric matrix D of
  conductances to the word lines; through one bit-line segment it becomes (1 + r D)^-1 D.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import numba
import numpy as np
from numba import njit
from scipy import linalg
from threadpoolctl import ThreadpoolController

from netlists.circuit import Circuit, Grid

#: The conjugate gradients stop when the residual is this part of what the cells inject.
TOLERANCE = 1e-13
#: Largest accepted relative residual, measured anew at the end.
RESIDUAL_LIMIT = 1e-10
MAX_ITERATIONS = 2000
#: Arrays with at least so many bit lines are eliminated by dense algebra for a transfer matrix.
MIN_DENSE = 96


#: Cells times vectors from which a second thread is worth its start.
_WORTH_THREADS = 200_000


class SolverError(RuntimeError):
    """A circuit that could not be solved to the accuracy promised."""


@dataclass(frozen=True)
class GridSolution:
    """Voltages of all word-line nodes (n_batch, n_word, n_bit) and bit-line nodes (n_batch,
    n_word, n_line), output currents (n_batch, n_line), and the largest relative residual."""

    v_word: np.ndarray
    v_bit: np.ndarray
    i_out: np.ndarray
    residual: float


def is_regular(circuit: Circuit) -> bool:
    """Return whether this module can solve a circuit: a grid whose wires all have resistance."""
    grid = circuit.grid
    return grid is not None and grid.wires.r_word > 0 and grid.wires.r_bit > 0


def solve_grid(circuit: Circuit, v_in: np.ndarray) -> GridSolution:
    """Solve a regular circuit for v_in (n_batch, n_word) [V] by conjugate gradients.

    Raises SolverError when the residual does not fall below RESIDUAL_LIMIT.
    """
    lines = _lines(circuit)
    n_batch, shape = len(v_in), lines.g.shape
    v_word = np.empty((n_batch, shape[0], lines.n_bit))
    v_bit = np.empty((n_batch, *shape))
    residual = np.empty((n_batch, 2))
    _in_threads(v_in, lines, v_word, v_bit, residual)
    worst, cancelled = residual.max(axis=0, initial=0.0).tolist()
    # Wire currents far above the cells' leave a residual of rounding alone, which is no error.
    if not worst <= RESIDUAL_LIMIT + 1e-15 * cancelled:
        raise SolverError(
            f"the conjugate gradients stopped at a relative residual of {worst:.1e} (limit "
            f"{RESIDUAL_LIMIT:.0e}); the wires are too resistive for these cells, "
            "or conductances lie many decades apart"
        )
    return GridSolution(v_word, v_bit, lines.g_end * v_bit[:, -1], worst)


def _in_threads(
    v_in: np.ndarray, lines: "_Lines", v_word: np.ndarray, v_bit: np.ndarray, residual: np.ndarray
) -> None:
    """Solve a batch, in threads of its own where it is large.

    Not by numba's threads: their OpenMP layer changes the number of threads that torch uses.
    """
    large = len(v_in) * lines.g.size > _WORTH_THREADS
    n_part = min(len(v_in), numba.get_num_threads()) if large else 1

    def work(part: np.ndarray) -> None:
        place = slice(part[0], part[-1] + 1)
        parts = v_word[place], v_bit[place], residual[place]
        _solve_batch(v_in[place], *lines.arrays, TOLERANCE, MAX_ITERATIONS, *parts)

    rows = [part for part in np.array_split(np.arange(len(v_in)), n_part) if len(part)]
    if len(rows) < 2:
        for part in rows:
            work(part)
        return
    with ThreadPoolExecutor(len(rows)) as pool:
        list(pool.map(work, rows))


def transfer_grid(circuit: Circuit) -> np.ndarray:
    """Return the transfer matrix (n_word, n_line) [S] of a regular circuit."""
    lines = _lines(circuit)
    if lines.g.shape[1] < MIN_DENSE:
        return solve_grid(circuit, np.eye(circuit.n_word)).i_out
    return _eliminate(lines)


@dataclass(frozen=True)
class _Lines:
    """A regular array as its lines: cells g (n_word, n_line) [S], and segment conductances [S].

    g_first: from a driver to the first cell; g_end: from the last cell into the TIA.
    """

    g: np.ndarray
    n_bit: int
    g_first: float
    g_word: float
    g_bit: float
    g_end: float

    @property
    def arrays(self) -> tuple[np.ndarray, int, float, float, float, float]:
        return self.g, self.n_bit, self.g_first, self.g_word, self.g_bit, self.g_end


def _lines(circuit: Circuit) -> _Lines:
    grid = circuit.grid
    assert isinstance(grid, Grid)
    n_side, n_word, n_bit = grid.g.shape
    wires = grid.wires
    return _Lines(
        g=np.ascontiguousarray(grid.g.transpose(1, 0, 2).reshape(n_word, n_side * n_bit)),
        n_bit=n_bit,
        g_first=1.0 / (wires.r_driver + wires.r_word),
        g_word=1.0 / wires.r_word,
        g_bit=1.0 / wires.r_bit,
        g_end=1.0 / (wires.r_bit + circuit.periphery.r_tia_input),
    )


#: Their functions are made at import, which no type checker sees.
_blas: Any = linalg.blas
_lapack: Any = linalg.lapack


@cache
def _threads() -> ThreadpoolController:
    return ThreadpoolController()


def _eliminate(lines: _Lines) -> np.ndarray:
    """Return the transfer matrix by elimination from the first word line to the last."""
    n_word, n_line = lines.g.shape
    diagonal = np.diag_indices(n_line)
    above = np.zeros((n_line, n_line), order="F")  # D, upper triangle
    response = np.zeros((n_line, n_word), order="F")  # current into the bit nodes, per input
    # One thread: on blocks of this size more threads cost more time than they save.
    with _threads().limit(limits=1, user_api="blas"):
        for i in range(n_word):
            if i:
                through = _inverse(above, 1.0 / lines.g_bit)  # (1 + r D)^-1
                response[:, :i] = _blas.dsymm(1.0, through, response[:, :i])
                above = np.multiply(through, -lines.g_bit, out=through)
                above[diagonal] += lines.g_bit  # (1 + r D)^-1 D = (1 - (1 + r D)^-1) / r
            cells = lines.g[i], lines.n_bit, lines.g_first, lines.g_word
            response[:, i] = _add_word_line(*cells, above)
        last = _inverse(above, 1.0 / lines.g_end)
        return _blas.dsymm(1.0, last, response).T


def _inverse(d: np.ndarray, r: float) -> np.ndarray:
    """Return (1 + r D)^-1, upper triangle, in place of D, which is symmetric and not negative."""
    matrix = np.multiply(d, r, out=d)
    matrix[np.diag_indices(len(d))] += 1.0
    factor, failed = _lapack.dpotrf(matrix, overwrite_a=1, clean=0)
    inverse, failed_too = _lapack.dpotri(factor, overwrite_c=1)
    if failed or failed_too:
        raise SolverError("the array could not be eliminated; conductances lie too far apart")
    return inverse


@njit(cache=True)
def _add_word_line(g, n_bit, g_first, g_word, matrix):
    """Add a word line to the conductance matrix of its bit nodes (upper triangle), in place.

    With A the tridiagonal matrix of the word line and G its cells, that is G - G A^-1 G. Returns
    the current (n_line,) that 1 V at the driver injects: G A^-1 (g_first, 0, …).
    """
    n_line = len(g)
    inverse = _word_inverse(g, n_bit, g_first, g_word)
    injected = np.empty(n_line)
    for line in range(n_line):
        row = inverse[line % n_bit]
        injected[line] = g[line] * row[0] * g_first
        for start in range(0, line + 1, n_bit):
            for j in range(min(n_bit, line + 1 - start)):
                matrix[start + j, line] -= g[line] * g[start + j] * row[j]
        matrix[line, line] += g[line]
    return injected


@njit(cache=True)
def _word_inverse(g, n_bit, g_first, g_word):
    """Return A^-1 (n_bit, n_bit) of a word line by voltage division, without cancellation."""
    diagonal, left, right = np.zeros(n_bit), np.empty(n_bit), np.empty(n_bit)
    for line in range(len(g)):
        diagonal[line % n_bit] += g[line]
    # Conductance that a node sees to its left and to its right, by elimination from each end.
    seen = g_first
    for j in range(n_bit):
        left[j] = seen
        seen = g_word * (seen + diagonal[j]) / (g_word + seen + diagonal[j])
    seen = 0.0
    for j in range(n_bit - 1, -1, -1):
        right[j] = seen
        seen = g_word * (seen + diagonal[j]) / (g_word + seen + diagonal[j])
    inverse = np.empty((n_bit, n_bit))
    for j in range(n_bit):
        share = g_word / (g_word + right[j] + diagonal[j])
        for k in range(j):
            inverse[j, k] = inverse[j - 1, k] * share
        inverse[j, j] = 1.0 / (left[j] + right[j] + diagonal[j])
    for j in range(n_bit - 2, -1, -1):
        share = g_word / (g_word + left[j] + diagonal[j])
        for k in range(j + 1, n_bit):
            inverse[j, k] = inverse[j + 1, k] * share
    return inverse


@njit(cache=True, fastmath={"contract", "reassoc"})
def _word_solve(f, low, inv, rise):
    """Solve every word line in place: f (n_word, n_bit) becomes its node voltages."""
    n_word, n_bit = f.shape
    for i in range(n_word):
        for j in range(1, n_bit):
            f[i, j] += low[i, j] * f[i, j - 1]
        f[i, n_bit - 1] *= inv[i, n_bit - 1]
        for j in range(n_bit - 2, -1, -1):
            f[i, j] = inv[i, j] * f[i, j] + rise[i, j] * f[i, j + 1]


@njit(cache=True, fastmath={"contract", "reassoc"})
def _bit_solve(r, low, inv, rise, z):
    """Solve every bit line alone: z (n_word, n_line) of the tridiagonal systems with r."""
    n_word, n_line = r.shape
    for k in range(n_line):
        z[0, k] = r[0, k]
    for i in range(1, n_word):
        for k in range(n_line):
            z[i, k] = r[i, k] + low[i, k] * z[i - 1, k]
    for k in range(n_line):
        z[n_word - 1, k] *= inv[n_word - 1, k]
    for i in range(n_word - 2, -1, -1):
        for k in range(n_line):
            z[i, k] = inv[i, k] * z[i, k] + rise[i, k] * z[i + 1, k]


@njit(cache=True)
def _factor_words(g, n_bit, g_first, g_word):
    """Return the factors of all word lines for `_word_solve`."""
    n_word, n_line = g.shape
    shape = (n_word, n_bit)
    low, inv, rise = np.empty(shape), np.empty(shape), np.empty(shape)
    for i in range(n_word):
        for j in range(n_bit):
            d = (g_first if j == 0 else g_word) + (g_word if j < n_bit - 1 else 0.0)
            for k in range(j, n_line, n_bit):
                d += g[i, k]
            low[i, j] = g_word * inv[i, j - 1] if j else 0.0
            inv[i, j] = 1.0 / (d - (g_word * low[i, j] if j else 0.0))
            rise[i, j] = g_word * inv[i, j]
    return low, inv, rise


@njit(cache=True)
def _factor_bits(g, g_bit, g_end):
    """Return the factors of all bit lines for `_bit_solve`."""
    n_word, n_line = g.shape
    low, inv, rise = np.empty(g.shape), np.empty(g.shape), np.empty(g.shape)
    for i in range(n_word):
        own = (g_bit if i else 0.0) + (g_bit if i < n_word - 1 else g_end)
        for k in range(n_line):
            low[i, k] = g_bit * inv[i - 1, k] if i else 0.0
            inv[i, k] = 1.0 / (own + g[i, k] - (g_bit * low[i, k] if i else 0.0))
            rise[i, k] = g_bit * inv[i, k]
    return low, inv, rise


@njit(cache=True, fastmath={"contract", "reassoc"})
def _through_words(g, n_bit, words, p, f, out):
    """Set out = G A^-1 (f + G p): what the cells inject when the bit nodes are at p.

    f (n_word, n_bit) holds the drivers' currents; it becomes the word nodes' voltages.
    """
    n_word, n_line = g.shape
    for i in range(n_word):
        for start in range(0, n_line, n_bit):
            for j in range(n_bit):
                f[i, j] += g[i, start + j] * p[i, start + j]
    _word_solve(f, words[0], words[1], words[2])
    for i in range(n_word):
        for start in range(0, n_line, n_bit):
            for j in range(n_bit):
                out[i, start + j] = g[i, start + j] * f[i, j]


@njit(cache=True, fastmath={"contract", "reassoc"})
def _dot(a, b):
    total = 0.0
    for i in range(a.shape[0]):
        for k in range(a.shape[1]):
            total += a[i, k] * b[i, k]
    return total


@njit(cache=True, fastmath={"contract", "reassoc"})
def _residual(g, g_bit, g_end, injected, w):
    """Return |injected - B w|^2, and |B| |w| squared, the size of what cancels in it."""
    n_word, n_line = g.shape
    net, size = 0.0, 0.0
    for i in range(n_word):
        for k in range(n_line):
            own = (g_bit if i else 0.0) + (g_bit if i < n_word - 1 else g_end) + g[i, k]
            near = (w[i - 1, k] if i else 0.0) + (w[i + 1, k] if i < n_word - 1 else 0.0)
            gap = injected[i, k] - own * w[i, k] + g_bit * near
            net += gap * gap
            size += (own * w[i, k]) ** 2
    return net, size


@njit(cache=True, fastmath={"contract", "reassoc"})
def _solve_one(v, g, n_bit, g_first, g_bit, g_end, words, bits, tolerance, max_iterations, u, w):
    """Solve for one input vector v (n_word,); return the relative residual and what cancels in it.

    u (n_word, n_bit) and w (n_word, n_line) become the word- and bit-line voltages.
    """
    n_word, n_line = g.shape
    r, p, z = np.empty(g.shape), np.zeros(g.shape), np.empty(g.shape)
    q, image = np.empty(g.shape), np.empty(g.shape)
    u[:] = 0.0
    for i in range(n_word):
        u[i, 0] = g_first * v[i]
    _through_words(g, n_bit, words, p, u, r)
    w[:] = 0.0
    size = np.sqrt(_dot(r, r))
    if size == 0.0:
        return 0.0, 0.0
    _bit_solve(r, bits[0], bits[1], bits[2], z)
    rz = _dot(r, z)
    p[:] = z
    q[:] = r  # B p: kept up to date, since B z = r
    for _ in range(max_iterations):
        u[:] = 0.0
        _through_words(g, n_bit, words, p, u, image)
        curve = _dot(p, q) - _dot(p, image)
        step = rz / curve
        for i in range(n_word):
            for k in range(n_line):
                w[i, k] += step * p[i, k]
                r[i, k] -= step * (q[i, k] - image[i, k])
        if np.sqrt(_dot(r, r)) <= tolerance * size:
            break
        _bit_solve(r, bits[0], bits[1], bits[2], z)
        new = _dot(r, z)
        ratio = new / rz
        rz = new
        for i in range(n_word):
            for k in range(n_line):
                p[i, k] = z[i, k] + ratio * p[i, k]
                q[i, k] = r[i, k] + ratio * q[i, k]
    u[:] = 0.0
    for i in range(n_word):
        u[i, 0] = g_first * v[i]
    _through_words(g, n_bit, words, w, u, image)
    net, cancelled = _residual(g, g_bit, g_end, image, w)
    return np.sqrt(net) / size, np.sqrt(cancelled) / size


@njit(cache=True, nogil=True)
def _solve_batch(
    v_in,
    g,
    n_bit,
    g_first,
    g_word,
    g_bit,
    g_end,
    tolerance,
    max_iterations,
    v_word,
    v_bit,
    residual,
):
    """Solve every input vector of a batch."""
    words = _factor_words(g, n_bit, g_first, g_word)
    bits = _factor_bits(g, g_bit, g_end)
    for b in range(len(v_in)):
        residual[b, 0], residual[b, 1] = _solve_one(
            v_in[b],
            g,
            n_bit,
            g_first,
            g_bit,
            g_end,
            words,
            bits,
            tolerance,
            max_iterations,
            v_word[b],
            v_bit[b],
        )
