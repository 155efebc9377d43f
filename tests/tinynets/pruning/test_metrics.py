"""Counts against torch's own counter; quantisation, low rank and filters under one report."""

import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import tinynets
from approx import approx
from tinynets.data import Data
from tinynets.networks.models import digits_cnn, mlp
from tinynets.networks.training import accuracy, predict, train
from tinynets.pruning.compression import low_rank, quantise, rank_of
from tinynets.pruning.filters import prune_filters
from tinynets.pruning.metrics import compare, measure

pytestmark = pytest.mark.training

MIXED = nn.Sequential(
    nn.Conv2d(1, 8, 3, padding=1, stride=2),
    nn.BatchNorm2d(8),
    nn.ReLU(),
    nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8, bias=False),
    nn.Conv2d(8, 12, 1, groups=4),
    nn.Flatten(2),
    nn.Conv1d(12, 6, 4, stride=3),
    nn.Flatten(),
    nn.Linear(30, 10),
).eval()


class Residual(nn.Module):
    """Two branches that share channels, one concatenated with the input."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, padding=1)
        self.norm = nn.BatchNorm2d(16)
        self.body = nn.Conv2d(16, 16, 3, padding=1)
        self.side = nn.Conv2d(32, 24, 3, padding=1)
        self.head = nn.Linear(24, 10)

    def forward(self, x):
        x = torch.relu(self.norm(self.stem(x)))
        x = torch.cat([x + self.body(x), x], 1)
        return self.head(torch.relu(self.side(x)).mean((2, 3)))


@pytest.fixture(scope="module")
def trained(images: Data) -> nn.Module:
    torch.manual_seed(0)
    return train(digits_cnn((16, 32)), images, epochs=5, learning_rate=0.01)


@pytest.mark.parametrize(
    ("model", "shape"),
    [(digits_cnn(), (1, 1, 8, 8)), (mlp((64, 32, 10)), (1, 64)), (MIXED, (1, 1, 8, 8))],
)
def test_macs_are_half_of_torchs_flops(model, shape):
    x = torch.zeros(shape)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model(x)
    assert 2 * measure(model, x).total.n_mac == counter.get_total_flops()


def test_the_report_of_a_pruned_network(images, trained):
    example = torch.zeros(1, 1, 8, 8)
    before = measure(trained, example, images)
    small = tinynets.prune(trained, images, sparsity=0.8, rounds=1, epochs=1)
    report = compare(before, measure(small, example, images))
    weights, biases = 16 * 9 + 32 * 144 + 512 * 10, 16 + 32 + 10
    assert report["size"] == weights + biases
    assert report["size_nonzero"] == round(0.2 * weights) + biases
    assert report["compression_ratio"] == report["bits_ratio"]
    assert report["mac"] == sum(row["n_mac"] for row in report["layers"].values())
    kept = {path: int(mask.sum()) for path, mask in small.named_buffers() if "mask" in path}
    assert report["mac_nonzero"] == (
        64 * (kept["conv1.weight_mask"] + kept["conv2.weight_mask"]) + kept["fc.weight_mask"]
    )
    assert report["theoretical_speedup"] > 1.5
    assert report["top1_before"] == accuracy(trained, images.x_test, images.y_test)
    assert hasattr(small.conv1, "weight_mask"), "measuring leaves the masks in place"


def test_digital_modules_count_as_parameters_but_not_as_work():
    found = measure(MIXED, torch.zeros(1, 1, 8, 8), leave_digital=("8",))
    assert found.n_parameter == sum(p.numel() for p in MIXED.parameters())
    assert "layer_8" not in found.layers


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_quantised_weights_lie_on_few_levels(images, trained, bits):
    found = quantise(trained, bits)
    rows, before = found.conv2.weight.flatten(1), trained.conv2.weight.flatten(1)
    assert rows.shape == before.shape
    for was, row in zip(before, rows):
        assert len(row.unique()) <= 2**bits - 1
        step = was.abs().max() / (2 ** (bits - 1) - 1)
        assert (row - was).abs().max() <= 0.5001 * step
    example = torch.zeros(1, 1, 8, 8)
    report = compare(measure(trained, example), measure(found, example, bits=bits))
    assert report["bits_ratio"] > 0.9 * 32 / bits
    if bits == 8:
        top1 = accuracy(found, images.x_test, images.y_test)
        assert top1 == approx(accuracy(trained, images.x_test, images.y_test), abs=0.01)


def test_quantising_keeps_pruned_weights_at_zero(images, trained):
    small = tinynets.prune(trained, images, sparsity=0.7, rounds=1, epochs=0)
    found = quantise(small, 4)
    assert not found.fc.weight[small.fc.weight_mask == 0].any()


def test_low_rank_saves_weights_and_keeps_the_function(images, trained):
    whole = low_rank(trained, 1.0)
    assert isinstance(whole.conv1, nn.Conv2d), "a full rank saves nothing"
    example = torch.zeros(1, 1, 8, 8)
    found = low_rank(trained, 0.8)
    assert isinstance(found.conv2, nn.Sequential)
    report = compare(measure(trained, example, images), measure(found, example, images))
    assert report["compression_ratio"] > 1.3
    assert report["theoretical_speedup"] > 1.3
    assert report["top1_after"] > 0.6, "0.81 … 0.97 over trainings, without training after it"
    assert rank_of(torch.tensor([2.0, 1.0, 1.0]), 4 / 6) == 1
    assert rank_of(torch.tensor([2.0, 1.0, 1.0]), 0.7) == 2


def test_low_rank_layers_equal_the_truncated_matrix():
    torch.manual_seed(0)
    conv = nn.Conv2d(6, 8, 3, stride=2, padding=2, dilation=2)
    with torch.no_grad():
        conv.weight.copy_((torch.randn(8, 2) @ torch.randn(2, 54)).view_as(conv.weight))
    x = torch.randn(2, 6, 9, 9)
    thin = low_rank(conv, 1 - 1e-9)
    assert thin[0].out_channels == 2
    torch.testing.assert_close(thin(x), conv(x), atol=1e-4, rtol=1e-4)
    dense = nn.Linear(20, 20)
    with torch.no_grad():
        dense.weight.copy_(torch.outer(torch.arange(20.0), torch.ones(20)))
    torch.testing.assert_close(
        low_rank(dense, 0.99)(x.new_ones(1, 20)), dense(x.new_ones(1, 20)), rtol=1e-6, atol=0
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: quantise(m, 1), "2 … 16; got 1"),
        (lambda m: low_rank(m, 0.0), r"\(0, 1\]; got 0"),
        (lambda m: prune_filters(m, torch.zeros(1, 1, 8, 8), sparsity=1.0), r"\[0, 1\)"),
        (lambda m: prune_filters(m, torch.zeros(1, 1, 8, 8), sparsity=0.5, scope="x"), "'x'"),
        (lambda m: prune_filters(m, torch.zeros(1, 1, 8, 8), sparsity=0.5, round_to=0), "round_to"),
    ],
)
def test_refused_options(call, message):
    with pytest.raises(ValueError, match=message):
        call(digits_cnn())


def test_filters_make_tensors_smaller_in_multiples_of_a_tile(images):
    pytest.importorskip("torch_pruning")
    torch.manual_seed(0)
    example = torch.from_numpy(images.x_test[:2])
    model = train(Residual(), images, epochs=4, learning_rate=0.01)
    before = predict(model, images.x_test)
    small = prune_filters(model, example, sparsity=0.5, round_to=4)
    assert (predict(model, images.x_test) == before).all()
    assert small.stem.out_channels == small.body.out_channels == 8
    assert small.side.weight.shape == (12, 16, 3, 3)
    train(small, images, epochs=6, learning_rate=0.01)
    report = compare(measure(model, example, images), measure(small, example, images))
    assert report["theoretical_speedup"] > 3
    assert report["top1_after"] > 0.8
    network = tinynets.extract(small, example)
    assert network.layer("side").weight.shape == (12, 144)


@pytest.mark.parametrize(
    ("sparsity", "channels"), [(0.25, (16, 24)), (0.4, (8, 16)), (0.75, (8, 8)), (0.0, (16, 32))]
)
def test_channels_left_are_the_nearest_multiple(sparsity, channels):
    pytest.importorskip("torch_pruning")
    example = torch.zeros(1, 1, 8, 8)
    small = prune_filters(digits_cnn((16, 32)), example, sparsity=sparsity, round_to=8)
    assert (small.conv1.out_channels, small.conv2.out_channels) == channels


def test_channels_compete_across_layers():
    pytest.importorskip("torch_pruning")
    model = digits_cnn((16, 32))
    with torch.no_grad():
        model.conv2.weight[::2].mul_(1e-3)
        model.fc.weight.view(10, 32, 16)[:, ::2].mul_(1e-3)
    small = prune_filters(model, torch.zeros(1, 1, 8, 8), sparsity=0.3, scope="global")
    assert small.conv1.out_channels == 16
    assert 16 < small.conv2.out_channels < 20


def test_filters_of_outputs_that_must_stay():
    pytest.importorskip("torch_pruning")

    class Offset(nn.Module):
        """The layer that runs last does not make the output alone."""

        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 8), nn.Linear(4, 1)

        def forward(self, x):
            return self.a(x), self.b(x)

    x = torch.zeros(1, 4)
    with pytest.raises(ValueError, match=r"\(1, 8\).* exclude the layers"):
        prune_filters(Offset(), x, sparsity=0.5)
    assert prune_filters(Offset(), x, sparsity=0.5, exclude=("a",))(x)[0].shape == (1, 8)


def test_a_missing_package_names_its_extra():
    # A fresh interpreter in which the optional packages cannot be imported.
    code = """
