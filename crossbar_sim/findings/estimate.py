"""What the slow steps of a run take, estimated before they begin."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from crossbar_sim.config import RunConfig
from mapping.tiling.compact import Block, split
from netlists.spice.amount import Amount, netlist_amount
from netlists.spice.inputs import Sweep
from tinynets.networks.layers import PrunedLayer, PrunedNetwork

#: Seconds per cell on one core of a machine of 2024, within a factor of 3, measured on dense and
#: convolutional networks of 750 … 26,600 cells, tiles of 16 … 128 lines and 1 … 2,048 vectors: to
#: solve its circuit, at all and for each input vector, also by ngspice.
PER_CELL, PER_VECTOR = 1.5e-3, 1.2e-5
#: To choose switches, by objective: at all, and times 2 to the power of the branches in a bank.
CHOICE = {"error": (5.5e-6, 2.5e-8), "power": (5e-6, 3.3e-7)}
#: Bytes beyond the netlists: of a report, for each cell, and for each branch in selection.csv.
PER_REPORT, PER_MAPPED, PER_SWITCH = 1.2e6, 40, 118


@dataclass(frozen=True)
class RunAmount:
    """What a run is going to do after training.

    n_tile: tiles of all layers.
    selection: time to choose the switches [s]; None where it depends on the samples.
    circuits: time to solve the tiles, also by ngspice [s].
    files: what is written, netlists above all.
    """

    n_tile: int
    selection: float | None
    circuits: float
    files: Amount

    @property
    def seconds(self) -> float:
        """Time of these steps [s], within a factor of 3."""
        return (self.selection or 0.0) + self.circuits + self.files.seconds

    def __str__(self) -> str:
        chosen = "" if self.selection is None else f"selection {self.selection:,.0f} s, "
        return (
            f"{self.n_tile:,} tiles: {chosen}circuits {self.circuits:,.0f} s, files "
            f"{self.files.seconds:,.0f} s, {self.files.n_byte / 1e6:,.0f} MB"
        )


@dataclass(frozen=True)
class _PlannedTile:
    """What `netlist_amount` asks of a tile that is not mapped yet."""

    rows: np.ndarray
    present: np.ndarray

    @property
    def n_word(self) -> int:
        """Number of word lines."""
        return len(self.rows)

    @property
    def n_bit(self) -> int:
        """Number of pairs of bit lines."""
        return self.present.shape[1]


@dataclass(frozen=True)
class _PlannedLayer:
    """The same of a layer."""

    source: PrunedLayer
    tiles: tuple[_PlannedTile, ...]

    @property
    def name(self) -> str:
        """Name of the layer."""
        return self.source.name


def run_amount(config: RunConfig, network: PrunedNetwork, n_vector: int) -> RunAmount:
    """Return what the run of a network takes.

    n_vector: largest number of vectors in a layer's own netlist.
    """
    n, circuits, cells = config.bank.n, 0.0, sum(x.n_remaining for x in network.layers)
    planned: list[Any] = [_planned(config, layer) for layer in network.layers]
    vectors = {}
    for layer in network.layers:
        n_read = config.simulation.n_image * layer.n_mvm
        circuits += layer.n_remaining * (PER_CELL + PER_VECTOR * n_read)
        vectors[layer.name] = np.zeros((min(n_read, n_vector), layer.n_in))
    files = netlist_amount(planned, n, config.hardware.wires, Sweep(vectors, None))
    files += Amount(PER_REPORT + (PER_MAPPED + PER_SWITCH * n) * cells)
    rule = config.select
    selection = None
    if rule.n_candidate == 1 and not rule.needs_inputs:
        fixed, each = CHOICE[rule.objective]
        selection = cells * (fixed + each * 2.0**n)
    n_tile = sum(len(layer.tiles) for layer in planned)
    return RunAmount(n_tile, selection, circuits, files)


def _planned(config: RunConfig, layer: PrunedLayer) -> _PlannedLayer:
    mask = layer.pattern
    blocks: list[Block] = split(mask, config.tile.size, config.tile.tiling)
    present = (mask.part(block.columns, block.rows).T for block in blocks)
    return _PlannedLayer(layer, tuple(_PlannedTile(b.rows, p) for b, p in zip(blocks, present)))
