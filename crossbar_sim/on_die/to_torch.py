"""Put a digital network on its die: every mapped layer becomes circuits."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from crossbar_sim.on_die.circuit_layer import CircuitLayer, circuit_layers
from crossbar_sim.on_die.hardware import Hardware
from crossbar_sim.on_die.layer_inputs import (
    BATCH,
    InputRange,
    capture_inputs,
    check_inputs,
    input_ranges,
)
from crossbar_sim.on_die.readout import Response
from crossbar_sim.periphery.converters import Converters
from mapping.network.mapped_layer import MappedLayer
from mapping.network.mapped_network import MappedNetwork
from tinynets.networks.masks import copied


def to_torch(
    model: nn.Module,
    mapped: MappedNetwork,
    hardware: Hardware,
    *,
    calibration: torch.Tensor,
    responses: Mapping[str, Response] | None = None,
) -> nn.Module:
    """Return a copy of a model in which every mapped layer is a `CircuitLayer`.

    model: the digital network that was mapped; it is not changed.
    hardware: everything around the cells; noise is drawn again for every output of every pass.
    calibration: inputs (never test data) that fix the range of every DAC and ADC without a given
        one: the largest input of the layer, and the largest output of its tiles.
    responses: by tile, if `crossbar_sim.on_die.readout.respond` has computed them already.
    """
    check_inputs(calibration)
    analog = copied(model).eval()
    dtype = next(model.parameters()).dtype
    paths = [layer.source.module for layer in mapped.layers]
    ranges = input_ranges(model, paths, calibration)
    for layer in mapped.layers:
        path = layer.source.module
        limits = _range(hardware.converters, ranges[path])
        replaced = CircuitLayer(layer, hardware, limits, responses=responses, dtype=dtype)
        analog = with_module(analog, path, replaced)
    _settle(analog, paths, calibration)
    return analog


def put_on_die(
    network: nn.Module, layer: MappedLayer, hardware: Hardware, *, calibration: torch.Tensor
) -> nn.Module:
    """Replace one layer of a network by circuits, in place; other layers may be circuits already.

    The arguments are those of `to_torch`. Returns the network, which is a new one only if the layer
    is the whole network.
    """
    check_inputs(calibration)
    path, dtype = layer.source.module, next(network.parameters()).dtype
    limits = _range(hardware.converters, input_ranges(network, [path], calibration)[path])
    network = with_module(network, path, CircuitLayer(layer, hardware, limits, dtype=dtype))
    _settle(network, [path], calibration)
    return network


def with_module(network: nn.Module, path: str, module: nn.Module) -> nn.Module:
    """Put a module at a path; return the network, or the module itself at the path "".

    Raises AttributeError for a path that does not exist in the network.
    """
    network.get_submodule(path)  # without this, torch would add an unknown path
    if not path:
        return module
    network.set_submodule(path, module)
    return network


def _range(converters: Converters, seen: InputRange) -> InputRange:
    return seen if converters.dac_range is None else replace(seen, limit=converters.dac_range)


def _settle(network: nn.Module, paths: list[str], range_images: torch.Tensor) -> None:
    """Set ranges and zeros of the new layers' ADCs, and restart their count of saturation."""
    new = [layer for path, layer in circuit_layers(network).items() if path in paths]
    unknown = [x.adc for x in new if x.adc.converters.measures and x.adc.v_limit is None]
    with ExitStack() as stack:
        for adc in unknown:
            stack.enter_context(adc.observing())
        if unknown:
            with torch.no_grad():
                for images in range_images.split(BATCH):
                    network.eval()(images)
    for layer in new:
        if layer.hardware.converters.auto_zero:
            layer.trim()
        layer.n_saturated = 0


def circuit_inputs(
    analog: nn.Module, mapped: MappedNetwork, x: torch.Tensor
) -> dict[str, np.ndarray]:
    """Return the word-line voltages (n_vector, n_in) [V] of every layer for a batch of images.

    Raises ValueError unless x is a floating-point tensor and every layer is a circuit.
    """
    check_inputs(x)
    paths = {layer.source.module: layer.name for layer in mapped.layers}
    volts = {}
    for path, inputs in capture_inputs(analog, paths, x).items():
        layer = analog.get_submodule(path)
        if not isinstance(layer, CircuitLayer):
            raise ValueError(f"layer {path!r} is not a circuit; pass a network of to_torch")
        volts[paths[path]] = layer.voltages(inputs).double().cpu().numpy()
    return volts
