"""Watts and joules of a matrix-vector product, from the circuit's own currents."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from crossbar_sim.converters import Converters
from crossbar_sim.solution import Solution
from crossbar_sim.timing import charging_energy
from mapping.tiles import Tile

Case = Literal["optimistic", "typical", "conservative"]

#: Energy of one conversion [J] by bits: lower quartile ("typical") and median ("conservative") of
#: the designs of 1 MS/s and more since 2012. Source: B. Murmann, ADC Performance Survey, rev. 2025.
_ADC = {
    "typical": {5: 1.7, 6: 2.1, 7: 2.2, 8: 7.1, 9: 14.0, 10: 10.0},
    "conservative": {5: 3.2, 6: 4.5, 7: 3.2, 8: 18.9, 9: 44.0, 10: 19.0},
}
#: Energy of one conversion [J] by bits, at 1 GS/s. Source: Shafiee et al., ISCA 2016 (ISAAC).
_DAC = {1: 3.9e-15, 2: 7.8e-15, 3: 15.6e-15, 4: 31e-15, 6: 125e-15, 8: 0.5e-12}


@dataclass(frozen=True)
class Figures:
    """What is not in the circuit: the energy of converters and amplifiers, and the time.

    t_read [s]: how long the array conducts for one product. adc_case: which designs count.
    tia_v_dd, tia_v_ov [V], tia_c_load [F], tia_factor: of the amplifier, see `tia_energy`.
    """

    t_read: float = 100e-9
    adc_case: Case = "typical"
    tia_v_dd: float = 1.0
    tia_v_ov: float = 0.15
    tia_c_load: float = 100e-15
    tia_factor: float = 4.0


def adc_energy(bits: int, case: Case) -> float:
    """Return the energy of one conversion [J].

    "optimistic" is the envelope of all published designs, 0.267 + 1.446e-7 * 4^bits pJ; the
    others are quantiles of real ones, known for 5 … 10 bits; else ValueError.
    """
    if case == "optimistic":
        return (0.267 + 1.446e-7 * 4**bits) * 1e-12
    if bits not in _ADC[case]:
        raise ValueError(f"no {case} ADC of {bits} bits is tabulated; choose {sorted(_ADC[case])}")
    return _ADC[case][bits] * 1e-12


def dac_energy(bits: int) -> float:
    """Return the energy of one conversion [J]; ValueError for bits that are not tabulated."""
    if bits not in _DAC:
        raise ValueError(f"no DAC of {bits} bits is tabulated; choose one of {sorted(_DAC)}")
    return _DAC[bits]


def tia_energy(figures: Figures, bits: int, beta: np.ndarray) -> np.ndarray:
    """Return the amplifier's energy [J] for settling once to `bits`.

    beta: feedback factor 1 / (1 + r_feedback * total conductance of the line). With transistors
    that give gm = 2 I / v_ov and a closed loop of 2 pi f C_load / beta, the energy is
    v_dd v_ov C_load (bits + 1) ln 2 / (2 beta), whatever the speed; tia_factor makes it real.
    """
    ideal = figures.tia_v_dd * figures.tia_v_ov * figures.tia_c_load * (bits + 1) * math.log(2)
    return figures.tia_factor * ideal / (2 * beta)


@dataclass(frozen=True)
class TileEnergy:
    """One tile: mean power by part [W] and energy per product by part [J]."""

    power: dict[str, float]
    energy: dict[str, float]


def tile_energy(
    tile: Tile, solution: Solution, converters: Converters, figures: Figures, *, n_pass: int = 1
) -> TileEnergy:
    """Return power and energy of a tile, averaged over the batch of its solution.

    Every word line has a DAC, every bit line a TIA, every pair of bit lines an ADC; each works
    once in each of n_pass passes (phases of signed inputs, bits of serial ones), and so does the
    array, whose solution holds the vectors of all passes. "charging" is the wires' C v².
    Raises ValueError for ideal converters, which no figure is known for.
    """
    if converters.adc_bits is None or converters.dac_bits is None:
        raise ValueError("energy needs real converters; give dac_bits and adc_bits")
    power = {part: float(value.mean()) for part, value in solution.power().items()}
    energy = {part: p * figures.t_read for part, p in power.items() if part != "source"}
    energy["charging"] = float(charging_energy(solution).mean())
    g_line = np.concatenate([tile.g_pos.sum(axis=0), tile.g_neg.sum(axis=0)])
    beta = 1.0 / solution.circuit.periphery.noise_gain(g_line)
    energy["amplifier"] = float(tia_energy(figures, converters.adc_bits, beta).sum())
    energy["DAC"] = tile.n_word * dac_energy(converters.dac_bits)
    energy["ADC"] = tile.n_bit * adc_energy(converters.adc_bits, figures.adc_case)
    return TileEnergy(power, {part: n_pass * joules for part, joules in energy.items()})