import sys
for package in ("torch_pruning", "onnx", "mlxtend.data"):
    sys.modules[package] = None
import torch
from tinynets import data
from tinynets.pruning import filters
from tinynets.networks import models
from tinynets.formats.onnx.network import from_onnx
calls = {
    "prune": lambda: filters.prune_filters(models.mlp((4, 2)), torch.zeros(1, 4), sparsity=0.5),
    "onnx": lambda: from_onnx("m.onnx"),
    "data": lambda: data.mnist5000(seed=0, flat=True),
}
for extra, call in calls.items():
    try:
        call()
        sys.exit(f"{extra}: no ImportError")
    except ImportError as error:
        assert f"pip install 'crossbar-sim[{extra}]'" in str(error), error
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_nan_weights_are_named_by_every_way_to_a_smaller_network(images):
    model = digits_cnn((2, 4))
    with torch.no_grad():
        model.conv2.weight[0, 0, 0, 0] = torch.nan
    for call in (
        lambda: quantise(model, 4),
        lambda: low_rank(model, 0.9),
        lambda: tinynets.edge_popup(model, images, sparsity=0.5, init="as_is"),
    ):
        with pytest.raises(ValueError, match=r"layers \['conv2'\] hold NaN or inf weights"):
            call()


def test_frozen_networks_lose_filters_too_and_stay_frozen():
    pytest.importorskip("torch_pruning")
    model = mlp((64, 32, 10)).requires_grad_(False)
    model.fc2.requires_grad_(True)
    small = prune_filters(model, torch.zeros(1, 64), sparsity=0.5)
    assert small.fc1.weight.shape == (16, 64)
    assert [p.requires_grad for p in small.parameters()] == [False, False, True, True]


class Gated(nn.Module):
    """A convolution with one output reads the channels of another."""

    def __init__(self):
        super().__init__()
        self.a, self.gate, self.b = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 1, 1), nn.Conv2d(8, 8, 3)
        self.fc = nn.Linear(8, 4)

    def forward(self, x):
        x = torch.relu(self.a(x))
        return self.fc(self.b(x * torch.sigmoid(self.gate(x))).mean((2, 3)))


def test_layers_that_keep_their_channels_are_named():
    pytest.importorskip("torch_pruning")
    x = torch.randn(1, 1, 8, 8)
    with pytest.warns(UserWarning, match=r"layers \['a'\] keep all their channels"):
        small = prune_filters(Gated(), x, sparsity=0.5, round_to=2)
    assert [len(m.weight) for m in (small.a, small.gate, small.b)] == [8, 1, 4]
