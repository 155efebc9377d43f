"""Restore the accuracy of a network on a die by digital means, or by training.

- `fit_outputs`: gain and offset of every output, by least squares on a few hundred inputs.
- `fine_tune`: train the digital parts through the die: gains, biases, digital modules.
- `fine_tune_layer_by_layer`: put one layer after another on the die, and train the layers that are
  still digital to make up for it.
- `train_noise_aware`: before any selection, train with weights that err as a die's do.

Each returns a copy. A network on a die comes back with its noise streams restarted and its counts
of saturation at zero.
"""

import copy
import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from crossbar_sim.on_die.circuit_layer import CircuitLayer, circuit_layers
from crossbar_sim.on_die.hardware import Hardware
from crossbar_sim.on_die.input_moments import second_moments
from crossbar_sim.on_die.layer_inputs import BATCH
from crossbar_sim.on_die.to_torch import put_on_die
from mapping.bank import Die
from mapping.network.map_network import SelectionRule, Tiling, map_layer
from mapping.network.mapped_layer import MappedLayer
from mapping.network.mapped_network import MappedNetwork
from mapping.tiling.tiles import TileConfig
from tinynets.data import Data, inputs
from tinynets.modules.replacing import copied
from tinynets.modules.unpacking import unpacked
from tinynets.networks.extraction import extract
from tinynets.networks.layers import PrunedLayer, PrunedNetwork
from tinynets.networks.masks import apply_masks, make_permanent, masks_of, weight_layers
from tinynets.networks.passes import Inputs, call, evaluation, part, split, tensors
from tinynets.networks.training import Training, train
from tinynets.progress import Progress, silent


def fit_outputs(on_die: nn.Module, digital: nn.Module, images: Inputs) -> nn.Module:
    """Return a copy whose outputs are scaled and shifted to come nearest to the digital ones.

    Layer after layer, each output's gain and bias become those of the least squares line from what
    the die gives to what the digital layer gives. So a layer also makes up for those before it. An
    output that never moves keeps its gain.

    on_die: a network of `to_torch`.
    digital: the network that it should equal.
    images: a few hundred inputs, never test data.

    Cost: for each layer, one pass of each network over the images.
    Raises ValueError for fewer than two images, which make no line.
    """
    on_die = _restarted(copy.deepcopy(on_die))
    digital = unpacked(digital, only=circuit_layers(on_die))
    for path in circuit_layers(on_die):
        _fit(on_die, path, _outputs(digital, path, images), images)
    return _restarted(on_die)


def fine_tune(on_die: nn.Module, data: Data, **training: Any) -> nn.Module:
    """Return a copy trained through its circuits, which stay as they are.

    Only what stays digital on a chip is trained: the gain and bias of every output, and all digital
    modules. Where amplifiers have offsets, call `fit_outputs` first: a bias moves by about
    learning_rate a step.

    training: the fields of `tinynets.networks.training.Training`, epochs at least.
    """
    on_die = _restarted(copy.deepcopy(on_die))
    train(on_die, data, **training)
    return _restarted(on_die)


@dataclass(frozen=True)
class Chip:
    """What a network is put on: the die and its tiles, the circuits, and the rule of selection."""

    die: Die
    tile: TileConfig
    hardware: Hardware = field(default_factory=Hardware)
    rule: SelectionRule = field(default_factory=SelectionRule)
    tiling: Tiling = "in order"


def fine_tune_layer_by_layer(
    model: nn.Module,
    data: Data,
    chip: Chip,
    *,
    n_calibration: int = 500,
    progress: Progress = silent,
    **training: Any,
) -> tuple[nn.Module, MappedNetwork]:
    """Put a network on a die layer by layer; train the rest through it each time.

    A layer that is put on the die gets the gains and offsets that bring it nearest to what it was.
    Then the layers that are still digital, and all gains and biases, are trained on what the die
    gives, so that they make up for the layer's errors.

    model: the pruned digital network, which is not changed; its zeros stay.
    n_calibration: training samples for the gains and offsets, and for a rule that is aware of its
    inputs; the ranges of converters are those of all training samples.
    training: the fields of `tinynets.networks.training.Training`, epochs at least; after each
    layer, the last one included. Each layer has its own seed, counted up from that one.

    Returns the network on the die, and its mapping. Raises ValueError for n_calibration below 2.
    Source: chip-in-the-loop fine-tuning of Wan et al., Nature 608 (2022) 504.
    """
    how = Training(**training)
    network = make_permanent(unpacked(copied(model))).eval()
    range_images = inputs(data.x_train)
    moment_images = part(range_images, 0, n_calibration)
    plan = extract(network, part(range_images, 0, 1))
    masks = masks_of(network)
    mapped: list[MappedLayer] = []
    progress("put on the die", 0, len(plan.layers))
    for k, planned in enumerate(plan.layers):
        # As it has been trained by now, under the name that its places on the die go by.
        layer = replace(extract(network, part(range_images, 0, 1)).layers[0], name=planned.name)
        mapped.append(_mapped(layer, network, plan, chip, moment_images))
        target = _outputs(network, layer.module, moment_images)
        network = put_on_die(network, mapped[-1], chip.hardware, calibration=range_images)
        _fit(network, layer.module, target, moment_images)
        left = {later.module: masks[later.module] for later in plan.layers[k + 1 :]}
        if left:
            apply_masks(network, left)
        train(network, data, **asdict(replace(how, seed=how.seed + k)))
        make_permanent(network)
        progress("put on the die", k + 1, len(plan.layers))
    return _restarted(network), MappedNetwork(tuple(mapped), chip.die, chip.tile)


