"""From a layer's inputs to the drives of its word lines in one pass over memory, on the CPU."""

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from crossbar_sim.periphery.converters import Converters
from tinynets.files.compiled import kernels

#: Inputs that exceed the range by less than this fraction of it count as within the range.
SLACK = 1e-6

#: Vectors of a dense layer that are laid out together, so that both ways are in the cache.
_TOGETHER = 32
#: Numbers that are converted together, so that all steps are in the cache.
_AT_ONCE = 4096

kernel = kernels()


class DacLevels(NamedTuple):
    """What the DACs of a layer do to a number.

    sign: by which an input is multiplied: -1 in the second of two phases.
    low, limit: range of the DACs.
    step: between levels; 0 for DACs that do not round.
    least, most: inputs that count as beyond the range; none does from -inf to inf.
    """

    sign: float
    low: float
    limit: float
    step: float
    least: float
    most: float

    def of(self, x: np.ndarray) -> "DacLevels":
        """Return the same of the type of some numbers, so that these are not converted."""
        return DacLevels(*map(x.dtype.type, self))


#: Drives that are left as they are.
AS_THEY_ARE = DacLevels(1.0, -1.0, 1.0, 0.0, -np.inf, np.inf)


def phases(converters: Converters, limit: float, *, signed: bool) -> list[DacLevels]:
    """Return the levels of each phase in which analog inputs are read.

    limit, signed: range of the inputs.
    """
    beyond, bits = limit * (1 + SLACK), converters.dac_bits
    two = signed and converters.drive == "two-phase"
    both = signed and not two
    step = limit / (2 ** (bits - both) - 1) if bits else 0.0
    low, least = -limit if both else 0.0, -beyond if signed else 0.0
    first = DacLevels(1.0, low, limit, step, least, beyond)
    return [first, first._replace(sign=-1.0, least=-np.inf, most=np.inf)] if two else [first]


def drive_images(
    x: np.ndarray, levels: DacLevels, padding: tuple[int, int], n_thread: int
) -> tuple[np.ndarray, int]:
    """Return padded drives of images, as a fraction of v_read, and how many inputs were beyond.

    x: (n_image, n_channel, height, width), contiguous. A NaN stays one.
    """
    (n, n_channel, height, width), levels = x.shape, levels.of(x)
    if padding == (0, 0):
        out, parts = np.empty_like(x), shares(x.size, n_thread)
        flat, drives = x.reshape(-1), out.reshape(-1)
        found = in_threads(lambda part: _convert(flat[part], levels, drives[part]), parts)
        return out, sum(found)
    out = np.zeros((n, n_channel, height + 2 * padding[0], width + 2 * padding[1]), x.dtype)
    planes, padded = (a.reshape(n * n_channel, *a.shape[2:]) for a in (x, out))
    parts = shares(len(planes), n_thread)
    found = in_threads(lambda part: _images(planes[part], levels, padding, padded[part]), parts)
    return out, sum(found)


def drive_vectors(x: np.ndarray, levels: DacLevels, n_thread: int) -> tuple[np.ndarray, int]:
    """Return the same of vectors (n_vector, n_in), as an image (1, n_in, 1, n_vector)."""
    out, levels = np.empty((x.shape[1], len(x)), x.dtype), levels.of(x)
    parts = shares(len(x), n_thread, _TOGETHER)
    n_beyond = in_threads(lambda part: _vectors(x[part], levels, out[:, part]), parts)
    return out[None, :, None], sum(n_beyond)


def shares(n: int, n_thread: int, multiple: int = 1) -> list[slice]:
    """Return stretches of 0 … n - 1 for at most so many threads, from multiples of a number."""
    n_block = -(-n // multiple)
    edges = np.linspace(0, n_block, max(min(n_thread, n_block), 1) + 1).astype(np.int64)
    return [slice(a * multiple, min(b * multiple, n)) for a, b in itertools.pairwise(edges)]


def in_threads(work: Callable[[slice], int], parts: list[slice]) -> list[int]:
    """Return what is found for each part, each in a thread of its own."""
    if len(parts) == 1:
        return [work(parts[0])]
    with ThreadPoolExecutor(len(parts)) as pool:
        return list(pool.map(work, parts))


@kernel
def _images(x, levels, padding, out):
    """Write the drives of planes (n, height, width) within padding; return how many were beyond."""
    (down, right), (n, height, width), n_beyond = padding, x.shape, 0
    drives, flat = np.empty(height * width, x.dtype), out.ravel()
    own_width, to_width = np.uint64(width), np.uint64(out.shape[2])
    for k in range(n):
        n_beyond += _convert(x[k].ravel(), levels, drives)
        first = np.uint64((k * out.shape[1] + down) * out.shape[2] + right)
        for i in range(np.uint64(height)):
            at, to = i * own_width, first + i * to_width
            for j in range(own_width):
                flat[to + j] = drives[at + j]
    return n_beyond


@kernel
def _vectors(x, levels, out):
    """Write the drives of vectors (n, n_in), transposed; return how many were beyond."""
    block, n_beyond = np.empty((_TOGETHER, x.shape[1]), x.dtype), 0
    for start in range(0, len(x), _TOGETHER):
        n = min(_TOGETHER, len(x) - start)
        for k in range(n):
            n_beyond += _convert(x[start + k], levels, block[k])
        for i in range(x.shape[1]):
            for k in range(n):
                out[i, start + k] = block[k, i]
    return n_beyond


@kernel
def _convert(x, levels, out):
    """Write the drives of numbers (n,); return how many were beyond the range."""
    sign, low, limit, step = levels.sign, levels.low, levels.limit, levels.step
    least, most, n_beyond, per_step = levels.least, levels.most, 0, step / limit
    for start in range(0, len(x), _AT_ONCE):
        own, drives = x[start : start + _AT_ONCE], out[start : start + _AT_ONCE]
        for p in range(len(own)):
            n_beyond += (own[p] < least) | (own[p] > most)
        # Compared so that a NaN, which is neither, passes.
        for p in range(len(own)):
            v = sign * own[p]
            v = low if v < low else v
            drives[p] = limit if v > limit else v
        if step == 0:
            for p in range(len(own)):
                drives[p] /= limit
        else:
            for p in range(len(own)):
                drives[p] = np.rint(drives[p] / step) * per_step
    return n_beyond
