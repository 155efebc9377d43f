"""Crossbar tiles: their size, and what each cell of one realises."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from pydantic import ConfigDict

from mapping.bank import Branches
from mapping.bank.switches import closed_switches, realise
from tinynets.files.checks import check_name, whole_number
from tinynets.settings import TABLE, Count, check_fields


@dataclass(frozen=True)
class TileConfig:
    """The largest tile."""

    __pydantic_config__: ClassVar[ConfigDict] = TABLE

    n_word: Count = 32
    """Most word lines (inputs) of a tile."""
    n_bit: Count = 32
    """Most pairs of bit lines (outputs) of a tile."""

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class Tile:
    """A crossbar of differential pairs, as realised.

    layer: the layer's name.
    index: the tile's place in the layer (block of outputs, block of inputs).
    rows: (n_word,), the input of the layer on each word line.
    columns: (n_bit,), the output of the layer on each pair of bit lines.
    present: (n_word, n_bit), True where the cell has devices, that is, a weight remains.
    chosen_pos, chosen_neg: (n_word, n_bit) uint32, bit k is set where switch k is closed.
    g_pos, g_neg: (n_word, n_bit), true conductance of each bank [S]; 0 without devices.

    Raises ValueError for a name or an index that is not safe in a netlist, lines that are not in
    increasing order, shapes that disagree, and conductances that are negative, NaN or infinite.
    """

    layer: str
    index: tuple[int, int]
    rows: np.ndarray
    columns: np.ndarray
    present: np.ndarray
    chosen_pos: np.ndarray
    chosen_neg: np.ndarray
    g_pos: np.ndarray
    g_neg: np.ndarray

    def __post_init__(self) -> None:
        check_name(self.layer, "layer name")
        if not isinstance(self.index, tuple | list) or len(self.index) != 2:
            raise ValueError(
                f"layer {self.layer}: a tile's index must be two whole numbers; "
                f"got {str(self.index)[:80]!r}"
            )
        index = tuple(whole_number(k, f"tile index of {self.layer}", least=0) for k in self.index)
        object.__setattr__(self, "index", index)
        for name in ("rows", "columns"):
            lines = _checked_lines(getattr(self, name), f"tile {self.name}: {name}")
            object.__setattr__(self, name, lines)
        shape = (len(self.rows), len(self.columns))
        if self.present.dtype != bool:
            raise ValueError(f"tile {self.name}: present is of {self.present.dtype}; expected bool")
        for name in ("chosen_pos", "chosen_neg"):
            masks = _checked_masks(getattr(self, name), f"tile {self.name}: {name}")
            object.__setattr__(self, name, masks)
        for name in ("present", "chosen_pos", "chosen_neg", "g_pos", "g_neg"):
            array = getattr(self, name)
            if array.shape != shape:
                raise ValueError(
                    f"tile {self.name}: {name} has shape {array.shape}; expected {shape} "
                    "(its rows and columns)"
                )
            if np.any(array[~self.present]):
                raise ValueError(f"tile {self.name}: {name} is not zero where there is no device")
        for array in (self.g_pos, self.g_neg):
            if not (np.isfinite(array).all() and (array >= 0).all()):
                raise ValueError(f"tile {self.name}: a conductance is negative, NaN or infinite")
        for name, value in vars(self).items():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
                object.__setattr__(self, name, value)

    @property
    def name(self) -> str:
        """Name for files and netlists: layer, block of outputs, block of inputs."""
        return f"{self.layer}_{self.index[0]}_{self.index[1]}"

    @property
    def n_word(self) -> int:
        """Number of word lines."""
        return len(self.rows)

    @property
    def n_bit(self) -> int:
        """Number of pairs of bit lines."""
        return len(self.columns)

    @property
    def cells(self) -> tuple[np.ndarray, np.ndarray]:
        """Input and output (n_cell,) of the layer of each cell, word line after word line."""
        i, j = np.nonzero(self.present)
        return self.rows[i], self.columns[j]

    @property
    def chosen(self) -> tuple[np.ndarray, np.ndarray]:
        """Masks (n_cell,) of the positive and the negative banks, in the order of `cells`."""
        return self.chosen_pos[self.present], self.chosen_neg[self.present]

    def closed(self, n: int) -> np.ndarray:
        """Return the closed switches (n_cell, 2, n) bool of the cells, in the order of `cells`.

        n: branches of a bank. Raises ValueError as `check_switches` does.
        """
        self.check_switches(n)
        return closed_switches(np.stack(self.chosen, axis=1), n)

    def check_switches(self, n: int) -> None:
        """Raise ValueError for a tile that closes branches beyond the n of a bank."""
        if np.any((self.chosen_pos | self.chosen_neg) >> np.uint64(n)):
            raise ValueError(
                f"tile {self.name} closes branches that the bank of {n} does not have; "
                "pass the bank of the die that it was mapped on"
            )

    def with_switches(
        self, chosen_pos: np.ndarray, chosen_neg: np.ndarray, branches: Branches
    ) -> "Tile":
        """Return the tile with other switches closed.

        chosen_pos, chosen_neg: masks (n_cell,) in the order of `cells`.
        branches: what each branch conducts (n_cell, 2, n) [S].
        """
        g_pos, g_neg = realise(branches, chosen_pos, chosen_neg)
        return replace(
            self,
            chosen_pos=self.matrix(chosen_pos.astype(np.uint32)),
            chosen_neg=self.matrix(chosen_neg.astype(np.uint32)),
            g_pos=self.matrix(g_pos),
            g_neg=self.matrix(g_neg),
        )

    def n_different(self, other: "Tile") -> int:
        """Return how many switches differ in another tile of the same cells."""
        pairs = (self.chosen_pos, other.chosen_pos), (self.chosen_neg, other.chosen_neg)
        return int(sum(np.bitwise_count(a ^ b).sum() for a, b in pairs))

    def matrix(self, values: np.ndarray) -> np.ndarray:
        """Return values (n_cell,) of the cells as (n_word, n_bit), zero where there is no cell."""
        full = np.zeros(self.present.shape, dtype=values.dtype)
        full[self.present] = values
        return full


def _checked_lines(lines: np.ndarray, what: str) -> np.ndarray:
    """Return lines as int64, since sums and products of a file's narrow integers wrap around."""
    whole = lines.ndim == 1 and lines.dtype.kind in "iu" and lines.size > 0
    wide = lines.astype(np.int64, copy=False)
    if not whole or wide[0] < 0 or np.any(wide[1:] <= wide[:-1]):
        raise ValueError(f"{what} must be one or more whole numbers from 0, each above the last")
    return wide


def _checked_masks(masks: np.ndarray, what: str) -> np.ndarray:
    """Return masks as uint32, whatever unsigned type a file keeps them in."""
    if masks.dtype.kind != "u":
        raise ValueError(f"{what} is of {masks.dtype}; expected unsigned whole numbers")
    if np.any(masks > np.iinfo(np.uint32).max):
        raise ValueError(f"{what} closes branches beyond the 32nd; a bank has fewer")
    return masks.astype(np.uint32, copy=False)
