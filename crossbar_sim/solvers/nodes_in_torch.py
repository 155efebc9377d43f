"""Node voltages of regular arrays as tensors, on any device.

The method and the notation are those of `conjugate_gradients`, with products in place of
recurrences, for all vectors of all arrays at once. "…" stands for (n_array,), or for nothing.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch

from crossbar_sim.solvers.conjugate_gradients import MAX_ITERATIONS, TOLERANCE
from crossbar_sim.solvers.grid import check_residual
from crossbar_sim.transfer.in_torch import MEMORY, within
from crossbar_sim.transfer.lines_in_torch import divisions, inverse


class TorchLines(NamedTuple):
    """The cells and wire segments of arrays; the fields are those of `Lines`, as tensors [S].

    g: (…, n_word, n_line). The segments are numbers, the same for all arrays.
    """

    g: torch.Tensor
    n_bit: int
    g_first: torch.Tensor
    g_word: torch.Tensor
    g_bit: torch.Tensor
    g_end: torch.Tensor


class Nodes(NamedTuple):
    """Voltages of the word nodes, and those of the bit nodes above their TIA.

    word: (…, n_batch, n_word, n_bit) [V].
    above: (…, n_batch, n_word, n_line) [V].
    """

    word: torch.Tensor
    above: torch.Tensor


def at_once(
    n_array: int, shape: tuple[int, ...], n_batch: int, memory: int = MEMORY
) -> Iterator[slice]:
    """Return which arrays to solve together, by memory: inverses of lines, and steps of vectors.

    shape: (n_side, n_word, n_bit).
    n_batch: vectors of each array.
    """
    n_side, n_word, n_bit = shape
    inverses = 5 * n_word * n_bit * (n_bit + n_side * n_word)
    vectors = 12 * n_batch * n_word * n_bit * (n_side + 1)
    return within(n_array, inverses + vectors, memory)


def nodes_in_torch(lines: TorchLines, v_in: torch.Tensor, v_tia: torch.Tensor) -> Nodes:
    """Return the node voltages for every input vector, on the device of the tensors.

    lines: cells (…, n_word, n_line) of an array, or of one after another.
    v_in: (…, n_batch, n_word) [V].
    v_tia: (…, n_batch, n_line) [V] at the ends of the bit lines.

    Raises SolverError if the conjugate gradients do not converge.
    """
    found, left = solve_in_torch(lines, v_in, v_tia)
    check_residual(float(left.max()) if left.numel() else 0.0, 0.0)
    return found


def solve_in_torch(
    lines: TorchLines, v_in: torch.Tensor, v_tia: torch.Tensor
) -> tuple[Nodes, torch.Tensor]:
    """Return the node voltages as `nodes_in_torch` does, and the residuals (…, n_batch).

    These are relative to what the cells inject, and unchecked.
    """
    g = lines.g[..., None, :, :]
    words, bits = _inverse_words(lines), _inverse_bits(lines)
    driven = g.new_zeros(*v_in.shape, lines.n_bit)
    driven[..., 0] = lines.g_first * v_in

    def word_nodes(f: torch.Tensor | float, w: torch.Tensor) -> torch.Tensor:
        met = (g * w).unflatten(-1, (-1, lines.n_bit)).sum(dim=-2)
        return torch.einsum("...wij,...bwj->...bwi", words, f + met)

    def through(w: torch.Tensor) -> torch.Tensor:
        return g * on_each_side(word_nodes(0.0, w), lines)

    held = v_tia[..., None, :].expand(*driven.shape[:-1], -1)
    injected = g * on_each_side(word_nodes(driven, held), lines) - g * held
    x, left = _conjugate_gradients(bits, through, injected)
    return Nodes(word_nodes(driven, held + x), x), left


def on_each_side(word: torch.Tensor, lines: TorchLines) -> torch.Tensor:
    """Return what is at the word nodes (…, n_bit) as their cells meet it (…, n_line)."""
    return torch.cat([word] * (lines.g.shape[-1] // lines.n_bit), dim=-1)


def _conjugate_gradients(
    bits: torch.Tensor, through: Callable[[torch.Tensor], torch.Tensor], injected: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Solve (B - through) x = injected for every vector, preconditioned by B.

    Returns x, and the relative residuals by the recurrence, without the last two dimensions.
    """

    def dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a * b).sum(dim=(-2, -1), keepdim=True)

    def precondition(r: torch.Tensor) -> torch.Tensor:
        return torch.einsum("...kij,...bjk->...bik", bits, r)

    residual, x = injected.clone(), torch.zeros_like(injected)
    size = dot(residual, residual).sqrt()
    z = precondition(residual)
    rz, direction, b_direction = dot(residual, z), z, residual.clone()
    for _ in range(MAX_ITERATIONS):
        # A vector that has converged takes no more steps, for its numbers are rounding alone.
        active = dot(residual, residual).sqrt() > TOLERANCE * size
        if not bool(active.any()):
            break
        image = through(direction)
        curve = dot(direction, b_direction) - dot(direction, image)
        step = torch.where(active, rz / curve, 0.0)
        x = x + step * direction
        residual = residual - step * (b_direction - image)
        z = precondition(residual)
        new = dot(residual, z)
        ratio = torch.where(active, new / rz, 0.0)
        rz = torch.where(active, new, rz)
        direction, b_direction = z + ratio * direction, residual + ratio * b_direction
    left = dot(residual, residual).sqrt() / size.clamp_min(torch.finfo(size.dtype).tiny)
    return x, left[..., 0, 0]


def _inverse_words(lines: TorchLines) -> torch.Tensor:
    """Return A^-1 of every word line (…, n_word, n_bit, n_bit) [ohm]."""
    cells = lines.g.unflatten(-1, (-1, lines.n_bit)).sum(dim=-2)
    return inverse(*divisions(cells, 1 / lines.g_word, lines.g_first, 0.0))


def _inverse_bits(lines: TorchLines) -> torch.Tensor:
    """Return B^-1 of every bit line (…, n_line, n_word, n_word) [ohm]."""
    return inverse(*divisions(lines.g.mT, 1 / lines.g_bit, 0.0, lines.g_end))