def _mapped(
    layer: PrunedLayer, network: nn.Module, plan: PrunedNetwork, chip: Chip, x: Inputs
) -> MappedLayer:
    """Select the switches of the layer that goes on the die next."""
    moment = None
    if chip.rule.needs_inputs:
        # The layer's inputs are the outputs of the part that is on the die.
        moment = second_moments(network, replace(plan, layers=(layer,)), x)(layer.name, {})
    options = {"rule": chip.rule, "tiling": chip.tiling, "second_moment": moment}
    return map_layer(layer, chip.die, chip.tile, **options)


def train_noise_aware(
    model: nn.Module, data: Data, *, sigma: float, exclude: tuple[str, ...] = (), **training: Any
) -> nn.Module:
    """Return a copy trained with a random error on its weights in every step.

    Zeros stay zero and have no error, as a pruned weight has no device.

    sigma: standard deviation of the error, as a fraction of each layer's largest weight.
    exclude: modules whose weights have no error either.
    training: the fields of `tinynets.networks.training.Training`, epochs at least.

    Raises ValueError for a sigma that is not positive and finite.
    Source: Joshi et al., Nature Communications 11 (2020) 2473.
    """
    if not 0 < sigma < math.inf:
        raise ValueError(f"sigma must be > 0, a fraction of the largest weight; got {sigma}")
    how = Training(**training)
    model = make_permanent(unpacked(copied(model), leave=exclude))
    layers, noisy = weight_layers(model), weight_layers(model, exclude)
    stream = torch.Generator().manual_seed(how.seed)
    for path, module in layers.items():
        error = _Noisy(module.get_parameter("weight"), sigma if path in noisy else 0.0, stream)
        parametrize.register_parametrization(module, "weight", error)
    train(model, data, **training)
    for module in layers.values():
        parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
    return model


class _Noisy(nn.Module):
    """Keep a weight's zeros; in training, put an error on all else."""

    def __init__(self, weight: torch.Tensor, sigma: float, stream: torch.Generator) -> None:
        super().__init__()
        self.sigma, self.stream = sigma, stream
        self.register_buffer("mask", (weight != 0).to(weight.dtype))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        mask = self.get_buffer("mask")
        if not (self.training and self.sigma):
            return weight * mask
        size = self.sigma * weight.detach().abs().max()
        # Drawn where the stream is, so that the numbers do not depend on the device.
        draw = torch.randn(weight.shape, generator=self.stream, dtype=weight.dtype)
        return (weight + size * draw.to(weight.device)) * mask


def _restarted(on_die: nn.Module) -> nn.Module:
    """Restart the noise streams of a network and its counts of saturation; return it."""
    for layer in circuit_layers(on_die).values():
        layer.restart()
    return on_die


def _fit(on_die: nn.Module, path: str, target: torch.Tensor, images: Inputs) -> None:
    """Give one layer the gains and offsets that bring its outputs nearest to their targets."""
    layer = on_die.get_submodule(path)
    assert isinstance(layer, CircuitLayer)
    gain, offset = _lines(_outputs(on_die, path, images), target)
    with torch.no_grad():
        layer.gain.mul_(gain)
        layer.bias.mul_(gain).add_(offset)


def _outputs(network: nn.Module, path: str, images: Inputs) -> torch.Tensor:
    """Return what a weight layer gives for images: (n_out, n_value)."""
    if (n := len(tensors(images)[0])) < 2:
        raise ValueError(f"gain and offset need at least 2 images, better 300; got {n}")
    outputs: list[torch.Tensor] = []

    def keep(module: nn.Module, _inputs: Any, output: torch.Tensor) -> None:
        # A dense layer has its outputs last, a convolution behind the batch.
        circuit = isinstance(module, CircuitLayer)
        dense = module.conv is None if circuit else isinstance(module, nn.Linear)
        outputs.append(output.movedim(-1 if dense else 1, 0).flatten(1))

    handle = network.get_submodule(path).register_forward_hook(keep)
    try:
        with evaluation(network), torch.no_grad():
            for batch in split(images, BATCH):
                call(network, batch)
    finally:
        handle.remove()
    return torch.cat(outputs, dim=1)


def _lines(realised: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return gain and offset (n_out,) of the least squares lines from realised to target."""
    x, y = realised.double(), target.double()
    mean_x, mean_y = x.mean(1), y.mean(1)
    spread = x - mean_x[:, None]
    power = spread.square().sum(1)
    moves = power > 1e-12 * x.square().sum(1).clamp_min(1e-300)
    gain = torch.where(moves, (spread * y).sum(1) / power.clamp_min(1e-300), 1.0)
    offset = mean_y - gain * mean_x
    return gain.to(realised.dtype), offset.to(realised.dtype)
