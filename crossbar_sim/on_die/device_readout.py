"""From the DACs of a tile to its ADCs where the cells are a foundry's curved devices."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from crossbar_sim.on_die.hardware import Hardware
from crossbar_sim.on_die.layer_inputs import output_size, patches
from crossbar_sim.on_die.readout import Lines, Readout, Response
from crossbar_sim.periphery.conversion import Errors
from crossbar_sim.solvers.solution import SolverError
from tinynets.networks.layers import ConvGeometry

#: Number of vectors that are solved at once; each takes some 24 bytes a cell.
_BATCH = 512


class DeviceReadout(Readout):
    """One tile, whose circuit is solved by Newton's method for every vector of its word lines.

    Outputs are those of the circuit, to the tolerance of `solve_nonlinear`. Gradients are those of
    the straight lines, as with rounding: what is learnt is corrected, not the curve itself.
    """

    def __init__(
        self,
        responses: Sequence[Response],
        conv: ConvGeometry | None,
        dac: Errors,
        hardware: Hardware,
        dtype: torch.dtype,
    ) -> None:
        super().__init__(responses, conv, dac, hardware, dtype)
        (response,) = responses
        assert response.devices is not None
        self.devices, self.v_read = response.devices, hardware.converters.v_read
        n, rows = len(response.rows), response.rows
        self.gain, self.offset = np.ones(n), np.zeros(n)
        if dac.is_straight:
            self.gain += dac.gain.double().numpy()[rows]
            self.offset += dac.offset.double().numpy()[rows]

    def _lines_at_once(self, drive: torch.Tensor) -> Lines:
        """Return the outputs for images; every patch of one is a vector of its own."""
        assert self.conv is not None
        size = output_size(drive, self.conv)
        found = self._lines_of(patches(drive, self.conv).flatten(0, -2))
        return _each(lambda x, _: x.unflatten(0, (len(drive), *size)).permute(0, 3, 1, 2), found)

    def _lines_of(self, drive: torch.Tensor) -> Lines:
        solved = self._solved(drive.detach())
        if not (torch.is_grad_enabled() and drive.requires_grad):
            return solved
        straight = super()._lines_of(drive)
        return _each(lambda x, y: y + (x - y).detach(), solved, straight)

    def _solved(self, drive: torch.Tensor) -> Lines:
        own = self._own(drive.double()).cpu().numpy()
        v_in = self.v_read * (own * self.gain + self.offset)
        parts = [v_in[k : k + _BATCH] for k in range(0, len(v_in), _BATCH)] or [v_in]
        try:
            out = np.concatenate([self.devices.solve(part).v_out for part in parts])
        except SolverError as error:
            # A RuntimeError would pass for one of torch, about the shape of inputs.
            raise ValueError(f"tile {self.tiles[0][0]}: {error}") from error
        positive, negative = np.split(out, 2, axis=1)
        held = None if np.isinf(self.v_swing) else torch.from_numpy(positive).to(drive)
        return Lines(torch.from_numpy(negative - positive).to(drive), held)


def _each(change: Callable[..., torch.Tensor], lines: Lines, others: Lines | None = None) -> Lines:
    """Return what becomes of the pairs and of the positive lines, beside those of others."""
    others = others or lines
    pairs = change(lines.pairs, others.pairs)
    if lines.positive is None:
        return Lines(pairs, None)
    return Lines(pairs, change(lines.positive, others.positive))
