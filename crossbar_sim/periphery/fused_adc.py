"""From amplifiers to digital sums in one pass over memory, on the CPU and without gradients.

Gives what `conversion.quantise` and the sums of `on_die` give, to the last bit.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch

from tinynets.files.compiled import kernels

#: Number of voltages above which a second thread pays.
_WORTH_THREADS = 100_000

kernel = kernels()


class Levels(NamedTuple):
    """What ADCs with bits do to a voltage, all of the type of the voltages.

    swing: of the amplifiers [V]; the lines of a pair are still apart if it is finite.
    limit, beyond: range, and the voltage from which one counts as beyond it [V].
    step: between levels [V].
    weight: by which the level is multiplied.
    """

    swing: np.floating
    limit: np.floating
    beyond: np.floating
    step: np.floating
    weight: np.floating


class Each(NamedTuple):
    """What differs from one ADC to the next, each (n_bit,).

    columns: outputs of the layer.
    zeros: what is subtracted from the reports [V].
    gain, offset: of the reports, the offset as a fraction of the range.
    """

    columns: Any
    zeros: Any
    gain: Any
    offset: Any


def add_levels(
    lines: torch.Tensor,
    each: Each,
    levels: tuple[float, float, float, float, float],
    total: torch.Tensor,
    *,
    has_errors: bool,
) -> int:
    """Add what the ADCs of some tiles report to the outputs of their layer, in place.

    lines: (n_vector, n_bit or 2 n_bit, …) [V], contiguous.
    each: tensors, of the type of the voltages but for the columns.
    levels: the fields of `Levels`.
    total: (n_vector, n_out, …) [V], contiguous.

    Returns how many amplifiers were at their swing or ADCs beyond their range.
    """
    flat, sums = (t.detach().reshape(*t.shape[:2], -1).numpy() for t in (lines, total))
    fixed = Levels(*(flat.dtype.type(value) for value in levels))
    parts = Each(*(part.numpy() for part in each)), fixed, has_errors
    large = flat.size > _WORTH_THREADS
    n_thread = min(torch.get_num_threads(), len(flat)) if large else 1
    if n_thread < 2:
        return _add(flat, *parts, sums)
    pieces = zip(np.array_split(flat, n_thread), np.array_split(sums, n_thread))
    with ThreadPoolExecutor(n_thread) as pool:
        found = list(pool.map(lambda piece: _add(piece[0], *parts, piece[1]), pieces))
    return sum(found)


@kernel
def _add(lines, each, levels, has_errors, total):
    n_bit, n_saturated = len(each.columns), 0
    is_pair = lines.shape[1] == 2 * n_bit
    for v in range(len(lines)):
        for b in range(n_bit):
            first, second = lines[v, b], lines[v, n_bit + b if is_pair else b]
            out, zero = total[v, each.columns[b]], each.zeros[b]
            gain, offset = each.gain[b], each.offset[b]
            for p in range(len(first)):
                x = first[p]
                if is_pair:
                    y = second[p]
                    n_saturated += (abs(x) >= levels.swing) + (abs(y) >= levels.swing)
                    x = _clipped(y, levels.swing) - _clipped(x, levels.swing)
                if has_errors:
                    x = (x / levels.limit * gain + offset) * levels.limit
                n_saturated += abs(x) > levels.beyond
                level = np.rint(_clipped(x, levels.limit) / levels.step) * levels.step
                out[p] += levels.weight * (level - zero)
    return n_saturated


@kernel
def _clipped(x, limit):
    if x > limit:
        return limit
    return -limit if x < -limit else x
