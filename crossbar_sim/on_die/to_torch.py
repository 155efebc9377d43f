"""Put a digital network on its die: every mapped layer becomes circuits."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from crossbar_sim.on_die.circuit_layer import CircuitLayer, circuit_layers, counting_uses
from crossbar_sim.on_die.hardware import Hardware
from crossbar_sim.on_die.layer_inputs import (
    BATCH,
    InputRange,
    capture_inputs,
    input_ranges,
)
from crossbar_sim.on_die.readout import Response, ideal_response, respond_all
from crossbar_sim.periphery.converters import Converters
from mapping.network.mapped_layer import MappedLayer
from mapping.network.mapped_network import MappedNetwork
from tinynets.modules.pooling import with_quick_pooling
from tinynets.modules.replacing import copied, with_module
from tinynets.modules.unpacking import unpacked
from tinynets.networks.extraction import dense_weight, weight_and_bias
from tinynets.networks.passes import (
    Inputs,
    call,
    check_inputs,
    exact_convolutions,
    part,
    split,
    watching,
)

#: Number of samples on which the ideal die is compared with the realised weights.
_N_PROOF = 4


def to_torch(
    model: nn.Module,
    mapped: MappedNetwork,
    hardware: Hardware,
    *,
    calibration: Inputs,
    responses: Mapping[str, Response] | None = None,
    ranges: Mapping[str, InputRange] | None = None,
) -> nn.Module:
    """Return a copy of a model in which every mapped layer is a `CircuitLayer`.

    model: the digital network that was mapped; it is not changed. Each layer's circuits are put on
        the device of its weight, and run there.
    hardware: everything around the cells; noise is another for every output of every pass,
        and the same on any device and for any batches (`NoiseStream`).
    calibration: inputs on the model's device (never test data) that fix the range of every DAC and
        ADC without a given one: the largest input of the layer, over all its passes, and the
        largest output of its tiles.
    responses: by tile, if `crossbar_sim.on_die.readout.respond_all` has computed them already.
    ranges: of the layers' inputs on the calibration inputs, by path of the module, if
        `crossbar_sim.on_die.layer_inputs.input_ranges` has found them already.

    Raises ValueError naming the layer if the model is not the one that was mapped (another weight,
    bias, or shape), or if with ideal parts it would not give what the realised weights give.
    """
    check_inputs(calibration, "calibration")
    model = unpacked(model, only=[layer.source.module for layer in mapped.layers])
    check_mapped(model, mapped)
    prove_ideal(model, mapped, part(calibration, 0, _N_PROOF))
    analog = with_quick_pooling(copied(model).eval())
    paths = [layer.source.module for layer in mapped.layers]
    ranges = ranges or input_ranges(model, paths, calibration)
    device = _device(model, paths[0])
    if responses is None and (hardware.devices is not None or device.type != "cpu"):
        responses = respond_all(mapped.tiles, hardware, mapped.die, device=device)
    for layer in mapped.layers:
        path = layer.source.module
        limits, dtype = _range(hardware.converters, ranges[path]), _dtype(model, path)
        replaced = CircuitLayer(layer, hardware, limits, responses=responses, dtype=dtype)
        analog = with_module(analog, path, replaced.to(_device(model, path)))
    _settle(analog, paths, calibration)
    return counting_uses(analog)


def check_mapped(model: nn.Module, mapped: MappedNetwork) -> None:
    """Raise ValueError naming the layer unless these are the weights that were mapped."""
    modules = dict(model.named_modules())
    for layer in (one.source for one in mapped.layers):
        module: Any = modules.get(layer.module)
        if not isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
            kind = "no module" if module is None else type(module).__name__
            raise ValueError(
                f"layer {layer.name!r} was mapped from {layer.module!r}, where the model has "
                f"{kind}; pass the model that `extract` read"
            )
        weight, bias = weight_and_bias(module)
        groups = getattr(module, "groups", 1)
        if weight.shape != layer.weight.shape or groups != layer.groups:
            raise ValueError(
                f"module {layer.module!r} has a weight of shape {weight.shape}{_in(groups)}, but "
                f"the mapped one is {layer.weight.shape}{_in(layer.groups)}; pass the model that "
                "`extract` read"
            )
        known = np.zeros(layer.n_out) if layer.bias is None else layer.bias
        for what, held, target in (("weight", weight, layer.weight), ("bias", bias, known)):
            error = float(np.abs(held - target).max())
            if error > 1e-6 * float(np.abs(layer.weight).max()):
                raise ValueError(
                    f"module {layer.module!r} has another {what} than the one that was mapped "
                    f"(by up to {error:.3g}); pass the model that `extract` read, folded and "
                    "pruned as it was"
                )


def _in(groups: int) -> str:
    return f" in {groups} groups" if groups > 1 else ""


def prove_ideal(model: nn.Module, mapped: MappedNetwork, inputs: Inputs) -> None:
    """Prove that with ideal parts the network on the die is the digital one, weights as realised.

    Raises ValueError naming the first layer whose outputs differ on the inputs.
    """
    paths = [layer.source.module for layer in mapped.layers]
    digital, analog = copied(model).eval(), copied(model).eval()
    for layer in mapped.layers:
        path = layer.source.module
        product = _Product(layer, _dtype(model, path)).to(_device(model, path))
        digital = with_module(digital, path, product)
    ranges = input_ranges(digital, paths, inputs)
    for layer in mapped.layers:
        path = layer.source.module
        responses = {tile.name: ideal_response(tile) for tile in layer.tiles}
        options = {"responses": responses, "dtype": _dtype(model, path)}
        circuits = CircuitLayer(layer, Hardware(), ranges[path], **options)
        analog = with_module(analog, path, circuits.to(_device(model, path)))
    for (path, expected), (_, given) in zip(_outputs(digital, inputs), _outputs(analog, inputs)):
        error = float((given - expected).abs().max() / expected.abs().max().clamp_min(1e-30))
        if not error <= max(1e-3, 16 * torch.finfo(expected.dtype).eps):
            raise ValueError(
                f"on an ideal die, layer {path!r} would be off by {error:.2g} of its largest "
                f"output; pass leave_digital=({path!r},) to `extract`"
            )


class _Product(nn.Module):
    """A layer's realised weight times its input plus its bias, without any circuit."""

    weight: torch.Tensor
    bias: torch.Tensor | None

    def __init__(self, mapped: MappedLayer, dtype: torch.dtype) -> None:
        super().__init__()
        layer = mapped.source
        self.conv = layer.conv
        bias = None if layer.bias is None else torch.tensor(layer.bias).to(dtype)
        self.register_buffer("weight", torch.from_numpy(mapped.weight).to(dtype))
        self.register_buffer("bias", bias)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the outputs for inputs, both in the torch layer's shapes."""
        conv = self.conv
        if conv is None:
            return nn.functional.linear(input, self.weight, self.bias)
        x = input if input.ndim == 4 else input.unsqueeze(2)
        kernel = self.weight.reshape(len(self.weight), -1, *conv.kernel)
        shape = conv.stride, conv.padding, conv.dilation, conv.groups
        y = nn.functional.conv2d(x, kernel, self.bias, *shape)
        return y if input.ndim == 4 else y.squeeze(2)


