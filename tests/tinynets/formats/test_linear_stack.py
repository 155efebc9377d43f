"""Networks that a file of weights alone tells."""

from collections import OrderedDict

import pytest
import torch
from torch import nn

from approx import approx
from tinynets import extract, prune
from tinynets.data import digits
from tinynets.formats.linear_stack import linear_stack
from tinynets.formats.weights import read_weights, save_weights
from tinynets.networks.models import mlp

pytestmark = pytest.mark.training


def renamed(model: nn.Module, **names: str) -> dict[str, torch.Tensor]:
    return {
        ".".join([names.get(path, path), part]): value
        for name, value in model.state_dict().items()
        for path, part in [name.split(".")]
    }


@pytest.mark.parametrize(
    "names",
    [{}, {"fc1": "a.hidden", "fc2": "a.out", "fc3": "b"}, {"fc1": "0", "fc2": "2", "fc3": "10"}],
)
def test_any_order_of_the_file_gives_the_same_network(names):
    torch.manual_seed(0)
    model, x = mlp((6, 5, 4, 3)), torch.randn(7, 6)
    weights = renamed(model, **names)
    for order in (list(weights), sorted(weights, reverse=True)):
        found = linear_stack({name: weights[name] for name in order})
        assert torch.equal(found(x), model(x))
        assert set(found.state_dict()) == set(weights)
        assert not found.training


def test_numbers_tell_the_order_where_sizes_do_not():
    torch.manual_seed(0)
    layers = OrderedDict((f"net_{k}", nn.Linear(4, 4, bias=k != 2)) for k in (1, 2, 10))
    weights = nn.Sequential(layers).state_dict()
    x = torch.randn(3, 4)
    wanted = layers["net_10"](layers["net_2"](layers["net_1"](x).relu()).relu())
    assert torch.equal(linear_stack(weights)(x), wanted)
    other = {name.replace("net_10", "last"): value for name, value in weights.items()}
    with pytest.raises(ValueError, match=r"last \(4, 4\) do not fit together in one order only"):
        linear_stack(other)


def test_numbers_against_the_sizes_are_refused():
    weights = {f"{k}.weight": torch.zeros(s) for k, s in ((1, (4, 4)), (2, (4, 6)), (3, (4, 4)))}
    with pytest.raises(ValueError, match="do not fit together in one order only"):
        linear_stack(weights)


def test_many_equal_layers_are_no_trouble():
    weights = mlp((8,) * 30).state_dict()
    assert len(linear_stack(weights).order) == 29


def test_masks_come_into_force():
    data = digits(seed=0, flat=True)
    small = prune(mlp((64, 8, 10)), data, sparsity=0.5, rounds=1, epochs=0)
    found = linear_stack(small.state_dict())
    assert extract(found, torch.zeros(1, 64)).sparsity == approx(0.5, abs=1e-3)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({}, "there is no matrix"),
        ({"norm.weight": torch.ones(3)}, "there is no matrix"),
        ({"a.weight": torch.ones(3, 2), "norm.weight": torch.ones(3)}, r"\['norm.weight'\] belong"),
        ({"weight": torch.ones(3, 2)}, r"\['weight'\] belong to none"),
        ({"a.weight": torch.ones(3, 2), "b.weight": torch.ones(4, 2)}, "do not fit together"),
    ],
)
def test_what_is_no_stack_is_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        linear_stack(weights)


@pytest.mark.parametrize("name", ["s.safetensors", "s.pt"])
def test_saved_weights_hold_zeros_for_what_is_pruned(tmp_path, name):
    data = digits(seed=0, flat=True)
    small = prune(mlp((64, 8, 10)), data, sparsity=0.5, rounds=1, epochs=0)
    assert save_weights(small, tmp_path / name) == tmp_path / name
    weights = read_weights(tmp_path / name)
    assert set(weights) == set(mlp((64, 8, 10)).state_dict())
    assert torch.equal(weights["fc1.weight"] != 0, small.fc1.weight_mask != 0)
    assert hasattr(small.fc1, "weight_mask"), "saving leaves the masks in place"
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with pytest.raises(ValueError, match=r"expected a \.safetensors, \.pt or \.pth file"):
        save_weights(small, tmp_path / "s.h5")
