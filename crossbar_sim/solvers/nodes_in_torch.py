"""Node voltages of regular arrays as tensors, on any device.

The method and the notation are those of `conjugate_gradients`, with products in place of
recurrences, for all vectors at once.
"""

from typing import NamedTuple

import torch

from crossbar_sim.solvers.conjugate_gradients import MAX_ITERATIONS, TOLERANCE
from crossbar_sim.solvers.grid import check_residual


class TorchLines(NamedTuple):
    """The cells and wire segments of an array; the fields are those of `Lines`, as tensors [S]."""

    g: torch.Tensor
    n_bit: int
    g_first: torch.Tensor
    g_word: torch.Tensor
    g_bit: torch.Tensor
    g_end: torch.Tensor


class Nodes(NamedTuple):
    """Voltages of the word nodes, and those of the bit nodes above their TIA.

    word: (n_batch, n_word, n_bit) [V].
    above: (n_batch, n_word, n_line) [V].
    """

    word: torch.Tensor
    above: torch.Tensor


def nodes_in_torch(lines: TorchLines, v_in: torch.Tensor, v_tia: torch.Tensor) -> Nodes:
    """Return the node voltages for every input vector, on the device of the tensors.

    lines: cells (n_word, n_line), or an array for each vector (n_batch, n_word, n_line).
    v_in: (n_batch, n_word) [V].
    v_tia: (n_batch, n_line) [V] at the ends of the bit lines.

    Raises SolverError if the conjugate gradients do not converge.
    """
    g, n_side = lines.g, lines.g.shape[-1] // lines.n_bit
    words, bits = _inverse_words(lines), _inverse_bits(lines)
    driven = torch.zeros(*v_in.shape, lines.n_bit, dtype=g.dtype, device=g.device)
    driven[:, :, 0] = lines.g_first * v_in

    def word_nodes(f: torch.Tensor | float, w: torch.Tensor) -> torch.Tensor:
        met = (g * w).unflatten(2, (n_side, lines.n_bit)).sum(dim=2)
        return torch.einsum("...wij,...wj->...wi", words, f + met)

    def through(w: torch.Tensor) -> torch.Tensor:
        return g * word_nodes(0.0, w).repeat(1, 1, n_side)

    held = v_tia[:, None].expand(-1, v_in.shape[1], -1)
    injected = g * word_nodes(driven, held).repeat(1, 1, n_side) - g * held
    x = _conjugate_gradients(bits, through, injected)
    return Nodes(word_nodes(driven, held + x), x)


def _conjugate_gradients(bits: torch.Tensor, through, injected: torch.Tensor) -> torch.Tensor:
    """Solve (B - through) x = injected for every vector, preconditioned by B."""

    def dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a * b).sum(dim=(1, 2), keepdim=True)

    def precondition(r: torch.Tensor) -> torch.Tensor:
        return torch.einsum("...kij,...jk->...ik", bits, r)

    residual, x = injected.clone(), torch.zeros_like(injected)
    size = dot(residual, residual).sqrt()
    z = precondition(residual)
    rz, direction, b_direction = dot(residual, z), z, residual.clone()
    for _ in range(MAX_ITERATIONS):
        # A vector that has converged takes no more steps, for its numbers are rounding alone.
        active = dot(residual, residual).sqrt() > TOLERANCE * size
        if not bool(active.any()):
            return x
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
    check_residual(float(left.max()), 0.0)
    return x


def _inverse_words(lines: TorchLines) -> torch.Tensor:
    """Return A^-1 of every word line (…, n_word, n_bit, n_bit) [ohm]."""
    cells = lines.g.unflatten(-1, (-1, lines.n_bit)).sum(dim=-2)
    return _inverse(cells, lines.g_word, lines.g_first, torch.zeros_like(lines.g_word))


def _inverse_bits(lines: TorchLines) -> torch.Tensor:
    """Return B^-1 of every bit line (…, n_line, n_word, n_word) [ohm]."""
    return _inverse(lines.g.mT, lines.g_bit, torch.zeros_like(lines.g_bit), lines.g_end)


def _inverse(
    cells: torch.Tensor, along: torch.Tensor, first: torch.Tensor, last: torch.Tensor
) -> torch.Tensor:
    """Return the inverses of lines (…, n) of cells with segments between them and at ends."""
    n = cells.shape[-1]
    diagonal = cells.clone()
    diagonal[..., 1:] += along
    diagonal[..., :-1] += along
    diagonal[..., 0] += first
    diagonal[..., -1] += last
    matrix = torch.diag_embed(diagonal)
    k = torch.arange(n - 1, device=cells.device)
    matrix[..., k, k + 1] = matrix[..., k + 1, k] = -along
    return torch.linalg.inv(matrix)
