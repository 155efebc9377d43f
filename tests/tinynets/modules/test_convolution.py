"""Transposed and 3-D convolutions as plain ones of padded inputs, against torch's own."""

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import prune as torch_prune

from mapping import Die, MappedNetwork, ResistorBank, TileConfig, map_network
from tinynets import extract, fold_batch_norm
from tinynets.modules.unpacking import unpacked
from tinynets.networks.flops import count
from tinynets.networks.masks import masks_of

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
#: Groups, kernel, stride, padding, dilation.
GRID = list(itertools.product((1, 2), (1, 2, 3), (1, 2, 3), (0, 1, 3), (1, 2)))


def is_close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, rtol=0, atol=1e-5)


def compare(theirs: nn.Module, other: nn.Module, x: torch.Tensor, *more: Any) -> None:
    """Check the outputs of a batch and of one sample, and that a state dict goes both ways."""
    ours, loaded = unpacked(theirs), unpacked(other)
    assert ours is not theirs
    held, kept = ours.state_dict(), theirs.state_dict()
    assert held.keys() == kept.keys()
    assert all(torch.equal(held[name], kept[name]) for name in kept)
    loaded.load_state_dict(kept)
    with torch.no_grad():
        for mine in (ours, loaded):
            assert is_close(mine(x, *more), theirs(x, *more)), theirs
        assert is_close(ours(x[0]), theirs(x[0]))


@pytest.mark.parametrize("kind", TRANSPOSED)
def test_transposed_convolutions_are_torchs_for_every_option(kind):
    torch.manual_seed(0)
    n_axis = TRANSPOSED.index(kind) + 1
    x = torch.randn(2, 4, *(5, 4, 3)[:n_axis])
    n_checked = 0
    for groups, kernel, stride, padding, dilation in GRID:
        for more in range(max(stride, dilation)):
            options: Any = {"groups": groups, "dilation": dilation, "bias": bool(kernel % 2)}
            options |= {"stride": stride, "padding": padding, "output_padding": more}
            theirs, other = (kind(4, 6, kernel, **options) for _ in range(2))
            sizes = [(n - 1) * stride - 2 * padding + dilation * (kernel - 1) for n in x.shape[2:]]
            if min(sizes) + more < 0:
                continue  # torch refuses an output without a value
            compare(theirs, other, x)
            n_checked += 1
    assert n_checked > 100


@pytest.mark.parametrize("kind", TRANSPOSED[1:])
def test_options_differ_by_axis_and_the_size_of_the_output_is_given(kind):
    n = TRANSPOSED.index(kind) + 1
    options: Any = {"stride": (2, 3, 1)[:n], "padding": (1, 0, 2)[:n], "dilation": (1, 2, 3)[:n]}
    theirs, other = (kind(3, 2, (3, 2, 4)[:n], **options) for _ in range(2))
    x = torch.randn(2, 3, *(5, 4, 3)[:n])
    compare(theirs, other, x)
    compare(theirs, other, x, [m + (s > 1) for m, s in zip(theirs(x).shape[2:], theirs.stride)])
    with pytest.raises(ValueError, match="requested an output size"):
        unpacked(theirs)(x, [99] * n)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
def test_3d_convolutions_are_torchs_for_every_option(mode):
    torch.manual_seed(0)
    x = torch.randn(2, 4, 8, 7, 9)
    for groups, kernel, stride, padding, dilation in GRID:
        options: Any = {"groups": groups, "dilation": dilation, "bias": bool(kernel % 2)}
        options |= {"stride": stride, "padding": padding, "padding_mode": mode}
        compare(nn.Conv3d(4, 6, kernel, **options), nn.Conv3d(4, 6, kernel, **options), x)
    same = {"kernel_size": (2, 4, 3), "padding": "same", "dilation": (1, 2, 1)}
    uneven = {"kernel_size": (3, 2, 1), "padding": (2, 0, 1), "stride": (1, 3, 2)}
    for options in (same, uneven):
        options["padding_mode"] = mode
        compare(nn.Conv3d(4, 6, **options), nn.Conv3d(4, 6, **options), x)


@pytest.mark.parametrize(
    ("module", "shape", "size", "n_position"),
    [
        (nn.Conv3d(2, 4, (2, 3, 1), stride=(2, 1, 3), groups=2), (2, 6, 5, 7), (4, 12), 3 * 3 * 3),
        (nn.Conv3d(1, 2, 3, padding=1, bias=False), (1, 4, 4, 4), (2, 27), 64),
        (nn.ConvTranspose2d(2, 3, 3, stride=2), (2, 4, 4), (3, 18), 9 * 9),
        (nn.ConvTranspose1d(2, 3, 4, stride=2, padding=1), (2, 5), (3, 8), 10),
    ],
)
def test_each_position_of_the_output_is_a_product(module, shape, size, n_position):
    network = extract(nn.Sequential(module), torch.randn(3, *shape))
    (layer,) = network.layers
    assert (layer.module, (layer.n_out, layer.n_in)) == ("0.matrix", size)
    assert layer.n_mvm == n_position
    assert layer.n_weight == module.weight.numel()
    assert network.left == network.digital == ()


