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


class TorchSolution(NamedTuple):
    """Currents into the TIAs [A] and their outputs [V], each (n_batch, n_line), without swing."""

    i_out: torch.Tensor
    v_out: torch.Tensor


def solve_torch(
    g: torch.Tensor, v_in: torch.Tensor, wires: TorchWires, ends: TorchAmplifiers | None = None
) -> TorchSolution:
    """Return the outputs of an array for every input vector; `backward` takes one more solution.

    g: conductances (n_word, n_bit), or (n_side, n_word, n_bit) with the positive side first [S];
        0 where there is no cell.
    v_in: (n_batch, n_word) or (n_word,) [V].
    wires: of resistance above zero.
    ends: the amplifiers; ideal by default.

    All tensors are float64 on one device. Gradients reach every one of them that requires it.
    Raises ValueError for another shape, type or device, or wires without resistance; SolverError
    if the solution does not converge.
    """
    ends = ends or TorchAmplifiers()
    g, v_in = _checked(g, v_in)
    n_side, n_word, n_bit = g.shape
    cells = g.permute(1, 0, 2).reshape(n_word, n_side * n_bit)
    r_word, r_bit = (_ohm(name, getattr(wires, name), g) for name in ("r_word", "r_bit"))
    r_driver, r_tia = (_scalar(r, g) for r in (wires.r_driver, ends.r_tia_input))
    segments = (1 / (r_driver + r_word), 1 / r_word, 1 / r_bit, 1 / (r_bit + r_tia))
    v_tia = _scalar(ends.share * ends.v_offset, g).expand(len(v_in), n_side * n_bit)
    i_out = _Currents.apply(cells, n_bit, v_in, v_tia, *segments)
    assert isinstance(i_out, torch.Tensor)
    return TorchSolution(i_out, ends.outputs(i_out))


class _Currents(torch.autograd.Function):
    """The currents into the TIAs (n_batch, n_line) [A]."""

    @staticmethod
    def forward(ctx: Any, g: torch.Tensor, n_bit: int, *rest: torch.Tensor) -> torch.Tensor:
        """Solve the circuit.

        g: cells (n_word, n_line) [S].
        rest: v_in (n_batch, n_word), v_tia (n_batch, n_line) [V], and the segments of `TorchLines`.
        """
        v_in, v_tia, *segments = rest
        lines = TorchLines(g, n_bit, *segments)
        found = nodes(lines, v_in, v_tia)
        ctx.n_bit = n_bit
        ctx.save_for_backward(g, *rest, *found)
        return lines.g_end * found.above[:, -1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Solve the adjoint circuit, for derivatives by the currents (n_batch, n_line) [1/A]."""
        (of_currents,) = grads
        g, v_in, v_tia, *segments, word, above = ctx.saved_tensors
        lines, x = TorchLines(g, ctx.n_bit, *segments), Nodes(word, above)
        y = nodes(lines, torch.zeros_like(v_in), of_currents)
        return (
            -(across_cells(x, v_tia) * across_cells(y, of_currents)).sum(dim=0),
            None,
            lines.g_first * y.word[:, :, 0],
            lines.g_end * y.above[:, -1],
            -((x.word[:, :, 0] - v_in) * y.word[:, :, 0]).sum(),
            -(x.word.diff(dim=2) * y.word.diff(dim=2)).sum(),
            -(x.above.diff(dim=1) * y.above.diff(dim=1)).sum(),
            -(x.above[:, -1] * y.above[:, -1]).sum(),
        )


def _checked(g: torch.Tensor, v_in: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return conductances (n_side, n_word, n_bit) and inputs (n_batch, n_word)."""
    g = g[None] if g.ndim == 2 else g
    v_in = v_in[None] if v_in.ndim == 1 else v_in
    if g.ndim != 3 or v_in.ndim != 2 or v_in.shape[1] != g.shape[1] or not g.numel():
        raise ValueError(
            "expected g (n_word, n_bit) or (n_side, n_word, n_bit) and v_in (n_batch, n_word); got "
            f"{tuple(g.shape)} and {tuple(v_in.shape)}"
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
    return g, v_in


def _ohm(name: str, value: Scalar, like: torch.Tensor) -> torch.Tensor:
    ohm = _scalar(value, like)
    if not bool(ohm > 0):
        raise ValueError(
            f"{name} must be above 0 ohm; got {float(ohm.detach())}: "
            "without wires, currents are v_in @ g"
        )
    return ohm


def _scalar(value: Scalar, like: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(value, dtype=like.dtype, device=like.device)
