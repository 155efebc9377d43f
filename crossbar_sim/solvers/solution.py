"""What a solver returns for a circuit, or raises."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_array

from netlists.circuit import Circuit
from netlists.circuit.elements import PARTS


class SolverError(RuntimeError):
    """A circuit could not be solved to the promised accuracy."""


@dataclass(frozen=True)
class Solution:
    """Outputs of a circuit for a batch of input vectors.

    i_out: (n_batch, n_line) current out of each bit line into its TIA [A].
    v_out: (n_batch, n_line) output voltage of each TIA [V].
    v_node: (n_batch, n_node) all node voltages [V], or None where the solver did not keep them.
    solver: its name and version.
    residual: relative error of Kirchhoff's current law, in the solver's own measure.
    """

    circuit: Circuit
    v_in: np.ndarray
    i_out: np.ndarray
    v_out: np.ndarray
    v_node: np.ndarray | None
    solver: str
    residual: float

    def first(self, n_vector: int | None) -> "Solution":
        """Return the same for the first vectors alone, all of them with None."""
        part = slice(n_vector)
        nodes = None if self.v_node is None else self.v_node[part]
        outputs = {"i_out": self.i_out[part], "v_out": self.v_out[part], "v_node": nodes}
        return replace(self, v_in=self.v_in[part], **outputs)

    def power(self) -> dict[str, np.ndarray]:
        """Return the power (n_batch,) [W] by part, and what sources and amplifiers deliver.

        Heat: cell, word line, bit line, driver; "input", the resistance at the TIAs' inputs;
        "feedback", their feedback resistors. Delivered: "source" by the input voltages, behind the
        drivers' resistance; "TIA output" by the amplifiers' outputs, whose loops are assumed to
        stay closed where a swing clips. Heat and delivered power are equal (Tellegen's theorem).
        """
        c, ends = self.circuit.elements, self.circuit.periphery
        heat, power = self.drop * self.amps, {}
        for k, part in enumerate(PARTS):
            power[part] = heat[:, c.branch_part == k].sum(axis=1)
        square = (self.i_out**2).sum(axis=1)
        power["input"], power["feedback"] = square * ends.r_input, square * ends.r_feedback
        power["source"] = (self.v_in * self._input_current()).sum(axis=1)
        power["TIA output"] = -(self._loop() * self.i_out).sum(axis=1)
        return power

    def stage_power(self, v_dd: float) -> dict[str, np.ndarray]:
        """Return the power (n_batch,) [W] that heats the output stages of drivers and TIAs.

        All current comes from a supply of v_dd [V] of either sign, while the circuit only takes
        current times signal. A stage whose output is beyond v_dd is taken to have a supply as high
        as its output.
        """
        stages = {
            "driver stage": (self.v_in, self._input_current()),
            "TIA stage": (self._loop(), -self.i_out),
        }
        return {
            part: (np.maximum(v_dd, np.abs(volts)) * np.abs(amps) - volts * amps).sum(axis=1)
            for part, (volts, amps) in stages.items()
        }

    @property
    def nodes(self) -> np.ndarray:
        """All node voltages (n_batch, n_node) [V]; ValueError where they were not kept."""
        if self.v_node is None:
            raise ValueError("this solution holds no node voltages; use solve(…, nodes=True)")
        return self.v_node

    @property
    def drop(self) -> np.ndarray:
        """Voltage (n_batch, n_branch) across each branch [V]; ValueError as for `nodes`."""
        v_node, c = self.nodes, self.circuit.elements
        return v_node[:, c.branch_from] - v_node[:, c.branch_to]

    @property
    def amps(self) -> np.ndarray:
        """Current (n_batch, n_branch) through each branch [A]; ValueError as for `nodes`."""
        return self.drop / self.circuit.elements.branch_ohm

    def _loop(self) -> np.ndarray:
        """Return the output (n_batch, n_line) [V] of each amplifier before any clipping."""
        ends = self.circuit.periphery
        v_tia = self.nodes[:, self.circuit.elements.tia_nodes]
        return v_tia - self.i_out * (ends.r_input + ends.r_feedback)

    def _input_current(self) -> np.ndarray:
        """Return the current (n_batch, n_word) that each input node feeds into its branches."""
        c = self.circuit.elements
        word = np.full(c.n_node, -1)
        word[c.input_nodes] = np.arange(len(c.input_nodes))
        leaving, entering = (np.flatnonzero(word[x] >= 0) for x in (c.branch_from, c.branch_to))
        own = np.concatenate([leaving, entering])
        sign = np.repeat([1.0, -1.0], [len(leaving), len(entering)])
        place = np.concatenate([word[c.branch_from[leaving]], word[c.branch_to[entering]]])
        total = csr_array((sign, (place, np.arange(len(own)))), (len(c.input_nodes), len(own)))
        return (total @ self.amps[:, own].T).T
