"""From the DACs of a layer's tiles to its ADCs: the circuits of the tiles as torch matrices."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import repeat

import networkx as nx
import numba
import numpy as np
import torch
from torch import nn

from crossbar_sim.foundry.measured import measured
from crossbar_sim.foundry.tile import FoundryTile
from crossbar_sim.on_die.hardware import Hardware
from crossbar_sim.periphery.conversion import Errors, broadcast
from crossbar_sim.periphery.noise_stream import Draw
from crossbar_sim.solvers.batched import transfer_matrices
from crossbar_sim.solvers.nodal import solve, transfer_matrix
from crossbar_sim.transfer.elimination import one_blas_thread
from mapping.bank import Die
from mapping.tiling.tiles import Tile
from netlists.circuit import Periphery
from netlists.circuit.build import tile_circuit
from tinynets.networks.layers import ConvGeometry, PrunedLayer
from tinynets.networks.passes import exact_convolutions


@dataclass(frozen=True)
class Response:
    """The response of a tile's circuit, wires and amplifiers included, but not their swing.

    tiles: name and number of bit-line pairs of each tile in it.
    rows: inputs of the layer (n_word,).
    columns: outputs of the layer (n_bit,).
    volts: output of each bit line, positive ones first, per volt on each word line
        (n_word, 2 n_bit).
    rest: output of each bit line with all inputs at zero (2 n_bit,) [V].
    sigma: noise of each pair (n_bit,) [V rms].
    devices: the one tile by a foundry's curves, of which the rest is the straight lines; or None.
    """

    tiles: tuple[tuple[str, int], ...]
    rows: np.ndarray
    columns: np.ndarray
    volts: np.ndarray
    rest: np.ndarray
    sigma: np.ndarray
    devices: FoundryTile | None = None

    @property
    def n_bit(self) -> int:
        """Number of pairs of bit lines."""
        return len(self.columns)


def respond(
    tile: Tile, hardware: Hardware, die: Die | None = None, transfer: np.ndarray | None = None
) -> Response:
    """Return the response of a tile with its own amplifiers.

    die: that the tile is on, without which ValueError is raised for hardware with devices.
    transfer: matrix of the tile's circuit (n_word, 2 n_bit) [S], where it is known.
    """
    periphery, noise = hardware.periphery.for_tile(tile.name), hardware.noise
    circuit = tile_circuit(tile, hardware.wires, periphery)
    transfer = transfer_matrix(circuit) if transfer is None else transfer
    volts = -periphery.r_feedback * periphery.share * transfer
    rest = np.zeros(circuit.n_line)
    if periphery.offsets(circuit.n_line).any():
        unclipped = replace(circuit, periphery=replace(periphery, v_swing=np.inf))
        rest = solve(unclipped, np.zeros(tile.n_word)).v_out[0]
    sigma = np.zeros(tile.n_bit) if noise is None else noise.pair_volts(circuit)
    devices = tile_by_curves(tile, hardware, die)
    names = ((tile.name, tile.n_bit),)
    return Response(names, tile.rows, tile.columns, volts, rest, sigma, devices)


def tile_by_curves(tile: Tile, hardware: Hardware, die: Die | None) -> FoundryTile | None:
    """Return a tile whose branches are the hardware's devices; None for straight lines."""
    branch = hardware.devices
    if branch is None:
        return None
    if die is None:
        raise ValueError(
            "the curves of a foundry's devices take the die that the tiles are on; pass it, or "
            "hardware with devices = None"
        )
    return FoundryTile(tile, die, measured(branch), hardware.wires, hardware.periphery)


