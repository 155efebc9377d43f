"""Random words from counters, Philox4x32-10: the same on every device, in any order.

Four words of 32 bits are a function of a key of two words and a counter of four. A round multiplies
two words of the counter by constants, and mixes the halves of the products with the other two and
the key.

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC'11.
"""

from typing import NamedTuple

import numpy as np
import torch

from tinynets.files.compiled import kernels

_MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
_KEY_STEPS = 0x9E3779B9, 0xBB67AE85
_N_ROUND = 10
_MASK = 0xFFFFFFFF

kernel = kernels()
#: Vector instructions take a loop only if all that it calls is part of it.
inlined = kernels(inline="always")


class Counters(NamedTuple):
    """The counters (block, place, row) of some rows of blocks, and their key.

    key: two words.
    place: a word.
    first: the first row, below 2^64.
    first_block: the first block of each row, below 2^32.
    n_row, n_block: number of rows, and of blocks in each.
    """

    key: tuple[int, int]
    place: int
    first: int
    first_block: int
    n_row: int
    n_block: int


def words(counters: Counters, device: torch.device) -> torch.Tensor:
    """Return the four words of every block (4, n_row, n_block), below 2^32.

    They are made on the device, and are of the type that is fastest there: uint32 on the CPU, int64
    elsewhere.
    """
    if device.type != "cpu":
        return words_in_torch(counters, device)
    out = np.empty((4, counters.n_row, counters.n_block), np.uint32)
    key = np.array(counters.key, np.uint64)
    _fill(key, np.uint64(counters.place), np.uint64(counters.first), counters.first_block, out)
    return torch.from_numpy(out)


def words_in_torch(counters: Counters, device: torch.device) -> torch.Tensor:
    """Return what `words` does, by integer arithmetic of torch."""
    (k0, k1), shape = counters.key, (counters.n_row, counters.n_block)
    # A row's number has 64 bits, one more than torch counts up to.
    low, high = counters.first & _MASK, counters.first >> 32
    row = low + torch.arange(counters.n_row, dtype=torch.int64, device=device)[:, None]
    block = counters.first_block + torch.arange(counters.n_block, device=device)
    c0 = block.expand(shape)
    c1 = torch.full(shape, counters.place, dtype=torch.int64, device=device)
    c2, c3 = (row & _MASK).expand(shape), ((high + (row >> 32)) & _MASK).expand(shape)
    for _ in range(_N_ROUND):
        # Their 64 bits are those of the products without sign, whatever the sign they are read as.
        one, other = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1 = ((other >> 32) & _MASK) ^ c1 ^ k0, other & _MASK
        c2, c3 = ((one >> 32) & _MASK) ^ c3 ^ k1, one & _MASK
        k0, k1 = (k0 + _KEY_STEPS[0]) & _MASK, (k1 + _KEY_STEPS[1]) & _MASK
    return torch.stack((c0, c1, c2, c3))


@inlined
def four_words(block, place, row, k0, k1):
    """Return the words of a counter; all are uint64, the words and the key below 2^32."""
    mask, half = np.uint64(_MASK), np.uint64(32)
    by_0, by_1 = np.uint64(_MULTIPLIERS[0]), np.uint64(_MULTIPLIERS[1])
    step_0, step_1 = np.uint64(_KEY_STEPS[0]), np.uint64(_KEY_STEPS[1])
    c0, c1, c2, c3 = block, place, row & mask, row >> half
    for _ in range(_N_ROUND):
        one, other = c0 * by_0, c2 * by_1
        c0, c1 = (other >> half) ^ c1 ^ k0, other & mask
        c2, c3 = (one >> half) ^ c3 ^ k1, one & mask
        k0, k1 = (k0 + step_0) & mask, (k1 + step_1) & mask
    return c0, c1, c2, c3


@kernel
def _fill(key, place, first, first_block, out):
    """Write the words of all blocks."""
    for i in range(out.shape[1]):
        for j in range(out.shape[2]):
            row = first + np.uint64(i)
            a, b, c, d = four_words(np.uint64(first_block + j), place, row, key[0], key[1])
            out[0, i, j], out[1, i, j], out[2, i, j], out[3, i, j] = a, b, c, d
