"""From the DACs of a layer's tiles to its ADCs: the circuits of the tiles as torch matrices."""

import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any, NamedTuple

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
    """Add up the tiles of each group of a layer; the same if no tile is rounded by itself.

    No device connects one group with another. Responses that reach from one to another stay apart.
    """
    groups = layer.groups
    n_row, share = layer.n_in // groups, layer.n_out // groups
    volts, rest = np.zeros((2, n_row, layer.n_out)), np.zeros((2, layer.n_out))
    names: list[list[tuple[str, int]]] = [[] for _ in range(groups)]
    for response in responses:
        lines = np.split(response.volts, 2, axis=1), np.split(response.rest, 2)
        group, i = np.divmod(response.rows, n_row)
        j, own = response.columns, group[:, None] == response.columns // share
        if any(side[~own].any() for side in lines[0]):
            return grouped(responses)
        at = np.broadcast_arrays(i[:, None], j)
        for side in (0, 1):
            np.add.at(volts[side], tuple(x[own] for x in at), lines[0][side][own])
            rest[side][j] += lines[1][side]
        names[group[0]] += response.tiles
    rows, columns = np.arange(layer.n_in), np.arange(layer.n_out)
    parts = []
    for k, own in enumerate(names):
        i, j = slice(k * n_row, (k + 1) * n_row), slice(k * share, (k + 1) * share)
        of_lines = np.hstack(list(volts[:, :, j])), rest[:, j].ravel(), np.zeros(share)
        parts.append(Response(tuple(own), rows[i], columns[j], *of_lines))
    return parts


def stacked(responses: Sequence[Response]) -> list[list[Response]]:
    """Put those of one shape together, so that torch computes them at once.

    The stacks are in the order of their first responses; one with devices is alone.
    """
    stacks: dict[Any, list[Response]] = {}
    for k, response in enumerate(responses):
        shape = response.volts.shape if response.devices is None else k
        stacks.setdefault(shape, []).append(response)
    return list(stacks.values())


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


class Lines(NamedTuple):
    """Outputs of the amplifiers [V], bit lines in dimension 1: (n_vector, n_bit, ...).

    pairs: of the negative lines, less those of the positive ones; r (i_p - i_n), since a TIA
        inverts.
    positive: of the positive lines; None if the amplifiers have no swing, so that only differences
        count.
    """

    pairs: torch.Tensor
    positive: torch.Tensor | None


