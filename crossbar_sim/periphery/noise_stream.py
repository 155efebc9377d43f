"""The numbers of a layer's read noise: each depends on nothing but what is read.

So they are the same on every device, and for samples that are read in one batch or in several.
"""

import math
from collections.abc import Callable

import numpy as np
import torch

from crossbar_sim.periphery.philox import Counters, words

#: Gives standard normal numbers of the shape, type and device of what is read.
Draw = Callable[[torch.Tensor], torch.Tensor]

#: Most passes over the inputs of a product: two phases of 24 bits are 48.
_N_PASS = 64
#: Blocks of four numbers that are made at once, which bounds the memory.
_AT_ONCE = 2**18
#: Blocks of a row below which those of many rows are made together.
_SHORT = 16


class NoiseStream:
    """The noise of one layer since it was made or restarted.

    seed, label: of the noise and the layer; both make the key.

    A number belongs to a group of tiles, a pass (of bits or phases), one of their outputs, and a
    sample: the n-th that was read since the start, in the k-th use of the layer within a pass
    through its network. Uses are counted if `begin` says when such a pass begins; otherwise all
    that is read is one use.
    """

    def __init__(self, seed: int, label: str) -> None:
        self.seed, self.label = seed, label
        self._keys: dict[int, tuple[int, int]] = {}
        self._seen, self._next, self._counts = [0], 0, False

    def begin(self) -> None:
        """Begin a pass through the network."""
        self._next, self._counts = 0, True

    def read(self, n_sample: int) -> Callable[[int, int], Draw]:
        """Return the numbers of the next samples, as a function of group and pass."""
        use = self._next
        if use == len(self._seen):
            self._seen.append(0)
        first, self._next = self._seen[use], use + self._counts
        self._seen[use] += n_sample

        def of(group: int, k_pass: int) -> Draw:
            place = (_N_PASS * use + k_pass) % 2**32
            return lambda out: self._normals(group, place, first, n_sample, out)

        return of

    def _normals(
        self, group: int, place: int, first: int, n_row: int, out: torch.Tensor
    ) -> torch.Tensor:
        n = out.numel() // max(n_row, 1)
        key, n_block = self._key(group), -(-n // 4)
        kind = torch.float64 if out.dtype == torch.float64 else torch.float32
        found = torch.empty(n_row, n, dtype=kind, device=out.device)
        size, is_short = max(_AT_ONCE // max(n_block, 1), 1), n_block < _SHORT
        for start in range(0, n_row, size):
            m = min(size, n_row - start)
            counters = Counters(key, place, first + start, m, n_block)
            four = normals(words(counters, out.device, rows_last=is_short), kind)
            four = four.flatten(0, 1).T if is_short else four.transpose(0, 1).flatten(1)
            found[start : start + m] = four[:, :n]
        return found.reshape(out.shape).to(out.dtype)

    def _key(self, group: int) -> tuple[int, int]:
        if group not in self._keys:
            text = f"{self.label} {group}".encode()
            a, b = np.random.SeedSequence([self.seed, *text]).generate_state(2).tolist()
            self._keys[group] = a, b
        return self._keys[group]


def normals(four: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return four standard normal numbers for the four words of every block.

    four: (4, ...), below 2^32.

    The first two words give the lengths, the others the angles. Of 32 bits, the numbers reach up to
    6.76.

    Source: Box, Muller, Annals of Mathematical Statistics 29 (1958) 610.
    """
    parts = four.to(dtype)
    length = parts[:2].mul_(2.0**-32).add_(2.0**-33).log_().mul_(-2.0).sqrt_()
    angle = parts[2:].mul_(2.0 * math.pi * 2.0**-32)
    return torch.cat((length * angle.cos(), length * angle.sin()))
