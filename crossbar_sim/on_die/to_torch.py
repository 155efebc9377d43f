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
    ranges_of,
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
    calibration: inputs (never test data) that fix the range of every DAC and ADC that is not
    given: a layer's largest input and tile output.
    responses: by tile, where `crossbar_sim.on_die.readout.respond` has computed them already.
    """
    check_inputs(calibration)
    analog = copied(model).eval()
    dtype = next(model.parameters()).dtype
    ranges = input_ranges(model, mapped, calibration)
    for layer in mapped.layers:
        path = layer.source.module
        limits = _range(hardware.converters, ranges[path])
        replaced = CircuitLayer(layer, hardware, limits, responses=responses, dtype=dtype)
        analog = with_module(analog, path, replaced)
    _settle(analog, [layer.source.module for layer in mapped.layers], calibration)
    return analog


def put_on_die(
    network: nn.Module, layer: MappedLayer, hardware: Hardware, *, calibration: torch.Tensor
) -> nn.Module:
    """Replace one layer of a network, others of which may be circuits already, in place.

    The arguments are those of `to_torch`. Returns the network, which is a new one only where the
    layer is all of it.
    """
    check_inputs(calibration)
    path, dtype = layer.source.module, next(network.parameters()).dtype
    limits = _range(hardware.converters, ranges_of(network, [path], calibration)[path])
    network = with_module(network, path, CircuitLayer(layer, hardware, limits, dtype=dtype))
    _settle(network, [path], calibration)
    return network


def with_module(network: nn.Module, path: str, module: nn.Module) -> nn.Module:
    """Put a module in the place of another; return the network, or the module at the path "".

    Raises AttributeError for a path that the network has not.
    """
    network.get_submodule(path)  # torch would add a new one
    if not path:
        return module
    network.set_submodule(path, module)
    return network


def _range(converters: Converters, seen: InputRange) -> InputRange:
    return seen if converters.dac_range is None else replace(seen, limit=converters.dac_range)


def _settle(network: nn.Module, paths: list[str], calibration: torch.Tensor) -> None:
    """Give new layers the ranges of their ADCs and what they report at rest; count from zero."""
    new = [layer for path, layer in circuit_layers(network).items() if path in paths]
    unknown = [x.adc for x in new if x.adc.converters.measures and x.adc.v_limit is None]
    with ExitStack() as stack:
        for adc in unknown:
            stack.enter_context(adc.observing())
        if unknown:
            with torch.no_grad():
                for images in calibration.split(BATCH):
                    network.eval()(images)
    for layer in new:
        if layer.hardware.converters.auto_zero:
            layer.trim()
        layer.n_saturated = 0


def circuit_inputs(
    analog: nn.Module, mapped: MappedNetwork, x: torch.Tensor
) -> dict[str, np.ndarray]:
    """Return the word-line voltages (n_vector, n_in) [V] of every layer for a batch of images.

    Raises ValueError for inputs that are no floating-point tensor, or a network of other layers.
    """
    check_inputs(x)
    paths = {layer.source.module: layer.name for layer in mapped.layers}
    volts = {}
    for path, inputs in capture_inputs(analog, paths, x).items():
        layer = analog.get_submodule(path)
        if not isinstance(layer, CircuitLayer):
            raise ValueError(f"layer {path!r} is no circuit; pass a network of to_torch")
        volts[paths[path]] = layer.voltages(inputs).double().cpu().numpy()
    return volts
