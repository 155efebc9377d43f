"""A network whose weight layers multiply by what the circuits of its tiles really do."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from crossbar_sim.on_die.readout import Readout, Response, grouped, merged, respond
from crossbar_sim.periphery.converters import Converters, Errors, broadcast, passes, quantise
from crossbar_sim.periphery.noise import Noise
from mapping.network.mapped_layer import MappedLayer
from mapping.network.mapped_network import MappedNetwork
from netlists.circuit import Periphery, Wires
from tinynets.networks.extraction import evaluation
from tinynets.networks.layers import ConvGeometry
from tinynets.networks.masks import copied

#: Calibration images that run at a time, so that their number does not fill the memory.
BATCH = 500


@dataclass(frozen=True)
class InputRange:
    """Largest magnitude of a layer's inputs on the calibration set, and whether any is < 0."""

    limit: float
    signed: bool


class CircuitLayer(nn.Module):
    """A weight layer on tiles: DAC, the circuit of every tile, ADC, digital sums.

    Inputs and outputs are those of the torch layer it replaces. `n_saturated` counts, since the
    layer was made, the inputs beyond the DAC's range, the amplifiers at their swing, and the
    outputs beyond the ADC's range. `v_limit` is the ADC's range [V], None while it does nothing.

    Gradients flow: rounding counts as if it did nothing (straight-through, Bengio et al.,
    arXiv 1308.3432), and what saturates has none. An output is `units_per_volt` [1/V] times `gain`
    times the volts, plus `bias`, each (n_out,). The digital gain, 1 at first, and the digital bias
    are parameters; the circuits are what they are.
    """

    units_per_volt: torch.Tensor

    def __init__(
        self,
        mapped: MappedLayer,
        wires: Wires,
        periphery: Periphery,
        converters: Converters,
        input_range: InputRange,
        noise: Noise | None = None,
        *,
        responses: Mapping[str, Response] | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        layer = mapped.source
        self.name, self.conv = mapped.name, layer.conv
        self.wires, self.periphery, self.noise = wires, periphery, noise
        self.converters, self.input_range = converters, input_range
        self.watching = False
        self.restart()
        self.dac_errors = converters.dac_errors(layer.n_in, mapped.name)
        found = [
            responses[tile.name] if responses else respond(tile, wires, periphery, noise)
            for tile in mapped.tiles
        ]
        if converters.measures or noise is not None or np.isfinite(periphery.v_swing):
            found = grouped(found)
        else:
            found = [merged(found, layer.n_in, layer.n_out)]
        parts = self.conv, self.dac_errors, converters.v_read, periphery.v_swing, dtype
        self.readouts = nn.ModuleList(Readout(response, *parts) for response in found)
        self.set_range(converters.adc_range)
        self.zeros: list[torch.Tensor] = []
        scale = 1.0 / (periphery.r_feedback * mapped.g_per_weight * self.volts_per_unit)
        bias = np.zeros(layer.n_out) if layer.bias is None else layer.bias.copy()
        # A parameter near 1, since one of some 100/V would not notice an optimiser's usual steps.
        self.gain = nn.Parameter(torch.ones(layer.n_out, dtype=dtype))
        self.register_buffer("units_per_volt", torch.from_numpy(scale).to(dtype))
        self.bias = nn.Parameter(torch.from_numpy(bias).to(dtype))

    def restart(self) -> None:
        """Start the stream of the noise anew, and count saturation from zero."""
        self.n_saturated = 0
        self.stream = None if self.noise is None else _stream(self.noise, self.name)

    def passes(self, x: torch.Tensor) -> list[tuple[float, torch.Tensor]]:
        """Return digital weight and drive (in parts of v_read) of every pass over inputs x."""
        limit, signed = self.input_range.limit, self.input_range.signed
        low, high = torch.aminmax(x.detach())
        if max(-low, high) > limit * (1 + 1e-6) or (low < 0 and not signed):
            beyond = (x.abs() > limit * (1 + 1e-6)) | ((x < 0) & (not signed))
            self.n_saturated += int(beyond.sum())
        return passes(x, self.converters, limit, signed=signed)

    @property
    def volts_per_unit(self) -> float:
        """Word-line voltage of an input of 1 [V]."""
        return self.converters.v_read / self.input_range.limit

    def voltages(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the DACs put on the word lines, im2col rows, one pass after another.

        Shape (n_pass * n_vector, n_in) [V].
        """
        rows = (x if self.conv is None else patches(x, self.conv)).flatten(0, -2)
        drives = [self.dac_errors.apply(drive) for _, drive in self.passes(rows)]
        return self.converters.v_read * torch.cat(drives)

    @property
    def parts(self) -> list[Readout]:
        """The readouts: tiles that share word lines, together."""
        return cast(list[Readout], list(self.readouts))

    def set_range(self, v_limit: float | None) -> None:
        """Give the ADCs a range [V], or None for ADCs that do nothing."""
        self.v_limit = v_limit
        draw = self.converters.adc_errors
        self.adc_errors = [
            Errors.joined([draw(n_bit, name, v_limit or 1.0) for name, n_bit in part.tiles])
            for part in self.parts
        ]

    def watch(self) -> None:
        """Keep the extremes of what the ADCs see, which report it as it is, until `fix_range`."""
        self.watching = True
        self.extremes: list[list[torch.Tensor]] = [[] for _ in self.parts]

    def fix_range(self) -> None:
        """Set the ADCs' range to the largest magnitude that they report of what was watched."""
        self.watching = False
        seen = [torch.stack(found) for found in self.extremes]
        self.set_range(max(float(v.abs().max()) for v in seen) or 1.0)
        reported = [self._report(v, k) for k, v in enumerate(seen)]
        self.set_range(max(float(v.abs().max()) for v in reported) or 1.0)

    def trim(self) -> None:
        """Measure what the ADCs report for inputs of zero, to subtract it from then on."""
        self.zeros = []
        zero = self.bias.new_zeros((1, len(self.dac_errors.gain)))
        for k, part in enumerate(self.parts):
            drive = zero if self.dac_errors.is_straight else self.dac_errors.apply(zero)
            self.zeros.append(self._measure(part.read_lines(drive)[0], k).detach()[0])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the digital side makes of inputs x, both shaped as the torch layer's."""
        shape = x.shape
        if self.conv is None:
            x = x.reshape(-1, shape[-1])
        elif x.ndim == 3:
            x = x.unsqueeze(2)
        total: Any = 0.0
        for weight, drive in self.passes(x):
            for k, part in enumerate(self.parts):
                seen, n_saturated = self._see(part, drive)
                self.n_saturated += n_saturated
                read = self._measure(seen, k)
                if self.zeros:
                    read = read - broadcast(self.zeros[k].to(read), read)
                total = total + self._spread(weight * read if weight != 1 else read, part)
        scale = self.units_per_volt * self.gain
        y = total * broadcast(scale, total) + broadcast(self.bias, total)
        if self.conv is None:
            return y.reshape(*shape[:-1], -1)
        return y.squeeze(2) if len(shape) == 3 else y

    def _see(self, part: Readout, drive: torch.Tensor) -> tuple[torch.Tensor, int]:
        """Return what the ADCs of some tiles see."""
        if self.dac_errors.is_straight:
            return part(drive, self.stream)
        if self.conv is None:
            return part.read_lines(self.dac_errors.apply(drive), self.stream)
        # Each word line bends its drive in its own way, so every patch must be laid out.
        rows = self.dac_errors.apply(patches(drive, self.conv).flatten(0, -2))
        seen, n_saturated = part.read_lines(rows, self.stream)
        seen = seen.unflatten(0, (len(drive), *output_size(drive, self.conv)))
        return seen.permute(0, 3, 1, 2), n_saturated

    def _spread(self, read: torch.Tensor, part: Readout) -> torch.Tensor:
        """Put the outputs of some tiles in their places among the layer's."""
        n_out, columns = len(self.bias), part.get_buffer("columns")
        if len(columns) == n_out and bool((columns[1:] > columns[:-1]).all()):
            return read
        full = read.new_zeros((read.shape[0], n_out, *read.shape[2:]))
        return full.index_add(1, columns, read)

    def _measure(self, volts: torch.Tensor, k: int) -> torch.Tensor:
        """Return what the ADCs of readout k make of (n_vector, n_bit, ...) [V]."""
        if self.watching:
            inner = volts.detach().transpose(0, 1).flatten(1)
            found = torch.aminmax(inner, dim=1)
            self.extremes[k] += [found.min, found.max]
            return volts
        if self.v_limit is None:
            return volts
        volts = self._report(volts, k)
        low, high = torch.aminmax(volts.detach())
        if max(-low, high) > self.v_limit * (1 + 1e-6):
            self.n_saturated += int((volts.abs() > self.v_limit * (1 + 1e-6)).sum())
        return quantise(volts, self.converters.adc_bits, self.v_limit, signed=True)

    def _report(self, volts: torch.Tensor, k: int) -> torch.Tensor:
        """Add the errors of the ADCs of readout k."""
        errors = self.adc_errors[k]
        if errors.are_none:
            return volts
        assert self.v_limit is not None
        return errors.apply(volts / self.v_limit, dim=1) * self.v_limit


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
    responses: Mapping[str, Response] | None = None,
) -> nn.Module:
    """Return a copy of a model in which every mapped layer is a `CircuitLayer`.

    model: the digital network that was mapped; it is not changed. calibration: inputs (never test
    data) that fix the range of every DAC and ADC that is not given: a layer's largest input and
    tile output. noise: added anew to every output of every pass. responses: by tile, where
    `crossbar_sim.on_die.readout.respond` has found them for the same parts already.
    """
    _check_images(calibration)
    analog = copied(model).eval()
    dtype = next(model.parameters()).dtype
    ranges = input_ranges(model, mapped, calibration)
    for layer in mapped.layers:
        path = layer.source.module
        parts = wires, periphery, converters, _range(converters, ranges[path]), noise
        replaced = CircuitLayer(layer, *parts, responses=responses, dtype=dtype)
        analog = with_module(analog, path, replaced)
    _settle(analog, [layer.source.module for layer in mapped.layers], calibration)
    return analog


def put_on_die(
    network: nn.Module,
    layer: MappedLayer,
    wires: Wires,
    periphery: Periphery,
    converters: Converters,
    *,
    calibration: torch.Tensor,
    noise: Noise | None = None,
) -> nn.Module:
    """Replace one layer of a network, others of which may be circuits already, in place.

    The arguments are those of `to_torch`. Returns the network, which is a new one only where the
    layer is all of it.
    """
    _check_images(calibration)
    path, dtype = layer.source.module, next(network.parameters()).dtype
    seen = _ranges(network, [path], calibration)[path]
    parts = wires, periphery, converters, _range(converters, seen), noise
    network = with_module(network, path, CircuitLayer(layer, *parts, dtype=dtype))
    _settle(network, [path], calibration)
    return network


def _check_images(images: torch.Tensor) -> None:
    """Raise ValueError for anything but inputs that a network can run on."""
    if not isinstance(images, torch.Tensor):
        raise ValueError(
            f"inputs are a {type(images).__name__}; pass a tensor, as of torch.from_numpy"
        )
    if not images.is_floating_point() or not len(images):
        raise ValueError(
            f"inputs are {images.dtype} of shape {tuple(images.shape)}; pass at "
            "least one input, as floating-point numbers"
        )


def with_module(network: nn.Module, path: str, module: nn.Module) -> nn.Module:
    """Put a module in the place of another; return the network, or the module at the path "".

    Raises AttributeError for a path that the network has not.
    """
    network.get_submodule(path)  # torch would add a new one
    if not path:
        return module
    network.set_submodule(path, module)
    return network


def circuit_layers(network: nn.Module) -> dict[str, CircuitLayer]:
    """Return the layers on the die by module path, in the order of the modules."""
    return {path: m for path, m in network.named_modules() if isinstance(m, CircuitLayer)}


def _range(converters: Converters, seen: InputRange) -> InputRange:
    return seen if converters.dac_range is None else replace(seen, limit=converters.dac_range)


def _settle(network: nn.Module, paths: list[str], calibration: torch.Tensor) -> None:
    """Give new layers the ranges of their ADCs and what they report at rest; count from zero."""
    new = [layer for path, layer in circuit_layers(network).items() if path in paths]
    measured = [x for x in new if x.converters.measures and x.converters.adc_range is None]
    for layer in measured:
        layer.watch()
    if measured:
        with torch.no_grad():
            for images in calibration.split(BATCH):
                network.eval()(images)
    for layer in measured:
        layer.fix_range()
    for layer in new:
        if layer.converters.auto_zero:
            layer.trim()
        layer.n_saturated = 0


def input_ranges(
    model: nn.Module, mapped: MappedNetwork, calibration: torch.Tensor
) -> dict[str, InputRange]:
    """Return the range of every mapped layer's inputs in the digital model, by module path."""
    return _ranges(model, [layer.source.module for layer in mapped.layers], calibration)


def _ranges(
    network: nn.Module, paths: list[str], calibration: torch.Tensor
) -> dict[str, InputRange]:
    low, high = dict.fromkeys(paths, 0.0), dict.fromkeys(paths, 0.0)
    for images in calibration.split(BATCH):
        for path, x in capture_inputs(network, paths, images).items():
            least, most = (float(end) for end in torch.aminmax(x))
            if not np.isfinite(least + most):
                raise ValueError(
                    f"the input of layer {path!r} holds NaN or inf on calibration data"
                )
            low[path], high[path] = min(low[path], least), max(high[path], most)
    return {path: InputRange(max(-low[path], high[path]) or 1.0, low[path] < 0) for path in paths}


def circuit_inputs(
    analog: nn.Module, mapped: MappedNetwork, x: torch.Tensor
) -> dict[str, np.ndarray]:
    """Return the word-line voltages (n_vector, n_in) [V] of every layer for a batch of images.

    Raises ValueError for inputs that are no floating-point tensor, or a network of other layers.
    """
    _check_images(x)
    paths = {layer.source.module: layer.name for layer in mapped.layers}
    volts = {}
    for path, inputs in capture_inputs(analog, paths, x).items():
        layer = analog.get_submodule(path)
        if not isinstance(layer, CircuitLayer):
            raise ValueError(f"layer {path!r} is no circuit; pass a network of to_torch")
        volts[paths[path]] = layer.voltages(inputs).double().cpu().numpy()
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
        with evaluation(model), torch.no_grad():
            model(x)
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