def respond_all(
    tiles: Iterable[Tile],
    hardware: Hardware,
    die: Die | None = None,
    *,
    device: torch.device | None = None,
    transfers: Sequence[np.ndarray] | None = None,
) -> dict[str, Response]:
    """Return the responses of tiles by name, by as many threads as numba may use.

    die: see `respond`.
    device: that finds the transfer matrices, many at once; None or the CPU for compiled code.
    transfers: these matrices (n_word, 2 n_bit) [S], where they are known.
    """
    tiles, known = list(tiles), transfers or repeat(None)
    if transfers is None and device is not None and device.type != "cpu":
        ends = hardware.periphery
        circuits = [tile_circuit(tile, hardware.wires, ends) for tile in tiles]
        known = transfer_matrices(circuits, device)
    each = repeat(hardware), repeat(die), known
    with one_blas_thread(), ThreadPoolExecutor(numba.get_num_threads()) as pool:
        return dict(zip((t.name for t in tiles), pool.map(respond, tiles, *each)))


def ideal_response(tile: Tile) -> Response:
    """Return the response of a tile with ideal wires and amplifiers: its conductances alone."""
    volts = -Periphery().r_feedback * np.hstack([tile.g_pos, tile.g_neg])
    rest, sigma = np.zeros(2 * tile.n_bit), np.zeros(tile.n_bit)
    return Response(((tile.name, tile.n_bit),), tile.rows, tile.columns, volts, rest, sigma)


def grouped(responses: Sequence[Response]) -> list[Response]:
    """Join the tiles that share all their word lines, so that torch runs them at once.

    The groups are in the order of their first tiles.
    """
    groups: dict[bytes, list[Response]] = {}
    for response in responses:
        groups.setdefault(response.rows.tobytes(), []).append(response)
    return [_beside(group) for group in groups.values()]


