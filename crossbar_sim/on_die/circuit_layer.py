"""A weight layer that computes with the circuits of its tiles."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from crossbar_sim.on_die.adc import Adc
from crossbar_sim.on_die.device_readout import DeviceReadout
from crossbar_sim.on_die.hardware import Hardware
from crossbar_sim.on_die.layer_inputs import InputRange, output_size, patches
from crossbar_sim.on_die.readout import (
    Readout,
    Response,
    grouped,
    merged,
    respond_all,
    stacked,
)
from crossbar_sim.periphery.conversion import broadcast, dac_errors, passes
from crossbar_sim.periphery.fused_drives import (
    AS_THEY_ARE,
    SLACK,
    drive_images,
    drive_vectors,
    phases,
)
from crossbar_sim.periphery.fused_noise import ReadNoise
from crossbar_sim.periphery.fused_reads import (
    Digital,
    Levels,
    Reader,
    Window,
    read_layer,
)
from crossbar_sim.periphery.fused_tiles import Groups, Shared
from crossbar_sim.periphery.noise_stream import Draw, NoiseStream, Reading
from crossbar_sim.transfer.elimination import one_blas_thread
from mapping.network.mapped_layer import MappedLayer


class CircuitLayer(nn.Module):
    """A weight layer on tiles: DAC, the circuit of every tile, ADC, digital sums.

    mapped: the layer's tiles.
    hardware: everything around the cells.
    input_range: range of the DACs.
    responses: by tile, if `crossbar_sim.on_die.readout.respond_all` has computed them already;
        hardware with devices needs them, since a layer does not know its die.
    dtype: of all tensors.

    Inputs and outputs are those of the torch layer it replaces. `n_saturated` counts, since the
    layer was made, inputs beyond the DAC's range, amplifiers at their swing, and outputs beyond
    the ADC's range.

    An output is `units_per_volt` [1/V] times `gain` times the volts, plus `bias`, each (n_out,).
    The digital gain, initially 1, and the digital bias are parameters; the circuits are fixed.
    Gradients pass through rounding unchanged (straight-through, Bengio et al., arXiv 1308.3432)
    and vanish at saturation.

    `to` moves all of it to another device, where torch computes what compiled code does on the CPU.
    """

    units_per_volt: torch.Tensor

    def __init__(
        self,
        mapped: MappedLayer,
        hardware: Hardware,
        input_range: InputRange,
        *,
        responses: Mapping[str, Response] | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        layer, converters = mapped.source, hardware.converters
        self.name, self.conv = mapped.name, layer.conv
        self.hardware, self.input_range = hardware, input_range
        self.restart()
        self._shared: Shared | None = None
        self.dac_errors = dac_errors(converters, layer.n_in, mapped.name)
        self.readouts = nn.ModuleList(
            (Readout if stack[0].devices is None else DeviceReadout)(
                stack, self.conv, self.dac_errors, hardware, dtype
            )
            for stack in stacked(_together(mapped, hardware, responses))
        )
        self._sums = [_sums(part.columns.numpy()) for part in self.parts]
        self.adc = Adc(converters, [part.tiles for part in self.parts])
        r_feedback = hardware.periphery.r_feedback
        scale = 1.0 / (r_feedback * mapped.g_per_weight * self.volts_per_unit)
        bias = np.zeros(layer.n_out) if layer.bias is None else layer.bias.copy()
        # The parameter is near 1, since an optimiser's usual steps would hardly change some 100/V.
        self.gain = nn.Parameter(torch.ones(layer.n_out, dtype=dtype))
        self.register_buffer("units_per_volt", torch.from_numpy(scale).to(dtype))
        self.bias = nn.Parameter(torch.from_numpy(bias).to(dtype))

        self.register_load_state_dict_post_hook(lambda layer, _keys: layer.rezero())

    def _apply(self, fn: Any, recurse: bool = True) -> "CircuitLayer":
        """Move what the layer holds besides its parameters too; torch asks for it in `to`."""
        super()._apply(fn, recurse)
        self.dac_errors = self.dac_errors.to(self.bias.device)
        self.adc.move(self.bias.device)
        where = self.bias.device
        self._sums = [[(x.to(where), y.to(where)) for x, y in sums] for sums in self._sums]
        return self

    def get_extra_state(self) -> torch.Tensor:
        """Return the ranges of the DACs and ADCs, without which the circuits mean other numbers."""
        limit, signed = self.input_range.limit, float(self.input_range.signed)
        v_limit = math.nan if self.adc.v_limit is None else self.adc.v_limit
        return torch.tensor([limit, signed, v_limit], dtype=torch.float64)

    def set_extra_state(self, state: torch.Tensor) -> None:
        """Take over the ranges of the network that a state_dict came from."""
        limit, signed, v_limit = state.tolist()
        self.input_range = InputRange(limit, bool(signed))
        self.adc.set_range(None if math.isnan(v_limit) else v_limit)

    def rezero(self) -> None:
        """Measure the zeros of ADCs that are zeroed; restart the count of saturation."""
        if self.hardware.converters.auto_zero:
            self.trim()
        self.n_saturated = 0

    def restart(self) -> None:
        """Restart the noise stream and the count of saturation."""
        self.n_saturated = 0
        noise = self.hardware.noise
        self.stream = None if noise is None else NoiseStream(noise.seed, self.name)

    def passes(self, x: torch.Tensor) -> list[tuple[float, torch.Tensor]]:
        """Return digital weight and drive (as a fraction of v_read) of every pass over inputs x."""
        limit, signed = self.input_range.limit, self.input_range.signed
        self._count_beyond(x)
        return passes(x, self.hardware.converters, limit, signed=signed)

    def _count_beyond(self, x: torch.Tensor) -> bool:
        """Count the inputs beyond the DACs' range, and return whether any is clipped."""
        limit, signed = self.input_range.limit, self.input_range.signed
        most = limit * (1 + SLACK)
        least = -most if signed else 0.0
        low, high = (float(end) for end in torch.aminmax(x.detach()))
        if high > most:
            self.n_saturated += int(torch.count_nonzero(x > most))
        if low < least:
            self.n_saturated += int(torch.count_nonzero(x < least))
        return not (low >= (-limit if signed else 0.0) and high <= limit)

    @property
    def volts_per_unit(self) -> float:
        """Word-line voltage of an input of 1 [V]."""
        return self.hardware.converters.v_read / self.input_range.limit

    def voltages(self, x: torch.Tensor) -> torch.Tensor:
        """Return the word-line voltages (n_pass * n_vector, n_in) [V], one pass after another.

        The vectors of a convolution are its im2col rows.
        """
        rows = (x if self.conv is None else patches(x, self.conv)).flatten(0, -2)
        drives = [self.dac_errors.apply(drive) for _, drive in self.passes(rows)]
        return self.hardware.converters.v_read * torch.cat(drives)

    @property
    def parts(self) -> list[Readout]:
        """The readouts, each of groups of tiles of one shape; a group shares its word lines."""
        return cast(list[Readout], list(self.readouts))

    def trim(self) -> None:
        """Measure the ADCs' report for inputs of zero, which is subtracted from then on."""
        self.adc.zeros, zeros = [], []
        zero = self.bias.new_zeros((1, len(self.dac_errors.gain)))
        for k, part in enumerate(self.parts):
            drive = zero if self.dac_errors.is_straight else self.dac_errors.apply(zero)
            zeros.append(self.adc.report(part.read_lines(drive)[0], k)[0].detach()[0])
        self.adc.zeros = zeros

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the digital outputs for inputs, both in the torch layer's shapes."""
        x, shape = input, input.shape
        if self.conv is None:
            x = x.reshape(-1, shape[-1])
        elif x.ndim == 3:
            x = x.unsqueeze(2)
        reading = None if self.stream is None else self.stream.read(len(x))
        if self._is_product():
            y = self._product(x)
        elif self._is_fused(x):
            y = self._read_fused(x, reading)
        else:
            y = self._digital(self._read(x, reading))
        if self.conv is None:
            return y.reshape(*shape[:-1], -1).contiguous()
        return y.squeeze(2) if len(shape) == 3 else y

    def _read(self, x: torch.Tensor, reading: Reading | None) -> torch.Tensor:
        """Return the sums of what the ADCs report for inputs [V], by torch."""
        total: Any = 0.0
        for k_pass, (weight, drive) in enumerate(self.passes(x)):
            n_before = 0
            for k, part in enumerate(self.parts):
                draw = None if reading is None else reading.of(n_before, k_pass)
                volts, n_clipped = self._adc_inputs(part, drive, draw)
                read, n_beyond = self.adc.read(volts, k)
                self.n_saturated += n_clipped + n_beyond
                total = total + self._spread(weight * read if weight != 1 else read, k)
                n_before += part.n_bit
        return total

    def _digital(self, total: torch.Tensor) -> torch.Tensor:
        """Return the layer's outputs for the sums of its ADCs [V]."""
        scale, bias = (broadcast(x, total) for x in (self.units_per_volt * self.gain, self.bias))
        if torch.is_grad_enabled():
            return total * scale + bias
        return total.mul_(scale).add_(bias)

    def _is_product(self) -> bool:
        """Return whether nothing but the range of the DACs keeps outputs from a single product."""
        converters = self.hardware.converters
        plain = not self.adc.converters.measures and math.isinf(self.hardware.periphery.v_swing)
        plain = plain and self.stream is None and self.hardware.devices is None
        plain = plain and converters.inputs == "analog" and converters.dac_bits is None
        return plain and self.dac_errors.is_straight and len(self.readouts) == 1

    def _product(self, x: torch.Tensor) -> torch.Tensor:
        """Return the outputs where everything between inputs and them is linear."""
        (part,), (limit, signed) = self.parts, (self.input_range.limit, self.input_range.signed)
        if self._count_beyond(x):
            x = x.clamp(-limit if signed else 0.0, limit)
        scale, rest = self.units_per_volt * self.gain, part.rest
        if self.adc.zeros:
            rest = rest - self.adc.zeros[0].to(rest)
        shift, scale = self.bias + scale * rest, scale / limit
        n_position = len(x) * (1 if self.conv is None else math.prod(output_size(x, self.conv)))
        if n_position > part.pairs.shape[1]:  # fewer numbers to scale in the circuits
            return part.product(x, part.pairs * scale[:, None], shift)
        total = part.product(x, part.pairs)
        return total * broadcast(scale, total) + broadcast(shift, total)

    def _is_fused(self, x: torch.Tensor) -> bool:
        """Return whether one pass over memory will do: CPU, straight converters, no gradients."""
        plain = x.device.type == "cpu" and not (torch.is_grad_enabled() and x.requires_grad)
        plain = plain and x.dtype in (torch.float32, torch.float64) and x.dtype == self.bias.dtype
        plain = plain and (self.stream is None or x.dtype == torch.float32)
        straight = self.dac_errors.is_straight and self.adc.is_straight
        return plain and self.hardware.devices is None and straight

    def _read_fused(self, x: torch.Tensor, reading: Reading | None) -> torch.Tensor:
        """Return the layer's outputs by the kernels of `fused_drives` and `fused_reads`."""
        if torch.is_grad_enabled():
            scale, bias = np.ones(len(self.bias)), np.zeros(len(self.bias))
        else:
            scale, bias = (self.units_per_volt * self.gain).double().numpy(), self.bias.numpy()
        groups, kind = self._groups, x.detach().numpy().dtype.type
        zeros = self.adc.zeros_by(groups.columns, len(self.bias))
        *voltages, step = self.adc.levels()
        levels = Levels(*map(kind, (self.hardware.periphery.v_swing, *voltages, step)))
        window, n_thread = self._window(x), torch.get_num_threads()
        n_image = 1 if self.conv is None else len(x)
        total = x.new_empty((n_image, len(scale), window.height * window.width))
        for k, (weight, images) in enumerate(self._drives(x)):
            by = weight * scale
            ends = (step or 1.0) * by, (bias if k == 0 else 0.0) - by * zeros
            digital = Digital(ends[0].astype(kind), ends[1].astype(kind), is_first=k == 0)
            each, errors, seen = self.adc.each(x), self.adc.has_errors, self.adc.ends(kind)
            noise = self._noise(reading, k, 1 if self.conv is None else total.shape[2])
            reader = Reader(window, groups, each, levels, errors, noise, digital)
            with one_blas_thread():
                self.n_saturated += read_layer(images, reader, total.numpy(), seen, n_thread)
            self.adc.observe(seen)
        y = total[0].T if self.conv is None else total.unflatten(2, (window.height, window.width))
        return self._digital(y) if torch.is_grad_enabled() else y

    def _noise(self, reading: Reading | None, k_pass: int, n_position: int) -> ReadNoise:
        """Return the noise of a pass over inputs."""
        assert self._shared is not None
        if reading is None or not self._shared.sigma.any():
            return ReadNoise.none(self._shared.sigma)
        key = np.array(reading.stream.key, np.uint64)
        counts = map(np.uint64, (reading.place(k_pass), reading.first, n_position))
        return ReadNoise(self._shared.sigma, key, *counts)

    def _window(self, x: torch.Tensor) -> Window:
        """Return how the layer moves over its padded drives."""
        conv = self.conv
        if conv is None:
            return Window((1, 1), (1, 1), (1, 1), 1, len(x))
        return Window(conv.kernel, conv.stride, conv.dilation, *output_size(x, conv))

    def _drives(self, x: torch.Tensor) -> Iterator[tuple[float, np.ndarray]]:
        """Yield the digital weight of each pass over inputs x, and its padded drives."""
        conv, converters, n_thread = self.conv, self.hardware.converters, torch.get_num_threads()
        limit, signed = self.input_range.limit, self.input_range.signed
        ranges = phases(converters, limit, signed=signed)
        planes: Any = [(levels.sign, x, levels) for levels in ranges]
        if converters.inputs != "analog" or converters.dac_bits == 1:
            planes = [(weight, drive, AS_THEY_ARE) for weight, drive in self.passes(x)]
        for weight, drive, levels in planes:
            inputs = drive.detach().contiguous().numpy()
            if conv is None:
                images, n_beyond = drive_vectors(inputs, levels, n_thread)
            else:
                images, n_beyond = drive_images(inputs, levels, conv.padding, n_thread)
            self.n_saturated += n_beyond
            yield weight, images

    @property
    def _groups(self) -> Groups:
        """The tiles as the kernel takes them, joined again when their tensors change."""
        signed = self.input_range.signed and self.hardware.converters.drive != "two-phase"
        if self._shared is None or not self._shared.holds(signed):
            self._shared = Shared(self.parts, signed=signed)
        return self._shared.groups

    def _adc_inputs(
        self, part: Readout, drive: torch.Tensor, draw: Draw | None
    ) -> tuple[torch.Tensor, int]:
        """Return the ADC inputs of some tiles [V], and how many amplifiers saturated."""
        if self.dac_errors.is_straight:
            return part(drive, draw)
        if self.conv is None:
            return part(self.dac_errors.apply(drive), draw)
        # Each word line has its own nonlinearity, so every patch must be laid out.
        rows = self.dac_errors.apply(patches(drive, self.conv).flatten(0, -2))
        volts, n_saturated = part.read_lines(rows)
        volts = volts.unflatten(0, (len(drive), *output_size(drive, self.conv)))
        return part.noisy(volts.permute(0, 3, 1, 2), draw), n_saturated

    def _spread(self, read: torch.Tensor, k: int) -> torch.Tensor:
        """Add up the outputs of a readout that belong to one output of the layer."""
        sums, n_out = self._sums[k], len(self.bias)
        if len(sums) == 1 and len(sums[0][0]) == n_out:
            _, order = sums[0]
            return read[:, order.flatten()].unflatten(1, order.shape).sum(dim=2)
        full = read.new_zeros((read.shape[0], n_out, *read.shape[2:]))
        for columns, order in sums:
            each = read[:, order.flatten()].unflatten(1, order.shape)
            full = full.index_add(1, columns, each.sum(dim=2))
        return full


