"""The tiles of a layer as one set of arrays for the kernel that reads them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn


class Reach(NamedTuple):
    """How far the farther line of each pair can get from zero.

    most: the largest output for any drive (n_pair,) [V].
    length: of the row of outputs per unit of drive (n_pair,) [V].
    rest: the output at zero drive, without sign (n_pair,) [V].
    """

    most: np.ndarray
    length: np.ndarray
    rest: np.ndarray


class Groups(NamedTuple):
    """The tiles of a layer, group after group; numba takes it whole.

    sizes: word lines and pairs of each group (n_group, 2).
    pairs: of each pair, the output of its negative line less that of its positive one per unit of
        drive (n_pair, n_row) [V], all groups in one array.
    positive: the same of the positive lines alone; empty for amplifiers without swing.
    rest: of the differences at zero drive (n_pair,) [V].
    rest_positive: of the positive lines.
    rows: word lines of all groups, as inputs of the layer.
    columns: outputs of the layer, for all pairs of all groups.
    reach: of the farther line of each pair; empty for amplifiers without swing.
    """

    sizes: np.ndarray
    pairs: np.ndarray
    positive: np.ndarray
    rest: np.ndarray
    rest_positive: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    reach: Reach


class Part(NamedTuple):
    """Groups of tiles of one shape; the other fields are those of `Groups`.

    groups: how many, one after another.
    pairs: (n_pair, n_row); so are `positive`, of no pairs for amplifiers without swing.
    """

    groups: int
    rows: np.ndarray
    columns: np.ndarray
    pairs: np.ndarray
    rest: np.ndarray
    positive: np.ndarray
    rest_positive: np.ndarray


class Shared:
    """The circuits of a layer's parts, laid into one array of which each part's are a stretch.

    So none is held twice.

    parts: whose buffers become these stretches.
    signed: whether drives are of -1 … 1; else of 0 … 1.
    """

    def __init__(self, parts: Sequence[nn.Module], *, signed: bool) -> None:
        self.signed, names = signed, ("pairs", "positive", "rest", "rest_positive", "sigma")
        with torch.inference_mode(False), torch.no_grad():  # for later passes with gradients too
            self.wholes = [_in_one_array(parts, name) for name in names]
        self.held = [(part, name, getattr(part, name)) for part in parts for name in names]
        self.versions = [whole._version for whole in self.wholes]
        of_each = [_part(part) for part in parts]
        pairs, positive = (whole.numpy() for whole in self.wholes[:2])
        self.groups = joined(of_each, pairs, positive, signed=signed)
        self.sigma = self.wholes[-1].numpy()

    def holds(self, signed: bool) -> bool:
        """Return whether the parts still have these tensors, and in them the same numbers."""
        return (
            signed == self.signed
            and [whole._version for whole in self.wholes] == self.versions
            and all(part._buffers[name] is own for part, name, own in self.held)
        )


def _part(readout: Any) -> Part:
    """Return a readout as `joined` takes it."""
    return Part(readout.groups, *(getattr(readout, name).numpy() for name in Part._fields[1:]))


def _in_one_array(parts: Sequence[nn.Module], name: str) -> torch.Tensor:
    """Lay a buffer of all parts into one array, and return it."""
    whole = torch.cat([getattr(part, name).flatten() for part in parts])
    sizes = [getattr(part, name).numel() for part in parts]
    for part, own in zip(parts, whole.split(sizes)):
        setattr(part, name, own.view_as(getattr(part, name)))
    return whole


def joined(
    parts: Sequence[Part], pairs: np.ndarray, positive: np.ndarray, *, signed: bool
) -> Groups:
    """Return the tiles of a layer as the kernel takes them.

    pairs, positive: those of all parts in one array, one part after another.
    signed: whether drives are of -1 … 1; else of 0 … 1.
    """
    names = ("rows", "columns", "rest", "rest_positive")
    rows, columns, rest, rest_positive = (
        np.concatenate([getattr(part, name) for part in parts]) for name in names
    )
    reach = Reach(rest_positive, rest_positive, rest_positive)
    if len(positive):
        of_each = [_line_reach(part, signed=signed) for part in parts]
        reach = Reach(*(np.concatenate(x) for x in zip(*of_each)))
    shapes = [(len(x.rows) // x.groups, len(x.columns) // x.groups) for x in parts]
    sizes = np.repeat(shapes, [part.groups for part in parts], axis=0)
    return Groups(sizes, pairs, positive, rest, rest_positive, rows, columns, reach)


def _reach(volts: np.ndarray, rest: np.ndarray, *, signed: bool) -> Reach:
    """Return how far rows (n_pair, n_row) of outputs per unit of drive can get."""
    up, down = np.maximum(volts, 0).sum(axis=1), np.minimum(volts, 0).sum(axis=1)
    if signed:
        up, down = up - down, down - up
    most = np.maximum(rest + up, -(rest + down))
    return Reach(most, np.sqrt(np.einsum("ij,ij->i", volts, volts)), np.abs(rest))


def _line_reach(part: Part, *, signed: bool) -> Reach:
    """Return for each pair how far the farther of its lines can get."""
    negative = part.positive + part.pairs, part.rest_positive + part.rest
    both = zip(
        *(_reach(*x, signed=signed) for x in ((part.positive, part.rest_positive), negative))
    )
    return Reach(*(np.maximum(a, b) for a, b in both))
