"""Which elimination suits an array, and many arrays at once."""

from collections.abc import Callable
from functools import cache

import numpy as np
from threadpoolctl import ThreadpoolController

from crossbar_sim.transfer.array_lines import Lines
from crossbar_sim.transfer.by_columns import eliminate_columns
from crossbar_sim.transfer.by_devices import eliminate_devices
from crossbar_sim.transfer.by_rows import eliminate_rows

#: Operations of an inverse (n, n) over those of a product of such matrices, by time.
_INVERSE = 1.5


@cache
def _threads() -> ThreadpoolController:
    return ThreadpoolController()


def eliminate(lines: Lines) -> np.ndarray:
    """Return the transfer matrix (n_word, n_line) [S] of an array."""
    # One thread: on blocks of this size more threads cost more time than they save.
    with _threads().limit(limits=1, user_api="blas"):
        return cheapest(lines)(lines)


def cheapest(lines: Lines) -> Callable[[Lines], np.ndarray]:
    """Return the elimination with the fewest operations for an array."""
    n_word, n_line = lines.g.shape
    n_bit = lines.n_bit
    met = lines.g.reshape(n_word, -1, n_bit).any(axis=1)
    k = met.sum(axis=0).astype(float)  # word lines with a device in each column
    costs = {
        eliminate_rows: n_word * n_line**2 * (_INVERSE * n_line + n_word / 2),
        eliminate_columns: n_bit * n_word**2 * (_INVERSE * n_word + n_line / 2),
        eliminate_devices: float((k * n_word * (n_word + n_line / 2) + 2 * k**3).sum()) * 1.3,
    }
    return min(costs, key=lambda method: costs[method])
