"""Tiles, compaction, mapping, and saving without loss."""

import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mapping import Die, MappedNetwork, ResistorBank, SelectionRule, Tile, TileConfig, map_network
from mapping.bank.switches import closed_switches
from mapping.tiling.compact import naive_tile_count, split
from tinynets.networks.layers import ConvGeometry, PrunedLayer, PrunedNetwork


@pytest.mark.parametrize("config", [TileConfig(4, 3), TileConfig(1, 1), TileConfig(64, 64)])
@pytest.mark.parametrize("density", [0.02, 0.3, 1.0])
def test_split_holds_every_weight_once_and_nothing_empty(config, density):
    mask = np.random.default_rng(1).random((17, 23)) < density
    seen = np.zeros(mask.shape, dtype=int)
    for block in split(mask, config):
        part = mask[np.ix_(block.columns, block.rows)]
        assert len(block.rows) <= config.n_word
        assert len(block.columns) <= config.n_bit
        assert part.any(axis=0).all(), "an empty row"
        assert part.any(axis=1).all(), "an empty column"
        seen[np.ix_(block.columns, block.rows)] += part
    np.testing.assert_array_equal(seen, mask)
    assert len(split(mask, config)) <= naive_tile_count(mask.shape, config)


def test_a_layer_of_zeros_takes_no_tile():
    assert split(np.zeros((5, 5), bool), TileConfig(2, 2)) == []


def test_mapping_realises_the_weights(mapped, layer):
    found = mapped.layers[0]
    assert np.abs(found.error).max() < 0.05
    assert (found.weight[~layer.mask] == 0).all()
    assert found.error.shape == (layer.n_remaining,)
    predicted = found.predicted / found.g_per_weight[:, None]
    # The meter errs by 0.1 % of each branch: prediction and truth are close, but not the same.
    assert 0 < np.abs(predicted - found.weight).max() < 0.01 * np.abs(layer.weight).max()
    assert len(mapped.tiles) > 1
    for tile in mapped.tiles:
        assert (tile.g_pos[~tile.present] == 0).all()
        assert (tile.g_pos[tile.present] > 0).all()  # leakage at the least


def test_what_tiles_hold_is_what_the_die_conducts(mapped):
    assert len(mapped.tiles) > 1
    for tile in mapped.tiles:
        i, j = np.nonzero(tile.present)
        true = mapped.die.branches(tile.layer, tile.rows[i], tile.columns[j], measured=False)
        closed = closed_switches(
            np.stack([tile.chosen_pos[i, j], tile.chosen_neg[i, j]], axis=1), mapped.die.bank.n
        )
        g = np.where(closed, true.g_closed, true.g_open).sum(axis=-1)
        np.testing.assert_allclose(g[:, 0], tile.g_pos[i, j], rtol=1e-12)
        np.testing.assert_allclose(g[:, 1], tile.g_neg[i, j], rtol=1e-12)


def test_tile_size_does_not_change_the_selection(layer, bank):
    network, die = PrunedNetwork((layer,)), Die(bank, seed=3)
    small, large = (map_network(network, die, TileConfig(n, n)) for n in (2, 64))
    np.testing.assert_array_equal(small.layers[0].weight, large.layers[0].weight)
    assert small.layers[0].n_closed == large.layers[0].n_closed


def test_scale_per_output_uses_each_lines_own_range(layer, bank):
    network, die = PrunedNetwork((layer,)), Die(bank, seed=3)
    found = map_network(
        network, die, TileConfig(8, 8), rule=SelectionRule(scale_per="output")
    ).layers[0]
    assert len(set(found.g_per_weight.round(12))) > 1
    assert np.abs(found.error).max() < 0.05


def test_a_layer_without_weights_is_refused(bank):
    empty = PrunedLayer("none", np.zeros((2, 2)), np.zeros((2, 2), bool), module="a.none")
    with pytest.raises(ValueError, match=r"'none' has no weight left.*_digital=\('a\.none',\)"):
        map_network(PrunedNetwork((empty,)), Die(bank, seed=0), TileConfig(2, 2))


def same(a: MappedNetwork, b: MappedNetwork) -> bool:
    tiles = all(
        np.array_equal(getattr(x, name), getattr(y, name))
        for x, y in zip(a.tiles, b.tiles, strict=True)
        for name in ("rows", "columns", "present", "chosen_pos", "chosen_neg", "g_pos", "g_neg")
    )
    layers = all(
        np.array_equal(x.source.weight, y.source.weight)
        and np.array_equal(x.predicted, y.predicted)
        and (x.source.conv, x.source.module, x.name) == (y.source.conv, y.source.module, y.name)
        for x, y in zip(a.layers, b.layers, strict=True)
    )
    return tiles and layers and a.die == b.die and a.tile == b.tile


def test_save_and_load_lose_nothing(mapped, layer, bank, tmp_path):
    geometry = ConvGeometry(7, (1, 1), (1, 1), (0, 0), (1, 1))
    conv = replace(layer, name="conv", conv=geometry, module="a.b", n_mvm=9)
    for network in (mapped, map_network(PrunedNetwork((layer, conv)), mapped.die, mapped.tile)):
        network.save(tmp_path / "m.npz")
        found = MappedNetwork.load(tmp_path / "m.npz")
        assert same(network, found)
        assert [tile.name for tile in found.tiles] == [tile.name for tile in network.tiles]
    assert list(tmp_path.iterdir()) == [tmp_path / "m.npz"]


