"""Power and energy of a matrix-vector product, from the currents of its circuit."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, get_args

import numpy as np
from pydantic import ConfigDict
from scipy.constants import Boltzmann

from crossbar_sim.energy.digital import ADD
from crossbar_sim.on_die.hardware import Hardware
from crossbar_sim.periphery.settling import wire_charge
from crossbar_sim.solvers.solution import Solution
from mapping.bank.checks import T_REFERENCE
from mapping.tiling.tiles import Tile
from netlists.circuit import Periphery
from tinynets.settings import TABLE, Positive, check_fields

Case = Literal["envelope", "lower quartile", "median"]

#: Energy of published ADCs as a multiple of the envelope at their own effective bits, by case.
#: Source: 297 designs of 1 MS/s and more since 2012 in B. Murmann, ADC Performance Survey
#: 1997-2025; by benchmarks/energy/adc_survey.py, 95 % intervals 10.7 … 16.7 and 28.5 … 44.6.
ADC_FACTORS: dict[Case, float] = {"envelope": 1.0, "lower quartile": 13.2, "median": 35.0}

#: Power of a 1-bit DAC [W]; each further bit doubles it. Source: MNSIM 2.0, DAC.py (thu-nics, read
#: there), which scales the 1-bit DAC of ISAAC (Shafiee et al., ISCA 2016) to 2 … 8 bits; its entry
#: of 8 bits, 0.4992 W, lacks the factor 1e-3 that all others have.
_P_DAC = 3.9e-6

#: Channel noise of a MOS transistor, 4 k T gamma / gm. Source: gamma 2/3 of a long channel.
_GAMMA = 2.0 / 3.0


@dataclass(frozen=True)
class Figures:
    """What the circuit does not hold: energy of converters and amplifiers, and the read time."""

    __pydantic_config__: ClassVar[ConfigDict] = TABLE

    t_read: Positive | Literal["settling"] = 100e-9
    """How long the array conducts and word lines are held for one product [s]; "settling" for the
    time in which the slowest tile settles to half a step of the ADC."""
    adc_case: Case = "median"
    """Which published designs give the energy of an ADC; see `adc_energy`."""
    v_dd: Positive = 1.0
    """Supply voltage of drivers and amplifiers, of either sign [V]."""
    tia_v_ov: Positive = 0.15
    """Overdrive voltage of the amplifier's input transistors [V]; see `amplifier_energy`."""
    tia_c_load: Positive = 100e-15
    """Load capacitance of the amplifier [F]; see `amplifier_energy`."""
    tia_factor: Positive = 4.0
    """Supply current of the amplifier as a multiple of its bias current; see `amplifier_energy`."""

    def __post_init__(self) -> None:
        check_fields(self)

    def settled(self, t_settling: float) -> "Figures":
        """Return the figures with a read time in seconds; t_settling [s] of the slowest tile."""
        return replace(self, t_read=t_settling) if self.t_read == "settling" else self

    @property
    def seconds(self) -> float:
        """The read time [s]; ValueError if it is still "settling"."""
        if self.t_read == "settling":
            raise ValueError('t_read is "settling"; pass figures.settled(t_settling)')
        return self.t_read


def adc_envelope(bits: float) -> float:
    """Return the least energy per conversion [J] of designs with this many effective bits.

    It is 0.267 pJ + 1.446e-7 pJ * 4^bits.
    Source: B. Murmann, ADC Performance Survey, energy plot.
    """
    return (0.267 + 1.446e-7 * 4.0**bits) * 1e-12


def adc_energy(bits: float, case: Case) -> float:
    """Return the energy of one conversion [J]: the envelope times the factor of a case.

    bits: 1 … 24, taken as effective bits.
    case: one of ADC_FACTORS.

    The formula is smooth and monotone in bits, but single designs deviate from it: the median's
    factor varies from 13 to 75 between bands of bits (benchmarks/results/adc_survey.json). Raises
    ValueError for another case or other bits.
    """
    if case not in ADC_FACTORS:
        raise ValueError(f"adc_case must be one of {', '.join(get_args(Case))}; got {case!r}")
    if not 1 <= bits <= 24:
        raise ValueError(f"an ADC has 1 … 24 bits; got {bits}")
    return ADC_FACTORS[case] * adc_envelope(bits)


def dac_energy(bits: int, t_hold: float) -> float:
    """Return the energy [J] of a DAC that holds its word line for t_hold [s].

    bits: 1 … 24; the power while it holds is 3.9 uW * 2^(bits - 1).

    Raises ValueError for other bits. Source: see _P_DAC.
    """
    if not 1 <= bits <= 24:
        raise ValueError(f"a DAC has 1 … 24 bits; got {bits}")
    return _P_DAC * 2.0 ** (bits - 1) * t_hold


def transconductance(figures: Figures, gbw: float) -> float:
    """Return the transconductance [S] of a one-stage amplifier of a gain-bandwidth [Hz].

    It is 2 pi C_load gbw.
    """
    return 2.0 * math.pi * figures.tia_c_load * gbw


