"""Give accuracy back to a network on a die: without new switches, or with what training can do.

- `calibrate_outputs`: gain and offset of every output, by least squares on a few hundred inputs.
- `fine_tune`: gradients through the die train what is digital: scales, biases, digital modules.
- `fine_tune_layer_by_layer`: each layer that is put on the die is made up for by training the
  layers that are not there yet.
- `train_noise_aware`: before any selection, with weights that miss as a die's do.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from crossbar_sim.analog import BATCH, CircuitLayer, circuit_layers, put_on_die
from crossbar_sim.converters import Converters
from crossbar_sim.moments import second_moments
from crossbar_sim.noise import Noise
from mapping.bank import Die
from mapping.design import MappedLayer, MappedNetwork
from mapping.place import SelectionRule, Tiling, map_layer
from mapping.tiles import TileConfig
from netlists.circuit import Periphery, Wires
from tinynets.data import Data
from tinynets.extraction import extract
from tinynets.masks import apply_masks, make_permanent, weight_layers
from tinynets.train import train

#: Called with the number of layers that are on the die, of how many.
Progress = Callable[[int, int], None]


def calibrate_outputs(on_die: nn.Module, digital: nn.Module, images: torch.Tensor) -> nn.Module:
    """Return a copy whose layers have the gain and offset that bring them nearest the digital ones.

    on_die: of `to_torch`; digital: the network it should be; images: a few hundred inputs, never
    test data. Layer after layer, each output's scale and bias become those of the least squares
    line from what the die gives to what the digital layer gives, so that a layer also makes up for
    the layers before it. An output that never moves keeps its scale.
    Cost: one pass over the images for each layer.
    """
    on_die = copy.deepcopy(on_die)
    for path, layer in circuit_layers(on_die).items():
        wanted = _outputs(digital, path, images)
        found = _outputs(on_die, path, images)
        gain, offset = _lines(found, wanted)
        with torch.no_grad():
            layer.units_per_volt.mul_(gain)
            layer.bias.mul_(gain).add_(offset)
    return on_die


def fine_tune(
    on_die: nn.Module, data: Data, *, epochs: int, learning_rate: float = 1e-3, seed: int = 0
) -> nn.Module:
    """Return a copy trained through its circuits, which stay as they are.

    What is trained is what stays digital on a chip: the scale and bias of every output, and all
    digital modules. The options are those of `tinynets.train.train`.
    """
    on_die = copy.deepcopy(on_die)
    return train(on_die, data, epochs=epochs, learning_rate=learning_rate, seed=seed)


@dataclass(frozen=True)
class Parts:
    """What a network is put on: the die and tiles, its circuits, and how switches are chosen."""

    die: Die
    tile: TileConfig
    wires: Wires = field(default_factory=Wires)
    periphery: Periphery = field(default_factory=Periphery)
    converters: Converters = field(default_factory=Converters)
    noise: Noise | None = None
    rule: SelectionRule = field(default_factory=SelectionRule)
    tiling: Tiling = "in order"


def fine_tune_layer_by_layer(
    model: nn.Module,
    data: Data,
    parts: Parts,
    *,
    epochs: int,
    learning_rate: float = 1e-3,
    n_calibration: int = 500,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[nn.Module, MappedNetwork]:
    """Put a network on a die layer by layer, and train the rest through it each time.

    model: the pruned digital network, not changed; its zeros stay. After a layer is on the die, the
    layers that are still digital, and all scales and biases, are trained on what the die gives, so
    that they make up for what the layer misses. epochs: after each layer, the last one included.
    n_calibration: training samples for ranges and for a rule that is aware of its inputs.
    Returns the network on the die, and its mapping.
    Source: chip-in-the-loop fine-tuning of Wan et al., Nature 608 (2022) 504.
    """
    digital, hybrid = copy.deepcopy(model).eval(), copy.deepcopy(model).eval()
    x = torch.from_numpy(data.x_train[:n_calibration])
    n_layer = len(extract(digital, x[:1]).layers)
    done: list[MappedLayer] = []
    for k in range(n_layer):
        network = extract(digital, x[:1])
        layer = network.layers[k]
        # What enters the layer is what the part on the die gives.
        moment = None
        if parts.rule.objective == "aware":
            moment = second_moments(hybrid, replace(network, layers=(layer,)), x)(layer.name, {})
        options = {"rule": parts.rule, "tiling": parts.tiling, "second_moment": moment}
        done.append(map_layer(layer, parts.die, parts.tile, **options))
        circuits = parts.wires, parts.periphery, parts.converters
        images = torch.from_numpy(data.x_train)
        put_on_die(hybrid, done[-1], *circuits, calibration=images, noise=parts.noise)
        left = [later.module for later in network.layers[k + 1 :]]
        masks = {path: digital.get_submodule(path).get_parameter("weight") != 0 for path in left}
        if masks:
            apply_masks(hybrid, masks)
        train(hybrid, data, epochs=epochs, learning_rate=learning_rate, seed=seed + k)
        if masks:
            make_permanent(hybrid)
        for path in left:
            state = hybrid.get_submodule(path).state_dict()
            digital.get_submodule(path).load_state_dict(state)
        if progress:
            progress(k + 1, n_layer)
    return hybrid, MappedNetwork(tuple(done), parts.die, parts.tile)


def train_noise_aware(
    model: nn.Module,
    data: Data,
    *,
    sigma: float,
    epochs: int,
    learning_rate: float = 1e-3,
    exclude: tuple[str, ...] = (),
    seed: int = 0,
) -> nn.Module:
    """Return a copy trained with weights that are off by a random error in every step.

    sigma: the error's spread, in parts of each layer's largest weight. Zeros stay zero and have no
    error, as a pruned weight has no device. exclude: modules whose weights have none either.
    Raises ValueError for a sigma that is not positive.
    Source: Joshi et al., Nature Communications 11 (2020) 2473.
    """
    if not sigma > 0:
        raise ValueError(f"sigma must be > 0, a part of the largest weight; got {sigma}")
    model = make_permanent(copy.deepcopy(model))
    layers = weight_layers(model, exclude)
    stream = torch.Generator().manual_seed(seed)
    for module in layers.values():
        noisy = _Noisy(module.get_parameter("weight"), sigma, stream)
        parametrize.register_parametrization(module, "weight", noisy)
    train(model, data, epochs=epochs, learning_rate=learning_rate, seed=seed)
    for module in layers.values():
        parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
    return model


class _Noisy(nn.Module):
    """A weight's own zeros, and in training an error on all else."""

    def __init__(self, weight: torch.Tensor, sigma: float, stream: torch.Generator) -> None:
        super().__init__()
        self.sigma, self.stream = sigma, stream
        self.register_buffer("mask", (weight != 0).to(weight.dtype))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        mask = self.get_buffer("mask")
        if not self.training:
            return weight * mask
        size = self.sigma * weight.detach().abs().max()
        return (weight + size * torch.randn(weight.shape, generator=self.stream)) * mask


