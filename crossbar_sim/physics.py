"""What limits a tile beyond its matrix: how fast it settles, how much it hums, how large it is."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from crossbar_sim.config import RunConfig
from crossbar_sim.noise import effective_bits, output_noise
from crossbar_sim.timing import settling
from mapping.tiles import Tile
from netlists.build import tile_circuit
from netlists.geometry import tile_area

#: Vectors of a batch whose settling is looked at; the slowest counts.
_N_VECTOR = 8


@dataclass(frozen=True)
class TilePhysics:
    """One tile.

    t_settling [s]: until the slowest of some real vectors is within half a step of the ADC, 0 where
    nothing is slow. noise_density [V²/Hz]: of the noisiest pair's difference. full_scale [V]: from
    the lowest to the highest output of the real vectors. area [m²]: of its cells.
    """

    t_settling: float
    noise_density: float
    full_scale: float
    area: float

    def noise_bits(self, bandwidth: float) -> float | None:
        """Return the bits that noise leaves at a bandwidth [Hz]; None for a tile without signal."""
        if not self.full_scale:
            return None
        rms = np.sqrt(self.noise_density * bandwidth)
        return float(effective_bits(self.full_scale, rms))


def tile_physics(config: RunConfig, tile: Tile, v_in: np.ndarray) -> TilePhysics:
    """Return what limits a tile for inputs v_in (n_batch, n_word) [V]."""
    circuit = tile_circuit(tile, config.build_wires(), config.periphery.build())
    strong = np.argsort(-np.abs(v_in).sum(axis=1), kind="stable")[:_N_VECTOR]
    slow = is_slow(config)
    tolerance = 2.0 ** -(config.periphery.adc_bits + 1)
    time = settling(circuit, v_in[strong], tolerance).time.max() if slow else 0.0
    noise = output_noise(circuit, temperature=config.noise.temperature, pairs=True)
    g = tile.g_pos - tile.g_neg
    swing = config.periphery.r_feedback * np.abs(v_in @ g).max()
    area = config.geometry.area(config.bank.build())
    return TilePhysics(
        float(time),
        float(noise.total.max()),
        2.0 * float(swing),
        tile_area(area, tile.n_word, tile.n_bit),
    )


def is_slow(config: RunConfig) -> bool:
    """Return whether anything in a circuit takes time: capacitance, or an amplifier's pole."""
    wires = config.build_wires()
    return bool(wires.c_word or wires.c_bit or np.isfinite(config.periphery.gbw))


def physics_numbers(
    config: RunConfig, physics: dict[str, TilePhysics], t_read: float
) -> dict[str, Any]:
    """Return what the report states: per tile, the slowest, the noisiest, and areas."""
    bandwidth = config.noise.bandwidth or 1.0 / (2.0 * t_read)
    tiles = [
        {"tile": name} | asdict(found) | {"noise_bits": found.noise_bits(bandwidth)}
        for name, found in physics.items()
    ]
    bits = [row["noise_bits"] for row in tiles if row["noise_bits"] is not None]
    cell = config.geometry.area(config.bank.build())
    wires = config.build_wires()
    return {
        "tiles": tiles,
        "slow": is_slow(config),
        "t_read": t_read,
        "t_settling": max(found.t_settling for found in physics.values()),
        "bandwidth": bandwidth,
        "least_noise_bits": min(bits, default=None),
        "silent": [row["tile"] for row in tiles if row["noise_bits"] is None],
        "area_weight": cell.total,
        "area_parts": asdict(cell),
        "pitch": cell.pitch,
        "area_tiles": sum(found.area for found in physics.values()),
        "wires": asdict(wires),
    }
