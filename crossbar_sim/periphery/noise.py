"""The noise of all resistors and amplifiers at the outputs of a circuit, exact with its wires."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import ConfigDict
from scipy.constants import Boltzmann

from crossbar_sim.solvers.nodal import tia_response
from mapping.bank.checks import T_REFERENCE
from netlists.circuit import Circuit
from netlists.circuit.elements import PARTS
from tinynets.settings import TABLE, Kelvin, Seed, check_fields, within

#: Largest number of transfers from branches to outputs that are in memory at a time.
_MAX_TRANSFERS = 20_000_000


@dataclass(frozen=True)
class Noise:
    """Noise of every read."""

    __pydantic_config__: ClassVar[ConfigDict] = TABLE

    bandwidth: Annotated[float, within(0, 1e15)] = 0.0
    """Noise bandwidth [Hz]; 0 for no noise."""
    temperature: Kelvin = T_REFERENCE
    """Temperature of the resistors [K]."""
    seed: Seed = 0
    """Random seed of the noise."""

    def __post_init__(self) -> None:
        check_fields(self)

    def pair_volts(self, circuit: Circuit) -> np.ndarray:
        """Return the noise (n_bit,) [V rms] of each pair's difference."""
        density = output_noise(circuit, temperature=self.temperature, pairs=True)
        return density.volts(self.bandwidth)


@dataclass(frozen=True)
class NoiseDensity:
    """White voltage noise of outputs, by source.

    by_source: source -> (n_out,) [V²/Hz]. The sources are "cell", "word line", "bit line",
        "driver", "input" (the resistance at the TIAs' inputs), "feedback" (their feedback
        resistors) and "amplifier" (`Periphery.v_noise`).
    """

    by_source: dict[str, np.ndarray]

    @property
    def total(self) -> np.ndarray:
        """All sources together (n_out,) [V²/Hz]; they are independent."""
        return np.sum(list(self.by_source.values()), axis=0)

    def volts(self, bandwidth: float) -> np.ndarray:
        """Return the noise (n_out,) [V rms] in a noise bandwidth [Hz]."""
        return np.sqrt(self.total * bandwidth)


def output_noise(
    circuit: Circuit, *, temperature: float = T_REFERENCE, pairs: bool = False
) -> NoiseDensity:
    """Return the noise of every output, or of every pair's difference, at low frequency.

    circuit: any circuit.
    temperature: of the resistors [K].
    pairs: whether to return the noise of the differences between pairs of outputs, which are all
        positive lines, then all negative ones.

    Each output takes one solution: the voltages caused by 1 V at its amplifier's input are also the
    transfers of the resistors' noise currents to this output.

    Source: adjoint network, Director, Rohrer, IEEE Trans. Circuit Theory 16 (1969) 318; thermal
    noise 4 k T / R, Nyquist, Phys. Rev. 32 (1928) 110.
    """
    mix = np.eye(circuit.n_line)
    if pairs:
        half = circuit.n_line // 2
        mix = mix[half:] - mix[:half]
    size = max(1, _MAX_TRANSFERS // len(circuit.elements.branch_ohm))
    parts = [mix[k : k + size] for k in range(0, len(mix), size)]
    chunks = [_chunk_noise(circuit, temperature, part) for part in parts]
    return NoiseDensity({name: np.concatenate([c[name] for c in chunks]) for name in chunks[0]})


def _chunk_noise(circuit: Circuit, temperature: float, mix: np.ndarray) -> dict[str, np.ndarray]:
    """Return the noise of mix @ outputs, by source; mix (n_out, n_line)."""
    parts, ends = circuit.elements, circuit.periphery
    v_node, i_line = tia_response(circuit, mix)
    thermal, scale = 4.0 * Boltzmann * temperature, ends.share * ends.r_feedback
    transfer = scale * (v_node[:, parts.branch_from] - v_node[:, parts.branch_to])
    density = transfer**2 * (thermal / parts.branch_ohm)
    sources = {p: density[:, parts.branch_part == k].sum(axis=1) for k, p in enumerate(PARTS)}
    # These sources also move the voltage behind r_tia_input at the end of the line.
    feedback = scale * (mix + i_line * ends.r_feedback / (1.0 + ends.tia_gain))
    amplifier = ends.share * mix - scale * ends.share * i_line
    sources["input"] = thermal * ends.r_input * _power(scale * i_line)
    sources["feedback"] = thermal / ends.r_feedback * _power(feedback)
    sources["amplifier"] = ends.v_noise**2 * _power(amplifier)
    return sources


def _power(transfer: np.ndarray) -> np.ndarray:
    return (transfer**2).sum(axis=1)
