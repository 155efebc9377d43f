"""Simulators of others, as functions from an array of the golden set to its output currents.

Each is used through its documented interface and asked for what it models alone; the rest raises
NotImplementedError.
"""

import logging
import warnings
from functools import cache
from typing import Any

import numpy as np

from crossbar_sim.golden.arrays import GoldenArray


def product(array: GoldenArray) -> np.ndarray:
    """Return v @ g: what is left without wires, drivers and amplifiers, as a yardstick."""
    return np.concatenate([array.v_in @ side for side in array.g], axis=1)


def badcrossbar(array: GoldenArray) -> np.ndarray:
    """badcrossbar: wires between ideal drivers and virtual grounds, solved by sparse LU."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its plotting library may be missing
        import badcrossbar

    logging.getLogger("badcrossbar").setLevel(logging.ERROR)
    _demand(array, array.is_ideal, "drivers and amplifiers")
    wires = {"r_i_word_line": array.r_word, "r_i_bit_line": array.r_bit}
    found = badcrossbar.compute(array.v_in.T, _one_side(array), **wires)
    return np.asarray(found.currents.output)


def cross_sim(array: GoldenArray) -> np.ndarray:
    """CrossSim with its default tolerance of 1e-3."""
    return _cross_sim(array, None)


def cross_sim_tight(array: GoldenArray) -> np.ndarray:
    """CrossSim with a tolerance of 1e-9 and up to 1,000 iterations."""
    return _cross_sim(array, 1e-9)


def _cross_sim(array: GoldenArray, tolerance: float | None) -> np.ndarray:
    """The sources' and amplifiers' resistances are its resistances at the terminals."""
    from simulator import CrossSimParameters
    from simulator.circuits.array.NonInterleaved_InputSource import NoninterleavedInputSourceArray

    _cpu()
    _demand(array, not array.v_offset.any(), "offsets")
    ohm = _one_side(array)
    least = float(ohm.min())
    if not np.isfinite(least):
        return np.zeros(array.low.shape)
    settings = CrossSimParameters()
    settings.xbar.device.Rmin, settings.xbar.device.Rmax = least, 1e3 * least
    wires = settings.xbar.array.parasitics
    wires.enable, wires.Rp_row, wires.Rp_col = True, array.r_word, array.r_bit
    wires.Rp_row_terminal, wires.Rp_col_terminal = array.r_driver, array.r_tia
    settings.simulation.hide_convergence_msg = True
    if tolerance:
        settings.simulation.Verr_th_mvm = tolerance
        settings.simulation.Niters_max_parasitics = 1000
    matrix = np.ascontiguousarray((least / ohm).T)
    found = np.zeros(array.low.shape)
    solver = NoninterleavedInputSourceArray(settings)  # keeps the relaxation that converged
    for k, volts in enumerate(array.v_in):
        largest = np.abs(volts).max()
        if largest:  # it expects inputs of -1 … 1
            found[k] = solver.iterative_solve(matrix, volts / largest) * largest / least
    return found


def aihwkit(array: GoldenArray) -> np.ndarray:
    """aihwkit's first-order IR drop along the bit lines, everything else of its tile ideal."""
    import torch
    from aihwkit.simulator.configs import InferenceRPUConfig
    from aihwkit.simulator.tiles import InferenceTile

    _demand(array, array.is_ideal, "drivers and amplifiers, for its tile is in arbitrary units")
    ohm = _one_side(array)
    least = float(ohm.min())
    if not np.isfinite(least):
        return np.zeros(array.low.shape)
    n_word, n_bit = ohm.shape
    config = InferenceRPUConfig()
    config.forward = _only_ir_drop(least / array.r_bit if array.r_bit else None)
    tile = InferenceTile(n_bit, n_word, config)
    tile.set_weights(torch.tensor((least / ohm).T, dtype=torch.float32))
    tile.eval()
    volts = np.abs(array.v_in).max() or 1.0
    with torch.no_grad():
        found = tile.forward(torch.tensor(array.v_in / volts, dtype=torch.float32))
    return found.numpy().astype(np.float64) * volts / least


def _only_ir_drop(ratio: float | None) -> Any:
    """Return a forward pass without noise, bounds and rounding.

    ratio: conductance of a segment over that of the best device; None for ideal wires.
    """
    from aihwkit.simulator.parameters import IOParameters
    from aihwkit.simulator.parameters.enums import BoundManagementType, NoiseManagementType

    ways = {
        "noise_management": NoiseManagementType.NONE,
        "bound_management": BoundManagementType.NONE,
    }
    ideal = {"inp_res": -1, "out_res": -1, "inp_bound": 0.0, "out_bound": 0.0, "out_noise": 0.0}
    drop = {} if ratio is None else {"ir_drop": 1.0, "ir_drop_g_ratio": ratio}
    return IOParameters(**ways, **ideal, **drop)


@cache
def _cpu() -> None:
    from simulator.backend import ComputeBackend

    ComputeBackend(use_gpu=False)


def _one_side(array: GoldenArray) -> np.ndarray:
    """Return the resistances (n_word, n_bit) of an array without pairs."""
    _demand(array, len(array.ohm) == 1, "pairs that share a word line")
    return array.ohm[0]


def _demand(array: GoldenArray, modelled: bool, what: str) -> None:
    if not modelled:
        raise NotImplementedError(f"{array.kind}: it does not model {what}")
