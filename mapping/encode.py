"""From weights to conductances: the scale of a layer."""

import numpy as np

from mapping.bank import Die, ResistorBank

# Parts of the full scale within which the differential pair reaches every target closely.
# Source: sums of equal nominals thin out beyond two of their standard deviations.
_DENSE_PART = {"geometric": 0.95, "equal": 0.5}


def g_per_weight(weight, bank, per="layer"):
    """Return the scale [S per unit weight] that puts the largest weight inside the dense band.

    weight: (n_out, n_in); bank: `ResistorBank`, or a `Die` of one; per: "layer" or "output".
    Returns a float, or (n_out,) for each output line its own. Raises ValueError for another `per`.
    A layer or a line of zeros has the scale of one whose largest weight is 1.
    """
    if per not in ("layer", "output"):
        raise ValueError(f"per must be 'layer' or 'output', not {per!r}")
    magnitude = np.abs(weight)
    largest = magnitude.max(axis=1) if per == "output" else magnitude.max()
    scale = g_band(bank) / np.where(largest > 0, largest, 1.0)
    return scale if per == "output" else float(scale)


def g_band(bank):
    """Return the largest differential conductance [S] that a pair of banks reaches closely."""
    bank = bank.bank if isinstance(bank, Die) else bank
    return dense_part(bank) * bank.g_full


def dense_part(bank: ResistorBank) -> float:
    """Return the part of the full scale that is dense: 0.95 of a ladder, 0.5 of equal branches."""
    is_ladder = bank.r_nominal[-1] > 2 * bank.r_nominal[0]
    return _DENSE_PART["geometric" if is_ladder else "equal"]
