"""Sparse layers onto tiles: nothing lost, never worse than in order, and honest where it is."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import bmat, csr_array
from scipy.sparse.csgraph import connected_components

from mapping import TileConfig
from mapping.tiling.clustering import components
from mapping.tiling.compact import (
    TileCounts,
    compare,
    count_lines,
    naive_tile_count,
    split,
    split_dense,
)
from tinynets.data import digits
from tinynets.networks.layers import as_grouped
from tinynets.networks.masks import choose, weight_layers
from tinynets.networks.models import mlp
from tinynets.networks.training import train
from tinynets.pruning.scores import magnitude

pytestmark = pytest.mark.training

METHODS = ["in order", "clustered"]


@pytest.fixture(scope="module")
def trained():
    """The first layer of a network trained on the digits, 95 % of its weights set to zero."""
    torch.manual_seed(0)
    model = train(mlp((64, 128, 10)), digits(seed=0, flat=True), epochs=5)
    mask = choose(magnitude(weight_layers(model)), 0.95)["fc1"].numpy()
    return model.get_parameter("fc1.weight").detach().double().numpy() * mask


def shuffled(mask: np.ndarray, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return mask[rng.permutation(len(mask))][:, rng.permutation(mask.shape[1])]


def blocks(pattern: np.ndarray, size: int) -> np.ndarray:
    return np.kron(pattern, np.ones((size, size), bool))


@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    density=st.sampled_from([0.0, 0.01, 0.05, 0.3, 1.0]),
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    seed=st.integers(0, 99),
)
def test_every_weight_is_held_once_and_clustering_is_never_worse(shape, density, size, seed):
    rng = np.random.default_rng(seed)
    mask, config = rng.random(shape) < density, TileConfig(*size)
    counts = {}
    for method in METHODS:
        found = split(mask, config, method)
        assert len({block.index for block in found}) == len(found)
        held = np.zeros(shape, int)
        for block in found:
            part = mask[np.ix_(block.columns, block.rows)]
            assert len(block.rows) <= config.n_word
            assert len(block.columns) <= config.n_bit
            assert part.any(axis=0).all(), "an empty word line"
            assert part.any(axis=1).all(), "an empty bit line"
            assert (np.diff(block.rows) > 0).all()
            assert (np.diff(block.columns) > 0).all()
            held[np.ix_(block.columns, block.rows)] += part
        np.testing.assert_array_equal(held, mask)
        counts[method] = count_lines(found)
    assert counts["clustered"].n_tile <= counts["in order"].n_tile
    assert counts["clustered"].n_conversion <= counts["in order"].n_conversion


@pytest.mark.parametrize("method", METHODS)
def test_a_trained_layer_multiplies_as_before(trained, method):
    found = split(trained != 0, TileConfig(16, 16), method)
    x = digits(seed=0, flat=True).x_test[:50].astype(float)
    y = np.zeros((50, len(trained)))
    for block in found:
        g = trained[np.ix_(block.columns, block.rows)].T
        y[:, block.columns] += x[:, block.rows] @ g
    np.testing.assert_allclose(y, x @ trained.T, atol=1e-12)


def test_a_trained_layer_takes_fewer_tiles_and_conversions(trained):
    found = compare(trained != 0, TileConfig(16, 16))
    assert found["naive"].n_tile == naive_tile_count(trained.shape, TileConfig(16, 16)) == 32
    assert found["clustered"].n_tile < found["in order"].n_tile < found["naive"].n_tile
    assert found["clustered"].n_conversion < 0.85 * found["in order"].n_conversion


@pytest.mark.parametrize("size", [32, 48])
def test_shuffled_blocks_are_found_again(size):
    mask = shuffled(blocks(np.eye(12, dtype=bool), size))
    assert len(split(mask, TileConfig(size, size), "clustered")) == 12
    assert len(split(mask, TileConfig(size, size))) > 100


def test_shuffled_block_sparsity_takes_its_own_number_of_tiles():
    pattern = np.random.default_rng(1).random((12, 12)) < 0.2
    mask = shuffled(blocks(pattern, 16))
    assert count_lines(split(mask, TileConfig(16, 16), "clustered")) == TileCounts(
        pattern.sum(), 256 * pattern.sum(), 16 * pattern.sum(), 16 * pattern.sum()
    )


def test_blocks_that_are_not_full_are_still_found():
    rng = np.random.default_rng(3)
    full = blocks(rng.random((16, 16)) < 0.1, 32)
    mask = shuffled(full) & (rng.random(full.shape) < 0.3)
    found = compare(mask, TileConfig(32, 32))
    assert found["clustered"].n_tile < 0.4 * found["in order"].n_tile


def test_small_components_share_a_tile():
    mask = shuffled(blocks(np.eye(30, dtype=bool), 3))
    assert len(split(mask, TileConfig(12, 12), "clustered")) == 8  # of 4 components, the last of 2


def test_where_sparsity_saves_nothing_the_counts_say_so():
    mask = np.random.default_rng(0).random((256, 256)) < 0.1
    found = compare(mask, TileConfig(128, 128))
    assert found["naive"] == found["in order"]
    assert found["clustered"].n_tile == found["naive"].n_tile == 4
    dense = compare(np.ones((50, 70), bool), TileConfig(32, 32))
    assert dense["naive"] == dense["in order"] == dense["clustered"]


def test_the_same_mask_gives_the_same_tiles():
    mask = np.random.default_rng(0).random((90, 80)) < 0.05
    first, second = (split(mask.copy(), TileConfig(8, 8), "clustered") for _ in range(2))
    assert len(first) > 10
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.rows, b.rows)
        np.testing.assert_array_equal(a.columns, b.columns)


@pytest.mark.parametrize("density", [0.0, 0.005, 0.01, 0.02])
def test_components_are_those_of_another_library(density):
    mask = np.random.default_rng(2).random((120, 150)) < density
    found = components(as_grouped(mask))
    sparse = csr_array(mask)
    n_part, _ = connected_components(bmat([[None, sparse], [sparse.T, None]], format="csr"))
    n_empty = int((~mask.any(axis=0)).sum() + (~mask.any(axis=1)).sum())
    assert len(found) == n_part - n_empty
    assert sum(mask[np.ix_(columns, rows)].sum() for rows, columns in found) == mask.sum()
    sizes = [len(rows) + len(columns) for rows, columns in found]
    assert sizes == sorted(sizes, reverse=True)


def test_lines_of_a_dense_layer_are_counted():
    counts = count_lines(split_dense((10, 20), TileConfig(8, 8)))
    assert counts == TileCounts(n_tile=6, n_cell=200, n_word_line=40, n_conversion=30)


@pytest.mark.parametrize(
    ("mask", "method", "message"),
    [
        (np.ones((3, 3), bool), "shaken", "method must be one of"),
        (np.ones(3, bool), "in order", r"expected \(n_out, n_in\) of bool"),
        (np.ones((3, 3)), "clustered", "type float64"),
    ],
)
def test_refused_masks_and_methods(mask, method, message):
    with pytest.raises(ValueError, match=message):
        split(mask, TileConfig(2, 2), method)
