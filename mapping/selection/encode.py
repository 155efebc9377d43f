"""From weights to conductances: a differential pair gives g_pos - g_neg = scale * weight."""

import math
from typing import Literal

import numpy as np

from mapping.bank import Cells, Die, ResistorBank
from tinynets.networks.layers import GroupedMatrix, as_grouped

#: What shares a scale.
Per = Literal["layer", "output"]

_LADDER_FRACTION = 0.95  # of full scale: a ladder without gaps is dense nearly to its end
_LADDER_RATIO = 1.2  # mean ratio of neighbours from which a bank counts as a ladder
_STRONG = 0.5  # fraction of the largest weight from which a cell may limit the scale
_LEAST_FRACTION = 0.8  # of the nominal scale: a defective cell does not lower it further


def g_per_weight(
    weight: np.ndarray | GroupedMatrix,
    bank: ResistorBank | Die,
    per: Per = "layer",
    *,
    layer: str | None = None,
) -> float | np.ndarray:
    """Return the scale that puts the largest weight at the edge of the dense band.

    weight: (n_out, n_in); `source.grouped(source.weight)` of a layer that may have groups.
    per: what shares a scale.
    layer: name; with it and a die, the bands are those of the measured cells, but at least 0.8 of
        the nominal one.

    Returns a float, or (n_out,) with per="output" [S per unit weight]. A layer or an output of
    zeros has the scale of one whose largest weight is 1. Raises ValueError for another `per`.
    """
    if per not in ("layer", "output"):
        raise ValueError(f'per must be "layer" or "output"; got {per!r}')
    weight = as_grouped(weight)
    magnitude = np.abs(weight.values)
    largest = magnitude.max(axis=1)
    if per == "layer":
        largest = np.full_like(largest, largest.max())
    largest = np.where(largest > 0, largest, 1.0)
    nominal = g_band(bank)
    band = np.full(len(largest), nominal)
    if isinstance(bank, Die) and layer is not None:
        strong = magnitude > _STRONG * largest[:, None]
        rows, columns = GroupedMatrix(strong, weight.groups).cells
        reach = _reach(weight.values[strong], bank, Cells(layer, rows, columns))
        reach *= largest[columns] / magnitude[strong]
        band[np.unique(columns)] = math.inf
        np.minimum.at(band, columns, reach)
        band = np.maximum(band, _LEAST_FRACTION * nominal)
    scale = band / largest
    return scale if per == "output" else float(scale.min())


def _reach(weights: np.ndarray, die: Die, cells: Cells) -> np.ndarray:
    """Return the edge (n_cell,) [S] of the dense band of cells, each on its weight's own side."""
    branches = cells.branches(die, measured=True)
    g_closed, g_open = branches.g_closed.sum(axis=-1), branches.g_open.sum(axis=-1)
    full = np.where(weights > 0, g_closed[:, 0] - g_open[:, 1], g_closed[:, 1] - g_open[:, 0])
    return dense_fraction(die.bank) * full


def g_band(bank: ResistorBank | Die) -> float:
    """Return the edge [S] of the dense band: every cell comes close to any target below it."""
    bank = bank.bank if isinstance(bank, Die) else bank
    return dense_fraction(bank) * bank.g_full


def g_lsb(bank: ResistorBank | Die, n_bit: int) -> float:
    """Return the step [S] of n_bit levels over the band, the unit of a stated tolerance."""
    return 2 * g_band(bank) / 2**n_bit


def dense_fraction(bank: ResistorBank) -> float:
    """Return the fraction of full scale that a pair of banks fills densely.

    0.95 for a ladder. Sums of nearly equal branches thin out beyond two of their standard
    deviations, sqrt(sum g**2 / 2) each for a pair: half of full scale at n = 8.
    """
    r = bank.r_nominal
    if bank.n == 1 or (r[-1] / r[0]) ** (1 / (bank.n - 1)) >= _LADDER_RATIO:
        return _LADDER_FRACTION
    g = 1 / (r + bank.r_on)
    return min(_LADDER_FRACTION, math.sqrt(2 * np.sum(g**2)) / float(np.sum(g)))
