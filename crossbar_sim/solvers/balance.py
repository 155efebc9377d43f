"""Whether currents and power add up in a solution, by its own node voltages.

Kirchhoff: what flows into a node flows out of it. Tellegen: what the drivers and the amplifiers
deliver is what the resistances take. Neither knows how a solution was found, and neither solves
anything, so every solution that kept its voltages can be held to both.
Source: B. D. H. Tellegen, "A general network theorem", Philips Res. Rep. 7 (1952) 259-269.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from crossbar_sim.solvers.solution import Solution
from netlists.circuit.elements import PARTS

#: Largest imbalance of current or power that passes, beyond what rounding explains.
LIMIT = 1e-9
#: Twice by how much of itself a number is off when it is rounded to a double.
_ROUNDING = 2.0**-52


@dataclass(frozen=True)
class Balance:
    """How far currents and power are from adding up, over all input vectors.

    current: largest net current into a node, as a fraction of the largest current of a branch.
    power: largest difference of what drivers and amplifiers deliver and what resistances take, as a
        fraction of what cells, wires and drivers take.
    rounding: what voltages rounded to doubles may cause of either; near zero unless wires of far
        below an ohm are in the way, or lines have almost no current but amplifiers an offset.
    """

    current: float
    power: float
    rounding: float

    @property
    def holds(self) -> bool:
        """Whether both are within LIMIT and rounding; False for NaN."""
        return bool(np.maximum(self.current, self.power) <= LIMIT + self.rounding)


def balance(solution: Solution) -> Balance:
    """Return how far a solution's currents and power are from adding up.

    Counted are all nodes but ground and the inputs. At the end of a bit line, what its branches
    bring must be `i_out`.

    Raises ValueError for a solution without node voltages.
    """
    parts = solution.circuit.elements
    branch, n_branch = np.arange(len(parts.branch_ohm)), len(parts.branch_ohm)
    one, shape = np.ones(n_branch), (parts.n_node, n_branch)
    into, out_of = (
        csr_array((one, (k, branch)), shape) for k in (parts.branch_to, parts.branch_from)
    )
    amps = solution.amps.T
    net = (into - out_of) @ amps
    net[parts.tia_nodes] -= solution.i_out.T
    net[[0, *parts.input_nodes]] = 0.0
    volts = np.abs(solution.nodes).T
    unsure = _ROUNDING * ((into + out_of) @ ((into + out_of).T @ volts / parts.branch_ohm[:, None]))
    if r_tia := solution.circuit.periphery.r_tia_input:
        unsure[parts.tia_nodes] += 2 * _ROUNDING * volts[parts.tia_nodes] / r_tia
    power = solution.power()
    taken = np.sum([power[part] for part in PARTS], axis=0)
    given = power["source"] + power["TIA output"] - power["input"] - power["feedback"]
    largest, most = _largest(amps) or 1.0, _largest(taken) or 1.0
    rounding = max(_largest(unsure) / largest, _largest((volts * unsure).sum(axis=0)) / most)
    return Balance(_largest(net) / largest, _largest(given - taken) / most, rounding)


def _largest(values: np.ndarray) -> float:
    """Return the largest magnitude, 0 of nothing."""
    return float(np.abs(values).max(initial=0.0))
