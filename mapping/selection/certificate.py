"""Switches that were chosen, and what proves how near to their targets any choice could come."""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from mapping.bank import Branches
from mapping.bank.switches import closed_switches
from mapping.selection.select import subset_problem
from tinynets import subset_sum
from tinynets.files.drafts import new_file
from tinynets.files.npz import read_npz, write_npz

#: Version of the file format.
VERSION = 1
#: What the arrays of a file hold: kinds of numpy types.
_KINDS = {"optimal": "b", "tiles": "U", "n_cell": "u", "place": "u", "closed": "u"}
_KINDS |= dict.fromkeys(("low", "high", "least", "g_closed", "g_open", "target"), "f")
#: Half the distance of 1 and the next double.
_U = 2.0**-53
#: Fractions of a pair's sum of magnitudes: by how much rounding may change an error of up to 40
#: switches, and within which an error counts as the least. The checker allows 2^-46 in all.
_ROUNDING, _SAME = 2.0**-47, 2.0**-50


@dataclass(frozen=True)
class Claims:
    """What is proved of pairs of banks whose switches are set.

    low, high: the interval (n_cell, 2) [S] of what each bank conducts.
    least: no choice of switches of a pair is nearer to its target (n_cell,) [S].
    optimal: whether the choice is the nearest, to rounding (n_cell,); where not, nothing is
        claimed but its interval and `least`.
    """

    low: np.ndarray
    high: np.ndarray
    least: np.ndarray
    optimal: np.ndarray


@dataclass(frozen=True)
class SelectionCertificate(Claims):
    """What `crossbar_sim.certificates.selection_checker` reads; the claims are those of `Claims`.

    tiles: names (n_tile,).
    n_cell: number of cells of each tile (n_tile,), whose cells follow each other.
    place: word line and pair of bit lines of each cell on its tile (n_cell, 2).
    g_closed, g_open: what each branch conducts, as measured (n_cell, 2, n) [S].
    closed: masks (n_cell, 2) uint32 of the positive and the negative bank.
    target: g_pos - g_neg (n_cell,) [S].
    """

    tiles: np.ndarray
    n_cell: np.ndarray
    place: np.ndarray
    g_closed: np.ndarray
    g_open: np.ndarray
    closed: np.ndarray
    target: np.ndarray

    def save(self, path: Path) -> None:
        """Write it as npz."""
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        with new_file(path) as draft, draft.open("wb") as file:
            write_npz(file, {"version": np.array(VERSION), **arrays})

    @classmethod
    def load(cls, path: Path) -> "SelectionCertificate":
        """Read what `save` wrote; only names and types are checked. Raises ValueError."""
        arrays = read_npz(path)
        expected = {field.name for field in fields(cls)} | {"version"}
        if set(arrays) != expected or arrays.pop("version").tolist() != VERSION:
            raise ValueError(f"{path} is not a certificate of selections of version {VERSION}")
        for name, array in arrays.items():
            if array.dtype.kind != _KINDS[name]:
                raise ValueError(
                    f"{path}: {name} is of {array.dtype}; expected kind {_KINDS[name]!r}, as "
                    "`certify_selections` makes it"
                )
        return cls(**arrays)

    @property
    def width(self) -> float:
        """The widest interval of a bank, as a fraction of the most that any bank conducts."""
        most = self.g_closed.sum(axis=-1).max(initial=0.0)
        return float((self.high - self.low).max(initial=0.0) / most) if most else 0.0


def claims_of(branches: Branches, closed: np.ndarray, target: np.ndarray) -> Claims:
    """Return what can be proved of pairs of banks with the switches that are closed.

    branches: (n_cell, 2, n) [S].
    closed: masks (n_cell, 2).
    target: (n_cell,) [S].

    The nearest choices are searched for anew, so that every rule of selection is judged alike:
    which rule chose the switches does not matter. The search takes as long as a selection.
    """
    values, base = subset_problem(branches)
    size = np.abs(branches.g_closed) + np.abs(branches.g_open)
    size = size.sum(axis=(1, 2)) + np.abs(target)
    on = closed_switches(closed, branches.g_closed.shape[-1])
    bank = np.where(on, branches.g_closed, branches.g_open).sum(axis=-1)
    own = np.abs(bank[:, 0] - bank[:, 1] - target)
    nearest = np.abs(subset_sum.solve(values, target - base).error)
    half = (on.shape[-1] + 8) * _U * size[:, None]
    least = np.maximum(nearest - _ROUNDING * size, 0.0)
    return Claims(bank - half, bank + half, least, own <= nearest + _SAME * size)
