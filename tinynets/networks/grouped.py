"""Matrices of grouped convolutions, without the zeros between their groups."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class GroupedMatrix:
    """A matrix (n_out, n_in) whose outputs read only the inputs of their own group.

    values: (n_out, n_in / groups), of each output the inputs of its group, as torch holds the
        kernel of a grouped convolution; with one group the matrix itself.
    groups: equal parts, in order, of both the outputs and the inputs.
    """

    values: np.ndarray
    groups: int = 1

    @classmethod
    def of(cls, full: np.ndarray, groups: int) -> "GroupedMatrix":
        """Return the form of a matrix (n_out, n_in) that has a number of groups.

        Raises ValueError for groups that do not divide its sides, and for values between them.
        """
        if full.shape[0] % groups or full.shape[1] % groups:
            raise ValueError(f"{groups} groups do not divide a matrix of shape {full.shape}")
        k, parts = np.arange(groups), _blocks(full, groups)
        matrix = cls(parts[k, :, k].reshape(len(full), -1), groups)
        if np.count_nonzero(matrix.values) != np.count_nonzero(full):
            raise ValueError(f"a matrix of {groups} groups must be zero between them")
        return matrix

    @property
    def shape(self) -> tuple[int, int]:
        """Outputs and inputs, all groups written out."""
        return len(self.values), self.values.shape[1] * self.groups

    @property
    def cells(self) -> tuple[np.ndarray, np.ndarray]:
        """Input and output (n_cell,) of each value that is not zero, output after output."""
        outputs, places = np.nonzero(self.values)
        return places if self.groups == 1 else places + self._first(outputs), outputs

    def place(self, outputs: np.ndarray, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where `values` hold the cells (n_cell,) of outputs and inputs of their groups."""
        return outputs, inputs if self.groups == 1 else inputs - self._first(outputs)

    def part(self, outputs: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        """Return the matrix (len(outputs), len(inputs)) of some outputs and some inputs."""
        if self.groups == 1:
            return self.values[np.ix_(outputs, inputs)]
        inside, place = self._inside(outputs, inputs)
        part = np.zeros(inside.shape, self.values.dtype)
        part[inside] = self.values[place]
        return part

    def add(self, outputs: np.ndarray, inputs: np.ndarray, part: np.ndarray) -> None:
        """Add what a part (len(outputs), len(inputs)) has inside the groups, in place."""
        if self.groups == 1:
            self.values[np.ix_(outputs, inputs)] += part
        else:
            inside, place = self._inside(outputs, inputs)
            self.values[place] += part[inside]

    def reach(self, outputs: np.ndarray) -> np.ndarray:
        """Return all inputs from the first to the last group of some outputs, which are sorted."""
        first, last = self._first(outputs[[0, -1]])
        return np.arange(first, last + self.values.shape[1])

    def written_out(self) -> np.ndarray:
        """Return the matrix (n_out, n_in) itself."""
        k, full = np.arange(self.groups), np.zeros(self.shape, self.values.dtype)
        parts = _blocks(full, self.groups)
        parts[k, :, k] = self.values.reshape(self.groups, -1, self.values.shape[1])
        return full

    def _first(self, outputs: np.ndarray) -> np.ndarray:
        """Return the first input of the group of each output."""
        return outputs // (len(self.values) // self.groups) * self.values.shape[1]

    def _inside(
        self, outputs: np.ndarray, inputs: np.ndarray
    ) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
        """Return which crossings of a part lie inside the groups, and where `values` hold those."""
        each, places = np.broadcast_arrays(*self.place(outputs[:, None], inputs))
        inside = (places >= 0) & (places < self.values.shape[1])
        return inside, (each[inside], places[inside])


def _blocks(full: np.ndarray, groups: int) -> np.ndarray:
    """Return a view (groups, n_out / groups, groups, n_in / groups) of a matrix (n_out, n_in)."""
    n_out, n_in = full.shape
    return full.reshape(groups, n_out // groups, groups, n_in // groups)


def as_grouped(matrix: np.ndarray | GroupedMatrix) -> GroupedMatrix:
    """Return a matrix (n_out, n_in) as one of a single group, unless it is grouped already."""
    return matrix if isinstance(matrix, GroupedMatrix) else GroupedMatrix(matrix)
