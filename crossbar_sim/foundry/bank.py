"""The bank of a foundry's branch, and what each device of a tile is on a die."""

from dataclasses import dataclass

import numpy as np

from crossbar_sim.foundry.measured import Measured
from mapping.bank import Die, ResistorBank
from mapping.tiling.tiles import Tile
from netlists.foundry.tile_deck import CellDevices


def foundry_bank(measured: Measured, **options) -> ResistorBank:
    """Return the bank whose values, scatter and switch are the foundry's.

    measured: a branch by its foundry's models.
    options: other fields of `ResistorBank`, such as `meter_error` or `sigma_lot`.

    Its resistors are stated at the branch's own temperature and corner; the same seed is the same
    chip at another temperature, since what is drawn does not depend on the values.
    """
    own = {
        "n": len(measured.branch.lengths),
        "ladder": tuple(measured.r.tolist()),
        "sigma_local": tuple(measured.sigma.tolist()),
        "r_on": measured.r_on,
        "sigma_on": measured.sigma_switch,
        "r_off": measured.r_off,
    }
    given = sorted(own.keys() & options.keys())
    if given:
        raise ValueError(
            f"{', '.join(given)} of the bank come from the foundry's models; leave out"
        )
    return ResistorBank(**own, **options)


@dataclass(frozen=True)
class TileDevices:
    """What each branch of a tile is on its die: (2, n_cell, n) each, positive banks first.

    closed: whether its switch is closed, stuck switches included.
    resistor: what its resistor conducts over the nominal one of its length.
    switch: the same of its switch.
    """

    closed: np.ndarray
    resistor: np.ndarray
    switch: np.ndarray

    def multiplied(self, measured: Measured) -> CellDevices:
        """Return the same as multiplicities that a netlist states."""
        resistor = np.empty_like(self.resistor)
        for k in range(resistor.shape[-1]):
            resistor[..., k] = measured.multiplicity(k, self.resistor[..., k])
        return CellDevices(self.closed, resistor, self.switch)


def tile_devices(tile: Tile, die: Die, measured: Measured) -> TileDevices:
    """Return what each branch of a tile is on a die.

    Raises ValueError for a die whose bank is not of the measured branch.
    """
    bank = die.bank
    if bank.n != len(measured.branch.lengths) or not np.allclose(
        bank.r_nominal, measured.r, rtol=1e-9, atol=0
    ):
        raise ValueError(
            f"the die's bank has resistors of {bank.r_nominal.tolist()} ohm; the foundry's branch "
            f"has {measured.r.tolist()}; make the bank with foundry_bank"
        )
    rows, columns = tile.cells
    ohms = die.switches(tile.layer, rows, columns, tile.closed(bank.n))
    closed = ohms < bank.r_off
    resistor = bank.r_nominal / die.resistances(tile.layer, rows, columns)
    switch = np.where(closed, bank.r_on / ohms, 1.0)
    arrays = (np.moveaxis(array, 1, 0) for array in (closed, resistor, switch))
    return TileDevices(*arrays)
