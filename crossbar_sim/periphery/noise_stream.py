"""The numbers of a layer's read noise: each depends on nothing but what is read.

So they are the same on every device, and for samples that are read in one batch or in several.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from crossbar_sim.periphery.philox import Counters, words

#: Gives standard normal numbers of the shape, type and device of what is read.
Draw = Callable[[torch.Tensor], torch.Tensor]

#: Most passes over the inputs of a product: two phases of 24 bits are 48.
_N_PASS = 64
#: Blocks of four numbers that are made at once, which bounds the memory.
_AT_ONCE = 2**18


class NoiseStream:
    """The noise of one layer since it was made or restarted.

    seed, label: of the noise and the layer; both make the key.

    A number belongs to one of the layer's ADCs, a pass (of bits or phases), a position, and a
    sample: the n-th that was read since the start, in the k-th use of the layer within a pass
    through its network. Uses are counted if `begin` says when such a pass begins; otherwise all
    that is read is one use.
    """

    def __init__(self, seed: int, label: str) -> None:
        state = np.random.SeedSequence([seed, *label.encode()]).generate_state(2)
        self.key: tuple[int, int] = (int(state[0]), int(state[1]))
        self._seen, self._next, self._counts = [0], 0, False

    def begin(self) -> None:
        """Begin a pass through the network."""
        self._next, self._counts = 0, True

    def read(self, n_sample: int) -> "Reading":
        """Return the numbers of the next samples."""
        use = self._next
        if use == len(self._seen):
            self._seen.append(0)
        first, self._next = self._seen[use], use + self._counts
        self._seen[use] += n_sample
        return Reading(self, use, first, n_sample)


@dataclass(frozen=True)
class Reading:
    """The numbers of some samples.

    use: of the layer within a pass through its network.
    first, n_sample: of the samples.

    A number has the counter (block, place, sample). Of n positions of a sample, ADCs 4 k … 4 k + 3
    share block n k + p at position p, and have one of its four numbers each.
    """

    stream: NoiseStream
    use: int
    first: int
    n_sample: int

    def place(self, k_pass: int) -> int:
        """Return the word of the counters that belongs to a pass."""
        return (_N_PASS * self.use + k_pass) % 2**32

    def of(self, adc: int, k_pass: int) -> Draw:
        """Return what gives the numbers of ADCs (dimension 1) from one on, in a pass."""
        return lambda out: self._normals(adc, self.place(k_pass), out)

    def _normals(self, adc: int, place: int, out: torch.Tensor) -> torch.Tensor:
        n_sample, n_adc, shape, key = self.n_sample, out.shape[1], out.shape, self.stream.key
        skip, n_four = adc % 4, -(-(adc % 4 + out.shape[1]) // 4)
        n_position = math.prod(shape[2:])
        first_block = adc // 4 * n_position
        kind = torch.float64 if out.dtype == torch.float64 else torch.float32
        found = torch.empty(n_sample, n_adc, n_position, dtype=kind, device=out.device)
        n_block = n_four * n_position
        size = max(_AT_ONCE // max(n_block, 1), 1)
        for start in range(0, n_sample, size):
            m = min(size, n_sample - start)
            first = self.first + start, first_block
            four = words(Counters(key, place, *first, m, n_block), out.device)
            four = normals(four, kind).unflatten(2, (n_four, n_position)).permute(1, 2, 0, 3)
            found[start : start + m] = four.flatten(1, 2)[:, skip : skip + n_adc]
        return found.reshape(shape).to(out.dtype)


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
