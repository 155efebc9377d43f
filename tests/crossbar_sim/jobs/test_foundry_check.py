"""The comparison of a run's tiles with ngspice and the foundry's models."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from foundry_models import SKY130, models_of

from approx import approx
from crossbar_sim.config import ConfigError, RunConfig
from crossbar_sim.jobs.foundry_check import (
    foundry_checks,
    foundry_tiles,
    write_foundry_decks,
)
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


def test_decks_of_tiles_run_in_stock_ngspice(tmp_path):
    models_of("sky130")
    source = source_of(RunConfig.model_validate(RAW))
    v_in = {"fc": np.random.default_rng(1).uniform(-0.2, 0.2, (3, 4))}
    folder = write_foundry_decks(source, source.mapped.tiles, v_in, tmp_path / "decks")
    assert [path.name for path in folder.iterdir()] == ["fc_0_0.cir"]
    done = subprocess.run(
        ["ngspice", "-b", "fc_0_0.cir"], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert (folder / "out.txt").exists(), done.stderr
    (made,) = foundry_tiles(source, source.mapped.tiles)
    amps = np.loadtxt(folder / "out.txt")[:, 1:]
    ours = made.solve(v_in["fc"]).i_out
    assert amps / np.abs(ours).max() == approx(ours / np.abs(ours).max(), abs=1e-5)
    with pytest.raises(FileExistsError, match=r"decks"):
        write_foundry_decks(source, source.mapped.tiles, v_in, folder)


def test_a_run_without_a_foundry_says_what_is_needed():
    source = source_of(RunConfig(name="plain"))
    with pytest.raises(ConfigError, match=r"small has no devices of a foundry; .*\[foundry\]"):
        list(foundry_checks(source, source.mapped.tiles, {}))
