"""The transfer matrices of many circuits by torch, on any device, each compared with a solution."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from crossbar_sim.solvers.grid import RESIDUAL_LIMIT
from crossbar_sim.solvers.nodal import MATRIX_LIMIT, transfer_matrix
from crossbar_sim.solvers.nodes_in_torch import TorchLines, at_once, solve_in_torch
from crossbar_sim.transfer.array_lines import KNOWN, is_regular
from crossbar_sim.transfer.in_torch import Segments, batches, eliminate_in_torch
from netlists.circuit import Circuit


def transfer_matrices(circuits: Sequence[Circuit], device: torch.device) -> list[np.ndarray]:
    """Return what `transfer_matrix` does of circuits, (n_word, n_line) [S] each, by a device.

    Arrays of one shape and with the same wires are eliminated together. Each is compared with a
    solution of one random vector by conjugate gradients on the device; of arrays with lines without
    resistance, the first of a batch with the sparse solver. An array that differs or whose solution
    does not converge, and any circuit that is no grid of known wires, is left to `transfer_matrix`.
    """
    found: list[Any] = [None] * len(circuits)
    groups: dict[tuple, list[int]] = {}
    for k, circuit in enumerate(circuits):
        if (ohms := _segments(circuit)) is None:
            found[k] = transfer_matrix(circuit)
        else:
            assert circuit.grid is not None
            groups.setdefault((circuit.grid.g.shape, ohms), []).append(k)
    for (shape, ohms), members in groups.items():
        for part in batches(len(members), shape):
            places = members[part]
            for k, matrix in zip(places, _batch([circuits[k] for k in places], ohms, device)):
                found[k] = matrix
    return found


def _segments(circuit: Circuit) -> Segments | None:
    """Return the resistances of an array; None for any other circuit."""
    grid = circuit.grid
    if grid is None or grid.wires.others(KNOWN):
        return None
    wires = grid.wires
    first, end = wires.r_driver + wires.r_word, wires.r_bit + circuit.periphery.r_tia_input
    return Segments(first, wires.r_word, wires.r_bit, end)


def _batch(circuits: list[Circuit], ohms: Segments, device: torch.device) -> list[np.ndarray]:
    """Return the matrices of arrays with the same shape and wires."""
    grids = [circuit.grid.g for circuit in circuits if circuit.grid is not None]
    g = torch.from_numpy(np.stack(grids)).to(device)
    matrices = eliminate_in_torch(g, ohms)
    if is_regular(circuits[0]):
        parts = at_once(len(g), g.shape[1:], 1)
        errors = torch.cat([_errors(g[k], matrices[k], ohms) for k in parts])
        errors = errors.cpu().numpy()
    else:
        errors = np.zeros(len(circuits))
        expected, own = transfer_matrix(circuits[0]), matrices[0].cpu().numpy()
        if float(np.abs(own - expected).max()) > MATRIX_LIMIT * float(np.abs(expected).max()):
            errors[:] = np.inf
    found = list(matrices.cpu().numpy())
    for k in np.flatnonzero(~(errors <= MATRIX_LIMIT)):
        found[k] = transfer_matrix(circuits[k])
    return found


def _errors(g: torch.Tensor, matrices: torch.Tensor, ohms: Segments) -> torch.Tensor:
    """Return the errors (n_array,) on one solved vector, over the largest current; inf if unknown.

    The same is asked of a matrix by `nodal.transfer_matrix`.
    """
    n_array, n_side, n_word, n_bit = g.shape
    v_in = torch.from_numpy(np.random.default_rng(0).uniform(-1.0, 1.0, size=n_word))
    v_in = v_in.to(g.device).expand(n_array, 1, -1)
    cells = g.permute(0, 2, 1, 3).reshape(n_array, n_word, n_side * n_bit)
    segments = (torch.full((), 1.0 / ohm, dtype=g.dtype, device=g.device) for ohm in ohms)
    lines = TorchLines(cells, n_bit, *segments)
    at, left = solve_in_torch(lines, v_in, torch.zeros_like(cells[:, :1]))
    i_out = at.above[:, 0, -1] / ohms.end
    off = (torch.einsum("tbw,twk->tk", v_in, matrices) - i_out).abs().amax(dim=1)
    largest = i_out.abs().amax(dim=1)
    errors = torch.where(largest > 0, off / largest, torch.zeros_like(off))
    return torch.where(left[:, 0] <= RESIDUAL_LIMIT, errors, torch.inf)
