"""What docs/how_to/foundry.md shows is what runs."""

import re
from pathlib import Path

import numpy as np
import pytest
from foundry_models import models_of

from crossbar_sim.config import load_config
from crossbar_sim.config.study import load_study
from crossbar_sim.foundry.bank import foundry_bank
from crossbar_sim.foundry.measured import measured
from crossbar_sim.foundry.tile import FoundryTile
from mapping import Die, TileConfig, map_network
from netlists import Periphery, Wires
from netlists.foundry.branch import FoundryBranch
from tinynets import PrunedLayer, PrunedNetwork

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how_to" / "foundry.md").read_text(encoding="utf-8")


def test_the_snippet_of_the_page_runs(tmp_path, monkeypatch):
    models_of("sky130")
    monkeypatch.chdir(tmp_path)
    (snippet,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    names: dict = {}
    exec(snippet, names)
    ours, theirs = names["ours"], names["theirs"]
    assert np.abs(ours - theirs).max() < 1e-5 * np.abs(theirs).max()
    assert "sky130_fd_pr__res_high_po" in (tmp_path / "tile.cir").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("technology", "resistor"), [("ihp-sg13g2", "rhigh"), ("sky130", "high_po")]
)
def test_leakage_into_the_substrate_is_as_small_as_the_page_says(technology, resistor):
    models_of(technology)
    found = measured(FoundryBranch(technology, resistor, lengths=(7.5e-6, 24e-6), v_max=0.2))
    weight = np.ones((2, 4))
    network = PrunedNetwork((PrunedLayer("fc", weight, weight != 0),))
    mapped = map_network(network, Die(foundry_bank(found), seed=1), TileConfig(8, 8))
    tile = FoundryTile(mapped.tiles[0], mapped.die, found, Wires(5.2, 1.8), Periphery())
    leaked = np.abs(tile.by_ngspice(np.zeros((1, 4)))).max()
    assert (1e-12 if technology == "sky130" else 1e-9) > leaked > 0
    assert np.abs(tile.solve(np.zeros((1, 4))).i_out).max() < 1e-20


@pytest.mark.parametrize("name", ["digits_sky130", "digits_ihp"])
def test_the_examples_are_of_their_foundries(name):
    path = ROOT / "examples" / "foundry" / f"{name}.toml"
    technology = re.findall(r'technology = "(.*?)"', path.read_text(encoding="utf-8"))[0]
    models_of(technology)
    config = load_config(path)
    assert config.foundry.technology == technology
    assert config.bank.n == len(config.foundry.lengths) == 6
    assert 20e3 < config.bank.r_nominal[0] < 60e3


def test_the_study_of_the_page_has_the_corners_it_says():
    models_of("sky130")
    study, base = load_study(ROOT / "examples" / "foundry" / "foundry_corners.toml")
    assert study.dies == 10
    assert len(study.points()) == 9
    assert base.foundry.technology == "sky130"


def test_the_table_of_the_page_is_that_of_the_example():
    (table,) = re.findall(r"```toml\n(.*?)```", PAGE, re.S)
    example = (ROOT / "examples/foundry/digits_sky130.toml").read_text(encoding="utf-8")
    assert len(table.splitlines()) > 4
    for line in table.splitlines():
        assert line.split("#")[0].strip() in example, line
