"""Solve the circuits of a mapped network, with ngspice and with a fast engine proven equal to it.

The names below are loaded on first use: a worker process needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crossbar_sim.analog import circuit_inputs, to_torch
    from crossbar_sim.converters import Converters
    from crossbar_sim.hashing import crossbar_projection
    from crossbar_sim.ngspice import NgspiceError, NgspiceWorker, solve_ngspice
    from crossbar_sim.ngspice_pool import solve_tiles
    from crossbar_sim.nodal import solve, transfer_matrix
    from crossbar_sim.noise import Noise, output_noise
    from crossbar_sim.solution import Solution
    from crossbar_sim.store import Store
    from crossbar_sim.study import Study
    from crossbar_sim.timing import settling
    from crossbar_sim.verification import Verification, chosen_tiles, random_inputs, verify

_HOME = {
    "Converters": "crossbar_sim.converters",
    "NgspiceError": "crossbar_sim.ngspice",
    "NgspiceWorker": "crossbar_sim.ngspice",
    "Noise": "crossbar_sim.noise",
    "Solution": "crossbar_sim.solution",
    "Store": "crossbar_sim.store",
    "Study": "crossbar_sim.study",
    "Verification": "crossbar_sim.verification",
    "chosen_tiles": "crossbar_sim.verification",
    "circuit_inputs": "crossbar_sim.analog",
    "crossbar_projection": "crossbar_sim.hashing",
    "output_noise": "crossbar_sim.noise",
    "random_inputs": "crossbar_sim.verification",
    "settling": "crossbar_sim.timing",
    "solve": "crossbar_sim.nodal",
    "solve_ngspice": "crossbar_sim.ngspice",
    "solve_tiles": "crossbar_sim.ngspice_pool",
    "to_torch": "crossbar_sim.analog",
    "transfer_matrix": "crossbar_sim.nodal",
    "verify": "crossbar_sim.verification",
}

__all__ = [
    "Converters",
    "NgspiceError",
    "NgspiceWorker",
    "Noise",
    "Solution",
    "Store",
    "Study",
    "Verification",
    "chosen_tiles",
    "circuit_inputs",
    "crossbar_projection",
    "output_noise",
    "random_inputs",
    "settling",
    "solve",
    "solve_ngspice",
    "solve_tiles",
    "to_torch",
    "transfer_matrix",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'crossbar_sim' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
