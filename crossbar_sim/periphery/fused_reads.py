"""From DACs to digital sums in one pass over memory, on the CPU and without gradients.

A layer is read in blocks of positions that fit into the cache. For each group of tiles on the same
word lines, a block's drives are gathered from the images, so that no matrix of patches is ever laid
out; one product gives the amplifiers' outputs; and clipping, rounding and the digital sum follow
while the block is in the cache. Pairs of bit lines that no drive can bring to their swing take half
a product, that of their difference. Blocks are the same for any number of threads.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from tinynets.files.compiled import kernels

#: Numbers that a block holds: drives and outputs of a group, and sums.
_BLOCK = 65_536
#: Positions of a block at least and at most; a multiple of what a product takes at once.
_LEAST, _MOST = 64, 1024

#: Fraction of the swing up to which a line counts as never clipped, for the rounding of its bound.
_SAFE = 1 - 1e-5

kernel = kernels()
#: For numbers that have an order, which is none of NaN; extremes then use vector instructions.
ordered_kernel = kernels(fastmath={"reassoc", "nnan", "nsz"})


class Groups(NamedTuple):
    """The tiles of a layer, group after group; numba takes it whole.

    sizes: of each group (n_group, 3): its word lines, its pairs, and how many of those are folded.
    volts: output of each line of a group per unit of drive (n_line, n_row) [V], all groups in one
        array; the folded pairs' differences, then the other positive lines, then the negative ones.
    rest: the same at zero drive, for all lines of all groups [V].
    rows: word lines of all groups, as inputs of the layer.
    columns: outputs of the layer, for all pairs of all groups, folded ones first.
    """

    sizes: np.ndarray
    volts: np.ndarray
    rest: np.ndarray
    rows: np.ndarray
    columns: np.ndarray


class Each(NamedTuple):
    """What differs from one ADC to the next, for all pairs of all groups.

    zeros: what is subtracted from the reports [V].
    gain, offset: of the reports, the offset as a fraction of the range.
    """

    zeros: np.ndarray
    gain: np.ndarray
    offset: np.ndarray


class Levels(NamedTuple):
    """What the amplifiers and ADCs of a layer do to a voltage, all of the type of the voltages.

    swing: of the amplifiers [V].
    limit, beyond: range of the ADCs, and the voltage from which one counts as beyond it [V].
    step: between levels [V]; 0 for ADCs that do not round.
    weight: by which the level is multiplied.
    """

    swing: Any
    limit: Any
    beyond: Any
    step: Any
    weight: Any


class Window(NamedTuple):
    """How a convolution moves over padded images; a dense layer is one of a single pixel.

    height, width: of its outputs.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    height: int
    width: int


class Reader(NamedTuple):
    """A layer ready to be read.

    has_errors: whether gains and offsets of the ADCs count.
    is_first: whether sums are begun; else they are added to.
    """

    window: Window
    groups: Groups
    each: Each
    levels: Levels
    has_errors: bool
    is_first: bool


