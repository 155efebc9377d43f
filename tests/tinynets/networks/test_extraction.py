"""Reading weight layers out of torch modules."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune as torch_prune

from approx import approx
from tinynets.networks.extraction import conv_geometry, extract, safe_name
from tinynets.networks.masks import apply_masks, choose, weight_layers
from tinynets.networks.models import digits_cnn, mlp
from tinynets.networks.training import predict
from tinynets.pruning.scores import magnitude


def test_layers_come_in_order_of_use_with_their_products():
    network = extract(digits_cnn(), torch.zeros(2, 1, 8, 8))
    assert [layer.name for layer in network.layers] == ["conv1", "conv2", "fc"]
    assert [layer.n_mvm for layer in network.layers] == [64, 64, 1]
    assert network.layer("conv2").weight.shape == (16, 72)
    assert network.layer("conv2").conv.padding == (1, 1)


def test_pruning_masks_are_honoured_without_a_forward_pass():
    model = mlp((6, 4, 2))
    apply_masks(model, choose(magnitude(weight_layers(model)), 0.5))
    with torch.no_grad():
        model.fc1.weight_orig.add_(1.0)
    network = extract(model, torch.zeros(1, 6))
    assert network.sparsity == approx(0.5)
    np.testing.assert_array_equal(
        network.layer("fc1").weight != 0, model.fc1.weight_mask.numpy() != 0
    )


def test_groups_hold_only_their_own_weights():
    conv = nn.Conv2d(4, 6, 3, groups=2, stride=2, dilation=2, padding=1)
    layer = extract(nn.Sequential(conv), torch.zeros(1, 4, 9, 9)).layers[0]
    np.testing.assert_array_equal(layer.weight, conv.weight.detach().reshape(6, 18))
    assert (layer.n_out, layer.n_in) == layer.pattern.shape == (6, 36)
    whole = layer.written_out()
    assert whole.written_out() is whole
    assert whole.conv.groups == 1
    np.testing.assert_array_equal(whole.weight[:3, :18], layer.weight[:3])
    np.testing.assert_array_equal(whole.weight[3:, 18:], layer.weight[3:])
    assert not whole.mask[:3, 18:].any()
    assert not whole.mask[3:, :18].any()
    np.testing.assert_array_equal(np.transpose(layer.cells), np.argwhere(whole.mask)[:, ::-1])
    assert layer.n_weight == conv.weight.numel() == layer.n_remaining


@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_string_padding_and_1d_convolutions():
    conv = nn.Conv1d(2, 3, 5, padding="same")
    layer = extract(nn.Sequential(conv), torch.zeros(1, 2, 10)).layers[0]
    assert layer.conv.kernel == (1, 5)
    assert layer.conv.padding == (0, 2)
    with pytest.raises(ValueError, match="even kernel"):
        extract(nn.Sequential(nn.Conv1d(2, 3, 4, padding="same")), torch.zeros(1, 2, 10))


def test_what_stays_digital_is_listed():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    network = extract(model, torch.zeros(2, 4), leave_digital=("2",))
    assert [layer.module for layer in network.layers] == ["0"]
    assert network.digital == ("1", "2")
    assert model.training


class Idle(nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.idle = nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, x):
        return self.used(x)


class OwnLSTM(nn.LSTM):
    """A subclass, whose pass may be anything."""


class OwnConv3d(nn.Conv3d):
    """A subclass, whose pass may be anything."""


@pytest.mark.parametrize(
    ("model", "example", "message"),
    [
        (nn.Sequential(OwnLSTM(4, 4)), torch.zeros(1, 3, 4), r"'0' \(OwnLSTM\) cannot be mapped"),
        (nn.Sequential(OwnConv3d(1, 1, 3)), torch.zeros(1, 1, 4, 4, 4), "leave_digital"),
        (nn.Conv2d(1, 1, 3, padding_mode="circular"), torch.zeros(1, 1, 4, 4), "circular"),
        (Idle(), torch.zeros(1, 2), r"\['idle'\] did not run"),
        (nn.ReLU(), torch.zeros(1, 2), "no weight layer"),
        (mlp((4, 2)), torch.zeros(4), r"module 'fc1' gave an output of shape \(2,\), which has no"),
        (nn.Conv2d(1, 2, 3), torch.zeros(1, 4, 4), "no batch dimension; pass a batch"),
        (OwnLSTM(4, 4), torch.zeros(1, 3, 4), r"\(OwnLSTM\) cannot be mapped .* nothing else"),
        (
            nn.Sequential(nn.Conv1d(1, 1, 2, padding="same")),
            torch.zeros(1, 1, 4),
            r"module '0' pads 'same' with an even kernel",
        ),
    ],
)
def test_what_cannot_be_mapped_is_named(model, example, message):
    with pytest.raises(ValueError, match=message):
        extract(model, example)


def test_unknown_digital_module():
    with pytest.raises(ValueError, match="which the model does not have"):
        extract(mlp((2, 2)), torch.zeros(1, 2), leave_digital=("nope",))


def test_nan_weights_are_refused_with_the_layers_name():
    model = mlp((3, 2))
    with torch.no_grad():
        model.fc1.weight[0, 0] = torch.nan
    with pytest.raises(ValueError, match="'fc1' holds NaN or inf"):
        extract(model, torch.zeros(1, 3))


def test_safe_names():
    assert safe_name("features.0") == "features_0"
    assert safe_name("0") == "layer_0"
    assert safe_name("a\n.control") == "a__control"
    assert safe_name("") == "layer"


def test_an_uneven_padding_has_no_geometry():
    with pytest.raises(ValueError, match="uneven; pad explicitly"):
        conv_geometry(nn.Conv2d(1, 1, 2, padding="same"))


def test_attention_can_stay_digital_while_its_neighbours_are_mapped():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.after = nn.Linear(8, 3)

        def forward(self, x):
            return self.after(self.attention(x, x, x)[0])

    network = extract(Block(), torch.zeros(1, 4, 8), leave_digital=("attention",))
    assert [(layer.module, layer.n_mvm) for layer in network.layers] == [("after", 4)]
    assert network.digital == ("attention", "attention.out_proj")


def test_names_that_would_be_the_same_are_numbered():
    model = nn.ModuleDict({"a": nn.ModuleDict({"b": nn.Linear(2, 2)}), "a_b": nn.Linear(2, 2)})
    model["A_B"] = nn.Linear(2, 2)
    model["x" * 70], model["x" * 71] = nn.Linear(2, 2), nn.Linear(2, 2)
    layers = [m for m in model.modules() if isinstance(m, nn.Linear)]
    model.forward = lambda x: sum(layer(x) for layer in layers)
    names = [layer.name for layer in extract(model, torch.zeros(1, 2)).layers]
    assert names == ["a_b", "a_b_2", "A_B_3", "x" * 64, "x" * 56 + "_2"]


def test_the_mode_of_every_module_comes_back():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(32, 2))
    model[1].eval()  # frozen statistics, as fine-tuning often has them
    modes = [module.training for module in model.modules()]
    extract(model, torch.zeros(1, 1, 4, 4))
    predict(model, np.zeros((2, 1, 4, 4), np.float32))
    assert (
        [module.training for module in model.modules()] == modes == [True, True, False, True, True]
    )


def test_a_layer_without_weights_left_is_its_bias():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3), nn.Linear(3, 2, bias=False)).eval()
    for k in (1, 2):
        torch_prune.random_unstructured(model[k], "weight", 1.0)
    with pytest.warns(UserWarning, match=r"layers \['1', '2'\] have no weight left"):
        network = extract(model, torch.ones(2, 4))
    assert [layer.module for layer in network.layers] == ["0"]
    assert [(x.module, x.n_weight, x.n_mac) for x in network.left] == [("1", 3, 0), ("2", 0, 0)]
    assert network.digital == ("1", "2")
    torch_prune.random_unstructured(model[0], "weight", 1.0)
    with pytest.raises(ValueError, match="no weight layer to map"):
        extract(model, torch.ones(2, 4))