def _sums(columns: np.ndarray) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return which pairs are added up, (n, m) for as many outputs (n,) of m pairs each.

    columns: the output of each pair. So each output is one sum, the same on every device.
    """
    outputs, counts = np.unique(columns, return_counts=True)
    order, ends = np.argsort(columns, kind="stable"), np.cumsum(counts)
    found = []
    for m in np.unique(counts):
        own = counts == m
        places = (ends[own] - m)[:, None] + np.arange(m)
        found.append((torch.from_numpy(outputs[own]), torch.from_numpy(order[places])))
    return found


def _together(
    mapped: MappedLayer, hardware: Hardware, responses: Mapping[str, Response] | None
) -> list[Response]:
    """Return the responses of a layer's tiles, in as few matrices as the hardware allows."""
    found = responses or respond_all(mapped.tiles, hardware)
    each = [found[tile.name] for tile in mapped.tiles]
    if hardware.devices is not None:
        return each
    of_tiles = hardware.noise is not None or np.isfinite(hardware.periphery.v_swing)
    if hardware.converters.measures or of_tiles:
        return grouped(each)
    return merged(each, mapped.source)


def circuit_layers(network: nn.Module) -> dict[str, CircuitLayer]:
    """Return the circuit layers by module path, in the order of the modules."""
    return {path: m for path, m in network.named_modules() if isinstance(m, CircuitLayer)}


def begin_pass(network: nn.Module, _inputs: Any) -> None:
    """Tell a network's layers that a pass through it begins, so that they count their uses."""
    for layer in circuit_layers(network).values():
        if layer.stream is not None:
            layer.stream.begin()


def counting_uses(network: nn.Module) -> nn.Module:
    """Let a network call `begin_pass` before each pass, and return it."""
    if begin_pass not in network._forward_pre_hooks.values():
        network.register_forward_pre_hook(begin_pass)
    return network