class Readout(nn.Module):
    """Groups of tiles, from the drives of their DACs to the inputs of their ADCs.

    responses: of each group, which shares its word lines; all of one shape.

    Drives and outputs have their lines in dimension 1: (n_vector, n_line), or images
    (n_image, n_line, height, width). Images pass through the tiles, at all positions at once, as a
    convolution whose kernel is the circuits' matrix. Outputs are those of one group after another,
    n_bit in all.
    """

    #: Outputs per unit of drive (n_bit, n_row) and at zero drive (n_bit,), as in `Lines`; those of
    #: positive lines have no rows of their own (0, n_row) where they do not count.
    pairs: torch.Tensor
    rest: torch.Tensor
    positive: torch.Tensor
    rest_positive: torch.Tensor
    rows: torch.Tensor  # of all groups (groups * n_row,)
    columns: torch.Tensor
    sigma: torch.Tensor
    #: Of a convolution, the channels of all groups' kernels, and where in these the rows of each
    #: group are (groups, n_row); None for all in order.
    channels: torch.Tensor | None
    places: torch.Tensor | None

    def __init__(
        self,
        responses: Sequence[Response],
        conv: ConvGeometry | None,
        dac: Errors,
        hardware: Hardware,
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        self.tiles = tuple(tile for response in responses for tile in response.tiles)
        self.groups, self.conv = len(responses), conv
        self.n_bit = sum(response.n_bit for response in responses)
        self.v_swing = hardware.periphery.v_swing
        lines = [_driven(response, dac, hardware.converters.v_read) for response in responses]
        volts, rest = (np.stack(each) for each in zip(*lines))
        held = slice(None if np.isfinite(self.v_swing) else 0)
        for names, of in ((("pairs", "positive"), volts), (("rest", "rest_positive"), rest)):
            positive, negative = (x.reshape(-1, *x.shape[2:]) for x in np.split(of, 2, axis=1))
            self._keep(names[0], negative - positive, dtype)
            self._keep(names[1], positive[held], dtype)
        for name, kind in (("rows", None), ("columns", None), ("sigma", dtype)):
            self._keep(name, np.concatenate([getattr(x, name) for x in responses]), kind)
        if conv is not None:
            self._place(conv, np.stack([response.rows for response in responses]))

    def forward(self, drive: torch.Tensor, draw: Draw | None = None) -> tuple[torch.Tensor, int]:
        """Return the differences (n_vector, n_bit, ...) [V], and how many amplifiers saturated.

        drive: of the layer's word lines, as a fraction of v_read: (n_vector, n_in), or images
            (n_image, n_channel, height, width).
        draw: gives the numbers of the noise; None for none.
        """
        out, n_saturated = self._amplified(self.lines(drive))
        return self.noisy(out, draw), n_saturated

    def noisy(self, out: torch.Tensor, draw: Draw | None) -> torch.Tensor:
        """Return differences (n_vector, n_bit, ...) [V] with noise."""
        if draw is None or not self.is_noisy:
            return out
        return out + broadcast(self.sigma, out) * draw(out.detach())

    def lines(self, drive: torch.Tensor) -> Lines:
        """Return the amplifiers' outputs without swing and noise, for drives as in `forward`."""
        return self._lines_of(drive) if self.conv is None else self._lines_at_once(drive)

    def read_lines(self, drive: torch.Tensor) -> tuple[torch.Tensor, int]:
        """Return what `forward` does for drives (n_vector, n_in) of any layer, without noise."""
        return self._amplified(self._lines_of(drive))

    def product(
        self, drive: torch.Tensor, lines: torch.Tensor, rest: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the outputs of lines (n_bit, n_row) with their rest (n_bit,) or without."""
        if self.conv is not None:
            return self._convolved(drive, lines, rest)
        return nn.functional.linear(self._own(drive), lines, rest)

    def _lines_of(self, drive: torch.Tensor) -> Lines:
        drive = self._own(drive)
        if self.groups == 1:
            return self._by_product(lambda of, rest: torch.addmm(rest, drive, of.T))
        each = drive.unflatten(1, (self.groups, -1))
        return self._by_product(
            lambda of, rest: (
                torch.einsum("ngr,gkr->ngk", each, of.unflatten(0, (self.groups, -1))).flatten(1)
                + rest
            )
        )

    def _own(self, drive: torch.Tensor) -> torch.Tensor:
        return drive if len(self.rows) == drive.shape[1] else drive[:, self.rows]

    def _lines_at_once(self, drive: torch.Tensor) -> Lines:
        """Return the outputs for images."""
        return self._by_product(lambda of, rest: self._convolved(drive, of, rest))

    def _convolved(
        self, drive: torch.Tensor, lines: torch.Tensor, rest: torch.Tensor | None
    ) -> torch.Tensor:
        assert self.conv is not None
        if self.channels is not None:
            drive = drive[:, self.channels]
        shape = self.conv.stride, self.conv.padding, self.conv.dilation, self.groups
        with exact_convolutions():  # like a matrix's product, which is exact by default
            return nn.functional.conv2d(drive, self._kernel(lines), rest, *shape)

    def _by_product(self, product: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Lines:
        pairs = product(self.pairs, self.rest)
        if np.isinf(self.v_swing):
            return Lines(pairs, None)
        return Lines(pairs, product(self.positive, self.rest_positive))

    @property
    def is_noisy(self) -> bool:
        """Whether any output has noise."""
        return bool(self.sigma.any())

    def _amplified(self, lines: Lines) -> tuple[torch.Tensor, int]:
        """Clip lines at the amplifiers' swing, take pairs."""
        n_saturated, (out, positive), swing = 0, lines, self.v_swing
        if positive is not None:
            negative = positive + out
            n_saturated = sum(int((x.abs() >= swing).sum()) for x in (positive, negative))
            if n_saturated:
                out = negative.clamp(-swing, swing) - positive.clamp(-swing, swing)
        return out, n_saturated

    def _place(self, conv: ConvGeometry, rows: np.ndarray) -> None:
        """Find where the rows (groups, n_row) are in a convolution's kernel over their channels.

        Groups have as many channels as the one with most; more of them meet zeros.
        """
        size = int(np.prod(conv.kernel))
        found = [np.unique(own // size, return_inverse=True) for own in rows]
        self._n_channel = max(len(own) for own, _ in found)
        channels = np.stack([np.resize(own, self._n_channel) for own, _ in found])
        places = np.stack([place for _, place in found]) * size + rows % size
        every = np.arange(size * self._n_channel)
        own = _same(channels.ravel(), np.arange(conv.in_channels))
        kept = {
            "places": None if _same(places, every) else torch.from_numpy(places),
            "channels": None if own else torch.from_numpy(channels.ravel()),
        }
        for name, tensor in kept.items():  # the mapping determines them
            self.register_buffer(name, tensor, persistent=False)

    def _kernel(self, lines: torch.Tensor) -> torch.Tensor:
        """Return lines (n_bit, n_row) as a convolution's kernel (n_bit, n_channel, ...)."""
        assert self.conv is not None
        shape = (len(lines), self._n_channel, *self.conv.kernel)
        if self.places is None:
            return lines.reshape(shape)
        each = lines.unflatten(0, (self.groups, -1))
        full = each.new_zeros((*each.shape[:2], math.prod(shape[1:])))
        return full.scatter(2, self.places[:, None].expand_as(each), each).reshape(shape)

    def _keep(self, name: str, values: np.ndarray, dtype: torch.dtype | None = None) -> None:
        tensor = torch.from_numpy(np.array(values, order="C"))
        self.register_buffer(name, tensor if dtype is None else tensor.to(dtype))


def _driven(response: Response, dac: Errors, v_read: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the outputs of lines (2 n_bit, n_row) per unit of drive, and their rest (2 n_bit,)."""
    volts, rest = v_read * response.volts, response.rest
    if dac.is_straight:  # gains and offsets of word lines fold into the matrix
        gain, offset = dac.gain.double().numpy(), dac.offset.double().numpy()
        rest = rest + offset[response.rows] @ volts
        volts = (1.0 + gain[response.rows])[:, None] * volts
    return volts.T, rest


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    """Return whether the last dimension of an array is another one throughout."""
    return a.shape[-1] == len(b) and bool((a == b).all())
