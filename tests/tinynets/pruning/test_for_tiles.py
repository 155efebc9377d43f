"""Pruning that empties whole lines and tiles, on real digits."""

import numpy as np
import pytest
import torch
from torch import nn

from approx import approx
from mapping import TileConfig
from mapping.tiling.compact import count_lines, split
from tinynets import extract, prune
from tinynets.data import Data, digits
from tinynets.networks.masks import masks_of
from tinynets.networks.models import digits_cnn, mlp
from tinynets.networks.training import accuracy, train
from tinynets.pruning.for_tiles import crossbar_scores, prune_for_tiles

pytestmark = pytest.mark.training

CONFIG = TileConfig(16, 16)
SIZE = {"n_word": 16, "n_bit": 16}


@pytest.fixture(scope="module")
def trained(data: Data) -> nn.Module:
    torch.manual_seed(0)
    return train(mlp((64, 128, 10)), data, epochs=15)


def conversions(model: nn.Module, data: Data, method: str) -> int:
    network = extract(model, torch.from_numpy(data.x_train[:1]))
    return sum(
        count_lines(split(layer.mask, CONFIG, method)).n_conversion for layer in network.layers
    )


def test_groups_share_the_mean_of_their_scores():
    score = torch.tensor([[1.0, 3.0, 5.0], [5.0, 7.0, 9.0], [0.0, 2.0, 4.0]])
    mean = {
        "weight": score,
        "bit line": torch.tensor([[2.0, 2, 5], [6, 6, 9], [1, 1, 4]]),
        "word line": torch.tensor([[3.0, 5, 7], [3, 5, 7], [0, 2, 4]]),
        "tile": torch.tensor([[4.0, 4, 7], [4, 4, 7], [1, 1, 4]]),
    }
    for grain, expected in mean.items():
        found = crossbar_scores({"fc": score}, 2, 2, {grain: 1.0})["fc"]
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
    both = crossbar_scores({"fc": score}, 2, 2, {"weight": 0.5, "tile": 2.0})["fc"]
    torch.testing.assert_close(both, 0.5 * mean["weight"] + 2 * mean["tile"], rtol=1e-6, atol=0)


def test_a_convolution_is_scored_as_its_flattened_kernel():
    score = torch.rand(4, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    flat = crossbar_scores({"c": score.reshape(4, 12)}, 5, 3)["c"]
    torch.testing.assert_close(
        crossbar_scores({"c": score}, 5, 3)["c"].reshape(4, 12), flat, rtol=1e-6, atol=0
    )


@pytest.mark.parametrize(
    ("grain", "height", "width"), [("bit line", 1, 16), ("word line", 16, 1), ("tile", 16, 16)]
)
def test_whole_groups_stay_or_go(trained, data, grain, height, width):
    pruned = prune_for_tiles(
        trained, data, **SIZE, sparsity=0.7, shares={grain: 1.0}, rounds=1, epochs=0
    )
    mask = pruned.get_buffer("fc1.weight_mask").numpy()
    groups = mask.reshape(128 // height, height, 64 // width, width).mean(axis=(1, 3))
    assert ((groups > 0) & (groups < 1)).sum() <= 1, "only the last group may be cut"


def test_fewer_conversions_than_unstructured_and_nearly_its_accuracy(trained, data):
    options = {"sparsity": 0.7, "rounds": 3, "epochs": 6}
    plain = prune(trained, data, **options)
    aware = prune_for_tiles(trained, data, **SIZE, **options)
    plain_best = min(conversions(plain, data, method) for method in ("in order", "clustered"))
    assert conversions(aware, data, "clustered") < 0.6 * plain_best
    right = [accuracy(model, data.x_test, data.y_test) for model in (plain, aware)]
    assert right[1] > right[0] - 0.04
    zeros = np.mean(np.concatenate([m.numpy().ravel() == 0 for m in aware.buffers()]))
    assert zeros == approx(0.7, abs=0.001)


def test_the_model_is_not_changed_and_progress_is_told(trained, data):
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    seen = []
    prune_for_tiles(
        trained,
        data,
        **SIZE,
        sparsity=0.5,
        rounds=2,
        epochs=0,
        exclude=("fc2",),
        progress=lambda *done: seen.append(done),
    )
    assert all(torch.equal(before[name], value) for name, value in trained.state_dict().items())
    assert seen == [("prune", 0, 2), ("prune", 1, 2), ("prune", 2, 2)]


def test_a_convolutional_network_can_be_pruned():
    data = digits(seed=0, flat=False)
    torch.manual_seed(0)
    model = train(digits_cnn(), data, epochs=8)
    pruned = prune_for_tiles(model, data, **SIZE, sparsity=0.5, rounds=2, epochs=4)
    assert accuracy(pruned, data.x_test, data.y_test) > 0.8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 4), "n_word, n_bit >= 1"),
        ((4, 4, {"crossbar": 1.0}), r"name \['crossbar'\]"),
        ((4, 4, {}), "one of them positive"),
        ((4, 4, {"tile": 0.0}), "one of them positive"),
        ((4, 4, {"tile": -1.0, "weight": 2.0}), "must be >= 0"),
    ],
)
def test_scores_that_make_no_sense(arguments, message):
    with pytest.raises(ValueError, match=message):
        crossbar_scores({"fc": torch.ones(4, 4)}, *arguments)


def test_grouped_convolutions_are_refused(data):
    model = nn.Sequential(nn.Conv2d(4, 4, 3, groups=2))
    with pytest.raises(ValueError, match=r"\['0'\] are grouped"):
        prune_for_tiles(model, data, **SIZE, sparsity=0.5)


def test_layers_alike_and_other_scopes(trained, data):
    small = prune_for_tiles(trained, data, **SIZE, sparsity=0.5, scope="layer", rounds=1, epochs=0)
    assert len(masks_of(small)) > 1
    for mask in masks_of(small).values():
        assert int(mask.sum()) == round(0.5 * mask.numel())
    for options in ({"scope": "output"}, {"by_reads": -0.1}):
        with pytest.raises(ValueError, match="scope must be 'global' or 'layer' and by_reads >= 0"):
            prune_for_tiles(trained, data, **SIZE, sparsity=0.5, **options)


def test_lines_that_are_read_more_often_go_first():
    images = digits(seed=0, flat=False)
    torch.manual_seed(0)
    model = train(digits_cnn((8, 16)), images, epochs=3, learning_rate=0.01)
    options = {**SIZE, "sparsity": 0.4, "rounds": 2, "epochs": 2}
    reads = {}
    for power in (0.0, 0.25):
        small = prune_for_tiles(model, images, **options, by_reads=power)
        layers = extract(small, torch.zeros(1, 1, 8, 8)).layers
        assert [layer.n_mvm for layer in layers] == [64, 64, 1]
        lines = [count_lines(split(layer.mask, CONFIG)).n_conversion for layer in layers]
        reads[power] = sum(n * layer.n_mvm for n, layer in zip(lines, layers))
        assert accuracy(small, images.x_test, images.y_test) > 0.75
    assert reads[0.25] < 0.8 * reads[0.0]
