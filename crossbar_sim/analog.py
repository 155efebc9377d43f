"""A network whose weight layers multiply by what the circuits of its tiles really do."""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from torch import nn

from crossbar_sim.converters import Converters, Errors, passes, quantise
from crossbar_sim.nodal import solve, transfer_matrix
from crossbar_sim.noise import Noise
from mapping.design import MappedLayer, MappedNetwork
from mapping.tiles import Tile
from netlists.build import tile_circuit
from netlists.circuit import Periphery, Wires
from tinynets.layers import ConvGeometry


@dataclass(frozen=True)
class InputRange:
    """Largest magnitude of a layer's inputs on the calibration set, and whether any is < 0."""

    limit: float
    signed: bool


class TileReader(nn.Module):
    """What the ADCs of one tile see, for any voltages on the word lines of its layer.

    The exact transfer matrix of the tile's circuit, its amplifiers with offsets and swing, and
    noise of sigma [V] on each pair where a `Noise` is given.
    """

    def __init__(
        self, tile: Tile, wires: Wires, periphery: Periphery, noise: Noise | None = None
    ) -> None:
        super().__init__()
        periphery = periphery.for_tile(tile.name)
        circuit = tile_circuit(tile, wires, periphery)
        self.name, self.n_bit, self.v_swing = tile.name, tile.n_bit, periphery.v_swing
        self.rows = torch.from_numpy(tile.rows.copy())
        self.columns = torch.from_numpy(tile.columns.copy())
        lines = -periphery.r_feedback * periphery.share * transfer_matrix(circuit)
        rest = np.zeros(circuit.n_line)
        if periphery.offsets(circuit.n_line).any():
            unclipped = replace(circuit, periphery=replace(periphery, v_swing=np.inf))
            rest = solve(unclipped, np.zeros(tile.n_word)).v_out[0]
        if np.isinf(self.v_swing):
            # Both bit lines of a pair meet in one ADC, so only their difference counts.
            lines, rest = self._pairs(lines), self._pairs(rest)
        self.register_buffer("volts", torch.from_numpy(lines).float())
        self.register_buffer("rest", torch.from_numpy(rest).float())
        sigma = np.zeros(tile.n_bit) if noise is None else noise.pair_volts(circuit)
        self.register_buffer("sigma", torch.from_numpy(sigma).float())

    def forward(
        self, volts: torch.Tensor, stream: torch.Generator | None = None
    ) -> tuple[torch.Tensor, int]:
        """Return the differences (n_vector, n_bit) [V], and how many amplifiers saturated.

        volts: (n_vector, n_in) [V] of the whole layer. stream: of the noise.
        """
        out = volts[:, self.rows] @ self.get_buffer("volts") + self.get_buffer("rest")
        n_saturated = 0
        if np.isfinite(self.v_swing):
            n_saturated = int((out.abs() >= self.v_swing).sum())
            out = self._pairs(out.clamp(-self.v_swing, self.v_swing))
        sigma = self.get_buffer("sigma")
        if stream is not None and sigma.any():
            out = out + sigma * torch.randn(out.shape, generator=stream)
        return out, n_saturated

    def _pairs(self, lines):
        """Return negative minus positive lines; a TIA inverts, so this is + r (i_p - i_n)."""
        return lines[..., self.n_bit :] - lines[..., : self.n_bit]


