"""Solve the circuits of a mapped network, with ngspice and with a fast engine proven equal to it.

The names below are loaded on first use: a worker process needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crossbar_sim.analog import to_torch
    from crossbar_sim.converters import Converters
    from crossbar_sim.ngspice import NgspiceError, NgspiceWorker, solve_ngspice
    from crossbar_sim.nodal import solve, transfer_matrix
    from crossbar_sim.solution import Solution
    from crossbar_sim.verification import Verification, verify

_HOME = {
    "Converters": "crossbar_sim.converters",
    "NgspiceError": "crossbar_sim.ngspice",
    "NgspiceWorker": "crossbar_sim.ngspice",
    "Solution": "crossbar_sim.solution",
    "Verification": "crossbar_sim.verification",
    "solve": "crossbar_sim.nodal",
    "solve_ngspice": "crossbar_sim.ngspice",
    "to_torch": "crossbar_sim.analog",
    "transfer_matrix": "crossbar_sim.nodal",
    "verify": "crossbar_sim.verification",
}

__all__ = [
    "Converters",
    "NgspiceError",
    "NgspiceWorker",
    "Solution",
    "Verification",
    "solve",
    "solve_ngspice",
    "to_torch",
    "transfer_matrix",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'crossbar_sim' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
