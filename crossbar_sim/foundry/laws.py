"""The currents of a tile's cells by a foundry's models, as the nonlinear engine reads them.

A branch is a resistor and a switch. With multiplicities r and s it carries s times what a branch
of r / s and 1 carries, so one series in r / s for each length and state of the switch serves all
branches of a die; a cell is a sum of these. What a switch conducts has a kink where it carries no
current, so the two directions of the current have a series each.
"""

from dataclasses import replace
from functools import lru_cache, partial

import numpy as np
from numpy.polynomial import chebyshev

from crossbar_sim.foundry.bank import TileDevices
from crossbar_sim.foundry.measured import MULTIPLES, Measured, unit
from crossbar_sim.nonlinear.cell_laws import CellLaws, VoltageBox
from crossbar_sim.nonlinear.series import Branches

#: Degrees of a cell's series in the voltages of its word and its bit node, and in r / s.
DEGREES, RATIO_DEGREE = (6, 3), 9
#: How far bit nodes are from the signals' ground, as a fraction of v_max.
BIT_SHARE = 0.15


def cell_laws(
    devices: TileDevices, present: np.ndarray, measured: Measured, *, bit_share: float = BIT_SHARE
) -> CellLaws:
    """Return the laws of a tile's cells, which hold for word nodes up to v_max of either sign.

    devices: of the cells that are present.
    present: (n_word, n_bit), where the tile has cells.
    bit_share: how far bit nodes may be from the signals' ground, over v_max.

    Raises ValueError for a branch of which the resistor and the switch deviate too far, or whose
    switch takes most of the voltage: it was measured up to v_max across it.
    """
    if measured.r_on > 2 * measured.r[0]:
        raise ValueError(
            f"the switch has {measured.r_on:.4g} ohm and the shortest resistor "
            f"{measured.r[0]:.4g}; widen the switch or lengthen the resistor, so that the switch "
            "has at most twice as much"
        )
    v_max = measured.branch.v_max
    v_bit = bit_share * v_max
    boxes = {
        True: VoltageBox((-v_bit, v_max), (-v_bit, v_bit)),
        False: VoltageBox((-v_max, v_bit), (-v_bit, v_bit)),
    }
    ratio = devices.resistor / devices.switch
    basis = chebyshev.chebvander(_unit(ratio), RATIO_DEGREE) * devices.switch[..., None]
    series = []
    for forward, box in boxes.items():
        total = np.zeros((2, *present.shape, *(d + 1 for d in DEGREES)))
        cells = np.zeros((2, int(present.sum()), *total.shape[3:]))
        for k in range(ratio.shape[-1]):
            for closed in (True, False):
                weight = basis[..., k, :] * (devices.closed[..., k] == closed)[..., None]
                cells += np.einsum(
                    "sct,tpq->scpq", weight, _table(measured, k, closed, box, forward)
                )
        total[:, present] = cells
        series.append(CellLaws(total, box))
    return replace(series[0], reverse=series[1])


@lru_cache(maxsize=1000)
def _table(measured: Measured, k: int, closed: bool, box: VoltageBox, forward: bool) -> np.ndarray:
    """Return the series (RATIO_DEGREE + 1, p, q) of branches of length k, of switch 1."""
    n = RATIO_DEGREE + 1
    x = np.cos(np.pi * (np.arange(n) + 0.5) / n)
    low, high = MULTIPLES
    ratio = (low + (high - low) * (x + 1) / 2)[None, None, :, None]
    switch = partial(measured.switch_current, closed=closed, forward=forward)
    at_bit = measured.branch.switch_at == "bit line"
    branches = Branches(
        partial(measured.resistor_current, k), switch, ratio, np.ones_like(ratio), at_bit
    )
    values = branches.cell_laws(box, DEGREES).coefficients[0, 0]
    return chebyshev.chebfit(x, values.reshape(n, -1), n - 1).reshape(values.shape)


def _unit(ratio: np.ndarray) -> np.ndarray:
    low, high = MULTIPLES
    if ratio.size and not (low <= ratio.min() and ratio.max() <= high):
        raise ValueError(
            f"resistors and switches deviate by {ratio.min():.3g} … {ratio.max():.3g} from each "
            f"other; {low:g} … {high:g} can be computed"
        )
    return unit(ratio)
