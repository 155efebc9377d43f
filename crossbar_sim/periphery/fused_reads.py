"""From drives to digital sums in one pass over memory, on the CPU and without gradients.

A layer is read in blocks of positions that fit into the cache. For each group of tiles on the same
word lines, a block's drives are gathered from the images, so that no matrix of patches is ever laid
out; one product gives the differences between the two bit lines of each pair; and clipping,
rounding and the digital sum follow while the block is in the cache.

Amplifiers clip each line by itself, but seldom. By Cauchy and Schwarz no line exceeds the length of
its row times that of the longest vector of drives in the block, so the lines themselves are found,
by another product, only of pairs for which that bound reaches the swing. The outputs are the same.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import overload

from crossbar_sim.periphery import fused_noise, fused_tiles, philox
from crossbar_sim.periphery.fused_drives import in_threads, shares
from crossbar_sim.periphery.fused_noise import ReadNoise, add_noise, stretches
from crossbar_sim.periphery.fused_tiles import Groups
from tinynets.files.compiled import kernels

#: Numbers that a block holds: drives and outputs of a group, and sums.
_BLOCK = 262_144
#: Positions of a block at least and at most; a multiple of what a product takes at once.
_LEAST, _MOST = 64, 512
#: Positions of all blocks but the last are a multiple of this.
_STEP = 16
_1, _2, _3, _4, _5, _6, _7, _EIGHT = np.arange(1, 9, dtype=np.uint64)

#: Fraction of a limit below which a bound keeps clear of it, for the rounding of both.
_SAFE = 1 - 1e-4

kernel = kernels(fused_noise, fused_tiles, philox)
#: For numbers that have an order, which is none of NaN; extremes then use vector instructions.
ordered_kernel = kernels(fused_noise, fused_tiles, philox, fastmath={"reassoc", "nnan", "nsz"})


class Each(NamedTuple):
    """Gains and offsets of the reports of all pairs of all groups, the latter of the range."""

    gain: np.ndarray
    offset: np.ndarray


class Levels(NamedTuple):
    """What the amplifiers and ADCs of a layer do to a voltage, all of the type of the voltages.

    swing: of the amplifiers [V].
    limit, beyond: range of the ADCs, and the voltage from which one counts as beyond it [V].
    step: between levels [V]; 0 for ADCs that do not round.
    """

    swing: Any
    limit: Any
    beyond: Any
    step: Any


class Window(NamedTuple):
    """How a convolution moves over padded images; a dense layer is one of a single pixel.

    height, width: of its outputs.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    height: int
    width: int


class Digital(NamedTuple):
    """What becomes of the sums of the reports, in steps of the ADCs or in volts.

    scale, shift: of each output (n_out,), by which a sum is multiplied and what is added then.
    is_first: whether outputs are begun; else they are added to.
    """

    scale: np.ndarray
    shift: np.ndarray
    is_first: bool


class Reader(NamedTuple):
    """A layer ready to be read.

    has_errors: whether gains and offsets of the ADCs count.
    """

    window: Window
    groups: Groups
    each: Each
    levels: Levels
    has_errors: bool
    noise: ReadNoise
    digital: Digital


def read_layer(
    drive: np.ndarray, reader: Reader, total: np.ndarray, extremes: np.ndarray, n_thread: int
) -> int:
    """Write what a layer's outputs are by its ADCs' reports, or add it.

    drive: padded images (n_image, n_channel, height, width) as a fraction of v_read, contiguous.
    total: (n_image, n_out, n_position).
    extremes: (2, n_pair), gets the least and the greatest input of each ADC [V]; (2, 0) for none.
    n_thread: number of threads.

    Returns how many amplifiers were at their swing or ADCs beyond their range.
    """
    n = total.shape[0] * total.shape[2]
    size = block_size(reader.groups, total.shape[1], n)
    parts = shares(n, n_thread, size)
    seen = np.stack([extremes] * len(parts))

    def read(part: slice) -> int:
        bounds = size, part.start, part.stop
        return _read(drive, reader, bounds, total, seen[parts.index(part)])

    found = in_threads(read, parts)
    extremes[0], extremes[1] = seen[:, 0].min(axis=0), seen[:, 1].max(axis=0)
    return sum(found)


