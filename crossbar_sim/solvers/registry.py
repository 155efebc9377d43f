"""The solvers by name: a new one is a file and an entry here.

It may live in any room that `crossbar_sim.solvers` does not import, since it is loaded by name. It
raises SolverError for a circuit that it cannot solve; `verify` names the tile and goes on.
"""

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from crossbar_sim.solvers.solution import Solution
    from netlists.circuit import Circuit

#: Returns the solution of a circuit for inputs (n_batch, n_word) [V].
Solver = Callable[["Circuit", "np.ndarray"], "Solution"]

FAST, NGSPICE = "fast", "ngspice"

#: Each as "module:function", which is loaded when it is asked for, or as the function itself.
SOLVERS: dict[str, str | Solver] = {
    FAST: "crossbar_sim.solvers.nodal:solve",
    NGSPICE: "crossbar_sim.ngspice.worker:solve_ngspice",
}
#: Those that keep all node voltages if they are called with `nodes=True`.
TELL_NODES = {FAST, NGSPICE}


def solver(name: str) -> Solver:
    """Return a solver. Raises ValueError that lists the names for one that does not exist."""
    if name not in SOLVERS:
        raise ValueError(f"expected a solver of {', '.join(SOLVERS)}; got {name!r}")
    place = SOLVERS[name]
    if not isinstance(place, str):
        return place
    module, _, function = place.partition(":")
    return getattr(import_module(module), function)
