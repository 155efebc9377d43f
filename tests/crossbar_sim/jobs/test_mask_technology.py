"""In which technology `layout` draws: the run's own, that of a name, or a refusal."""

import re
from pathlib import Path

import numpy as np
import pytest
from foundry_models import models_of, rules_of

from approx import approx
from crossbar_sim.config import ConfigError, load_config
from crossbar_sim.jobs.diagnosis import diagnose
from crossbar_sim.jobs.source import Source, mask_technology
from mapping import Die, TileConfig, map_network
from netlists.layout.mask_set import write_masks
from netlists.layout.technology import HIGH_PO, XHIGH_PO
from tinynets import PrunedLayer, PrunedNetwork

ROOT = Path(__file__).parents[3]


DIGITS = ROOT / "examples" / "runs" / "digits.toml"


def source_of(config=None):
    """Return a small mapped network, of a run if a configuration is given."""
    weight = np.array([[0.5, -1.0], [0.0, 0.25]])
    network = PrunedNetwork((PrunedLayer("fc", weight, weight != 0),))
    die = Die(config.bank, seed=1) if config else Die(load_config(DIGITS).bank, seed=1)
    mapped = map_network(network, die, TileConfig(2, 2))
    return Source("a", Path("a"), mapped, None, config)


def test_a_film_is_that_of_the_run_or_of_the_name():
    assert mask_technology(source_of()) == XHIGH_PO
    assert mask_technology(source_of(), "sky130_high_po") == HIGH_PO
    config = load_config(DIGITS)
    assert mask_technology(source_of(config)) == config.geometry.technology()
    with pytest.raises(ConfigError, match=r"must be one of sky130_high_po, .*; got 'gold'"):
        mask_technology(source_of(), "gold")


@pytest.mark.parametrize("name", ["digits_sky130", "digits_ihp"])
def test_masks_of_a_run_hold_its_foundrys_devices(name, tmp_path):
    pytest.importorskip("klayout.db")
    models_of("sky130" if "sky130" in name else "ihp-sg13g2")
    if "ihp" in name:
        rules_of("ihp-sg13g2")
    config = load_config(ROOT / "examples" / "foundry" / f"{name}.toml")
    source = source_of(config)
    technology = mask_technology(source)
    assert technology.lengths == config.foundry.lengths
    assert technology.film.width == approx(config.foundry.drawn_width, rel=1e-12)
    assert technology.transistor.width == config.foundry.w_nmos
    with pytest.raises(ConfigError, match=r"--technology sky130_high_po does not fit a, whose"):
        mask_technology(source, "sky130_high_po")
    told, bank = [], source.mapped.die.bank
    tiles = source.mapped.tiles
    paths = write_masks(
        tiles, bank, tmp_path / "m", technology, progress=lambda *step: told.append(step)
    )
    assert [path.name for path in paths] == [f"fc_0_0_switch{s}" for s in (".gds", ".oas", ".png")]
    assert told == [("masks", 1, 1)]


def test_the_diagnosis_says_whether_design_rules_are_here(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("PDK_ROOT", raising=False)
    (found,) = (part for part in diagnose() if part.what == "design rules of ihp-sg13g2")
    assert re.search("not here; optional: scripts/foundry.sh ihp-sg13g2", found.status)
    assert found.ok