def _outputs(network: nn.Module, path: str, images: torch.Tensor) -> torch.Tensor:
    """Return what a module gives for images: (n_out, n_value)."""
    found: list[torch.Tensor] = []

    def keep(module: Any, _inputs: Any, output: torch.Tensor) -> None:
        # A dense layer has its outputs last, a convolution in dimension 1.
        conv = module.conv is not None if isinstance(module, CircuitLayer) else output.ndim > 2
        axis = 1 if conv and not isinstance(module, nn.Linear) else -1
        found.append(output.movedim(axis, 0).flatten(1))

    handle = network.get_submodule(path).register_forward_hook(keep)
    try:
        with torch.no_grad():
            for batch in images.split(BATCH):
                network.eval()(batch)
    finally:
        handle.remove()
    return torch.cat(found, dim=1)


def _lines(found: torch.Tensor, wanted: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return gain and offset (n_out,) of the least squares line from found to wanted."""
    x, y = found.double(), wanted.double()
    mean_x, mean_y = x.mean(1), y.mean(1)
    spread = x - mean_x[:, None]
    power = spread.square().sum(1)
    moves = power > 1e-12 * x.square().sum(1).clamp_min(1e-300)
    gain = torch.where(moves, (spread * y).sum(1) / power.clamp_min(1e-300), 1.0)
    offset = mean_y - gain * mean_x
    return gain.to(found.dtype), offset.to(found.dtype)