def transistor_noise(gm: float, temperature: float = T_REFERENCE) -> float:
    """Return the input noise [V/sqrt(Hz)] of a differential pair: sqrt(2 * 4 k T gamma / gm)."""
    return math.sqrt(8.0 * Boltzmann * temperature * _GAMMA / gm)


def tia_energy(figures: Figures, bits: int, beta: np.ndarray) -> np.ndarray:
    """Return the amplifier's energy [J] for settling once to `bits`, whatever its speed.

    beta: feedback factor 1 / (1 + r_feedback * total conductance of the line).

    With transistors of gm = 2 I / v_ov and a closed loop of 2 pi f C_load / beta, the energy is
    v_dd v_ov C_load (bits + 1) ln 2 / (2 beta), times tia_factor for a real amplifier.
    """
    ideal = figures.v_dd * figures.tia_v_ov * figures.tia_c_load * (bits + 1) * math.log(2)
    return figures.tia_factor * ideal / (2 * beta)


def amplifier_energy(
    figures: Figures, ends: Periphery, g_line: np.ndarray, bits: int
) -> np.ndarray:
    """Return the energy [J] of the amplifier of each line for one read.

    ends: the amplifiers.
    g_line: total conductance of each line [S].
    bits: to which an amplifier of infinite gain-bandwidth settles in a read, see `tia_energy`.

    An amplifier of finite gain-bandwidth has gm = 2 pi C_load gbw and, during the whole read, a
    bias current I = gm v_ov / 2 (square law). Its energy is tia_factor v_dd I t_read, in which
    tia_factor stands for its other branches.
    Source: square-law MOS transistor, gm = 2 I / v_ov; one-stage amplifier, gbw = gm / (2 pi C).
    """
    if not math.isfinite(ends.gbw):
        return tia_energy(figures, bits, 1.0 / ends.noise_gain(g_line))
    bias = transconductance(figures, ends.gbw) * figures.tia_v_ov / 2.0
    return np.full(len(g_line), figures.tia_factor * figures.v_dd * bias * figures.seconds)


@dataclass(frozen=True)
class TileEnergy:
    """One tile: mean power by part [W] and energy per product by part [J]."""

    power: dict[str, float]
    energy: dict[str, float]


#: Entries of `Solution.power` that deliver the power which the other parts turn into heat.
_DELIVER = ("source", "TIA output")


@dataclass(frozen=True)
class Draw:
    """What a tile's circuit draws while it conducts, averaged over a batch of vectors.

    power: by part of the circuit [W], see `Solution.power`.
    stages: heat of the output stages of drivers and TIAs [W], see `Solution.stage_power`.
    charge: that the wires take for one read [C].
    """

    power: dict[str, float]
    stages: dict[str, float]
    charge: float


def drawn(solution: Solution, v_dd: float) -> Draw:
    """Return what a circuit draws from a supply of v_dd [V], averaged over its solution's batch."""
    return Draw(
        {part: float(value.mean()) for part, value in solution.power().items()},
        {part: float(p.mean()) for part, p in solution.stage_power(v_dd).items()},
        float(wire_charge(solution).mean()),
    )


def tile_energy(
    tile: Tile, draw: Draw, hardware: Hardware, figures: Figures, *, n_pass: int = 1
) -> TileEnergy:
    """Return power and energy of a tile.

    draw: of its circuit, for the vectors of all passes.
    n_pass: number of passes per product (phases of signed inputs, bits of serial ones).

    Every word line has a DAC, every bit line a TIA, and every pair of bit lines an ADC. Each of
    them, and the array, works once per pass. All current comes from the supply v_dd; power that
    does not heat the circuit heats the output stages of drivers and TIAs. "charging" is the charge
    of the wires, from the supply. "digital" is a 32-bit addition per reading, for the layer's sums,
    and another one if a zero is subtracted.
    Raises ValueError for ideal converters, whose energy is not known.
    """
    converters = hardware.converters
    adc_bits, drive_bits = converters.adc_bits, converters.drive_bits
    if adc_bits is None or drive_bits is None:
        raise ValueError("the energy of ideal converters is not known; give dac_bits and adc_bits")
    heat = {part: p for part, p in draw.power.items() if part not in _DELIVER} | draw.stages
    energy = {part: p * figures.seconds for part, p in heat.items()}
    energy["charging"] = figures.v_dd * draw.charge
    g_line = np.concatenate([tile.g_pos.sum(axis=0), tile.g_neg.sum(axis=0)])
    amplifiers = amplifier_energy(figures, hardware.periphery, g_line, adc_bits)
    energy["amplifier"] = float(amplifiers.sum())
    energy["DAC"] = tile.n_word * dac_energy(drive_bits, figures.seconds)
    energy["ADC"] = tile.n_bit * adc_energy(adc_bits, figures.adc_case)
    energy["digital"] = tile.n_bit * (1 + converters.auto_zero) * ADD
    return TileEnergy(draw.power, {part: n_pass * joules for part, joules in energy.items()})
