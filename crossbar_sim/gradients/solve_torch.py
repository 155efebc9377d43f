"""Currents of an array as a differentiable function of all that is in it.

The circuit is reciprocal, so the derivatives of a loss L come from one more solution of the same
circuit, the adjoint one: drivers at 0 V, and each TIA at the volts dL/di of its current. With x the
voltage across a branch in the circuit and y in the adjoint one,

    dL/dg = -x y    of each branch of conductance g.

A driver's dL/dv is the current that it takes in the adjoint circuit, and dL/dt of a TIA at t volts
the one that flows into it there. Source: Director, Rohrer, "The generalized adjoint network and
network sensitivities", IEEE Trans. Circuit Theory 16 (1969) 318.
"""

from typing import Any, NamedTuple

import torch
from torch.autograd.function import once_differentiable

from crossbar_sim.gradients.nodes import Nodes, TorchLines, across_cells, nodes
from crossbar_sim.gradients.parts import Scalar, TorchAmplifiers, TorchWires
from crossbar_sim.solvers.nodes_in_torch import at_once
from crossbar_sim.transfer.in_torch import MEMORY

#: Bytes that arrays solved together may take on the CPU, which gains nothing by more.
MEMORY_OF_CPU = 2**26


class TorchSolution(NamedTuple):
    """Currents into the TIAs [A] and their outputs [V], without swing.

    Each is (n_batch, n_line), or (n_array, n_batch, n_line) of many arrays.
    """

    i_out: torch.Tensor
    v_out: torch.Tensor


def solve_torch(
    g: torch.Tensor, v_in: torch.Tensor, wires: TorchWires, ends: TorchAmplifiers | None = None
) -> TorchSolution:
    """Return the outputs of arrays for every input vector; `backward` takes one more solution.

    g: conductances (n_word, n_bit), or (n_side, n_word, n_bit) with the positive side first [S];
        0 where there is no cell. Of many arrays, (n_array, n_side, n_word, n_bit).
    v_in: (n_batch, n_word) or (n_word,) [V], the same for all arrays; or of each array,
        (n_array, n_batch, n_word).
    wires: of resistance above zero, the same for all arrays.
    ends: the amplifiers, the same for all arrays; ideal by default.

    All tensors are float64 on one device. Gradients reach every one of them that requires it.
    Arrays are solved together as long as there is room, the node voltages apart, which are all kept
    for `backward`. Raises ValueError for another shape, type or device, or wires without
    resistance; SolverError if the solution does not converge.
    """
    ends, many = ends or TorchAmplifiers(), g.ndim == 4
    g, v_in = _checked(g, v_in)
    n_array, n_side, n_word, n_bit = g.shape
    cells = g.permute(0, 2, 1, 3).reshape(n_array, n_word, n_side * n_bit)
    r_word, r_bit = (_ohm(name, getattr(wires, name), g) for name in ("r_word", "r_bit"))
    r_driver, r_tia = (_scalar(r, g) for r in (wires.r_driver, ends.r_tia_input))
    segments = (1 / (r_driver + r_word), 1 / r_word, 1 / r_bit, 1 / (r_bit + r_tia))
    n_batch, n_line = v_in.shape[1], n_side * n_bit
    v_tia = _scalar(ends.share * ends.v_offset, g).expand(n_array, n_batch, n_line)
    memory = MEMORY_OF_CPU if g.device.type == "cpu" else MEMORY
    parts = [
        _Currents.apply(cells[part], n_bit, v_in[part], v_tia[part], *segments)
        for part in at_once(n_array, g.shape[1:], n_batch, memory)
    ]
    i_out = torch.cat(parts) if many else parts[0][0]
    return TorchSolution(i_out, ends.outputs(i_out))


class _Currents(torch.autograd.Function):
    """The currents into the TIAs (n_array, n_batch, n_line) [A]."""

    @staticmethod
    def forward(ctx: Any, g: torch.Tensor, n_bit: int, *rest: torch.Tensor) -> torch.Tensor:
        """Solve the circuits.

        g: cells (n_array, n_word, n_line) [S].
        rest: v_in (n_array, n_batch, n_word), v_tia (n_array, n_batch, n_line) [V], and the
            segments of `TorchLines`.
        """
        v_in, v_tia, *segments = rest
        lines = TorchLines(g, n_bit, *segments)
        found = nodes(lines, v_in, v_tia)
        ctx.n_bit = n_bit
        ctx.save_for_backward(g, *rest, *found)
        return lines.g_end * found.above[:, :, -1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Solve the adjoint circuits, for derivatives by the currents [1/A], of their shape."""
        (of_currents,) = grads
        g, v_in, v_tia, *segments, word, above = ctx.saved_tensors
        lines, x = TorchLines(g, ctx.n_bit, *segments), Nodes(word, above)
        y = nodes(lines, torch.zeros_like(v_in), of_currents)
        across = across_cells(x, v_tia, lines), across_cells(y, of_currents, lines)
        return (
            -torch.mul(*across).sum(dim=1),
            None,
            lines.g_first * y.word[..., 0],
            lines.g_end * y.above[:, :, -1],
            -((x.word[..., 0] - v_in) * y.word[..., 0]).sum(),
            -(x.word.diff(dim=-1) * y.word.diff(dim=-1)).sum(),
            -(x.above.diff(dim=-2) * y.above.diff(dim=-2)).sum(),
            -(x.above[:, :, -1] * y.above[:, :, -1]).sum(),
        )


def _checked(g: torch.Tensor, v_in: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return conductances (n_array, n_side, n_word, n_bit), inputs (n_array, n_batch, n_word)."""
    shared = v_in.ndim in (1, 2)
    of_each = v_in.ndim == 3 and g.ndim == 4 and len(v_in) == len(g)
    fits = g.ndim in (2, 3, 4) and (shared or of_each) and v_in.shape[-1] == g.shape[-2]
    if not fits or not g.numel():
        raise ValueError(
            "expected g (n_word, n_bit), (n_side, n_word, n_bit) or (n_array, n_side, n_word, "
            "n_bit), and v_in (n_batch, n_word), or (n_array, n_batch, n_word) with as many "
            f"arrays; got {tuple(g.shape)} and {tuple(v_in.shape)}"
        )
    for name, tensor in (("g", g), ("v_in", v_in)):
        if tensor.dtype != torch.float64 or tensor.device != g.device:
            raise ValueError(
                f"{name} must be float64 on the device of g; got {tensor.dtype} on {tensor.device}"
            )
        if not bool(tensor.isfinite().all()):
            raise ValueError(f"{name} must be finite; got NaN or infinity")
    if bool((g < 0).any()):
        raise ValueError(f"g must not be negative; got {float(g.detach().min()):.3g} S")
    g = g.reshape(-1, *(1,) * (3 - g.ndim), *g.shape[-3:])
    return g, torch.atleast_2d(v_in).expand(len(g), -1, -1)


def _ohm(name: str, value: Scalar, like: torch.Tensor) -> torch.Tensor:
    ohm = _scalar(value, like)
    if not bool(ohm > 0):
        raise ValueError(
            f"{name} must be above 0 ohm; got {float(ohm.detach())}: "
            "without wires, currents are v_in @ g"
        )
    return ohm


def _scalar(value: Scalar, like: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(value, dtype=like.dtype).to(like.device)
