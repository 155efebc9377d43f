"""Choose the cells of an output line so that their errors cancel on the inputs that occur.

With m the misses of a line's cells and H the second moment of their inputs, the mean square error
of the line's output is m' H m. Cells are chosen in turn, strongest input first, each aimed at its
target plus whatever best cancels the misses made so far, knowing that the cells still open will
cancel what they can. Inputs are taken in blocks: within its block a line's cells see each other
through a Cholesky factor of their own part of H, and all other cells as a slope to cancel.

Source: optimal brain surgery (Hassibi, Stork, NIPS 1992) and GPTQ (Frantar et al., ICLR 2023)
choose weights on a grid in this way; it is Babai's nearest plane (Combinatorica 6, 1986).
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product

import numba
import numpy as np

from tinynets.files import compiled
from tinynets.subset_sum import kernels, order, sorted_lists

_LARGEST_BLOCK = 1024  # inputs; their part of H stays in the cache

_jit = compiled.kernels(kernels, order, sorted_lists)
_jit_fast = compiled.kernels(kernels, order, sorted_lists, fastmath=True)


@dataclass(frozen=True)
class Compensation:
    """How the errors of a line are made to cancel.

    damping: fraction of the mean of the second moment's diagonal that is added to it.
    window: about how many cells of a line are weighed against each other at once.
    sweeps: how often each cell is chosen again, with all others fixed.
    """

    damping: float = 0.01
    window: int = 64
    sweeps: int = 1


def choose_together(
    values: np.ndarray,
    targets: np.ndarray,
    lines: np.ndarray,
    inputs: np.ndarray,
    second_moment: np.ndarray,
    rule: Compensation,
) -> np.ndarray:
    """Choose a subset of values for every cell so that the errors of each line cancel.

    values: (n_cell, n) [S].
    targets: (n_cell,) [S].
    lines, inputs: (n_cell,) output and input index; all cells of a line are of one group.
    second_moment: (groups, n_in, n_in) of the inputs of each group; `inputs` count through all.

    Returns masks (n_cell,) int64.
    """
    if len(targets) == 0:
        return np.zeros(0, np.int64)
    n_line, n_in = lines.max() + 1, second_moment.shape[-1]
    group, inputs = np.divmod(inputs, n_in)
    of_line = np.zeros(n_line, int)
    of_line[lines] = group
    h, place = _weakest_first(second_moment, rule.damping)
    place = place[group, inputs]
    cells = np.lexsort((place, lines))
    keys = lines[cells] * n_in + place[cells]

    masks, misses = np.full(len(targets), -1, np.int64), np.zeros((n_line, n_in))
    size = rule.window * n_line * n_in / len(targets)
    size = int(np.clip(size, rule.window, _LARGEST_BLOCK))
    for sweep, stop in product(range(1 + rule.sweeps), range(n_in, 0, -size)):
        start, known = max(stop - size, 0), 0 if sweep else stop
        edges = n_in * np.arange(n_line)[:, None] + [start, stop]
        work = (
            np.searchsorted(keys, edges),
            _slopes(misses[:, known:], h[:, known:, start:stop], of_line),
            misses[:, start:stop],
            of_line,
        )
        data = cells, place - start, values, targets, masks, h[:, start:stop, start:stop].copy()
        _in_threads(partial(_choose_block, sweep == 0, data), work)
    return masks


def _weakest_first(second_moment: np.ndarray, damping: float) -> tuple[np.ndarray, np.ndarray]:
    """Return damped moments with each group's weakest input first, and the place of each input."""
    strength = np.diagonal(second_moment, axis1=1, axis2=2)
    order = np.argsort(strength, axis=1, kind="stable")
    h = np.take_along_axis(second_moment, order[:, :, None], 1)
    h = np.take_along_axis(h, order[:, None, :], 2)
    each = np.arange(h.shape[-1])
    h[:, each, each] += damping * (strength.mean() or 1.0)
    return h, np.argsort(order, axis=1)


