"""Counter-based random streams: any value of any cell, in any order, always the same.

A die holds millions of random numbers that are never stored. Each is computed from its purpose:
the die's seed and the layer's name make the key of a Philox4x64-10 generator, and the cell's row,
its column, the physical term and a block number make the counter.

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC'11.
"""

import hashlib
import math
from enum import IntEnum, unique
from typing import Literal

import numpy as np
from numba import njit
from scipy.special import ndtr, ndtri

Distribution = Literal["normal", "truncated", "lognormal", "uniform", "holed"]

_MULTIPLIERS = (np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157))
_KEY_STEPS = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B))
_N_ROUND = 10
_LOW_HALF = np.uint64(0xFFFFFFFF)
_HALF_BITS = np.uint64(32)
_UNUSED_BITS = np.uint64(12)
_LANES = 4  # 64-bit words that one Philox block yields


@unique
class Term(IntEnum):
    """What a random number is used for. The numbers fix every die ever made: never change one."""

    LOT = 0
    GRADIENT = 1
    LOCAL = 2
    METER = 3
    SWITCH = 4
    TEMPERATURE = 5
    STUCK = 6
    COMPOSITE = 7
    DRIFT = 8
    SURVEY = 9


@njit(cache=True, inline="always")
def _multiply(a, b):
    """Return the high and the low 64 bits of a product of two 64-bit integers."""
    a_low, a_high = a & _LOW_HALF, a >> _HALF_BITS
    b_low, b_high = b & _LOW_HALF, b >> _HALF_BITS
    low_high, high_low = a_low * b_high, a_high * b_low
    middle = ((a_low * b_low) >> _HALF_BITS) + (low_high & _LOW_HALF) + (high_low & _LOW_HALF)
    high = a_high * b_high + (low_high >> _HALF_BITS) + (high_low >> _HALF_BITS)
    return high + (middle >> _HALF_BITS), a * b


@njit(cache=True, inline="always")
def _philox_block(c0, c1, c2, c3, k0, k1):
    """Return the four words of one counter."""
    for _ in range(_N_ROUND):
        high_0, low_0 = _multiply(_MULTIPLIERS[0], c0)
        high_1, low_1 = _multiply(_MULTIPLIERS[1], c2)
        c0, c1, c2, c3 = high_1 ^ c1 ^ k0, low_1, high_0 ^ c3 ^ k1, low_0
        k0, k1 = k0 + _KEY_STEPS[0], k1 + _KEY_STEPS[1]
    return c0, c1, c2, c3


@njit(cache=True, inline="always")
def _open_unit(word):
    """Return an odd multiple of 2**-53: inside (0, 1), symmetric about a half, without rounding."""
    return (np.float64(word >> _UNUSED_BITS) + 0.5) * 2.0**-52


@njit(cache=True, nogil=True)
def _fill_uniforms(rows, columns, term, key, out):
    n_cell, n_value = out.shape
    for cell in range(n_cell):
        row, column = np.uint64(rows[cell]), np.uint64(columns[cell])
        for first in range(0, n_value, _LANES):
            block = np.uint64(first // _LANES)
            words = _philox_block(row, column, term, block, key[0], key[1])
            for lane in range(min(_LANES, n_value - first)):
                out[cell, first + lane] = _open_unit(words[lane])


def stream_key(seed: int, label: str) -> np.ndarray:
    """Return the generator's key: the seed and a 64-bit BLAKE2b hash of the label.

    seed: integer in [0, 2**64).
    label: any string.

    Returns (2,) uint64.
    """
    digest = hashlib.blake2b(label.encode(), digest_size=8).digest()
    return np.array([seed, int.from_bytes(digest, "little")], dtype=np.uint64)


def uniforms(
    seed: int, label: str, term: int, rows: np.ndarray, columns: np.ndarray, n_value: int
) -> np.ndarray:
    """Return uniform numbers in the open interval (0, 1), different ones for each cell.

    seed, label: see `stream_key`.
    term: a `Term`.
    rows, columns: (n_cell,) integers >= 0.

    Returns (n_cell, n_value).
    """
    out = np.empty((len(rows), n_value))
    _fill_uniforms(rows, columns, np.uint64(term), stream_key(seed, label), out)
    return out


def normals(
    seed: int, label: str, term: int, rows: np.ndarray, columns: np.ndarray, n_value: int
) -> np.ndarray:
    """Return standard normal numbers, different ones for each cell; arguments as for `uniforms`."""
    values = uniforms(seed, label, term, rows, columns, n_value)
    return ndtri(values, out=values)


def deviates(u: np.ndarray, distribution: Distribution, bound: float, hole: float) -> np.ndarray:
    """Return deviations [standard deviations]: a distribution function, inverted at u.

    u: in (0, 1), any shape; may be overwritten.
    bound: where a "truncated" or "holed" normal distribution ends.
    hole: where the hole of a "holed" one ends.

    For "lognormal" these are the exponents.
    """
    if distribution == "uniform":
        return math.sqrt(12) * (u - 0.5)
    if distribution in ("normal", "lognormal"):
        return ndtri(u, out=u)
    low = ndtr(-bound)
    high = ndtr(-hole) if distribution == "holed" else 0.5
    lower_tail = low + np.minimum(u, 1 - u) * 2 * (high - low)
    return np.copysign(ndtri(lower_tail), u - 0.5)
