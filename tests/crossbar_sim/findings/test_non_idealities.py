"""Each non-ideality alone, and hardware without one of them."""

from pathlib import Path

import pytest

from approx import approx
from crossbar_sim.config import RunConfig, load_config
from crossbar_sim.findings.non_idealities import largest_cost, saved_by_a_bit, single_parts, swaps

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def config() -> RunConfig:
    return load_config(ROOT / "examples" / "runs" / "digits.toml")


def test_taking_every_non_ideality_away_leaves_ideal_hardware(config):
    real, ideal = config.hardware, config.ideal_hardware
    left = real
    for swap in swaps(config).values():
        left = swap(left, ideal)
    assert left.wires == ideal.wires
    assert left.noise is None
    assert left.periphery.r_input == ideal.periphery.r_input
    assert (left.converters.dac_bits, left.converters.adc_bits) == (None, None)


def test_taking_one_away_leaves_the_others(config):
    real = config.hardware
    without = swaps(config)["ADC"](real, config.ideal_hardware)
    assert without.converters.adc_bits is None
    assert without.converters.dac_bits == real.converters.dac_bits == 8
    assert (without.wires, without.periphery, without.noise) == (
        real.wires,
        real.periphery,
        real.noise,
    )
    assert set(single_parts(config)) <= set(swaps(config))


def test_the_largest_cost_is_not_that_of_all_together():
    rows = [{"term": "a", "error": 1.0}, {"term": "b", "error": 2.0}]
    assert largest_cost([*rows, {"term": "all together", "error": 3.0}]) == "b"
    assert largest_cost(rows[:0]) is None


def test_a_bit_of_a_dac_is_half_of_its_energy(config):
    saved = saved_by_a_bit(config, {"DAC": 2e-9, "ADC": 1e-9})
    assert saved["DAC"] == approx(1e-9)
    # 0.267 pJ + 1.446e-7 pJ * 4^bits, at 8 and at 7 bits
    assert saved["ADC"] == approx(
        1e-9 * (1 - (0.267 + 1.446e-7 * 4**7) / (0.267 + 1.446e-7 * 4**8))
    )


def test_a_converter_of_two_bits_loses_none():
    few = {"name": "a", "periphery": {"dac_bits": 2, "adc_bits": 2}}
    assert saved_by_a_bit(RunConfig.model_validate(few), {"DAC": 1.0, "ADC": 1.0}) == {}
