"""Grouped convolutions: the same as written out, in the memory of their own weights."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.checks.forging import forge
from mapping import Die, MappedNetwork, ResistorBank, TileConfig, map_network
from mapping.network.map_network import SelectionRule
from mapping.network.mapped_layer import MappedLayer
from mapping.network.repair import reselect
from tinynets import ConvGeometry, PrunedLayer, PrunedNetwork, extract

BANK = ResistorBank(n=3, sigma_local=0.05, meter_error=1e-3)
DIE = Die(BANK, seed=1)
#: What `network` gives in tiles of 4, as version 2 saved it: written out.
OLD = Path(__file__).parents[2] / "golden" / "mapped_version_2_groups.npz"
_PARTS = ("rows", "columns", "present", "chosen_pos", "chosen_neg", "g_pos", "g_neg")


@pytest.fixture(scope="module")
def network() -> PrunedNetwork:
    """A grouped convolution of 2 × (4 inputs, 3 outputs), two of whose weights are pruned."""
    conv = ConvGeometry(4, (2, 1), (1, 1), (0, 0), (1, 1), groups=2)
    weight = np.random.default_rng(0).normal(size=(6, 4)).round(2)
    weight[0, 1] = weight[4, 3] = 0
    return PrunedNetwork((PrunedLayer("c", weight, weight != 0, conv=conv, module="0"),))


def check_same(grouped: MappedLayer, whole: MappedLayer) -> None:
    """Compare a grouped layer with the same one written out, to the last digit."""
    assert len(grouped.tiles) == len(whole.tiles) > 2
    for one, other in zip(grouped.tiles, whole.tiles):
        assert one.name == other.name
        for name in _PARTS:
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        np.testing.assert_array_equal(grouped.target_of(one), whole.target_of(other))
    for name in ("predicted", "target", "weight"):
        matrix = grouped.source.grouped(getattr(grouped, name))
        np.testing.assert_array_equal(matrix.written_out(), getattr(whole, name))
    np.testing.assert_array_equal(grouped.error, whole.error)
    missed = zip(vars(grouped.missed(0.01)).values(), vars(whole.missed(0.01)).values())
    assert all(np.array_equal(one, other) for one, other in missed)


@pytest.mark.parametrize("tiling", ["in order", "clustered"])
@pytest.mark.parametrize("per", ["layer", "output"])
def test_a_grouped_layer_is_mapped_as_if_written_out(network, tiling, per):
    options: dict[str, Any] = {"rule": SelectionRule(scale_per=per), "tiling": tiling}
    whole = PrunedNetwork(tuple(layer.written_out() for layer in network.layers))
    pair = [map_network(each, DIE, TileConfig(3, 3), **options) for each in (network, whole)]
    check_same(*(mapped.layers[0] for mapped in pair))
    changed = Die(BANK, seed=2)
    check_same(*(reselect(mapped, changed).mapped.layers[0] for mapped in pair))


@pytest.mark.parametrize("rule", [{"objective": "aware"}, {"fit_scale": True}])
def test_a_grouped_layer_is_as_aware_of_its_inputs(network, rule):
    x = np.random.default_rng(1).normal(size=(50, 8))
    whole = PrunedNetwork(tuple(layer.written_out() for layer in network.layers))
    options: dict[str, Any] = {
        "rule": SelectionRule(**rule),
        "second_moment": lambda _name, _believed: x.T @ x / 50,
    }
    pair = [map_network(each, DIE, TileConfig(3, 3), **options) for each in (network, whole)]
    check_same(*(mapped.layers[0] for mapped in pair))


def test_a_depthwise_layer_takes_no_memory_between_its_channels():
    model = nn.Sequential(nn.Conv2d(512, 512, 3, padding=1, groups=512)).eval()
    x = torch.zeros(1, 512, 2, 2)
    map_network(extract(model[:1], x), DIE, TileConfig(64, 64))  # compile first
    tracemalloc.start()
    try:
        mapped = map_network(extract(model, x), DIE, TileConfig(64, 64))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    (layer,) = mapped.layers
    assert layer.source.n_remaining == layer.source.n_weight == 512 * 9
    assert peak < layer.source.n_in * layer.source.n_out * 8 / 4, (
        "less than a quarter of the matrix"
    )


def test_a_grouped_network_is_saved_without_loss(network, tmp_path):
    mapped = map_network(network, DIE, TileConfig(4, 4))
    mapped.save(tmp_path / "m.npz")
    found = MappedNetwork.load(tmp_path / "m.npz")
    for name in ("weight", "mask"):
        saved, given = (getattr(x.layers[0].source, name) for x in (found, mapped))
        np.testing.assert_array_equal(saved, given)
    np.testing.assert_array_equal(found.layers[0].predicted, mapped.layers[0].predicted)
    np.testing.assert_array_equal(found.layers[0].weight, mapped.layers[0].weight)


def test_a_file_with_its_groups_written_out_is_read(network):
    found = MappedNetwork.load(OLD)
    made = map_network(network, found.die, found.tile)
    assert len(found.tiles) == len(made.tiles) == 3
    (old,), (new,) = found.layers, made.layers
    np.testing.assert_array_equal(old.source.weight, new.source.weight)
    np.testing.assert_array_equal(old.source.mask, new.source.mask)
    np.testing.assert_allclose(old.weight, new.weight, rtol=1e-12)
    np.testing.assert_allclose(old.predicted, new.predicted, rtol=1e-12)


def between(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Put a prediction between the groups."""
    arrays["0/predicted"] = arrays["0/predicted"].copy()
    arrays["0/predicted"][0, 7] = 1e-6


def moved(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Move a tile to inputs of the other group."""
    arrays["0/tiles/rows"] = arrays["0/tiles/rows"].copy()
    arrays["0/tiles/rows"][:4] += 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (between, "2 groups must be zero between them"),
        (moved, "where the layer has no weight"),
        (lambda header, _: header.update(version=3), "does not go with 4 channels"),
    ],
)
def test_what_lies_between_groups_is_refused(change: Callable, message, tmp_path):
    path = tmp_path / "m.npz"
    path.write_bytes(OLD.read_bytes())
    forge(path, change)
    with pytest.raises(ValueError, match=message):
        MappedNetwork.load(path)
