"""Solve the circuits of a mapped network, with ngspice and with a fast engine proven equal to it.

The names below are loaded on first use: a worker process needs no torch.
"""

from typing import TYPE_CHECKING

from crossbar_sim.system.own_packages import refuse_foreign

refuse_foreign()

from tinynets import moved  # noqa: E402
from tinynets.lazily import lazily  # noqa: E402
from tinynets.version import VERSION  # noqa: E402

if TYPE_CHECKING:
    from crossbar_sim.certificates.certify import certify
    from crossbar_sim.config.run import ConfigError, RunConfig, load_config
    from crossbar_sim.config.study import StudyConfig, load_study
    from crossbar_sim.golden.arrays import golden_arrays
    from crossbar_sim.golden.scoring import golden_score
    from crossbar_sim.gradients.parts import TorchAmplifiers, TorchWires
    from crossbar_sim.gradients.solve_torch import solve_torch
    from crossbar_sim.jobs.run import estimate, simulate
    from crossbar_sim.ngspice.pool import solve_tiles
    from crossbar_sim.ngspice.verification import Verification, chosen_tiles, random_inputs, verify
    from crossbar_sim.ngspice.worker import NgspiceError, NgspiceWorker, solve_ngspice
    from crossbar_sim.nonlinear.cell_laws import CellLaws, VoltageBox
    from crossbar_sim.nonlinear.newton import solve_nonlinear
    from crossbar_sim.nonlinear.series import Branches
    from crossbar_sim.on_die.flyhash_projection import crossbar_projection
    from crossbar_sim.on_die.hardware import Hardware
    from crossbar_sim.on_die.saved_network import load_network, save_network
    from crossbar_sim.on_die.to_torch import circuit_inputs, to_torch
    from crossbar_sim.periphery.converters import Converters
    from crossbar_sim.periphery.noise import Noise, output_noise
    from crossbar_sim.periphery.settling import settling
    from crossbar_sim.pipeline.own import given
    from crossbar_sim.solvers.nodal import solve, transfer_matrix
    from crossbar_sim.solvers.solution import Solution
    from crossbar_sim.study.runner import Study
    from crossbar_sim.study.store import Store

_HOMES = {
    "certificates.certify": ("certify",),
    "config.run": ("ConfigError", "RunConfig", "load_config"),
    "config.study": ("StudyConfig", "load_study"),
    "golden.arrays": ("golden_arrays",),
    "golden.scoring": ("golden_score",),
    "gradients.parts": ("TorchAmplifiers", "TorchWires"),
    "gradients.solve_torch": ("solve_torch",),
    "jobs.run": ("estimate", "simulate"),
    "ngspice.pool": ("solve_tiles",),
    "ngspice.verification": ("Verification", "chosen_tiles", "random_inputs", "verify"),
    "ngspice.worker": ("NgspiceError", "NgspiceWorker", "solve_ngspice"),
    "nonlinear.cell_laws": ("CellLaws", "VoltageBox"),
    "nonlinear.newton": ("solve_nonlinear",),
    "nonlinear.series": ("Branches",),
    "on_die.flyhash_projection": ("crossbar_projection",),
    "on_die.hardware": ("Hardware",),
    "on_die.saved_network": ("load_network", "save_network"),
    "on_die.to_torch": ("circuit_inputs", "to_torch"),
    "periphery.converters": ("Converters",),
    "periphery.noise": ("Noise", "output_noise"),
    "periphery.settling": ("settling",),
    "pipeline.own": ("given",),
    "solvers.nodal": ("solve", "transfer_matrix"),
    "solvers.solution": ("Solution",),
    "study.runner": ("Study",),
    "study.store": ("Store",),
}

__all__ = [
    "Branches",
    "CellLaws",
    "ConfigError",
    "Converters",
    "Hardware",
    "NgspiceError",
    "NgspiceWorker",
    "Noise",
    "RunConfig",
    "Solution",
    "Store",
    "Study",
    "StudyConfig",
    "TorchAmplifiers",
    "TorchWires",
    "Verification",
    "VoltageBox",
    "certify",
    "chosen_tiles",
    "circuit_inputs",
    "crossbar_projection",
    "estimate",
    "given",
    "golden_arrays",
    "golden_score",
    "load_config",
    "load_network",
    "load_study",
    "output_noise",
    "random_inputs",
    "save_network",
    "settling",
    "simulate",
    "solve",
    "solve_ngspice",
    "solve_nonlinear",
    "solve_tiles",
    "solve_torch",
    "to_torch",
    "transfer_matrix",
    "verify",
]

moved.install()
__version__ = VERSION
__getattr__ = lazily(__name__, _HOMES)
