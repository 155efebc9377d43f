"""The solvers by name: a new one is a file and an entry here."""

from collections.abc import Callable

import numpy as np

from crossbar_sim.solvers.nodal import solve
from crossbar_sim.solvers.solution import Solution
from netlists.circuit import Circuit

#: Returns the solution of a circuit for inputs (n_batch, n_word) [V].
Solver = Callable[[Circuit, np.ndarray], Solution]

FAST, NGSPICE = "fast", "ngspice"

#: `crossbar_sim.ngspice.worker` adds ngspice when it is imported.
SOLVERS: dict[str, Solver] = {FAST: solve}


def solver(name: str) -> Solver:
    """Return a solver. Raises ValueError that lists the names for one that does not exist."""
    if name not in SOLVERS:
        raise ValueError(f"expected a solver of {', '.join(SOLVERS)}; got {name!r}")
    return SOLVERS[name]
