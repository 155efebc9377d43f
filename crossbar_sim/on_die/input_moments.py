"""Second moments of a layer's inputs, for selection that is aware of them."""

import copy
from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from crossbar_sim.on_die.layer_inputs import capture_inputs, patches
from mapping.network.map_network import SecondMoment
from tinynets.modules.unpacking import unpacked
from tinynets.networks.layers import PrunedLayer, PrunedNetwork
from tinynets.networks.passes import Inputs


def second_moments(
    model: nn.Module, network: PrunedNetwork, moment_images: Inputs, *, whole: bool = False
) -> SecondMoment:
    """Return the function that gives `map_network` the second moment of a layer's inputs.

    model: the digital network, which is not changed.
    network: its layers.
    moment_images: inputs of the network, never test data.
    whole: between the groups of a convolution too, where wires leak; else group by group.

    Layers that are already mapped have the weights that they are believed to realise, so that a
    layer also makes up for the errors of the layers before it.
    """
    paths = [layer.module for layer in network.layers]
    model = unpacked(copy.deepcopy(model), only=paths).eval()

    def second_moment(name: str, believed: Mapping[str, np.ndarray]) -> np.ndarray:
        for done, weight in believed.items():
            write_weight(model, network.layer(done), weight)
        layer = network.layer(name)
        conv = layer.conv
        seen = capture_inputs(model, [layer.module], moment_images)[layer.module]
        parts = [(x if conv is None else patches(x, conv)).flatten(0, -2) for x in seen]
        rows = torch.cat(parts).double().cpu().numpy()
        if whole or layer.groups == 1:
            return rows.T @ rows / len(rows)
        each = rows.reshape(len(rows), layer.groups, -1).transpose(1, 2, 0)
        return each @ each.transpose(0, 2, 1) / len(rows)

    return second_moment


def write_weight(model: nn.Module, layer: PrunedLayer, weight: np.ndarray) -> None:
    """Write a weight of a layer's shape back into the torch module it came from."""
    held = model.get_submodule(layer.module).weight
    assert isinstance(held, torch.Tensor)
    with torch.no_grad():
        held.copy_(torch.from_numpy(weight).view_as(held))
