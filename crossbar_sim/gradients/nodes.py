"""Node voltages of regular arrays as tensors, without gradients: on the CPU by the fast engine.

On another device, and as a second opinion, by `nodes_in_torch`.
"""

import numpy as np
import torch

from crossbar_sim.solvers.conjugate_gradients import solve_vectors
from crossbar_sim.solvers.grid import check_residual
from crossbar_sim.solvers.nodes_in_torch import Nodes, TorchLines, nodes_in_torch, on_each_side
from crossbar_sim.transfer.array_lines import Lines


def across_cells(at: Nodes, v_tia: torch.Tensor, lines: TorchLines) -> torch.Tensor:
    """Return the voltages across the cells (…, n_batch, n_word, n_line) [V].

    v_tia: (…, n_batch, n_line) [V].
    """
    return on_each_side(at.word, lines) - at.above - v_tia[..., None, :]


def nodes(lines: TorchLines, v_in: torch.Tensor, v_tia: torch.Tensor) -> Nodes:
    """Return the node voltages for every input vector of every array.

    v_in: (…, n_batch, n_word) [V].
    v_tia: (…, n_batch, n_line) [V] at the ends of the bit lines.

    Raises SolverError if the conjugate gradients do not converge.
    """
    if lines.g.device.type != "cpu":
        return nodes_in_torch(lines, v_in, v_tia)
    segments = [float(g) for g in lines[2:]]
    g, *ends = (_array(x).reshape(-1, *x.shape[-2:]) for x in (lines.g, v_in, v_tia))
    arrays = (Lines(cells, lines.n_bit, *segments) for cells in g)
    found = zip(*(_nodes_of_one(*one) for one in zip(arrays, *ends, strict=True)), strict=True)
    of_all = (np.stack(volts).reshape(*v_in.shape[:-1], *volts[0].shape[1:]) for volts in found)
    return Nodes(*map(torch.from_numpy, of_all))


def _nodes_of_one(
    lines: Lines, v_in: np.ndarray, v_tia: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the nodes of one array; see `Nodes`."""
    word, above, residual = solve_vectors(lines, v_in, v_tia)
    check_residual(*residual.max(axis=0, initial=0.0).tolist())
    return word, above


def _array(tensor: torch.Tensor) -> np.ndarray:
    return np.ascontiguousarray(tensor.detach().numpy())