def _outputs(network: nn.Module, inputs: Inputs) -> list[tuple[str, torch.Tensor]]:
    """Return the outputs of products and circuits in a pass, by path, in order of use."""
    outputs: list[tuple[str, torch.Tensor]] = []

    def see(path: str, _module: nn.Module, _x: torch.Tensor, output: torch.Tensor) -> None:
        outputs.append((path, output))

    kinds = (_Product, CircuitLayer)
    modules = {path: m for path, m in network.named_modules() if isinstance(m, kinds)}
    with watching(modules, see), torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        with exact_convolutions():
            call(network, inputs)
    return outputs


def put_on_die(
    network: nn.Module, layer: MappedLayer, hardware: Hardware, *, calibration: Inputs
) -> nn.Module:
    """Replace one layer of a network by circuits, in place; other layers may be circuits already.

    The arguments are those of `to_torch`. Returns the network, which is a new one only if the layer
    is the whole network, or inside a module that is unpacked for it.
    """
    check_inputs(calibration, "calibration")
    path = layer.source.module
    network = unpacked(network, only=[path])
    limits = _range(hardware.converters, input_ranges(network, [path], calibration)[path])
    replaced = CircuitLayer(layer, hardware, limits, dtype=_dtype(network, path))
    network = with_module(network, path, replaced.to(_device(network, path)))
    _settle(network, [path], calibration)
    return counting_uses(network)


def _dtype(network: nn.Module, path: str) -> torch.dtype:
    """Return the type in which a weight layer computes."""
    return dense_weight(network.get_submodule(path)).dtype


def _device(network: nn.Module, path: str) -> torch.device:
    """Return where the weight of a layer is, and so what takes its place."""
    return dense_weight(network.get_submodule(path)).device


def _range(converters: Converters, seen: InputRange) -> InputRange:
    return seen if converters.dac_range is None else replace(seen, limit=converters.dac_range)


def _settle(network: nn.Module, paths: list[str], calibration: Inputs) -> None:
    """Set ranges and zeros of the new layers' ADCs; restart their noise and counts."""
    new = [layer for path, layer in circuit_layers(network).items() if path in paths]
    unknown = [x.adc for x in new if x.adc.converters.measures and x.adc.v_limit is None]
    with ExitStack() as stack:
        for adc in unknown:
            stack.enter_context(adc.observing())
        if unknown:
            with torch.no_grad():
                for inputs in split(calibration, BATCH):
                    call(network.eval(), inputs)
    for layer in new:
        layer.restart()
        layer.rezero()


def circuit_inputs(
    analog: nn.Module, mapped: MappedNetwork, inputs: Inputs
) -> dict[str, np.ndarray]:
    """Return the word-line voltages (n_vector, n_in) [V] of every layer, of all its passes.

    Raises ValueError unless the inputs fit a network and every layer is a circuit.
    """
    check_inputs(inputs)
    paths = {layer.source.module: layer.name for layer in mapped.layers}
    volts = {}
    for path, seen in capture_inputs(analog, paths, inputs).items():
        layer = analog.get_submodule(path)
        if not isinstance(layer, CircuitLayer):
            raise ValueError(f"layer {path!r} is not a circuit; pass a network of to_torch")
        each = [layer.voltages(x) for x in seen]
        volts[paths[path]] = torch.cat(each).double().cpu().numpy()
    return volts
