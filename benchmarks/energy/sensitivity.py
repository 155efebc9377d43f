"""Which side do the assumptions favour? Each one is changed alone, for both examples.

The comparison is that of the reports: the energy of 45 nm int8 arithmetic on the non-zero weights,
each fetched once, over the energy of the die. Above 1 the die uses less.

Run: python -m benchmarks.energy.sensitivity  (under a minute per network)
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.common import ROOT, machine, print_table, save_json
from crossbar_sim import Hardware
from crossbar_sim.config import RunConfig, load_config
from crossbar_sim.config.study import with_values
from crossbar_sim.energy.digital import NODES, arithmetic, weight_fetch
from crossbar_sim.energy.inference import network_energy, sum_counts
from crossbar_sim.energy.power import ADC_FACTORS, Case, drawn, tile_energy
from crossbar_sim.on_die.to_torch import to_torch
from crossbar_sim.pipeline.deployment import Reads, reads_of
from crossbar_sim.pipeline.steps import build_model, load_data, map_on_die, single_thread
from crossbar_sim.pipeline.tile_limits import amplifier_numbers, settling_time
from crossbar_sim.solvers.nodal import solve
from crossbar_sim.study.trial import trained_path
from mapping.network.mapped_network import MappedNetwork
from mapping.tiling.tiles import Tile
from netlists.circuit.build import tile_circuit

EXAMPLES = ROOT / "examples" / "runs"
NODE = NODES[0]
#: Supply of the process in which the cell is drawn [V].
V_SKY130 = 1.8


@dataclass(frozen=True)
class Example:
    """A network on its die, and its inputs."""

    config: RunConfig
    mapped: MappedNetwork
    reads: Reads

    def volts(self, tile: Tile) -> np.ndarray:
        """Return the inputs of a tile (n_batch, n_word) [V]."""
        return self.reads.v_in[tile.layer][:, tile.rows]

    def settling(self, **changes: Any) -> float:
        """Return the settling time of the slowest tile [s], with some keys of the run changed."""
        config = with_values(self.config, changes)
        parts = config.hardware.wires, config.hardware.periphery
        return max(
            settling_time(
                config, tile_circuit(tile, *parts), self.reads.v_in[tile.layer][:, tile.rows]
            )
            for tile in self.mapped.tiles
        )

    def energy(self, t_read: float, **changes: Any) -> dict[str, Any]:
        """Return the energy of the network, with some keys of the run changed."""
        config, used = with_values(self.config, changes), {}
        hardware, figures = config.hardware, config.energy.settled(t_read)
        for tile in self.mapped.tiles:
            circuit = tile_circuit(tile, hardware.wires, hardware.periphery)
            draw = drawn(solve(circuit, self.volts(tile), nodes=True), figures.v_dd)
            n_pass = self.reads.n_pass[tile.layer]
            used[tile.name] = tile_energy(tile, draw, hardware, figures, n_pass=n_pass)
        return network_energy(self.mapped, used)


@dataclass(frozen=True)
class Balance:
    """Both sides: parts of the die's energy and of the digital one [J]."""

    die: dict[str, float]
    digital: dict[str, float]

    @property
    def ratio(self) -> float:
        """Digital over die."""
        return sum(self.digital.values()) / sum(self.die.values())

    def on_die(self, **factors: float) -> "Balance":
        """Return the balance with parts of the die's energy scaled; "_" stands for a space."""
        scaled = {name.replace("_", " "): factor for name, factor in factors.items()}
        die = {part: joule * scaled.get(part, 1.0) for part, joule in self.die.items()}
        return Balance(die, self.digital)

    def with_digital(self, **more: float) -> "Balance":
        """Return the balance with parts of the digital energy replaced or added [J]."""
        return Balance(self.die, self.digital | more)


def example(name: str, cache: Path) -> Example:
    """Train, prune and map an example of the repository."""
    config = load_config(EXAMPLES / f"{name}.toml")
    with single_thread():
        model, data = build_model(config), load_data(config)
        model.load_state_dict(torch.load(trained_path(config, cache), weights_only=True))
        mapped = map_on_die(config, model.eval(), data)
        ends = config.periphery
        hardware = Hardware(config.hardware.wires, ends.amplifiers, ends.ideal_converters)
        wired = to_torch(model, mapped, hardware, calibration=torch.from_numpy(data.x_train))
        images = data.x_test[: config.simulation.n_image]
        return Example(config, mapped, reads_of(wired, mapped, images, config.hardware.converters))


def balance(example: Example, energy: dict[str, Any]) -> Balance:
    """Return both sides of the report's comparison."""
    counts = sum_counts([layer.source for layer in example.mapped.layers])
    return Balance(
        energy["analog"],
        {
            "arithmetic": arithmetic(NODE, counts.n_mac_nonzero),
            "fetch": weight_fetch(NODE, counts.n_remaining),
        },
    )


