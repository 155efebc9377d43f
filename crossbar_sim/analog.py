"""A network whose weight layers multiply by what the circuits of its tiles really do."""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from crossbar_sim.converters import Converters, quantise
from crossbar_sim.nodal import transfer_matrix
from mapping.design import MappedLayer, MappedNetwork
from netlists.build import tile_circuit
from netlists.circuit import Periphery, Wires
from tinynets.layers import ConvGeometry


@dataclass(frozen=True)
class InputRange:
    """Largest magnitude of a layer's inputs on the calibration set, and whether any is < 0."""

    limit: float
    signed: bool


class CircuitLayer(nn.Module):
    """A weight layer on tiles: DAC, the exact transfer matrix of every tile, ADC, digital sums.

    Inputs and outputs are those of the torch layer it replaces. `n_saturated` counts the inputs
    beyond the DAC's range and the outputs beyond the ADC's since the layer was made.
    """

    bias: torch.Tensor
    units_per_volt: torch.Tensor

    def __init__(
        self,
        mapped: MappedLayer,
        wires: Wires,
        periphery: Periphery,
        converters: Converters,
        input_range: InputRange,
    ) -> None:
        super().__init__()
        self.conv = mapped.layer.conv
        self.converters, self.input_range = converters, input_range
        self.v_limit: float | None = None
        self.n_saturated = 0
        self.tiles = [
            (torch.from_numpy(tile.rows.copy()), torch.from_numpy(tile.columns.copy()))
            for tile in mapped.tiles
        ]
        self.volts_per_unit = converters.v_read / input_range.limit
        for k, tile in enumerate(mapped.tiles):
            g = transfer_matrix(tile_circuit(tile, wires, periphery))
            gain = periphery.r_feedback / (1.0 + 1.0 / periphery.tia_gain)
            # Both bit lines of a pair meet in one ADC, so only their difference counts.
            pair = gain * (g[:, : tile.n_bit] - g[:, tile.n_bit :])
            self.register_buffer(f"volts_{k}", torch.from_numpy(pair).float())
        scale = 1.0 / (periphery.r_feedback * mapped.g_per_weight * self.volts_per_unit)
        self.register_buffer("units_per_volt", torch.from_numpy(scale).float())
        bias = mapped.layer.bias
        bias = np.zeros(mapped.layer.n_out) if bias is None else bias.copy()
        self.register_buffer("bias", torch.from_numpy(bias).float())

    def voltages(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the DACs put on the word lines: (n_vector, n_in) [V], im2col rows."""
        x = x if self.conv is None else patches(x, self.conv)
        limit, signed = self.input_range.limit, self.input_range.signed
        beyond = (x.abs() > limit * (1 + 1e-6)) | ((x < 0) & (not signed))
        self.n_saturated += int(beyond.sum())
        x = quantise(x, self.converters.dac_bits, limit, signed=signed)
        return x.flatten(0, -2) * self.volts_per_unit

    def tile_outputs(self, volts: torch.Tensor) -> list[torch.Tensor]:
        """Return what each tile's ADCs see: (n_vector, n_bit) [V] a tile."""
        return [
            volts[:, rows] @ self.get_buffer(f"volts_{k}") for k, (rows, _) in enumerate(self.tiles)
        ]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = x.new_zeros((x.shape[0] * self._positions(x), len(self.bias)))
        for (_, columns), volts in zip(self.tiles, self.tile_outputs(self.voltages(x))):
            if self.v_limit is not None:
                self.n_saturated += int((volts.abs() > self.v_limit * (1 + 1e-6)).sum())
                volts = quantise(volts, self.converters.adc_bits, self.v_limit, signed=True)
            total[:, columns] += volts
        y = total * self.units_per_volt + self.bias
        if self.conv is None:
            return y.reshape(*x.shape[:-1], -1)
        height, width = output_size(x, self.conv)
        y = y.reshape(x.shape[0], height * width, -1).transpose(1, 2)
        return y.reshape(x.shape[0], -1, *([height] if x.ndim == 4 else []), width)

    def _positions(self, x: torch.Tensor) -> int:
        if self.conv is not None:
            return int(np.prod(output_size(x, self.conv)))
        return x[0].numel() // x.shape[-1]


def to_torch(
    model: nn.Module,
    mapped: MappedNetwork,
    wires: Wires,
    periphery: Periphery,
    converters: Converters,
    *,
    calibration: torch.Tensor,
) -> nn.Module:
    """Return a copy of a model in which every mapped layer is a `CircuitLayer`.

    model: the digital network that was mapped; it is not changed. calibration: inputs (never test
    data) that fix the range of every DAC and ADC: a layer's largest input and tile output.
    """
    ranges = input_ranges(model, mapped, calibration)
    analog = copy.deepcopy(model).eval()
    layers = {}
    for layer in mapped.layers:
        path = layer.layer.module
        layers[path] = CircuitLayer(layer, wires, periphery, converters, ranges[path])
        analog.set_submodule(path, layers[path])
    if converters.adc_bits is not None:
        for path, x in capture_inputs(analog, layers, calibration).items():
            outputs = layers[path].tile_outputs(layers[path].voltages(x))
            layers[path].v_limit = max(float(v.abs().max()) for v in outputs) or 1.0
    for layer in layers.values():
        layer.n_saturated = 0
    return analog


def input_ranges(
    model: nn.Module, mapped: MappedNetwork, calibration: torch.Tensor
) -> dict[str, InputRange]:
    """Return the range of every mapped layer's inputs in the digital model, by module path."""
    paths = [layer.layer.module for layer in mapped.layers]
    ranges = {}
    for path, x in capture_inputs(model, paths, calibration).items():
        if not torch.isfinite(x).all():
            raise ValueError(f"the input of layer {path!r} holds NaN or inf on calibration data")
        ranges[path] = InputRange(float(x.abs().max()) or 1.0, bool((x < 0).any()))
    return ranges


def circuit_inputs(
    analog: nn.Module, mapped: MappedNetwork, x: torch.Tensor
) -> dict[str, np.ndarray]:
    """Return the word-line voltages (n_vector, n_in) [V] of every layer for a batch of images."""
    paths = {layer.layer.module: layer.name for layer in mapped.layers}
    volts = {}
    for path, inputs in capture_inputs(analog, paths, x).items():
        layer = analog.get_submodule(path)
        assert isinstance(layer, CircuitLayer)
        volts[paths[path]] = layer.voltages(inputs).double().numpy()
    return volts


def capture_inputs(
    model: nn.Module, paths: Iterable[str] | Mapping[str, object], x: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Run a model and return what enters the modules at the given paths."""
    captured: dict[str, torch.Tensor] = {}

    def hook(path: str):
        def keep(_module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            captured[path] = inputs[0].detach()

        return keep

    handles = [model.get_submodule(p).register_forward_pre_hook(hook(p)) for p in paths]
    try:
        with torch.no_grad():
            model.eval()(x)
    finally:
        for handle in handles:
            handle.remove()
    return captured


def patches(x: torch.Tensor, conv: ConvGeometry) -> torch.Tensor:
    """Return the im2col rows of an image batch: (n_batch, n_position, n_in)."""
    x = x if x.ndim == 4 else x.unsqueeze(2)
    columns = nn.functional.unfold(x, conv.kernel, conv.dilation, conv.padding, conv.stride)
    return columns.transpose(1, 2)


def output_size(x: torch.Tensor, conv: ConvGeometry) -> tuple[int, int]:
    """Return the height and width of a convolution's output (height 1 for a 1-D one)."""
    size = x.shape[2:] if x.ndim == 4 else (1, x.shape[2])
    height, width = (
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(size, conv.kernel, conv.stride, conv.padding, conv.dilation)
    )
    return height, width