def test_a_die_from_a_table_is_saved_too(layer, tmp_path):
    bank = ResistorBank(n=3)
    ohms = np.random.default_rng(0).uniform(1e5, 1e6, size=(7, 5, 2, 3))
    network = map_network(PrunedNetwork((layer,)), Die(bank, table={"fc": ohms}), TileConfig(8, 8))
    network.save(tmp_path / "m.npz")
    assert same(network, MappedNetwork.load(tmp_path / "m.npz"))


def rewrite(path: Path, change: Callable[[dict[str, Any], dict[str, np.ndarray]], object]) -> None:
    """Read all arrays of a saved network, let `change` edit them, and write them back."""
    with np.load(path) as file:
        arrays = dict(file)
    header = json.loads(arrays.pop("header").tobytes())
    change(header, arrays)
    np.savez(path, header=np.frombuffer(json.dumps(header).encode(), np.uint8), **arrays)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda header, arrays: header.update(version=99), "version 99"),
        (lambda header, arrays: header.update(format="other"), "not a crossbar-sim mapped network"),
        (lambda header, arrays: arrays.update({"0/weight": arrays["0/weight"] + 1}), "0/weight"),
        (lambda header, arrays: arrays.pop("0/tiles/g_pos"), "0/tiles/g_pos"),
        (lambda header, arrays: arrays.update(extra=np.zeros(1)), "extra"),
    ],
)
def test_edited_files_are_refused(mapped, tmp_path, change, message):
    mapped.save(tmp_path / "m.npz")
    rewrite(tmp_path / "m.npz", change)
    with pytest.raises(ValueError, match=message):
        MappedNetwork.load(tmp_path / "m.npz")


def test_damaged_and_foreign_files_are_refused(mapped, tmp_path):
    path = tmp_path / "m.npz"
    mapped.save(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match="damaged"):
        MappedNetwork.load(path)
    path.write_text("hello")
    with pytest.raises(ValueError, match=r"m\.npz is damaged or holds something other"):
        MappedNetwork.load(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.txt", "hello")
    with pytest.raises(ValueError, match=r"m\.npz is damaged or holds something other"):
        MappedNetwork.load(path)
    with pytest.raises(FileNotFoundError):
        MappedNetwork.load(tmp_path / "none.npz")


@pytest.mark.parametrize("bad", [0, -1, 2.5, "4"])
def test_bad_tile_sizes(bad):
    with pytest.raises(ValueError, match="n_word must be"):
        TileConfig(bad, 4)


def tile(**changes: Any) -> Tile:
    parts = {
        "layer": "fc",
        "index": (0, 0),
        "rows": np.arange(2),
        "columns": np.arange(1),
        "present": np.array([[True], [False]]),
        "chosen_pos": np.array([[1], [0]], np.uint32),
        "chosen_neg": np.array([[0], [0]], np.uint32),
        "g_pos": np.array([[1e-6], [0]]),
        "g_neg": np.array([[1e-6], [0]]),
    }
    return Tile(**(parts | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": np.arange(3)}, r"expected \(3, 1\)"),
        ({"layer": "fc\n.control"}, "not safe in a netlist"),
        ({"index": ("0_1.inc\n.control", 0)}, "index of fc must be a whole number from 0"),
        ({"index": (0, -1)}, "index of fc must be a whole number from 0"),
        ({"index": (0,)}, "index must be two whole numbers"),
        ({"rows": np.array([1, 0])}, "rows must be one or more whole numbers from 0, each above"),
        ({"rows": np.array([0.0, 1.0])}, "rows must be one or more whole numbers"),
        ({"columns": np.array([-1])}, "columns must be one or more whole numbers from 0"),
        ({"present": np.ones((2, 1))}, "present is of float64; expected bool"),
        ({"chosen_pos": np.zeros((2, 1))}, "chosen_pos is of float64; expected unsigned"),
        ({"g_pos": np.array([[1e-6], [1e-6]])}, "g_pos is not zero where there is no device"),
        ({"g_neg": np.array([[np.nan], [0]])}, "negative, NaN or infinite"),
        ({"g_neg": np.array([[-1e-6], [0]])}, "negative, NaN or infinite"),
    ],
)
def test_tiles_that_make_no_sense(changes, message):
    tile()
    with pytest.raises(ValueError, match=message):
        tile(**changes)


def test_lines_in_narrow_integers_of_a_file_do_not_wrap_around():
    made = tile(rows=np.array([0, 100], np.int8), columns=np.array([3], np.uint16))
    assert (made.rows * 100).tolist() == [0, 10_000]
    assert made.columns.dtype == np.int64
    with pytest.raises(ValueError, match=r"rows must be one or more whole numbers from 0"):
        tile(rows=np.array([0, 2**63 + 1], np.uint64))


def test_masks_in_narrow_integers_of_a_file_become_those_of_every_tile():
    made = tile(chosen_pos=np.array([[1], [0]], np.uint8))
    assert made.chosen_pos.dtype == np.uint32
    with pytest.raises(ValueError, match=r"chosen_pos closes branches beyond the 32nd"):
        tile(chosen_pos=np.array([[2**32], [0]], np.uint64))


def test_closed_switches():
    np.testing.assert_array_equal(
        closed_switches(np.array([0b101, 0]), 3), [[True, False, True], [False] * 3]
    )
