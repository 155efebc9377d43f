"""The comparison of a run's tiles with ngspice and the foundry's models."""

from pathlib import Path

import numpy as np
import pytest
from foundry_models import SKY130, models_of

from crossbar_sim.config import ConfigError, RunConfig
from crossbar_sim.jobs.foundry_check import foundry_checks
from crossbar_sim.jobs.source import Source
from mapping import map_network
from tinynets import PrunedLayer, PrunedNetwork

RAW = {
    "name": "small",
    "foundry": SKY130 | {"lengths": [1e-6, 3e-6, 9e-6], "v_max": 0.2},
    "wires": {"source": "given", "r_word": 5.2, "r_bit": 1.8},
    "tile": {"n_word": 4, "n_bit": 3},
}


def source_of(config: RunConfig) -> Source:
    weight = np.random.default_rng(0).normal(size=(3, 4))
    network = PrunedNetwork((PrunedLayer("fc", weight, weight != 0),))
    mapped = map_network(network, config.chip, config.tile.size)
    return Source("small", Path("small"), mapped, config.hardware, config)


def test_tiles_of_a_run_are_compared_with_the_models():
    models_of("sky130")
    source = source_of(RunConfig.model_validate(RAW))
    v_in = {"fc": np.random.default_rng(1).uniform(-0.2, 0.2, (5, 4))}
    (check,) = foundry_checks(source, source.mapped.tiles, v_in)
    assert (check.tile, check.n_vector) == ("fc_0_0", 5)
    assert 0 < check.error < 1e-5
    assert check.line_error > 10 * check.error
    assert check.engine_s > 0
    assert check.ngspice_s > 0


def test_a_run_without_a_foundry_says_what_is_needed():
    source = source_of(RunConfig(name="plain"))
    with pytest.raises(ConfigError, match=r"small has no devices of a foundry; .*\[foundry\]"):
        list(foundry_checks(source, source.mapped.tiles, {}))