def merged(responses: Sequence[Response], layer: PrunedLayer) -> list[Response]:
    """Add up all tiles of a layer; the outputs are the same if no tile is rounded by itself.

    Only tiles that share a group of the layer are added, so that there are no zeros to hold.
    """
    if layer.groups == 1:
        return [_summed(responses, np.arange(layer.n_in), np.arange(layer.n_out))]
    share, graph = layer.n_out // layer.groups, nx.Graph()
    for k, response in enumerate(responses):
        graph.add_edges_from((("tile", k), group) for group in set(response.columns // share))
    parts = []
    for nodes in nx.connected_components(graph):
        some = [response for k, response in enumerate(responses) if ("tile", k) in nodes]
        rows, columns = (np.concatenate([getattr(x, k) for x in some]) for k in ("rows", "columns"))
        parts.append(_summed(some, np.unique(rows), np.unique(columns)))
    return parts


def _summed(responses: Sequence[Response], rows: np.ndarray, columns: np.ndarray) -> Response:
    """Add up tiles into one on all lines of a layer that any of them has."""
    volts, rest = np.zeros((2, len(rows), len(columns))), np.zeros((2, len(columns)))
    for response in responses:
        lines = np.split(response.volts, 2, axis=1), np.split(response.rest, 2)
        i, j = np.searchsorted(rows, response.rows), np.searchsorted(columns, response.columns)
        for side in (0, 1):
            volts[side][np.ix_(i, j)] += lines[0][side]
            rest[side][j] += lines[1][side]
    names = tuple(tile for response in responses for tile in response.tiles)
    return Response(names, rows, columns, np.hstack(list(volts)), rest.ravel(), 0 * rest[0])


def _beside(group: list[Response]) -> Response:
    """Join tiles on the same word lines; positive bit lines stay first."""

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
    """Tiles on the same word lines, from the drives of their DACs to the inputs of their ADCs.

    Drives and outputs have their lines in dimension 1: (n_vector, n_line), or images
    (n_image, n_line, height, width). Images pass through the tiles, at all positions at once, as a
    convolution whose kernel is the circuits' matrix.
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
        if dac.is_straight:  # gains and offsets of word lines fold into the matrix
            gain, offset = dac.gain.double().numpy(), dac.offset.double().numpy()
            rest = rest + offset[response.rows] @ volts
            volts = (1.0 + gain[response.rows])[:, None] * volts
        if np.isinf(v_swing):
            # Both bit lines of a pair lead to one ADC, so only their difference counts.
            volts, rest = self._pairs(volts, -1), self._pairs(rest, -1)
        self._keep("rows", response.rows)
        self._keep("columns", response.columns)
        self._keep("volts", volts, dtype)
        self._keep("rest", rest, dtype)
        self._keep("sigma", response.sigma, dtype)
        if conv is not None:
            self._keep_kernel(conv, response.rows, volts, dtype)

    def forward(self, drive: torch.Tensor, draw: Draw | None = None) -> tuple[torch.Tensor, int]:
        """Return the differences (n_vector, n_bit, ...) [V], and how many amplifiers saturated.

        drive: of the layer's word lines, as a fraction of v_read: (n_vector, n_in), or images
            (n_image, n_channel, height, width).
        draw: gives the numbers of the noise; None for none.
        """
        return self._amplified(self.lines(drive), draw)

    def lines(self, drive: torch.Tensor) -> torch.Tensor:
        """Return the amplifiers' outputs [V] without swing and noise, for drives as in `forward`.

        Those of all bit lines (n_vector, 2 n_bit, ...), or their differences (n_vector, n_bit, ...)
        if there is no swing.
        """
        if self.conv is None:
            return self._lines_of(drive)
        if self.get_buffer("channels").numel() < drive.shape[1]:
            drive = drive[:, self.get_buffer("channels")]
        shape = self.conv.stride, self.conv.padding, self.conv.dilation
        kernel, rest = self.get_buffer("kernel"), self.get_buffer("rest")
        with exact_convolutions():  # like a matrix's product, which is exact by default
            return nn.functional.conv2d(drive, kernel, rest, *shape)

    def read_lines(self, drive: torch.Tensor, draw: Draw | None = None) -> tuple[torch.Tensor, int]:
        """Return what `forward` does for drives (n_vector, n_in) of word lines, of any layer."""
        return self._amplified(self._lines_of(drive), draw)

    def _lines_of(self, drive: torch.Tensor) -> torch.Tensor:
        rows = self.get_buffer("rows")
        drive = drive if len(rows) == drive.shape[1] else drive[:, rows]
        return torch.addmm(self.get_buffer("rest"), drive, self.get_buffer("volts"))

    @property
    def is_noisy(self) -> bool:
        """Whether any output has noise."""
        return bool(self.get_buffer("sigma").any())

    def _amplified(self, out: torch.Tensor, draw: Draw | None) -> tuple[torch.Tensor, int]:
        """Clip lines at the amplifiers' swing, take pairs, add noise."""
        n_saturated = 0
        if np.isfinite(self.v_swing):
            n_saturated = int((out.abs() >= self.v_swing).sum())
            out = self._pairs(out.clamp(-self.v_swing, self.v_swing), 1)
        if draw is not None and self.is_noisy:
            out = out + broadcast(self.get_buffer("sigma"), out) * draw(out.detach())
        return out, n_saturated

    def _pairs(self, lines, axis: int):
        """Return negative minus positive lines, r (i_p - i_n), since a TIA inverts."""
        if axis == 1:
            return lines[:, self.n_bit :] - lines[:, : self.n_bit]
        return lines[..., self.n_bit :] - lines[..., : self.n_bit]

    def _keep_kernel(
        self, conv: ConvGeometry, rows: np.ndarray, volts: np.ndarray, dtype: torch.dtype
    ) -> None:
        """Keep the matrix as a convolution's kernel over the channels of the rows."""
        size = int(np.prod(conv.kernel))
        channels, place = np.unique(rows // size, return_inverse=True)
        kernel = np.zeros((volts.shape[1], len(channels), size))
        kernel[:, place, rows % size] = volts.T
        self._keep("channels", channels)
        self._keep("kernel", kernel.reshape(len(kernel), -1, *conv.kernel), dtype)

    def _keep(self, name: str, values: np.ndarray, dtype: torch.dtype | None = None) -> None:
        tensor = torch.from_numpy(np.array(values))
        self.register_buffer(name, tensor if dtype is None else tensor.to(dtype))
