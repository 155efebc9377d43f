"""From any nn.Module to its circuits and back to its outputs, when resistors are exact."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import tinynets
from approx import approx
from crossbar_sim import Hardware, to_torch
from crossbar_sim.on_die.circuit_layer import CircuitLayer
from mapping import Die, MappedNetwork, ResistorBank, TileConfig, map_network
from tinynets.networks.layers import PrunedNetwork
from tinynets.networks.masks import apply_masks, choose, weight_layers
from tinynets.pruning.scores import magnitude

SHAPE = (4, 3, 12, 11)


class Residual(nn.Module):
    """Blocks with batch norm, groups, depthwise, dilation and stride; a sum and a concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.grouped = nn.Conv2d(8, 12, 3, padding=2, dilation=2, groups=4)
        self.grouped_norm = nn.BatchNorm2d(12)
        self.depthwise = nn.Conv2d(12, 12, (3, 2), padding=(1, 0), groups=12, bias=False)
        self.depthwise_norm = nn.BatchNorm2d(12)
        self.shortcut = nn.Conv2d(8, 12, (1, 2))
        self.row = nn.Conv1d(20, 6, 3, stride=2, padding=2, dilation=2, groups=2)
        self.row_norm = nn.BatchNorm1d(6)
        self.head = nn.Linear(6, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        y = torch.relu(self.grouped_norm(self.grouped(x)))
        y = self.depthwise_norm(self.depthwise(y)) + self.shortcut(x)
        y = torch.cat([torch.relu(y), x[..., 1:]], dim=1)
        return self.head(torch.tanh(self.row_norm(self.row(y.mean(3)))).mean(2))


@pytest.fixture
def model() -> nn.Module:
    """In float64, its batch norms with statistics of their own."""
    torch.manual_seed(0)
    found = Residual().double()
    for norm in (m for m in found.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)):
        for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            nn.init.uniform_(tensor, 0.5, 2.0)
    return found.eval()


def exact(mapped: MappedNetwork) -> MappedNetwork:
    """Give every pair of banks the conductances that it was asked for."""
    layers = []
    for layer in mapped.layers:
        wanted = layer.g_per_weight[:, None] * layer.source.written_out().weight
        tiles = []
        for tile in layer.tiles:
            g = wanted[np.ix_(tile.columns, tile.rows)].T * tile.present
            common = 1e-7 * tile.present  # as switches that leak: both banks conduct something
            parts = {"g_pos": g.clip(min=0) + common, "g_neg": (-g).clip(min=0) + common}
            tiles.append(replace(tile, **parts))
        layers.append(replace(layer, tiles=tuple(tiles)))
    return replace(mapped, layers=tuple(layers))


def largest_difference(model: nn.Module, x: torch.Tensor) -> tuple[float, PrunedNetwork]:
    """Return how far the network on exact resistors is off, of the largest output, and itself."""
    network = tinynets.extract(model, x)
    mapped = exact(map_network(network, Die(ResistorBank(n=2), seed=0), TileConfig(16, 8)))
    analog = to_torch(model, mapped, Hardware(), calibration=x)
    layers = [m for m in analog.modules() if isinstance(m, CircuitLayer)]
    assert len(layers) == len(network.layers) == 6
    assert not any(layer.n_saturated for layer in layers)
    with torch.no_grad():
        wanted, found = model(x), analog(x)
    assert wanted.std() > 0.1, "outputs that are all alike would prove nothing"
    return float((found - wanted).abs().max() / wanted.abs().max()), network


@pytest.mark.parametrize("sparsity", [0.0, 0.6])
@pytest.mark.parametrize("fold", [False, True])
def test_a_residual_network_gives_the_same_outputs_on_its_circuits(model, fold, sparsity):
    x = torch.rand(SHAPE, dtype=torch.float64)
    with torch.no_grad():
        wanted = model(x)
    found = tinynets.fold_batch_norm(model) if fold else model
    with torch.no_grad():
        torch.testing.assert_close(found(x), wanted, rtol=0, atol=1e-12)
    if sparsity:
        apply_masks(found, choose(magnitude(weight_layers(found)), sparsity, "layer"))
    error, network = largest_difference(found, x)
    assert error < 1e-12
    norms = ("norm", "grouped_norm", "depthwise_norm", "row_norm")
    assert network.digital == (() if fold else norms)
    assert network.sparsity == approx(sparsity, abs=0.02)


def test_a_wrong_conductance_would_be_seen(model):
    x = torch.rand(SHAPE, dtype=torch.float64)
    mapped = map_network(tinynets.extract(model, x), Die(ResistorBank(n=2), seed=0), TileConfig())
    analog = to_torch(model, mapped, Hardware(), calibration=x)
    with torch.no_grad():
        assert (analog(x) - model(x)).abs().max() > 1e-3 * model(x).abs().max()
