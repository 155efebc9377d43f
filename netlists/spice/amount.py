"""How many bytes and seconds a directory takes to write, estimated before it is written."""

import errno
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mapping.network.mapped_layer import MappedLayer
from netlists.circuit import Wires
from netlists.spice.inputs import Sweep, live_inputs

#: Bytes of the netlists, fitted to seven layers of 400 … 16,000 cells on tiles of 32 … 128 lines, 2
#: to 100 % full, with 4 … 8 branches; those are met within 3 %. Of a tile: for each cell, for each
#: branch of a bank in it, for each wire segment.
PER_CELL, PER_BRANCH, PER_SEGMENT = 30, 84, 35.5
#: Of decks: for each line of a tile, for each voltage of a sweep alone and of random numbers, and
#: for each port of a layer.
PER_LINE, PER_ZERO, PER_VOLTAGE, PER_PORT = 61, 9.1, 26, 21
#: Seconds per byte on one core of a machine of 2024, within a factor of 3.
SECONDS_PER_BYTE = 1e-7
#: What a file takes on a disk beyond its bytes, on average.
_BLOCK = 2048
_FEWER = "write fewer layers or tiles (--layers, --tiles, --sample)"


@dataclass(frozen=True)
class Amount:
    """What is going to be written.

    n_byte: bytes on the disk.
    seconds: time to write them [s], within a factor of 3.
    """

    n_byte: float = 0.0
    n_file: int = 0
    seconds: float = 0.0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(
            self.n_byte + other.n_byte, self.n_file + other.n_file, self.seconds + other.seconds
        )

    def __str__(self) -> str:
        return (
            f"about {self.n_byte / 1e6:,.1f} MB in {self.n_file:,} files, "
            f"about {self.seconds:,.1f} s"
        )

    def require_disk(self, directory: Path, remedy: str = _FEWER) -> None:
        """Raise OSError that names the directory, and a remedy, if its disk has less room."""
        there = next(path for path in directory.absolute().parents if path.exists())
        needed, free = self.n_byte + _BLOCK * self.n_file, shutil.disk_usage(there).free
        if needed > free:
            raise OSError(
                errno.ENOSPC,
                f"needs about {needed / 1e9:.2g} GB, but its disk has only {free / 1e9:.2g} GB "
                f"free; {remedy}",
                str(directory),
            )


def unannounced(_amount: Amount) -> None:
    """Tell nobody."""


def netlist_amount(layers: Sequence[MappedLayer], n: int, wires: Wires, sweep: Sweep) -> Amount:
    """Return the amount of the netlists of some layers, without a deck of the whole network.

    n: branches of a bank.
    """
    n_byte, n_file = 4000.0, 2
    for layer in layers:
        n_byte += _tiles(layer, n, wires, sweep) + _deck(layer, sweep)
        n_file += 2 * len(layer.tiles) + 2 + bool(layer.source.conv)
    return Amount(n_byte, n_file, SECONDS_PER_BYTE * n_byte)


def _tiles(layer: MappedLayer, n: int, wires: Wires, sweep: Sweep) -> float:
    """Return the bytes of a layer's tiles and of their decks."""
    given = None if sweep.given is None else len(sweep.of_layer(layer))
    total = 0.0
    for tile in layer.tiles:
        area, n_word = tile.present.size, tile.n_word
        segments = area * bool(wires.r_word) + 2 * area * bool(wires.r_bit)
        total += PER_SEGMENT * (segments + n_word * bool(wires.r_driver))
        total += (PER_CELL + PER_BRANCH * n) * int(tile.present.sum())
        total += PER_LINE * (n_word + 2 * tile.n_bit)
        total += n_word * (PER_ZERO * n_word if given is None else PER_VOLTAGE * given)
    return total


def _deck(layer: MappedLayer, sweep: Sweep) -> float:
    """Return the bytes of the deck of a layer, and of the layer itself."""
    live, source = len(live_inputs(layer)), layer.source
    each = sweep.given is None and sweep.random is None
    vectors = live if each else len(sweep.of_layer(layer))
    lines = sum(tile.n_word + tile.n_bit for tile in layer.tiles)
    ports = PER_PORT * (2 * (source.n_in + source.n_out) + lines)
    return live * vectors * (PER_ZERO if each else PER_VOLTAGE) + ports
