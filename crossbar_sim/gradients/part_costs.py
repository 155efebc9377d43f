"""What each resistor of an array costs of a loss, to first order."""

from dataclasses import dataclass, fields

import numpy as np
import torch

from crossbar_sim.gradients.nodes import Nodes, TorchLines, across_cells, nodes
from crossbar_sim.transfer.array_lines import lines_of
from netlists.circuit import Circuit


@dataclass(frozen=True)
class PartCosts:
    """The derivative of a loss with respect to the logarithm of each resistance, r dL/dr.

    To first order, the loss would fall by this if the part had no resistance, and by a hundredth of
    it with 1 % less.

    driver: (n_word,), outputs of the drivers.
    word: (n_word, n_bit), segments of the word lines, the one from the driver first.
    bit: (n_word, n_line), segments of the bit lines, the one into the TIA last.
    tia: (n_line,), inputs of the TIAs.
    cell: (n_word, n_line), cells; 0 where there is none.
    """

    driver: np.ndarray
    word: np.ndarray
    bit: np.ndarray
    tia: np.ndarray
    cell: np.ndarray

    @property
    def around(self) -> float:
        """The sum over all that is around the cells: drivers, wires and inputs of the TIAs."""
        return sum(total for part, total in self.totals.items() if part != "cell")

    @property
    def totals(self) -> dict[str, float]:
        """The sums over all parts of a kind."""
        return {field.name: float(getattr(self, field.name).sum()) for field in fields(self)}


def part_costs(circuit: Circuit, v_in: np.ndarray, of_currents: np.ndarray) -> PartCosts:
    """Return what the parts of a regular array cost.

    circuit: of wires with resistance.
    v_in: (n_vector, n_word) [V].
    of_currents: derivatives of the loss with respect to the output currents (n_vector, n_line)
        [1/A].

    Each is the current in the circuit times the voltage in the adjoint one; the equations are at
    the top of `crossbar_sim.gradients.solve_torch`.
    """
    grid = circuit.grid
    assert grid is not None
    plain, wires, ends = lines_of(circuit), grid.wires, circuit.periphery
    lines = TorchLines(
        torch.from_numpy(plain.g), plain.n_bit, *(torch.tensor(g).double() for g in plain[2:])
    )
    t = torch.from_numpy(ends.share * ends.offsets(circuit.n_line)).expand(len(v_in), -1)
    inputs, adjoint = (torch.from_numpy(np.ascontiguousarray(a)) for a in (v_in, of_currents))
    x, y = nodes(lines, inputs, t), nodes(lines, torch.zeros_like(inputs), adjoint)
    across = across_cells(x, t, lines), across_cells(y, adjoint, lines)
    word, bit = _segments(lines, x, y, inputs)
    return PartCosts(
        driver=(wires.r_driver * word[:, 0]).numpy(),
        word=(wires.r_word * word).numpy(),
        bit=(wires.r_bit * bit).numpy(),
        tia=(ends.r_tia_input * bit[-1]).numpy(),
        cell=(lines.g * across[0] * across[1]).sum(dim=0).numpy(),
    )


def _segments(
    lines: TorchLines, x: Nodes, y: Nodes, v_in: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return dL/dr of word segments (n_word, n_bit) and bit segments (n_word, n_line) [1/ohm]."""
    first = lines.g_first**2 * (v_in - x.word[:, :, 0]) * -y.word[:, :, 0]
    along = lines.g_word**2 * x.word.diff(dim=2) * y.word.diff(dim=2)
    down = lines.g_bit**2 * x.above.diff(dim=1) * y.above.diff(dim=1)
    last = lines.g_end**2 * x.above[:, -1:] * y.above[:, -1:]
    word, bit = torch.cat([first[:, :, None], along], dim=2), torch.cat([down, last], dim=1)
    return word.sum(dim=0), bit.sum(dim=0)