class CircuitLayer(nn.Module):
    """A weight layer on tiles: DAC, the circuit of every tile, ADC, digital sums.

    Inputs and outputs are those of the torch layer it replaces. `n_saturated` counts, since the
    layer was made, the inputs beyond the DAC's range, the amplifiers at their swing, and the
    outputs beyond the ADC's range. `v_limit` is the ADC's range [V], None while it does nothing.
    """

    bias: torch.Tensor
    units_per_volt: torch.Tensor
    adc_errors: dict[str, Errors]
    zeros: dict[str, torch.Tensor]

    def __init__(
        self,
        mapped: MappedLayer,
        wires: Wires,
        periphery: Periphery,
        converters: Converters,
        input_range: InputRange,
        noise: Noise | None = None,
    ) -> None:
        super().__init__()
        self.conv = mapped.layer.conv
        self.converters, self.input_range = converters, input_range
        self.n_saturated = 0
        self.stream = None if noise is None else _stream(noise, mapped.name)
        self.dac_errors = converters.dac_errors(mapped.layer.n_in, mapped.name)
        self.tiles = nn.ModuleList(TileReader(t, wires, periphery, noise) for t in mapped.tiles)
        self.set_range(converters.adc_range)
        self.zeros = {}
        scale = 1.0 / (periphery.r_feedback * mapped.g_per_weight * self.volts_per_unit)
        self.register_buffer("units_per_volt", torch.from_numpy(scale).float())
        bias = mapped.layer.bias
        bias = np.zeros(mapped.layer.n_out) if bias is None else bias.copy()
        self.register_buffer("bias", torch.from_numpy(bias).float())

    def passes(self, x: torch.Tensor) -> list[tuple[float, torch.Tensor]]:
        """Return digital weight and word-line voltages (n_vector, n_in) [V] of every pass."""
        x = x if self.conv is None else patches(x, self.conv)
        limit, signed = self.input_range.limit, self.input_range.signed
        beyond = (x.abs() > limit * (1 + 1e-6)) | ((x < 0) & (not signed))
        self.n_saturated += int(beyond.sum())
        drives = passes(x.flatten(0, -2), self.converters, limit, signed=signed)
        v_read = self.converters.v_read
        return [(weight, self.dac_errors.apply(drive) * v_read) for weight, drive in drives]

    @property
    def volts_per_unit(self) -> float:
        """Word-line voltage of an input of 1 [V]."""
        return self.converters.v_read / self.input_range.limit

    def voltages(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the DACs put on the word lines, im2col rows, one pass after another.

        Shape (n_pass * n_vector, n_in) [V].
        """
        return torch.cat([volts for _, volts in self.passes(x)])

    @property
    def readers(self) -> list[TileReader]:
        """The tiles, in the order of the mapped layer's."""
        return cast(list[TileReader], list(self.tiles))

    def set_range(self, v_limit: float | None) -> None:
        """Give the ADCs a range [V], or None for ADCs that do nothing."""
        self.v_limit = v_limit
        draw = self.converters.adc_errors
        self.adc_errors = {t.name: draw(t.n_bit, t.name, v_limit or 1.0) for t in self.readers}

    def calibrate(self, x: torch.Tensor) -> None:
        """Set the ADCs' range to the largest magnitude that they report on any pass over x."""
        seen = [(t.name, t(volts)[0]) for _, volts in self.passes(x) for t in self.readers]
        self.set_range(max(float(v.abs().max()) for _, v in seen) or 1.0)
        self.set_range(max(float(self._report(v, name).abs().max()) for name, v in seen) or 1.0)

    def trim(self) -> None:
        """Measure what the ADCs report for inputs of zero, to subtract it from then on."""
        volts = self.dac_errors.apply(torch.zeros(1, len(self.dac_errors.gain)))
        volts = volts * self.converters.v_read
        self.zeros = {t.name: self._measure(t(volts)[0], t.name) for t in self.readers}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = x.new_zeros((x.shape[0] * self._positions(x), len(self.bias)))
        for weight, volts in self.passes(x):
            for tile in self.readers:
                seen, n_saturated = tile(volts, self.stream)
                self.n_saturated += n_saturated
                read = self._measure(seen, tile.name) - self.zeros.get(tile.name, 0.0)
                total[:, tile.columns] += weight * read
        y = total * self.units_per_volt + self.bias
        if self.conv is None:
            return y.reshape(*x.shape[:-1], -1)
        height, width = output_size(x, self.conv)
        y = y.reshape(x.shape[0], height * width, -1).transpose(1, 2)
        return y.reshape(x.shape[0], -1, *([height] if x.ndim == 4 else []), width)

    def _measure(self, volts: torch.Tensor, tile: str) -> torch.Tensor:
        """Return what the ADCs of a tile make of (n_vector, n_bit) [V]."""
        if self.v_limit is None:
            return volts
        volts = self._report(volts, tile)
        self.n_saturated += int((volts.abs() > self.v_limit * (1 + 1e-6)).sum())
        return quantise(volts, self.converters.adc_bits, self.v_limit, signed=True)

    def _report(self, volts: torch.Tensor, tile: str) -> torch.Tensor:
        """Add the errors of a tile's ADCs to (n_vector, n_bit) [V]."""
        assert self.v_limit is not None
        return self.adc_errors[tile].apply(volts / self.v_limit) * self.v_limit

    def _positions(self, x: torch.Tensor) -> int:
        if self.conv is not None:
            return int(np.prod(output_size(x, self.conv)))
        return x[0].numel() // x.shape[-1]


def _stream(noise: Noise, label: str) -> torch.Generator:
    """Return the random stream of a layer's noise."""
    words = np.random.SeedSequence([noise.seed, *label.encode()]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(words[0] >> 1))


def to_torch(
    model: nn.Module,
    mapped: MappedNetwork,
    wires: Wires,
    periphery: Periphery,
    converters: Converters,
    *,
    calibration: torch.Tensor,
    noise: Noise | None = None,
) -> nn.Module:
    """Return a copy of a model in which every mapped layer is a `CircuitLayer`.

    model: the digital network that was mapped; it is not changed. calibration: inputs (never test
    data) that fix the range of every DAC and ADC that is not given: a layer's largest input and
    tile output. noise: added anew to every output of every pass.
    """
    ranges = input_ranges(model, mapped, calibration)
    if converters.dac_range is not None:
        ranges = {path: replace(r, limit=converters.dac_range) for path, r in ranges.items()}
    analog = copy.deepcopy(model).eval()
    layers = {}
    for layer in mapped.layers:
        path = layer.layer.module
        layers[path] = CircuitLayer(layer, wires, periphery, converters, ranges[path], noise)
        analog.set_submodule(path, layers[path])
    if converters.measures and converters.adc_range is None:
        for path, x in capture_inputs(analog, layers, calibration).items():
            layers[path].calibrate(x)
    for layer in layers.values():
        if converters.auto_zero:
            layer.trim()
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
