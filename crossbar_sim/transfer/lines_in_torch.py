"""The inverses of the nodal matrices of many lines by torch, on any device.

By voltage division, from what each node sees on either side of itself: only positive terms are
added, so that no digit is lost, however much better the segments conduct than the cells. In
resistances, so that a segment without any is nothing special: with x what a node sees beyond a
segment r, it sees x / (1 + r x) through it.
"""

from typing import NamedTuple

import torch

#: A number, or a tensor of one number.
Number = torch.Tensor | float


class Divisions(NamedTuple):
    """What a line's voltages are divided by, for nodes (…, n).

    own: the resistance to ground of each node [ohm].
    share: the voltage of a node per volt at the one before it, where all else is at rest.
    """

    own: torch.Tensor
    share: torch.Tensor


def divisions(cells: torch.Tensor, ohm: Number, first: Number, last: Number) -> Divisions:
    """Return the divisions of lines of cells.

    cells: to ground (…, n) [S].
    ohm: of each segment between neighbours.
    first, last: to ground at the ends [S], in addition.
    """
    n = cells.shape[-1]
    before, behind = torch.empty_like(cells), torch.empty_like(cells)
    seen = torch.zeros_like(cells[..., 0]) + first
    for i in range(n):
        before[..., i] = seen
        seen = seen + cells[..., i]
        seen = seen / (1.0 + ohm * seen)
    seen = torch.zeros_like(seen) + last
    for i in reversed(range(n)):
        behind[..., i] = seen
        seen = seen + cells[..., i]
        seen = seen / (1.0 + ohm * seen)
    return Divisions(1.0 / (before + behind + cells), 1.0 / (1.0 + ohm * (behind + cells)))


def inverse(own: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Return the inverses (…, n, n) [ohm] of lines, by their divisions (…, n)."""
    n = own.shape[-1]
    is_below = own.new_ones(n, n, dtype=torch.bool).tril(-1)
    steps = torch.where(is_below, share[..., :, None], torch.ones_like(own)[..., None, :])
    lower = steps.cumprod(dim=-2) * own[..., None, :]
    return lower.tril() + lower.tril(-1).mT
