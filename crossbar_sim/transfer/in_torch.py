"""The transfer matrices of many arrays at once by torch, on any device.

The elimination of `by_columns`, of as many arrays as share their shape and wires, in resistances.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch

from crossbar_sim.transfer.lines_in_torch import divisions, inverse

#: Bytes that the tensors of a batch may take.
MEMORY = 2**30


class Segments(NamedTuple):
    """The resistances of an array [ohm]; any of them may be zero.

    first: from a driver to the first cell of a word line.
    word, bit: between neighbours.
    end: from the last cell of a bit line into its TIA, with the TIA's own.
    """

    first: float
    word: float
    bit: float
    end: float


def batches(n_array: int, shape: tuple[int, ...], memory: int = MEMORY) -> Iterator[slice]:
    """Return which arrays of a shape (n_side, n_word, n_bit) to eliminate together."""
    n_side, n_word, n_bit = shape
    numbers = (6 * n_side + 6) * n_word**2 + 8 * n_side * n_word * n_bit
    return within(n_array, numbers, memory)


def within(n_array: int, numbers: int, memory: int = MEMORY) -> Iterator[slice]:
    """Yield which arrays go together, of so many 64-bit numbers each; at least one."""
    size = max(memory // (8 * numbers), 1)
    for start in range(0, n_array, size):
        yield slice(start, min(start + size, n_array))


def eliminate_in_torch(g: torch.Tensor, ohms: Segments) -> torch.Tensor:
    """Return the transfer matrices (n_array, n_word, n_side * n_bit) [S] of arrays.

    g: cells (n_array, n_side, n_word, n_bit), float64 [S].
    """
    n_array, n_side, n_word, n_bit = g.shape
    cells = g.permute(0, 3, 1, 2).contiguous()  # (n_array, n_bit, n_side, n_word)
    lines = divisions(cells, ohms.bit, 0.0, 1.0 / ohms.end) if ohms.end > 0 else None
    beyond = g.new_zeros(n_array, n_word, n_word)  # S
    outputs = g.new_zeros(n_array, n_bit, n_side, n_word)
    for j in reversed(range(n_bit)):
        if j < n_bit - 1:
            beyond, outputs[:, j + 1 :] = _through(beyond, ohms.word, outputs[:, j + 1 :])
        column = cells[:, j]
        added, outputs[:, j] = column, column
        if lines is not None:
            volts = inverse(lines.own[:, j], lines.share[:, j])
            outputs[:, j] = volts[..., -1, :] * column / ohms.end
            between = column[..., :, None] * volts * column[..., None, :]
            added = column - between.diagonal(dim1=-2, dim2=-1)
            beyond = beyond - between.sum(dim=1).triu(1) - between.sum(dim=1).tril(-1)
        beyond = beyond + torch.diag_embed(added.sum(dim=1))
    _, outputs = _through(beyond, ohms.first, outputs)
    return outputs.permute(0, 3, 2, 1).reshape(n_array, n_word, n_side * n_bit)


def _through(
    s: torch.Tensor, ohm: float, outputs: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return S and outputs as they are seen through a segment at each node."""
    if ohm == 0:
        return s, outputs
    one = torch.eye(s.shape[-1], dtype=s.dtype, device=s.device)
    divided = torch.linalg.inv(one + ohm * s)
    # Two ways to S': the first keeps the digits of the diagonal, the second is quick for the rest.
    diagonal = (s * divided.mT).sum(dim=-1)
    rest = (divided + divided.mT) / (-2.0 * ohm)
    seen = rest - torch.diag_embed(rest.diagonal(dim1=-2, dim2=-1)) + torch.diag_embed(diagonal)
    return seen, (outputs.flatten(1, 2) @ divided).view(outputs.shape)