def read_layer(
    drive: np.ndarray, reader: Reader, total: np.ndarray, extremes: np.ndarray, n_thread: int
) -> int:
    """Write what a layer's ADCs report to its sums, or add it.

    drive: padded images (n_image, n_channel, height, width) as a fraction of v_read, contiguous.
    total: (n_image, n_out, n_position) [V].
    extremes: (2, n_pair), gets the least and the greatest input of each ADC [V]; (2, 0) for none.
    n_thread: number of threads.

    Returns how many amplifiers were at their swing or ADCs beyond their range.
    """
    n, size = total.shape[0] * total.shape[2], block_size(reader.groups, total.shape[1])
    n_block = -(-n // size)
    edges = size * np.linspace(0, n_block, max(min(n_thread, n_block), 1) + 1).astype(np.int64)
    seen = np.stack([extremes] * (len(edges) - 1))

    def read(k: int) -> int:
        part = size, edges[k], min(edges[k + 1], n)
        return _read(drive, reader, part, total, seen[k])

    if len(seen) == 1:
        found = [read(0)]
    else:
        with ThreadPoolExecutor(len(seen)) as pool:
            found = list(pool.map(read, range(len(seen))))
    extremes[0], extremes[1] = seen[:, 0].min(axis=0), seen[:, 1].max(axis=0)
    return sum(found)


class Part(NamedTuple):
    """Tiles on the same word lines.

    rows, columns: inputs (n_row,) and outputs (n_pair,) of the layer.
    volts: output of each line per unit of drive, positive lines first (n_row, 2 n_pair), or of each
        pair (n_row, n_pair) [V].
    rest: the same at zero drive (2 n_pair,) or (n_pair,) [V].
    """

    rows: np.ndarray
    columns: np.ndarray
    volts: np.ndarray
    rest: np.ndarray


def packed(parts: Sequence[Part], swing: float, *, signed: bool) -> tuple[Groups, np.ndarray]:
    """Return the tiles of a layer as the kernel takes them.

    signed: whether drives are of -1 … 1; else of 0 … 1.

    Returns the groups, and the order of their pairs among those of the parts (n_pair,).
    """
    sizes, lines, rests, orders, n_before = [], [], [], [], 0
    for part in parts:
        folds = _never_clips(part, swing, signed=signed)
        order, n_pair, n_fold = np.argsort(~folds, kind="stable"), len(folds), folds.sum()
        lines.append(_folded(np.ascontiguousarray(part.volts.T), order, n_fold).ravel())
        rests.append(_folded(part.rest, order, n_fold))
        sizes.append((len(part.rows), n_pair, n_fold))
        orders.append(n_before + order)
        n_before += n_pair
    order = np.concatenate(orders)
    rows, columns = (np.concatenate([getattr(x, k) for x in parts]) for k in ("rows", "columns"))
    made = np.concatenate(lines), np.concatenate(rests), rows, columns[order]
    return Groups(np.array(sizes), *made), order


def _folded(lines: np.ndarray, order: np.ndarray, n_fold: int) -> np.ndarray:
    """Return the differences of the first pairs of an order, then the lines of the others."""
    n_pair, fold, apart = len(order), order[:n_fold], order[n_fold:]
    if len(lines) == n_pair:
        return lines[order]
    parts = lines[n_pair + fold] - lines[fold], lines[apart], lines[n_pair + apart]
    return np.concatenate(parts)


def _never_clips(part: Part, swing: float, *, signed: bool) -> np.ndarray:
    """Return for each pair whether no drive brings any of its lines to the swing."""
    n_pair = len(part.columns)
    if len(part.rest) == n_pair:
        return np.full(n_pair, True)
    volts, rest = part.volts.astype(float), part.rest.astype(float)
    up, down = np.maximum(volts, 0).sum(axis=0), np.minimum(volts, 0).sum(axis=0)
    if signed:
        up, down = up - down, down - up
    most = np.maximum(rest + up, -(rest + down)).reshape(2, n_pair).max(axis=0)
    return most < _SAFE * swing


def block_size(groups: Groups, n_out: int) -> int:
    """Return the number of positions of a block."""
    n_row, n_pair, n_fold = groups.sizes.max(axis=0, initial=1)
    size = _BLOCK // int(n_row + 2 * n_pair - n_fold + n_out)
    return min(max(size // _LEAST * _LEAST, _LEAST), _MOST)


@kernel
def _read(drive, reader, part, total, extremes):
    """Read the positions start … stop - 1, counted over all images, in blocks."""
    (size, start, stop), groups, sizes = part, reader.groups, reader.groups.sizes
    n_line, offsets = 2 * sizes[:, 1] - sizes[:, 2], _offsets(groups.rows, reader.window, drive)
    rows = np.empty(sizes[:, 0].max() * size, drive.dtype)
    outs = np.empty(n_line.max() * size, drive.dtype)
    sums, runs = np.empty((total.shape[1], size), drive.dtype), np.empty((size, 2), np.int64)
    flat, n_saturated = drive.ravel(), 0
    for first in range(start, stop, size):
        n = min(size, stop - first)
        n_run = _runs(first, n, reader.window, drive, runs)
        sums[:] = 0
        at_volts = at_line = at_row = at_pair = 0
        for k in range(len(sizes)):
            n_row, n_pair, n_fold = sizes[k]
            x, y = rows[: n_row * n].reshape(n_row, n), outs[: n_line[k] * n].reshape(n_line[k], n)
            _gather(flat, offsets[at_row : at_row + n_row], reader.window, runs[:n_run], x)
            end = at_volts + n_line[k] * n_row
            _dot(groups.volts[at_volts:end].reshape(n_line[k], n_row), x, y)
            place = at_pair, at_line, n_pair, n_fold
            n_saturated += _convert(y, reader, place, sums, extremes)
            at_volts, at_line = end, at_line + n_line[k]
            at_row, at_pair = at_row + n_row, at_pair + n_pair
        _add_sums(sums, first, total, n, reader.is_first)
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
        runs[m, 0] = (image * n_channel * height + y * down) * width + x * right
        runs[m, 1] = length
        m, done = m + 1, done + length
    return m


@kernel
def _gather(flat, offsets, window, runs, x):
    """Write the drives of some word lines at a block's positions, x (n_row, n)."""
    step = np.uint64(window.stride[1])
    one = np.uint64(1)
    for r in range(len(offsets)):
        line, at = x[r], np.uint64(0)
        for m in range(len(runs)):
            begin, n = np.uint64(runs[m, 0]) + offsets[r], np.uint64(runs[m, 1])
            if step == one:
                for p in range(n):
                    line[at + p] = flat[begin + p]
            else:
                for p in range(n):
                    line[at + p] = flat[begin + p * step]
            at += n


@kernel
def _dot(a, b, out):
    """Write A B. Compiled once, since calls of BLAS compile slowly."""
    np.dot(a, b, out)


@kernel
def _convert(lines, reader, place, sums, extremes):
    """Add what the ADCs of a group report for a block's lines to the sums."""
    at, at_line, n_pair, n_fold = place
    each, levels, rest = reader.each, reader.levels, reader.groups.rest
    n_saturated, n_apart, n = 0, n_pair - n_fold, lines.shape[1]
    for b in range(n_pair):
        x, zero = lines[b], rest[at_line + b]
        if b >= n_fold:
            other = b + n_apart
            n_saturated += _differ(x, lines[other], zero, rest[at_line + other], levels.swing)
            zero -= zero
        if reader.has_errors:
            _err(x, zero, levels.limit, each.gain[at + b], each.offset[at + b])
            zero -= zero
        out = sums[reader.groups.columns[at + b]][:n]
        if levels.step == 0:
            low, high = _add_volts(x, zero, levels, each.zeros[at + b], out)
        else:
            low, high = _add_levels(x, zero, levels, each.zeros[at + b], out)
        if extremes.shape[1]:
            extremes[0, at + b] = min(low, extremes[0, at + b])
            extremes[1, at + b] = max(high, extremes[1, at + b])
        if max(-low, high) > levels.beyond:
            n_saturated += _n_beyond(x, zero, levels.beyond)
    return n_saturated


@kernel
def _differ(x, y, rest_x, rest_y, swing):
    """Clip positive lines x and negative lines y, write y - x to x, count those at the swing."""
    n_saturated = 0
    for p in range(len(x)):
        a, b = x[p] + rest_x, y[p] + rest_y
        n_saturated += (abs(a) >= swing) + (abs(b) >= swing)
        x[p] = _clipped(b, swing) - _clipped(a, swing)
    return n_saturated


@kernel
def _err(x, rest, limit, gain, offset):
    for p in range(len(x)):
        x[p] = ((x[p] + rest) / limit * gain + offset) * limit


@kernel
def _n_beyond(x, rest, beyond):
    """Return how many numbers are beyond a voltage of either sign."""
    n = 0
    for p in range(len(x)):
        n += abs(x[p] + rest) > beyond
    return n


@ordered_kernel
def _add_levels(x, rest, levels, zero, out):
    """Add the levels of x + rest to the sums; return the least and the greatest of x + rest."""
    limit, step, weight = levels.limit, levels.step, levels.weight
    low = high = x[0] + rest
    for p in range(len(x)):
        v = x[p] + rest
        low, high = min(low, v), max(high, v)
    for p in range(len(x)):
        v = x[p] + rest
        level = np.rint(_clipped(v, limit) / step) * step
        out[p] += weight * (level - zero)
    return low, high


@ordered_kernel
def _add_volts(x, rest, levels, zero, out):
    """Do the same for ADCs that only clip."""
    limit, weight = levels.limit, levels.weight
    low = high = x[0] + rest
    for p in range(len(x)):
        v = x[p] + rest
        low, high = min(low, v), max(high, v)
    for p in range(len(x)):
        v = x[p] + rest
        out[p] += weight * (_clipped(v, limit) - zero)
    return low, high


@kernel
def _clipped(x, limit):
    return max(min(x, limit), -limit)


@kernel
def _add_sums(sums, first, total, n, is_first):
    """Put the sums (n_out, n) of a block among those of all positions, or add them."""
    n_position, done = total.shape[2], 0
    while done < n:
        image, begin = divmod(first + done, n_position)
        length = min(n_position - begin, n - done)
        for c in range(len(sums)):
            own, there = sums[c][done : done + length], total[image, c][begin : begin + length]
            if is_first:
                for p in range(length):
                    there[p] = own[p]
            else:
                for p in range(length):
                    there[p] += own[p]
        done += length