def _slopes(misses: np.ndarray, h: np.ndarray, of_line: np.ndarray) -> np.ndarray:
    """Return misses (n_line, n_known) times the part (n_known, n_block) of its line's group."""
    slopes = np.empty((len(misses), h.shape[-1]))
    for group, part in enumerate(h):
        lines = slice(None) if len(h) == 1 else np.flatnonzero(of_line == group)
        slopes[lines] = misses[lines] @ part
    return slopes


def _in_threads(choose: Callable, work: tuple[np.ndarray, ...]) -> None:
    """Share the lines out evenly: every thread takes every n-th line."""
    n_thread = min(numba.get_num_threads(), len(work[0]))
    shares = [tuple(array[k::n_thread] for array in work) for k in range(n_thread)]
    with ThreadPoolExecutor(n_thread) as pool:
        list(pool.map(choose, shares))


@_jit
def _choose_block(is_first, data, work):
    """Choose the cells of one block of inputs, in some of the lines."""
    cells, place, values, targets, masks, h_block = data
    ranges, slopes, line_misses, of_line = work
    problem = values, targets, masks
    n_most = (ranges[:, 1] - ranges[:, 0]).max()
    h, factor = np.empty((n_most, n_most)), np.empty((n_most, n_most))
    for line in range(len(ranges)):
        window = cells[ranges[line, 0] : ranges[line, 1]]
        where = place[window]
        slope, old = slopes[line][where], line_misses[line][where]
        misses = old.copy()
        _gather(h_block[of_line[line]], where, h)
        if is_first:
            _factorise(h, len(window), factor)
            _choose_in_turn(factor, window, problem, slope, misses)
        _visit(h, window, problem, slope, old, misses)
        for k in range(len(window)):
            line_misses[line, where[k]] = misses[k]


@_jit
def _gather(h_block, where, h):
    for k in range(len(where)):
        row = h_block[where[k]]
        for j in range(len(where)):
            h[k, j] = row[where[j]]


@_jit_fast
def _factorise(h, n, factor):
    """Write the lower Cholesky factor of the leading n by n part of h."""
    for k in range(n):
        for j in range(k + 1):
            rest = h[k, j]
            for i in range(j):
                rest -= factor[k, i] * factor[j, i]
            if j < k:
                factor[k, j] = rest / factor[j, j]
            elif rest > 0.0:
                factor[k, k] = np.sqrt(rest)
            else:
                raise ValueError(
                    "second_moment is not positive definite; pass x.T @ x / n_sample, and a "
                    "larger damping if it is"
                )


@_jit_fast
def _solve(factor, x):
    """Solve factor factor' y = x in place."""
    n = len(x)
    for k in range(n):
        for i in range(k):
            x[k] -= factor[k, i] * x[i]
        x[k] /= factor[k, k]
    for k in range(n - 1, -1, -1):
        x[k] /= factor[k, k]
        for i in range(k):
            x[i] -= factor[k, i] * x[k]


@_jit
def _choose(cell, aim, problem):
    """Choose the subset nearest to aim; return how far its sum is below the target."""
    values, targets, masks = problem
    masks[cell] = -1
    part = slice(cell, cell + 1)
    kernels.solve_own_banks(values[part], np.array([aim]), masks[part])
    return targets[cell] - kernels.chosen_sum(values[cell], masks[cell])


@_jit
def _choose_in_turn(factor, window, problem, slope, misses):
    """Choose each cell, from the last, for the least error that the ones before it can leave.

    problem: values, targets and masks of all cells.
    """
    shift = slope.copy()
    _solve(factor, shift)
    pull = np.zeros(len(window))
    for k in range(len(window) - 1, -1, -1):
        aim = problem[1][window[k]] + shift[k] + pull[k] / factor[k, k]
        misses[k] = _choose(window[k], aim, problem)
        for i in range(k):
            pull[i] += factor[k, i] * (misses[k] + shift[k])


@_jit
def _visit(h, window, problem, slope, old, misses):
    """Choose each cell again with all others fixed; `slope` is the one at the `old` misses."""
    n = len(window)
    for k in range(n - 1, -1, -1):
        here = slope[k]
        for j in range(n):
            here += h[k, j] * (misses[j] - old[j])
        aim = problem[1][window[k]] - misses[k] + here / h[k, k]
        misses[k] = _choose(window[k], aim, problem)
