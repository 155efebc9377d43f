"""The technology that draws a foundry's branches: their own lengths, width and transistor."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from netlists.foundry.branch import FoundryBranch
from netlists.foundry.rule_files import find_rules
from netlists.layout.ihp_sg13g2 import ihp_technology
from netlists.layout.technology import DBU, GRID, HIGH_PO, XHIGH_PO, Technology

_SKY130 = {"high_po": HIGH_PO, "xhigh_po": XHIGH_PO}


def foundry_technology(branch: FoundryBranch, ohms: Iterable[float]) -> Technology:
    """Return the technology in which a branch's resistors and its transistor are drawn.

    ohms: what the foundry's models say of each length [ohm], as the bank of the branch has it.

    Each resistor is one straight strip of its length. The film's ohms per drawn square and those of
    its ends are the straight line through `ohms` over the lengths; so they hold what the models
    correct in width, length and at the contacts (docs/how_to/masks.md). Of one length alone,
    everything is counted as film.
    Raises ValueError for a switch that is not drawn, a size off the grid, and files of rules that
    are damaged; ModelsMissing without them.
    """
    _check_drawn(branch)
    width, (r_sheet, r_end) = branch.drawn_width, _line(branch, ohms)
    if branch.technology == "sky130":
        base = _SKY130[branch.resistor]
        base = replace(base, film=replace(base.film, width=width, r_sheet=r_sheet))
    else:
        base = ihp_technology(find_rules(branch.technology), branch.resistor, width, r_sheet)
    transistor = replace(base.transistor, width=branch.w_nmos)
    return replace(base, r_end=r_end, lengths=branch.lengths, transistor=transistor)


def _check_drawn(branch: FoundryBranch) -> None:
    """Raise ValueError for a branch that cannot be drawn as it is."""
    if branch.switch != "nmos" or branch.switch_at != "bit line":
        raise ValueError(
            "only an n-channel switch at the bit line is drawn; got switch = "
            f"{branch.switch!r} at the {branch.switch_at}"
        )
    step = GRID * DBU
    sizes = {"width": (branch.drawn_width, 2 * step), "w_nmos": (branch.w_nmos, 2 * step)}
    sizes |= {f"lengths[{k}]": (length, step) for k, length in enumerate(branch.lengths)}
    for name, (size, grid) in sizes.items():
        if abs(size / grid - round(size / grid)) > 1e-6:
            raise ValueError(
                f"{name} must be a multiple of {grid * 1e9:g} nm, the grid of masks; got {size:g} m"
            )


def _line(branch: FoundryBranch, ohms: Iterable[float]) -> tuple[float, float]:
    """Return ohms per drawn square and those of one end, by a line of least relative error."""
    squares = np.array(branch.lengths) / branch.drawn_width
    r = np.array(list(ohms), dtype=float)
    if r.shape != squares.shape:
        raise ValueError(f"ohms must have one value for each of {squares.size} lengths; got {r}")
    if squares.size == 1:
        return float(r[0] / squares[0]), 0.0
    rows = np.column_stack([squares, np.full(squares.size, 2.0)]) / r[:, None]
    r_sheet, r_end = np.linalg.lstsq(rows, np.ones(squares.size), rcond=None)[0]
    return float(r_sheet), float(r_end)
