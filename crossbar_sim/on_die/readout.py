"""What the ADCs of a layer's tiles see: the circuits of the tiles as matrices that torch runs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from crossbar_sim.on_die.hardware import Hardware
from crossbar_sim.periphery.converters import Errors, broadcast
from crossbar_sim.solvers.nodal import solve, transfer_matrix
from mapping.tiling.tiles import Tile
from netlists.circuit.build import tile_circuit
from tinynets.networks.layers import ConvGeometry


@dataclass(frozen=True)
class Response:
    """What a tile's circuit does, all its wires and amplifiers included, but for their swing.

    tiles: name and number of bit-line pairs of each tile in it. rows (n_word,), columns (n_bit,):
    inputs and outputs of the layer. volts (n_word, 2 n_bit): output of each bit line, the positive
    ones first, per volt on each word line. rest (2 n_bit,) [V]: the same with all inputs at zero.
    sigma (n_bit,) [V rms]: noise of each pair.
    """

    tiles: tuple[tuple[str, int], ...]
    rows: np.ndarray
    columns: np.ndarray
    volts: np.ndarray
    rest: np.ndarray
    sigma: np.ndarray

    @property
    def n_bit(self) -> int:
        """Number of pairs of bit lines."""
        return len(self.columns)


def respond(tile: Tile, hardware: Hardware) -> Response:
    """Return the response of a tile, whose amplifiers are its own."""
    periphery, noise = hardware.periphery.for_tile(tile.name), hardware.noise
    circuit = tile_circuit(tile, hardware.wires, periphery)
    volts = -periphery.r_feedback * periphery.share * transfer_matrix(circuit)
    rest = np.zeros(circuit.n_line)
    if periphery.offsets(circuit.n_line).any():
        unclipped = replace(circuit, periphery=replace(periphery, v_swing=np.inf))
        rest = solve(unclipped, np.zeros(tile.n_word)).v_out[0]
    sigma = np.zeros(tile.n_bit) if noise is None else noise.pair_volts(circuit)
    return Response(((tile.name, tile.n_bit),), tile.rows, tile.columns, volts, rest, sigma)


def grouped(responses: Sequence[Response]) -> list[Response]:
    """Put the tiles that share all their word lines side by side, so that torch runs them at once.

    The order of groups is that of their first tiles.
    """
    groups: dict[bytes, list[Response]] = {}
    for response in responses:
        groups.setdefault(response.rows.tobytes(), []).append(response)
    return [_beside(group) for group in groups.values()]


def merged(responses: Sequence[Response], n_in: int, n_out: int) -> Response:
    """Add all tiles of a layer up: the same outputs where nothing is rounded tile by tile."""
    volts, rest = np.zeros((2, n_in, n_out)), np.zeros((2, n_out))
    for response in responses:
        lines = np.split(response.volts, 2, axis=1), np.split(response.rest, 2)
        for side in (0, 1):
            volts[side][np.ix_(response.rows, response.columns)] += lines[0][side]
            rest[side][response.columns] += lines[1][side]
    names = tuple(tile for response in responses for tile in response.tiles)
    whole = np.arange(n_in), np.arange(n_out), np.hstack(list(volts)), rest.ravel()
    return Response(names, *whole, np.zeros(n_out))


def _beside(group: list[Response]) -> Response:
    """Join tiles on the same word lines; positive lines stay first."""

    def lines(arrays: list[np.ndarray]) -> np.ndarray:
        halves = [np.split(array, 2, axis=-1) for array in arrays]
        return np.concatenate([half[side] for side in (0, 1) for half in halves], axis=-1)

    return Response(
        tuple(tile for response in group for tile in response.tiles),
        group[0].rows,
        np.concatenate([response.columns for response in group]),
        lines([response.volts for response in group]),
        lines([response.rest for response in group]),
        np.concatenate([response.sigma for response in group]),
    )


class Readout(nn.Module):
    """Tiles on the same word lines, from what their DACs are told to what their ADCs see.

    Drives and outputs have their lines in dimension 1: (n_vector, n_line), or images
    (n_image, n_line, height, width), which a convolution with the circuits' matrix as its kernel
    takes through the tiles at once, position by position.
    """

    def __init__(
        self,
        response: Response,
        conv: ConvGeometry | None,
        dac: Errors,
        hardware: Hardware,
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        self.tiles, self.n_bit, self.conv = response.tiles, response.n_bit, conv
        self.v_swing = v_swing = hardware.periphery.v_swing
        volts, rest = hardware.converters.v_read * response.volts, response.rest
        if dac.is_straight:  # its gains and offsets belong to word lines, so to the matrix
            gain, offset = dac.gain.double().numpy(), dac.offset.double().numpy()
            rest = rest + offset[response.rows] @ volts
            volts = (1.0 + gain[response.rows])[:, None] * volts
        if np.isinf(v_swing):
            # Both bit lines of a pair meet in one ADC, so only their difference counts.
            volts, rest = self._pairs(volts, -1), self._pairs(rest, -1)
        self._keep("rows", response.rows)
        self._keep("columns", response.columns)
        self._keep("volts", volts, dtype)
        self._keep("rest", rest, dtype)
        self._keep("sigma", response.sigma, dtype)
        if conv is not None:
            self._keep_kernel(conv, response.rows, volts, dtype)

    def forward(
        self, drive: torch.Tensor, stream: torch.Generator | None = None
    ) -> tuple[torch.Tensor, int]:
        """Return the differences (n_vector, n_bit, ...) [V], and how many amplifiers saturated.

        drive: what enters the layer's word lines in parts of v_read: (n_vector, n_in), or images
        (n_image, n_channel, height, width). stream: of the noise.
        """
        if self.conv is None:
            return self.read_lines(drive, stream)
        if self.get_buffer("channels").numel() < drive.shape[1]:
            drive = drive[:, self.get_buffer("channels")]
        shape = self.conv.stride, self.conv.padding, self.conv.dilation
        kernel, rest = self.get_buffer("kernel"), self.get_buffer("rest")
        return self._amplified(nn.functional.conv2d(drive, kernel, rest, *shape), stream)

    def read_lines(
        self, drive: torch.Tensor, stream: torch.Generator | None = None
    ) -> tuple[torch.Tensor, int]:
        """Return the same for drives (n_vector, n_in) of word lines, of any layer."""
        rows = self.get_buffer("rows")
        drive = drive if len(rows) == drive.shape[1] else drive[:, rows]
        out = torch.addmm(self.get_buffer("rest"), drive, self.get_buffer("volts"))
        return self._amplified(out, stream)

    def _amplified(
        self, out: torch.Tensor, stream: torch.Generator | None
    ) -> tuple[torch.Tensor, int]:
        """Clip lines at the amplifiers' swing, take pairs, add noise."""
        n_saturated = 0
        if np.isfinite(self.v_swing):
            n_saturated = int((out.abs() >= self.v_swing).sum())
            out = self._pairs(out.clamp(-self.v_swing, self.v_swing), 1)
        sigma = self.get_buffer("sigma")
        if stream is not None and sigma.any():
            # Drawn where the stream is, so that the numbers do not depend on the device.
            draw = torch.randn(out.shape, generator=stream, dtype=out.dtype).to(out.device)
            out = out + broadcast(sigma, out) * draw
        return out, n_saturated

    def _pairs(self, lines, axis: int):
        """Return negative minus positive lines; a TIA inverts, so this is + r (i_p - i_n)."""
        if axis == 1:
            return lines[:, self.n_bit :] - lines[:, : self.n_bit]
        return lines[..., self.n_bit :] - lines[..., : self.n_bit]

    def _keep_kernel(
        self, conv: ConvGeometry, rows: np.ndarray, volts: np.ndarray, dtype: torch.dtype
    ) -> None:
        """Keep the matrix as a convolution's kernel over the channels that the rows belong to."""
        size = int(np.prod(conv.kernel))
        channels, place = np.unique(rows // size, return_inverse=True)
        kernel = np.zeros((volts.shape[1], len(channels), size))
        kernel[:, place, rows % size] = volts.T
        self._keep("channels", channels)
        self._keep("kernel", kernel.reshape(len(kernel), -1, *conv.kernel), dtype)

    def _keep(self, name: str, values: np.ndarray, dtype: torch.dtype | None = None) -> None:
        tensor = torch.from_numpy(np.array(values))
        self.register_buffer(name, tensor if dtype is None else tensor.to(dtype))
