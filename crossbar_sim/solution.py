"""What a solver found in a circuit."""

from dataclasses import dataclass

import numpy as np

from netlists.circuit import PARTS, Circuit


@dataclass(frozen=True)
class Solution:
    """Outputs of a circuit for a batch of input vectors.

    i_out: (n_batch, n_line) current out of each bit line into its TIA [A].
    v_out: (n_batch, n_line) output voltage of each TIA [V].
    v_node: (n_batch, n_node) all node voltages [V], or None where the solver did not keep them.
    solver: its name and version. residual: relative error of Kirchhoff's current law, in the
    solver's own measure.
    """

    circuit: Circuit
    v_in: np.ndarray
    i_out: np.ndarray
    v_out: np.ndarray
    v_node: np.ndarray | None
    solver: str
    residual: float

    @property
    def n_saturated(self) -> int:
        """Number of outputs, over lines and vectors, that stand at the amplifiers' swing."""
        # ngspice's limit may round to the double just below it.
        return int((np.abs(self.v_out) >= self.circuit.periphery.v_swing * (1 - 1e-12)).sum())

    def power(self) -> dict[str, np.ndarray]:
        """Return the power (n_batch,) [W] by part, and what the input sources deliver.

        Parts: cell, word line, bit line, driver; "feedback" is the TIA's feedback resistor;
        "source" is delivered by the word-line drivers. The drivers feed every part but the
        feedback resistor, which the TIA's amplifier feeds.
        """
        if self.v_node is None:
            raise ValueError("this solution holds no node voltages; use solve(…, nodes=True)")
        c = self.circuit.elements
        drop = self.v_node[:, c.branch_from] - self.v_node[:, c.branch_to]
        heat = drop**2 / c.branch_ohm
        power = {part: heat[:, c.branch_part == k].sum(axis=1) for k, part in enumerate(PARTS)}
        power["feedback"] = (self.i_out**2).sum(axis=1) * self.circuit.periphery.r_feedback
        power["source"] = (self.v_in * self._input_current(drop)).sum(axis=1)
        return power

    def _input_current(self, drop: np.ndarray) -> np.ndarray:
        """Return the current (n_batch, n_word) that each input node feeds into its branches."""
        c, current = self.circuit.elements, drop / self.circuit.elements.branch_ohm
        total = np.zeros((c.n_node, len(drop)))
        np.add.at(total, c.branch_from, current.T)
        np.subtract.at(total, c.branch_to, current.T)
        return total[c.input_nodes].T
