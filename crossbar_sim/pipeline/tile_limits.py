"""The limits of a tile besides its matrix: settling time, noise and area."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from crossbar_sim.config import RunConfig
from crossbar_sim.energy.power import transconductance, transistor_noise
from crossbar_sim.periphery.noise import output_noise
from crossbar_sim.periphery.settling import settling
from mapping.selection.bits import effective_bits
from mapping.tiling.tiles import Tile
from netlists.circuit import Circuit
from netlists.layout.technology import DBU

#: Number of vectors of a batch whose settling is computed; the slowest counts.
_N_VECTOR = 8


@dataclass(frozen=True)
class TilePhysics:
    """The limits of one tile.

    t_settling: until the slowest of some real vectors is within half a step of the ADC [s]; 0 if
        nothing takes time.
    noise_density: of the noisiest pair's difference [V²/Hz].
    full_scale: from the lowest to the highest output of the real vectors [V].
    area: of its cells as drawn [m²]; None if they cannot be drawn.
    """

    t_settling: float
    noise_density: float
    full_scale: float
    area: float | None

    def noise_bits(self, bandwidth: float) -> float | None:
        """Return the effective bits left by noise at a bandwidth [Hz]; None without signal."""
        if not self.full_scale:
            return None
        rms = np.sqrt(self.noise_density * bandwidth)
        return float(effective_bits(self.full_scale, rms))


def settling_time(config: RunConfig, circuit: Circuit, v_in: np.ndarray) -> float:
    """Return the settling time [s] of the slowest of a few real vectors; 0 if nothing takes time.

    v_in: (n_batch, n_word) [V]; the vectors with the largest sums of magnitudes are used.
    """
    if not config.is_slow:
        return 0.0
    strong = np.argsort(-np.abs(v_in).sum(axis=1), kind="stable")[:_N_VECTOR]
    return float(settling(circuit, v_in[strong], config.periphery.half_step).time.max())


def tile_physics(
    config: RunConfig, tile: Tile, circuit: Circuit, v_in: np.ndarray, t_settling: float
) -> TilePhysics:
    """Return the limits of a tile.

    circuit: of the tile.
    v_in: real inputs (n_batch, n_word) [V].
    t_settling: see `settling_time` [s].
    """
    noise = output_noise(circuit, temperature=config.noise.temperature, pairs=True)
    g = tile.g_pos - tile.g_neg
    swing = config.periphery.r_feedback * np.abs(v_in @ g).max()
    cell = config.cell()
    return TilePhysics(
        t_settling,
        float(noise.total.max()),
        2.0 * float(swing),
        tile.n_word * tile.n_bit * cell.area if cell else None,
    )


def physics_numbers(
    config: RunConfig, physics: dict[str, TilePhysics], t_read: float
) -> dict[str, Any]:
    """Return the report's numbers: for each tile, of the slowest and noisiest one, and areas."""
    bandwidth = config.noise.bandwidth or 1.0 / (2.0 * t_read)
    tiles = [
        {"tile": name} | asdict(limits) | {"noise_bits": limits.noise_bits(bandwidth)}
        for name, limits in physics.items()
    ]
    bits = [row["noise_bits"] for row in tiles if row["noise_bits"] is not None]
    return {
        "tiles": tiles,
        "slow": config.is_slow,
        "t_read": t_read,
        "t_settling": max(limits.t_settling for limits in physics.values()),
        "bandwidth": bandwidth,
        "least_noise_bits": min(bits, default=None),
        "silent": [row["tile"] for row in tiles if row["noise_bits"] is None],
        "amplifier": amplifier_numbers(config),
        "wires": asdict(config.hardware.wires),
    } | _areas(config, physics)


def amplifier_numbers(config: RunConfig) -> dict[str, float] | None:
    """Return the requirements of the amplifiers' gain-bandwidth; None if it is infinite.

    gm, bias: see `crossbar_sim.energy.power.amplifier_energy` [S], [A].
    v_noise: of such a pair of transistors [V/sqrt(Hz)].
    v_noise_stated: by the run [V/sqrt(Hz)].
    bias_for_noise: bias that the stated noise requires [A]; 0 if none is stated.
    """
    ends, figures = config.periphery, config.energy
    if not np.isfinite(ends.gbw):
        return None
    gm, kelvin = transconductance(figures, ends.gbw), config.noise.temperature
    bias, noise = gm * figures.tia_v_ov / 2.0, transistor_noise(gm, kelvin)
    needed = bias * (noise / ends.v_noise) ** 2 if ends.v_noise else 0.0
    return {
        "gm": gm,
        "bias": bias,
        "v_noise": noise,
        "v_noise_stated": ends.v_noise,
        "bias_for_noise": needed,
    }


def _areas(config: RunConfig, physics: dict[str, TilePhysics]) -> dict[str, Any]:
    """Return the area of a weight [m²], its sides [m], and the area of all tiles; or None."""
    cell = config.cell()
    if cell is None:
        return dict.fromkeys(("area_weight", "cell_width", "cell_height", "area_tiles"))
    return {
        "area_weight": cell.area,
        "cell_width": cell.width * DBU,
        "cell_height": cell.height * DBU,
        "area_tiles": sum(limits.area or 0.0 for limits in physics.values()),
    }
