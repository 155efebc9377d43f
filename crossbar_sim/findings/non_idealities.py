"""The cost of a run's non-idealities in accuracy, each alone and all together."""

from dataclasses import replace
from typing import Any

from crossbar_sim.config import RunConfig
from crossbar_sim.findings.run_score import accuracy_of
from crossbar_sim.on_die.hardware import Hardware
from crossbar_sim.periphery.converters import fields_of
from crossbar_sim.pipeline.deployment import Deployment
from tinynets.networks.training import predict


def single_parts(config: RunConfig) -> dict[str, Hardware]:
    """Return, for each non-ideality of a run, ideal hardware with this non-ideality alone."""
    real, ideal = config.hardware, config.ideal_hardware
    ends, conv = real.periphery, real.converters

    def amplifier(**terms: Any) -> Hardware:
        return replace(ideal, periphery=replace(ideal.periphery, seed=ends.seed, **terms))

    def converter(*names: str) -> Hardware:
        terms = {name: getattr(conv, name) for name in names}
        return replace(ideal, converters=replace(ideal.converters, seed=conv.seed, **terms))

    offset = "TIA offset, auto-zeroed" if conv.auto_zero else "TIA offset"
    terms = {
        "curves of the devices": replace(ideal, devices=real.devices),
        "wires and drivers": replace(ideal, wires=real.wires),
        "finite TIA gain, input resistance": amplifier(
            tia_gain=ends.tia_gain, r_input=ends.r_input
        ),
        offset: amplifier(v_offset=ends.v_offset, v_offset_sigma=ends.v_offset_sigma),
        "TIA swing": amplifier(v_swing=ends.v_swing),
        "DAC": converter(*fields_of("dac"), "inputs"),
        "ADC": converter(*fields_of("adc")),
        "noise": replace(amplifier(v_noise=ends.v_noise), noise=real.noise),
    }
    return {label: parts for label, parts in terms.items() if not _same(parts, ideal)}


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

    "error" is the rms change of the logits against ideal hardware, as a fraction of their own rms.
    """
    config, data = way.config, way.data
    ideal = predict(way.on_die(config.ideal_hardware), data.x_test)
    size = float((ideal**2).mean() ** 0.5)
    rows = []
    for label, parts in (single_parts(config) | {"all together": config.hardware}).items():
        logits = predict(way.on_die(parts), data.x_test)
        rows.append(
            {
                "term": label,
                "accuracy": accuracy_of(logits, data),
                "error": float(((logits - ideal) ** 2).mean() ** 0.5) / size,
            }
        )
    return rows
