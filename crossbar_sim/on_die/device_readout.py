"""From the DACs of a tile to its ADCs where the cells are a foundry's curved devices."""

import numpy as np
import torch

from crossbar_sim.on_die.hardware import Hardware
from crossbar_sim.on_die.layer_inputs import output_size, patches
from crossbar_sim.on_die.readout import Readout, Response
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
        response: Response,
        conv: ConvGeometry | None,
        dac: Errors,
        hardware: Hardware,
        dtype: torch.dtype,
    ) -> None:
        super().__init__(response, conv, dac, hardware, dtype)
        assert response.devices is not None
        self.devices, self.v_read = response.devices, hardware.converters.v_read
        n, rows = len(response.rows), response.rows
        self.gain, self.offset = np.ones(n), np.zeros(n)
        if dac.is_straight:
            self.gain += dac.gain.double().numpy()[rows]
            self.offset += dac.offset.double().numpy()[rows]

    def lines(self, drive: torch.Tensor) -> torch.Tensor:
        """Return what `Readout.lines` does; every patch of an image is a vector of its own."""
        if self.conv is None:
            return self._lines_of(drive)
        size = output_size(drive, self.conv)
        lines = self._lines_of(patches(drive, self.conv).flatten(0, -2))
        return lines.unflatten(0, (len(drive), *size)).permute(0, 3, 1, 2)

    def _lines_of(self, drive: torch.Tensor) -> torch.Tensor:
        lines = self._solved(drive.detach())
        if not (torch.is_grad_enabled() and drive.requires_grad):
            return lines
        straight = super()._lines_of(drive)
        return straight + (lines - straight).detach()

    def _solved(self, drive: torch.Tensor) -> torch.Tensor:
        """Return all lines (n_vector, 2 n_bit), or differences of pairs without a swing."""
        own = drive.double().cpu().numpy()[:, self.get_buffer("rows").cpu().numpy()]
        v_in = self.v_read * (own * self.gain + self.offset)
        parts = [v_in[k : k + _BATCH] for k in range(0, len(v_in), _BATCH)] or [v_in]
        try:
            out = np.concatenate([self.devices.solve(part).v_out for part in parts])
        except SolverError as error:
            # A RuntimeError would pass for one of torch, about the shape of inputs.
            raise ValueError(f"tile {self.tiles[0][0]}: {error}") from error
        lines = torch.from_numpy(out).to(drive.device, drive.dtype)
        return self._pairs(lines, 1) if np.isinf(self.v_swing) else lines
