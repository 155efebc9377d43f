"""The numbers of `noise_stream` where a kernel needs them, on the CPU in float32.

The logarithm and the circular functions are polynomials, which vector instructions compute. The
numbers are those of `noise_stream.normals` but for rounding.
"""

import math
from typing import NamedTuple

import numpy as np

from crossbar_sim.periphery import philox
from crossbar_sim.periphery.philox import four_words
from tinynets.files.compiled import kernels

#: Division as the processor does it; a test for zero would keep loops from vector instructions.
kernel = kernels(philox, error_model="numpy")

_f = np.float32
#: Of words of 32 bits, the part of 1 that they are; and half of the last one's.
_STEP, _HALF_STEP = _f(2.0**-32), _f(2.0**-33)
_0, _1, _HALF, _MINUS_2, _FOUR, _QUARTER_TURN = map(_f, (0, 1, 0.5, -2, 4, math.pi / 2))

#: log m = 2 s (1 + s² / 3 + s⁴ / 5 + ...) with s = (m - 1) / (m + 1), for m within sqrt(2) of 1.
_LOG_2, _LOG_3, _LOG_5, _LOG_7, _LOG_9 = map(_f, (math.log(2), 2 / 3, 2 / 5, 2 / 7, 2 / 9))
_TWO = _f(2)
#: Bits of the square root of 1/2, and number of bits behind the point.
_ROOT_OF_HALF, _N_BIT = np.int32(0x3F3504F3), np.int32(23)

#: Taylor's series within an eighth of a turn.
_SIN_3, _SIN_5, _SIN_7, _SIN_9 = (_f((-1) ** (k // 2) / math.factorial(k)) for k in (3, 5, 7, 9))
_COS_2, _COS_4, _COS_6, _COS_8 = (_f((-1) ** (k // 2) / math.factorial(k)) for k in (2, 4, 6, 8))


class ReadNoise(NamedTuple):
    """The noise of a pass over a layer's inputs.

    sigma: of all pairs of all groups (n_pair,) [V rms]; empty for no noise.
    key: two words (2,).
    place, first: of the counters, see `noise_stream.Reading`; the first is a sample.
    n_position: positions of a sample: those of an image, or 1.
    """

    sigma: np.ndarray
    key: np.ndarray
    place: np.uint64
    first: np.uint64
    n_position: np.uint64

    @staticmethod
    def none(like: np.ndarray) -> "ReadNoise":
        """Return no noise, of the type of some numbers."""
        return ReadNoise(like[:0], np.zeros(2, np.uint64), *3 * (np.uint64(0),))


@kernel
def stretches(noise, first, n, runs):
    """Write the stretches of n positions from `first` on, counted over all samples.

    runs: gets length, sample and position of each stretch (n, 3); within one, either the positions
        follow each other, or where a sample has but one, the samples.

    Returns how many there are.
    """
    if noise.n_position == 1:
        runs[0, 0], runs[0, 1], runs[0, 2] = n, noise.first + np.uint64(first), 0
        return 1
    done = m = 0
    while done < n:
        sample, position = divmod(np.uint64(first + done), noise.n_position)
        length = min(n - done, np.int64(noise.n_position - position))
        runs[m, 0], runs[m, 1], runs[m, 2] = length, noise.first + sample, position
        m, done = m + 1, done + length
    return m


@kernel
def add_noise(pairs, noise, at, runs, four, known):
    """Add noise to some pairs (n_pair, n), of which the first is number `at` of all.

    runs: of the positions, by `stretches`.
    four: (6, n), to work in.
    known: the four pairs whose numbers are in `four` already, counted in fours; -1 for none.

    Returns the four pairs whose numbers are there now.
    """
    words, n_pair = four.view(np.uint32), len(pairs)
    last = (at + n_pair - 1) // 4
    for block in range(at // 4, last + 1):
        if block != known:
            _fill(noise, np.uint64(block) * noise.n_position, runs, words, four)
        for k in range(max(4 * block, at), min(4 * block + 4, at + n_pair)):
            out, own, sigma = pairs[k - at], four[k - 4 * block], noise.sigma[k]
            for p in range(len(out)):
                out[p] += sigma * own[p]
    return last


@kernel
def _fill(noise, first, runs, words, four):
    """Write four normal numbers for each position of some runs; `words` are the bits of `four`."""
    done = 0
    for m in range(len(runs)):
        start, n = (first + runs[m, 2], noise.place, runs[m, 1]), np.int64(runs[m, 0])
        _write_words(noise.key, start, noise.n_position == 1, words, (np.uint64(done), n))
        done += n
    for q in range(2):
        _to_numbers(words[q], _HALF_STEP, four[q])
        _to_numbers(words[2 + q], _0, four[2 + q])
        _to_lengths(four[q], four[4], four[5])
        _to_normals(four[q], four[2 + q])


@kernel
def _write_words(key, start, are_samples, words, place):
    """Write the words of counters from a start on, to places `to` … `to + n - 1`."""
    (block, word, sample), (to, n), k0, k1 = start, place, key[0], key[1]
    if are_samples:
        for p in range(n):
            i = to + np.uint64(p)
            a, b, c, d = four_words(block, word, sample + np.uint64(p), k0, k1)
            words[0, i], words[1, i], words[2, i], words[3, i] = a, b, c, d
    else:
        for p in range(n):
            i = to + np.uint64(p)
            a, b, c, d = four_words(block + np.uint64(p), word, sample, k0, k1)
            words[0, i], words[1, i], words[2, i], words[3, i] = a, b, c, d


@kernel
def _to_numbers(words, least, out):
    """Write words as parts of 1, from a least number on."""
    for p in range(len(words)):
        out[p] = _f(words[p]) * _STEP + least


@kernel
def _to_lengths(x, mantissa, exponent):
    """Replace numbers of 0 … 1 by sqrt(-2 log x)."""
    bits, found = x.view(np.int32), mantissa.view(np.int32)
    for p in range(len(x)):
        power = np.int32(np.int32(bits[p] - _ROOT_OF_HALF) >> _N_BIT)
        found[p] = np.int32(bits[p] - np.int32(power << _N_BIT))
        exponent[p] = _f(power)
    for p in range(len(x)):
        s = (mantissa[p] - _1) / (mantissa[p] + _1)
        z = s * s
        tail = z * (_LOG_3 + z * (_LOG_5 + z * (_LOG_7 + z * _LOG_9)))
        x[p] = np.sqrt(_MINUS_2 * (exponent[p] * _LOG_2 + s * (_TWO + tail)))


@kernel
def _to_normals(length, turn):
    """Replace lengths and turns of 0 … 1 by length cos(2 pi turn) and length sin(2 pi turn)."""
    for p in range(len(length)):
        quarters = turn[p] * _FOUR
        whole = np.floor(quarters + _HALF)
        angle = (quarters - whole) * _QUARTER_TURN
        z = angle * angle
        sine = angle * (_1 + z * (_SIN_3 + z * (_SIN_5 + z * (_SIN_7 + z * _SIN_9))))
        cosine = _1 + z * (_COS_2 + z * (_COS_4 + z * (_COS_6 + z * _COS_8)))
        k = np.int32(whole)
        a, b = (sine, cosine) if k & 1 else (cosine, sine)
        turn[p] = length[p] * (-b if k & 2 else b)
        length[p] = length[p] * (-a if (k + 1) & 2 else a)
