"""A pack of a trained network: the same accuracy when it comes back, and stock ngspice runs it."""

import json
import subprocess

import numpy as np
import pytest
import torch

from crossbar_sim import solve
from crossbar_sim.config import RunConfig
from crossbar_sim.pipeline.finished_run import score
from crossbar_sim.pipeline.steps import load_data, map_on_die, train_and_prune
from netlists import read_pack, tile_circuit, write_pack

pytestmark = pytest.mark.training

pytest.importorskip("pyarrow")
jsonschema = pytest.importorskip("jsonschema")
SETTINGS = {
    "name": "pack",
    "train": {"epochs": 3},
    "prune": {"sparsity": 0.9, "rounds": 1, "epochs_per_round": 2},
    "wires": {"source": "given", "r_word": 2.0, "r_bit": 3.0, "r_driver": 100.0},
    "periphery": {"tia_gain": 1e4, "v_offset_sigma": 1e-3},
    "tile": {"n_word": 24, "n_bit": 16},
}
MODELS = {"mlp": {"kind": "mlp", "hidden": [24]}, "cnn": {"kind": "cnn", "channels": [4, 8]}}


@pytest.fixture(scope="module", params=list(MODELS))
def packed(request, tmp_path_factory):
    """A small trained network on a die, and the directory of its pack."""
    config = RunConfig.model_validate(SETTINGS | {"model": MODELS[request.param]})
    data = load_data(config)
    _, pruned = train_and_prune(config, data)
    mapped = map_on_die(config, pruned.eval(), data)
    parts = {"wires": config.hardware.wires, "periphery": config.hardware.periphery}
    return config, pruned, mapped, write_pack(mapped, tmp_path_factory.mktemp("p") / "p", **parts)


def test_it_comes_back_the_same_and_scores_the_same(packed):
    config, pruned, mapped, pack = packed
    found = read_pack(pack)
    assert found.die == mapped.die
    for a, b in zip(mapped.layers, found.layers, strict=True):
        np.testing.assert_array_equal(a.source.mask, b.source.mask)
        np.testing.assert_array_equal(a.source.weight, b.source.weight)
        np.testing.assert_array_equal(a.predicted, b.predicted)
        assert a.source.conv == b.source.conv
    assert len(mapped.tiles) > 1
    for a, b in zip(mapped.tiles, found.tiles, strict=True):
        for name in ("present", "chosen_pos", "chosen_neg", "rows", "columns"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        np.testing.assert_allclose(a.g_pos, b.g_pos, rtol=1e-12, atol=0)
        np.testing.assert_allclose(a.g_neg, b.g_neg, rtol=1e-12, atol=0)
    assert score(config, pruned, found) == score(config, pruned, mapped) > 0.5
    assert any(layer.source.conv for layer in found.layers) == isinstance(
        pruned[0], torch.nn.Conv2d
    )


def test_the_manifest_validates_against_the_schema_beside_it(packed):
    pack = packed[-1]
    schema = json.loads((pack / "manifest.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads((pack / "manifest.json").read_text()), schema)


def test_stock_ngspice_gives_the_engines_currents_for_every_tile(packed):
    config, _, _, pack = packed
    wires, ends = config.hardware.wires, config.hardware.periphery
    tiles = read_pack(pack).tiles
    for tile in tiles:
        deck = pack / "netlists" / tile.layer / f"{tile.name}.cir"
        done = subprocess.run(
            ["ngspice", "-b", deck.name],
            cwd=deck.parent,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found = np.loadtxt(deck.with_suffix(".txt"), skiprows=1, ndmin=2)[:, 1:]
        circuit = tile_circuit(tile, wires, ends.for_tile(tile.name))
        wanted = solve(circuit, 0.1 * np.eye(tile.n_word)).i_out
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-11 * np.abs(wanted).max())
    assert len(tiles) == len(list((pack / "netlists").glob("*/*_*_*.cir"))) > 2