def block_size(groups: Groups, n_out: int, n: int) -> int:
    """Return the number of positions of a block, out of n in all."""
    n_row, n_pair = groups.sizes.max(axis=0, initial=1)
    most = _BLOCK // int(n_row + n_pair + n_out)
    most = min(max(most // _LEAST * _LEAST, _LEAST), _MOST)
    even = -(-n // -(-n // most))
    return -(-even // _STEP) * _STEP


@kernel
def _read(drive, reader, part, total, extremes):
    """Read the positions start … stop - 1, counted over all images, in blocks."""
    (size, start, stop), groups, sizes = part, reader.groups, reader.groups.sizes
    offsets = _offsets(groups.rows, reader.window, drive)
    rows = np.empty(sizes[:, 0].max() * size + 8, drive.dtype)
    outs = np.empty(sizes[:, 1].max() * size, drive.dtype)
    sums, runs = np.empty((total.shape[1], size), drive.dtype), np.empty((size, 2), np.int64)
    flat, n_saturated, noise, n_sample = drive.ravel(), 0, reader.noise, 0
    samples, four = np.empty((size, 3), np.uint64), np.empty(6 * size, drive.dtype)
    for first in range(start, stop, size):
        n = min(size, stop - first)
        n_run = _runs(first, n, reader.window, drive, runs)
        if len(noise.sigma):
            n_sample = stretches(noise, first, n, samples)
        sums[:] = 0
        at_volts = at_row = at_pair = 0
        known = -1
        for k in range(len(sizes)):
            n_row, n_pair = sizes[k]
            x, y = rows[: n_row * n].reshape(n_row, n), outs[: n_pair * n].reshape(n_pair, n)
            _gather(flat, offsets[at_row : at_row + n_row], reader.window, runs[:n_run], rows)
            end = at_volts + n_pair * n_row
            pairs = groups.pairs[at_volts:end].reshape(n_pair, n_row)
            _dot(pairs, x, y)
            rest = groups.rest[at_pair : at_pair + n_pair].copy()
            if len(groups.positive):
                positive = groups.positive[at_volts:end].reshape(n_pair, n_row)
                lines = pairs, positive
                n_saturated += _amplify(x, y, lines, at_pair, reader, rest)
            if len(noise.sigma):
                work = four[: 6 * n].reshape(6, n)
                known = add_noise(y, noise, at_pair, samples[:n_sample], work, known)
            n_saturated += _convert(y, rest, reader, at_pair, sums, extremes)
            at_volts, at_row, at_pair = end, at_row + n_row, at_pair + n_pair
        _add_sums(sums, first, total, n, reader.digital)
    return n_saturated


@kernel
def _offsets(rows, window, drive):
    """Return where the first position of each word line is in the numbers of an image."""
    (height, width), (far, wide) = window.kernel, window.dilation
    offsets = np.empty(len(rows), np.uint64)
    for r in range(len(rows)):
        channel, pixel = divmod(rows[r], height * width)
        y, x = pixel // width * far, pixel % width * wide
        offsets[r] = (channel * drive.shape[2] + y) * drive.shape[3] + x
    return offsets


@kernel
def _runs(first, n, window, drive, runs):
    """Write begin and length of each stretch of a block in the drives; return how many."""
    down, right = window.stride
    _, n_channel, height, width = drive.shape
    done = m = 0
    while done < n:
        image, pixel = divmod(first + done, window.height * window.width)
        y, x = divmod(pixel, window.width)
        length = min(window.width - x, n - done)
        begin = (image * n_channel * height + y * down) * width + x * right
        if m and right == 1 and begin == runs[m - 1, 0] + runs[m - 1, 1]:
            runs[m - 1, 1] += length
        else:
            runs[m, 0], runs[m, 1], m = begin, length, m + 1
        done += length
    return m


@kernel
def _gather(flat, offsets, window, runs, x):
    """Write the drives of some word lines at a block's positions, x (n_row, n) in one piece.

    As copies of eight may write beyond the end of a stretch, x has that much room behind it.
    """
    step = np.uint64(window.stride[1])
    one, at = np.uint64(1), np.uint64(0)
    for r in range(len(offsets)):
        for m in range(len(runs)):
            begin, n = np.uint64(runs[m, 0]) + offsets[r], np.uint64(runs[m, 1])
            if step == one and begin + n + _EIGHT <= len(flat):
                for p in range(np.uint64(0), n, _EIGHT):
                    i, j = begin + p, at + p
                    a, b, c, d = flat[i], flat[i + _1], flat[i + _2], flat[i + _3]
                    e, f, g, h = flat[i + _4], flat[i + _5], flat[i + _6], flat[i + _7]
                    x[j], x[j + _1], x[j + _2], x[j + _3] = a, b, c, d
                    x[j + _4], x[j + _5], x[j + _6], x[j + _7] = e, f, g, h
            else:
                for p in range(n):
                    x[at + p] = flat[begin + p * step]
            at += n


@kernel
def _dot(a, b, out):
    """Write A B. Compiled once, since calls of BLAS compile slowly."""
    np.dot(a, b, out)


@kernel
def _amplify(x, y, lines, at_pair, reader, rest):
    """Clip the pairs whose lines may reach the swing; they then have no rest of their own.

    lines: outputs per unit of drive of the group's pairs and of its positive lines.

    Returns how many amplifiers were at their swing.
    """
    swing, reach = reader.levels.swing, reader.groups.reach
    limit, end = _SAFE * swing, at_pair + len(y)
    most, of_rest = reach.most[at_pair:end], reach.rest[at_pair:end]
    if most.max() < limit:
        return 0
    longest = _longest(x)
    # A NaN among the drives is below no limit, so that it goes the long way.
    far = np.flatnonzero(~(reach.length[at_pair:end] * longest + of_rest < limit) & ~(most < limit))
    if len(far) and longest < np.inf:
        far = _within_reach(far, _largest(x), lines, of_rest, limit)
    if not len(far):
        return 0
    found, n_saturated = np.empty((len(far), x.shape[1]), x.dtype), 0
    _dot(lines[1][far], x, found)
    for k in range(len(far)):
        b = far[k]
        own = rest[b], reader.groups.rest_positive[at_pair + b]
        n_saturated += _clip(y[b], found[k], own, swing)
        rest[b] = 0
    return n_saturated


@kernel
def _longest(x):
    """Return the length of the longest column; NaN if it is that of any."""
    squares = np.zeros(x.shape[1], x.dtype)
    for r in range(len(x)):
        line = x[r]
        for p in range(len(line)):
            squares[p] += line[p] * line[p]
    most = squares[0]
    for p in range(len(squares)):
        if not squares[p] <= most:
            most = squares[p]
        if np.isnan(most):
            break
    return float(np.sqrt(most))


def _bits(x: np.ndarray) -> np.ndarray:
    """Return numbers as integers of the same bits."""
    return x.view(np.int32 if x.dtype == np.float32 else np.int64)


@overload(_bits)
def _compiled_bits(x):
    kind = np.int32 if x.dtype == types.float32 else np.int64
    return lambda x: x.view(kind)


@kernel
def _largest(x):
    """Return the largest number of each row, without sign; NaN if there is any.

    Without their sign, numbers have the order of their bits as integers, a NaN after all others;
    the greatest integer is found by vector instructions, which that of numbers is not.
    """
    largest = np.empty(len(x), x.dtype)
    bits, found = _bits(x), _bits(largest)
    no_sign = np.iinfo(bits.dtype).max
    for r in range(len(x)):
        line, most = bits[r], bits[r, 0] & no_sign
        for p in range(len(line)):
            most = max(most, line[p] & no_sign)
        found[r] = most
    return largest


@ordered_kernel
def _within_reach(far, largest, lines, rest, limit):
    """Return those of some pairs of which a line may get to a limit with such drives."""
    (pairs, positive), n = lines, 0
    for b in far:
        of_positive = of_negative = 0 * largest[0]
        difference, line = pairs[b], positive[b]
        for r in range(len(largest)):
            of_positive += abs(line[r]) * largest[r]
            of_negative += abs(line[r] + difference[r]) * largest[r]
        if max(of_positive, of_negative) + rest[b] >= limit:
            far[n], n = b, n + 1
    return far[:n]


@kernel
def _clip(pair, positive, rest, swing):
    """Write the differences of clipped lines; return how many were at the swing."""
    n_saturated, (rest_pair, rest_positive) = 0, rest
    for p in range(len(pair)):
        a = positive[p] + rest_positive
        b = a + (pair[p] + rest_pair)
        n_saturated += (abs(a) >= swing) + (abs(b) >= swing)
        pair[p] = _clipped(b, swing) - _clipped(a, swing)
    return n_saturated


@kernel
def _convert(pairs, rest, reader, at, sums, extremes):
    """Add what the ADCs of a group report for a block's differences to the sums."""
    levels, n_saturated, n_end = reader.levels, 0, extremes.shape[1]
    if reader.has_errors:
        for b in range(len(pairs)):
            gain, offset = reader.each.gain[at + b], reader.each.offset[at + b]
            _err(pairs[b], rest[b], levels.limit, gain, offset)
            rest[b] = 0
    largest = _largest(pairs)
    for b in range(len(pairs)):
        x, zero, k = pairs[b], rest[b], at + b
        if largest[b] + abs(zero) > levels.beyond:
            n_saturated += _n_beyond(x, zero, levels.beyond)
        if n_end:
            low, high = _ends(x)
            extremes[0, k] = min(low + zero, extremes[0, k])
            extremes[1, k] = max(high + zero, extremes[1, k])
        out, limit, step = sums[reader.groups.columns[k]], levels.limit, levels.step
        if step == 0:
            for p in range(len(x)):
                out[p] += _clipped(x[p] + zero, limit)
        else:
            for p in range(len(x)):
                out[p] += np.rint(_clipped(x[p] + zero, limit) / step)
    return n_saturated


@kernel
def _err(x, rest, limit, gain, offset):
    for p in range(len(x)):
        x[p] = ((x[p] + rest) / limit * gain + offset) * limit


@ordered_kernel
def _ends(x):
    """Return the least and the greatest number."""
    low = high = x[0]
    for p in range(len(x)):
        low, high = min(low, x[p]), max(high, x[p])
    return low, high


@kernel
def _n_beyond(x, rest, beyond):
    """Return how many numbers are beyond a voltage of either sign."""
    n = 0
    for p in range(len(x)):
        n += abs(x[p] + rest) > beyond
    return n


@kernel
def _clipped(x, limit):
    """Return a number within -limit … limit; a NaN, which is neither beyond nor within, as such."""
    low = -limit if x < -limit else x
    return limit if low > limit else low


@kernel
def _add_sums(sums, first, total, n, digital):
    """Put the outputs (n_out, n) of a block among those of all positions, or add them."""
    n_position, done = total.shape[2], 0
    while done < n:
        image, begin = divmod(first + done, n_position)
        length = min(n_position - begin, n - done)
        for c in range(len(sums)):
            own, there = sums[c][done : done + length], total[image, c][begin : begin + length]
            scale, shift = digital.scale[c], digital.shift[c]
            if digital.is_first:
                for p in range(length):
                    there[p] = own[p] * scale + shift
            else:
                for p in range(length):
                    there[p] += own[p] * scale + shift
        done += length
