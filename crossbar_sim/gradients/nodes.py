"""Node voltages of a regular array as tensors, without gradients: on the CPU by the fast engine.

On another device, and as a second opinion, by `nodes_in_torch`.
"""

import numpy as np
import torch

from crossbar_sim.solvers.conjugate_gradients import solve_vectors
from crossbar_sim.solvers.grid import check_residual
from crossbar_sim.solvers.nodes_in_torch import Nodes, TorchLines, nodes_in_torch
from crossbar_sim.transfer.array_lines import Lines


def across_cells(at: Nodes, v_tia: torch.Tensor) -> torch.Tensor:
    """Return the voltages across the cells (n_batch, n_word, n_line) [V].

    v_tia: (n_batch, n_line) [V].
    """
    n_side = at.above.shape[2] // at.word.shape[2]
    return at.word.repeat(1, 1, n_side) - at.above - v_tia[:, None]


def nodes(lines: TorchLines, v_in: torch.Tensor, v_tia: torch.Tensor) -> Nodes:
    """Return the node voltages for every input vector.

    v_in: (n_batch, n_word) [V].
    v_tia: (n_batch, n_line) [V] at the ends of the bit lines.

    Raises SolverError if the conjugate gradients do not converge.
    """
    if lines.g.device.type != "cpu":
        return nodes_in_torch(lines, v_in, v_tia)
    segments = (float(g) for g in lines[2:])
    plain = Lines(_array(lines.g), lines.n_bit, *segments)
    word, above, residual = solve_vectors(plain, _array(v_in), _array(v_tia))
    check_residual(*residual.max(axis=0, initial=0.0).tolist())
    return Nodes(torch.from_numpy(word), torch.from_numpy(above))


def _array(tensor: torch.Tensor) -> np.ndarray:
    return np.ascontiguousarray(tensor.detach().numpy())