def by_hand(module: Any, shape: tuple[int, ...], sizes: torch.Size) -> dict[tuple[int, ...], int]:
    """Return the inputs that each place of a kernel sends inside the output, one by one."""
    counts = dict.fromkeys(itertools.product(*map(range, module.kernel_size)), 0)
    for place in counts:
        for start in itertools.product(*map(range, shape)):
            ends = zip(start, module.stride, place, module.dilation, module.padding)
            to = [x * step + k * wide - pad for x, step, k, wide, pad in ends]
            counts[place] += all(0 <= t < n for t, n in zip(to, sizes))
    return counts


@pytest.mark.parametrize(
    ("kind", "options", "shape"),
    [
        (nn.ConvTranspose2d, {"kernel_size": 3, "stride": 2}, (4, 5)),
        (nn.ConvTranspose2d, {"kernel_size": (4, 2), "stride": (2, 3), "padding": 1}, (3, 4)),
        (nn.ConvTranspose1d, {"kernel_size": 3, "dilation": 4, "output_padding": 3}, (5,)),
        (nn.ConvTranspose3d, {"kernel_size": 2, "stride": 2, "groups": 2}, (2, 3, 2)),
    ],
)
def test_digital_products_are_those_with_inputs_alone(kind, options, shape):
    torch.manual_seed(0)
    module, x = kind(2, 4, **options), torch.randn(3, 2, *shape)
    torch_prune.random_unstructured(module, "weight", 0.4)
    counts = by_hand(module, shape, module(x).shape[2:])
    (layer,) = extract(nn.Sequential(module, nn.ReLU()), x).layers
    n_pair = module.weight[..., *[0] * len(shape)].numel()
    assert count(layer).n_mac == n_pair * sum(counts.values())
    kept = module.weight_mask
    left = sum(n * int(kept[..., *place].sum()) for place, n in counts.items())
    assert 0 < count(layer).n_mac_nonzero == left < count(layer).n_mac
    digital = extract(
        nn.Sequential(module, nn.Conv2d(4, 1, 1))
        if len(shape) == 2
        else nn.Sequential(module, nn.Flatten(), nn.LazyLinear(1)),
        x,
        leave_digital=("0.matrix",),
    )
    assert {part.module: part.n_mac for part in digital.left}["0.matrix"] == count(layer).n_mac


def test_a_saved_network_keeps_the_products_with_inputs(tmp_path):
    network = extract(nn.Sequential(nn.ConvTranspose2d(1, 2, 2, 2)), torch.randn(1, 1, 3, 3))
    map_network(network, Die(ResistorBank(n=2)), TileConfig(8, 8)).save(tmp_path / "m.npz")
    (layer,) = MappedNetwork.load(tmp_path / "m.npz").layers
    assert layer.source.n_real == network.layers[0].n_real == (9, 9, 9, 9)
    assert count(layer.source).n_mac == 72
    with pytest.raises(ValueError, match=r"n_real has 2 numbers, up to 99; expected one for each"):
        replace(network.layers[0], n_real=(99, 0))


def test_masks_go_both_ways():
    theirs = nn.ConvTranspose2d(4, 6, 3, groups=2)
    torch_prune.random_unstructured(theirs, "weight", 0.5)
    ours, x = unpacked(theirs), torch.randn(2, 4, 5, 5)
    assert is_close(ours(x), theirs(x))
    (mask,) = masks_of(ours).values()
    assert mask.float().mean() == 0.5
    network = extract(nn.Sequential(theirs), x)
    assert network.layers[0].n_remaining == np.count_nonzero(theirs.weight.detach())


def double(_module: nn.Module, _x: Any, y: Any) -> Any:
    return 2 * y


@pytest.mark.parametrize(
    ("layer", "norm"),
    [
        (nn.ConvTranspose2d(4, 6, 3, 2, groups=2), nn.BatchNorm2d(6)),
        (nn.Conv3d(4, 6, 2), nn.BatchNorm3d(6)),
    ],
)
def test_batch_norms_fold_into_them(layer, norm):
    model = nn.Sequential(layer, norm, nn.ReLU())
    x = torch.randn(5, 4, *[6] * (3 if isinstance(layer, nn.Conv3d) else 2))
    model(x)  # the norm's mean and variance
    model = unpacked(model).eval()
    folded = fold_batch_norm(model)
    assert isinstance(folded.get_submodule("1"), nn.Identity)
    assert is_close(folded(x), model(x))
    model.get_submodule("0").register_forward_hook(double)
    assert isinstance(fold_batch_norm(model).get_submodule("1"), type(norm))


def test_a_weight_that_a_function_reads_too_is_refused():
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return functional.conv_transpose2d(self.conv(x), self.conv.weight)

    with pytest.raises(ValueError, match=r"'conv' is also read outside of it, by conv_transpose2d"):
        extract(Tied(), torch.randn(1, 1, 5, 5))
