"""The cost of a run's non-idealities in accuracy: each alone, all together, and less of one."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from crossbar_sim.config import RunConfig
from crossbar_sim.energy.power import adc_energy, dac_energy
from crossbar_sim.findings.run_score import accuracy_of, right_of
from crossbar_sim.findings.shares import compared
from crossbar_sim.on_die.hardware import Hardware
from crossbar_sim.periphery.converters import fields_of
from crossbar_sim.pipeline.deployment import Deployment
from tinynets.networks.training import predict

#: Takes two kinds of hardware; returns the first with one non-ideality as the second has it.
Swap = Callable[[Hardware, Hardware], Hardware]
#: The row of all non-idealities in the table of costs.
TOGETHER = "all together"


def swaps(config: RunConfig) -> dict[str, Swap]:
    """Return what exchanges each non-ideality between two kinds of hardware, by its name."""
    real = config.hardware

    def amplifiers(*names: str) -> Swap:
        def swap(base: Hardware, of: Hardware) -> Hardware:
            terms = {name: getattr(of.periphery, name) for name in names}
            ends = replace(base.periphery, seed=real.periphery.seed, **terms)
            return replace(base, periphery=ends)

        return swap

    def converters(*names: str) -> Swap:
        def swap(base: Hardware, of: Hardware) -> Hardware:
            terms = {name: getattr(of.converters, name) for name in names}
            ends = replace(base.converters, seed=real.converters.seed, **terms)
            return replace(base, converters=ends)

        return swap

    offset = "TIA offset, auto-zeroed" if real.converters.auto_zero else "TIA offset"
    noisy = amplifiers("v_noise")
    return {
        "curves of the devices": lambda base, of: replace(base, devices=of.devices),
        "wires and drivers": lambda base, of: replace(base, wires=of.wires),
        "finite TIA gain, input resistance": amplifiers("tia_gain", "r_input"),
        offset: amplifiers("v_offset", "v_offset_sigma"),
        "TIA swing": amplifiers("v_swing"),
        "DAC": converters(*fields_of("dac"), "inputs"),
        "ADC": converters(*fields_of("adc")),
        "noise": lambda base, of: replace(noisy(base, of), noise=of.noise),
    }


def single_parts(config: RunConfig) -> dict[str, Hardware]:
    """Return, for each non-ideality of a run, ideal hardware with this non-ideality alone."""
    real, ideal = config.hardware, config.ideal_hardware
    alone = {label: swap(ideal, real) for label, swap in swaps(config).items()}
    return {label: parts for label, parts in alone.items() if not _same(parts, ideal)}


def _same(parts: Hardware, ideal: Hardware) -> bool:
    """Return whether hardware is ideal except for its seeds."""
    seeds = {"seed": 0}
    return (
        parts.wires.ideal == ideal.wires.ideal
        and replace(parts.periphery, **seeds) == replace(ideal.periphery, **seeds)
        and replace(parts.converters, **seeds) == replace(ideal.converters, **seeds)
        and parts.noise == ideal.noise
        and parts.devices == ideal.devices
    )


def cost_table(way: Deployment) -> list[dict[str, Any]]:
    """Return rows of accuracy and logit error on the test set, for each term and for all together.

    "error" is the rms change of the logits against ideal hardware, as a fraction of their own rms;
    the other columns are those of `shares.compared`, likewise against ideal hardware.
    """
    config = way.config
    ideal = predict(way.on_die(config.ideal_hardware), way.data.x_test)
    parts = single_parts(config) | {TOGETHER: config.hardware}
    found = {label: predict(way.on_die(each), way.data.x_test) for label, each in parts.items()}
    return [{"term": label} | _row(way, y, ideal, ideal) for label, y in found.items()]


def one_change(
    way: Deployment, costs: list[dict[str, Any]], energy: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Return what a single change of the hardware would do: rows as of `cost_table`.

    costs: of `cost_table`.
    energy: of an inference, by part [J].

    One row has the non-ideality with the largest error taken away, the others have one bit less of
    the ADC or of the DAC. "error" is against ideal hardware, the samples are compared with all
    non-idealities, and "saved" is the energy [J] that a bit saves at the same read time.
    """
    config, x = way.config, way.data.x_test
    real, ideal = config.hardware, config.ideal_hardware
    changed: dict[str, tuple[Hardware, float | None]] = {}  # and what it saves
    if largest := largest_cost(costs):
        changed[f"{largest}: none"] = swaps(config)[largest](real, ideal), None
    for part, joules in saved_by_a_bit(config, energy).items():
        name = f"{part.lower()}_bits"
        bits = getattr(real.converters, name) - 1
        fewer: dict[str, Any] = {name: bits}
        parts = replace(real, converters=replace(real.converters, **fewer))
        changed[f"{part}: {bits} bits"] = parts, joules
    if not changed:
        return []
    wanted, before = (predict(way.on_die(parts), x) for parts in (ideal, real))
    return [
        {"change": label, "saved": joules}
        | _row(way, predict(way.on_die(parts), x), wanted, before)
        for label, (parts, joules) in changed.items()
    ]


def saved_by_a_bit(config: RunConfig, energy: Mapping[str, float]) -> dict[str, float]:
    """Return the energy [J] that one bit less of each converter saves at the same read time.

    energy: of an inference, by part [J].

    A converter that would be left with less than 2 bits has no entry, nor a DAC whose bits come
    one after the other.
    """
    ends, figures = config.periphery, config.energy
    shares = {}
    if ends.adc_bits is not None and ends.adc_bits > 2:
        before, after = (
            adc_energy(b, figures.adc_case) for b in (ends.adc_bits, ends.adc_bits - 1)
        )
        shares["ADC"] = 1 - after / before
    if ends.dac_bits is not None and ends.dac_bits > 2 and ends.inputs == "analog":
        shares["DAC"] = 1 - dac_energy(ends.dac_bits - 1, 1.0) / dac_energy(ends.dac_bits, 1.0)
    return {part: share * energy[part] for part, share in shares.items()}


def largest_cost(costs: list[dict[str, Any]]) -> str | None:
    """Return the non-ideality whose error alone is the largest; None without any."""
    single = {row["term"]: row["error"] for row in costs if row["term"] != TOGETHER}
    return max(single, key=lambda term: single[term], default=None)


def _row(
    way: Deployment, outputs: np.ndarray, ideal: np.ndarray, reference: np.ndarray
) -> dict[str, Any]:
    size = float((ideal**2).mean() ** 0.5)
    row = {
        "accuracy": accuracy_of(outputs, way.data),
        "error": float(((outputs - ideal) ** 2).mean() ** 0.5) / size,
    }
    return row | compared(right_of(outputs, way.data), right_of(reference, way.data))