def dac_sharing(mapped: MappedNetwork) -> float:
    """Return the fraction of DACs that is left if neighbouring tiles share the DACs of a row."""
    lines = [(layer, tile) for layer in mapped.layers for tile in layer.tiles]
    all_dacs = sum(tile.n_word * layer.source.n_mvm for layer, tile in lines)
    rows = {(layer.name, row): layer.source.n_mvm for layer, tile in lines for row in tile.rows}
    return sum(rows.values()) / all_dacs


def changes(ex: Example, t_read: float, whole: dict[str, Any]) -> dict[str, Balance]:
    """Return the balance for each assumption changed alone; whole: the unchanged energy."""
    base, thin = balance(ex, whole), {"wires.source": "thin"}
    free = {row["what"]: row["energy"] for row in whole["free"]}
    n_weight = sum(layer.source.n_remaining for layer in ex.mapped.layers)
    return digital_changes(base, n_weight, free) | {
        "ADC: lower quartile of designs": base.on_die(ADC=_adc("lower quartile")),
        "ADC: envelope of all designs": base.on_die(ADC=_adc("envelope")),
        "two ADCs a pair": base.on_die(ADC=2.0),
        "DAC works for 1 ns, then holds for nothing": base.on_die(DAC=1e-9 / t_read),
        "tiles beside each other share DACs": base.on_die(DAC=dac_sharing(ex.mapped)),
        "amplifiers take what settling takes, however long the read": balance(
            ex, ex.energy(t_read, **{"periphery.gbw": np.inf})
        ),
        "amplifiers biased for their stated noise": base.on_die(amplifier=_for_noise(ex.config)),
        "amplifiers without the factor of 4": base.on_die(amplifier=0.25),
        "output stages of drivers and amplifiers lossless": base.on_die(
            driver_stage=0.0, TIA_stage=0.0
        ),
        "supply of 1.8 V": balance(ex, ex.energy(t_read, **{"energy.v_dd": V_SKY130})),
        "wires of 1 ohm and 7 fF, read as fast as they settle": balance(
            ex, ex.energy(ex.settling(**thin), **thin)
        ),
        "sums and zeros free": base.on_die(digital=0.0),
    }


def digital_changes(base: Balance, n_weight: int, free: dict[str, float]) -> dict[str, Balance]:
    """Return the changes of the digital side; free: energy of items that are not counted [J]."""
    large = n_weight * NODE.bits / 64 * NODE.sram[1][1]
    moved = {"activations": free["activations, to and from memory"]}
    return {
        "weights in a 32 KB SRAM": base.with_digital(fetch=large),
        "arithmetic alone, no fetch": base.with_digital(fetch=0.0),
        "index of the non-zero weights read too": base.with_digital(
            index=free["index of the non-zero weights"]
        ),
        "weights of convolutions read anew": base.with_digital(
            again=free.get("weights of convolutions, read anew", 0.0)
        ),
        "activations through memory, both sides": Balance(base.die | moved, base.digital | moved),
    }


def _for_noise(config: RunConfig) -> float:
    amplifier = amplifier_numbers(config)
    assert amplifier is not None
    return amplifier["bias_for_noise"] / amplifier["bias"]


def _adc(case: Case) -> float:
    return ADC_FACTORS[case] / ADC_FACTORS["median"]


def flatters(before: float, after: float) -> str:
    """Return the side that an assumption favours, from the ratios before and after its change."""
    if np.isclose(before, after, rtol=1e-3, atol=0):
        return "neither"
    return "die" if after < before else "digital"


def measured(ex: Example) -> dict[str, Any]:
    """Return both sides of an example, and the ratio for each change.

    ratio_brief_dac: the ratio if DACs worked for only 1 ns; else their energy hides all others.
    """
    t_read = ex.settling()
    whole = ex.energy(t_read)
    base = balance(ex, whole)
    brief = {"DAC": base.die["DAC"] * 1e-9 / t_read}
    return {
        "t_read": t_read,
        "adc_case": ex.config.energy.adc_case,
        "die": base.die,
        "digital": base.digital,
        "ratio": base.ratio,
        "ratio_brief_dac": Balance(base.die | brief, base.digital).ratio,
        "changed": [
            {
                "to": name,
                "flatters": flatters(base.ratio, other.ratio),
                "ratio": other.ratio,
                "ratio_brief_dac": Balance(other.die | brief, other.digital).ratio,
            }
            for name, other in changes(ex, t_read, whole).items()
        ],
        "free": whole["free"],
    }


def main() -> None:
    """Measure, print and keep."""
    examples: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as cache:
        for name in ("digits", "digits_cnn"):
            examples[name] = measured(example(name, Path(cache)))
            rows = [[*row.values()] for row in examples[name]["changed"]]
            print_table(
                f"{name}: ratio {examples[name]['ratio']:.3g}",
                ["changed to", "the assumption favours", "ratio", "ratio, DACs of 1 ns"],
                rows,
            )
    save_json("sensitivity", {"machine": machine(), "node": NODE.name, "examples": examples})


if __name__ == "__main__":
    main()
