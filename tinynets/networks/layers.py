"""What is left of a network after pruning: plain arrays, ready to be mapped onto resistors."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinynets.files.checks import check_name, whole_number


@dataclass(frozen=True)
class ConvGeometry:
    """How a convolution slides its flattened kernel over its input.

    The kernel of every output channel is flattened to (in_channels * height * width) in torch's
    order. With groups, an output reads only the channels of its own.

    Raises ValueError for numbers that are not whole (they go into scripts), windows that are not
    pairs, and groups that do not divide the channels.
    """

    in_channels: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int = 1

    def __post_init__(self) -> None:
        for name in ("in_channels", "groups"):
            self._set(name, whole_number(getattr(self, name), name, least=1))
        for name in ("kernel", "stride", "padding", "dilation"):
            pair = getattr(self, name)
            if not isinstance(pair, tuple | list) or len(pair) != 2:
                raise ValueError(f"{name} must be two whole numbers; got {str(pair)[:80]!r}")
            least = 0 if name == "padding" else 1
            self._set(name, tuple(whole_number(value, name, least=least) for value in pair))
        if self.in_channels % self.groups:
            raise ValueError(
                f"{self.groups} groups do not divide {self.in_channels} channels; use a divisor"
            )

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    @property
    def n_in(self) -> int:
        """Inputs of the flattened kernel, all groups written out."""
        return self.in_channels * self.kernel[0] * self.kernel[1]


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


@dataclass(frozen=True)
class PrunedLayer:
    """One weight layer: `y = weight @ x + bias`, with zeros where it is pruned.

    name: letters, digits and underscores; goes into file names and netlists.
    weight: (n_out, n_in / groups) float64; of a grouped convolution, each output has a place for
        each input of its group alone.
    mask: of the shape of weight, bool, True where a weight remains.
    bias: (n_out,) or None.
    conv: geometry, or None for a dense layer.
    module: path of the torch module it came from; not written to netlists or scripts.
    n_mvm: matrix-vector products per inference (output positions of a convolution).
    n_real: of a transposed convolution, how often each place of its kernel meets an input in an
        inference, and not a zero that was put between them; empty for any other layer.

    Raises ValueError for an unsafe name, shapes that disagree (with the geometry too), NaN or inf,
    or a weight that is not zero where the mask says pruned.
    """

    name: str
    weight: np.ndarray
    mask: np.ndarray
    bias: np.ndarray | None = None
    conv: ConvGeometry | None = None
    module: str = ""
    n_mvm: int = 1
    n_real: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_name(self.name, "layer name")
        n_mvm = whole_number(self.n_mvm, f"layer {self.name!r}: n_mvm", least=1)
        object.__setattr__(self, "n_mvm", n_mvm)
        self._check_places()
        for name, dtype in (("weight", np.float64), ("mask", np.bool_), ("bias", np.float64)):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _frozen(getattr(self, name), dtype))
        weight, mask, bias = self.weight, self.mask, self.bias
        if weight.ndim != 2 or mask.shape != weight.shape:
            raise ValueError(
                f"layer {self.name!r}: weight has shape {weight.shape} and mask {mask.shape}; "
                "both must be (n_out, n_in / groups)"
            )
        if self.conv:
            self._check_geometry(self.conv, weight)
        if bias is not None and bias.shape != weight.shape[:1]:
            raise ValueError(
                f"layer {self.name!r}: bias has shape {bias.shape}; expected ({weight.shape[0]},)"
            )
        if not np.isfinite(weight).all() or (bias is not None and not np.isfinite(bias).all()):
            raise ValueError(
                f"layer {self.name!r} holds NaN or inf in its weight or bias; "
                "train it again or load a sound checkpoint"
            )
        if np.any((weight != 0) & ~mask):
            raise ValueError(
                f"layer {self.name!r}: a pruned weight is not zero; multiply weight by mask"
            )

    def _check_places(self) -> None:
        n_in, n_place = self.weight.shape[-1], len(self.n_real)
        if n_place and (n_in % n_place or not all(0 <= n <= self.n_mvm for n in self.n_real)):
            raise ValueError(
                f"layer {self.name!r}: n_real has {n_place} numbers, up to {max(self.n_real)}; "
                f"expected one for each place of the kernel, at most n_mvm, {self.n_mvm}"
            )

    def _check_geometry(self, conv: ConvGeometry, weight: np.ndarray) -> None:
        if weight.shape[1] * conv.groups != conv.n_in or weight.shape[0] % conv.groups:
            raise ValueError(
                f"layer {self.name!r}: a weight of shape {weight.shape} does not go with "
                f"{conv.in_channels} channels, a kernel of {conv.kernel} and {conv.groups} groups; "
                f"expected {conv.n_in // conv.groups} inputs and outputs that the groups divide"
            )

    @property
    def n_out(self) -> int:
        """Number of outputs."""
        return self.weight.shape[0]

    @property
    def n_in(self) -> int:
        """Number of inputs (of the flattened kernel for a convolution)."""
        return self.weight.shape[1] * self.groups

    @property
    def groups(self) -> int:
        """Groups of a convolution; 1 for any other layer."""
        return self.conv.groups if self.conv else 1

    def grouped(self, values: np.ndarray) -> GroupedMatrix:
        """Return values of the shape of `weight` as the matrix (n_out, n_in) that they make."""
        return GroupedMatrix(values, self.groups)

    @property
    def pattern(self) -> GroupedMatrix:
        """The mask as a matrix (n_out, n_in)."""
        return self.grouped(self.mask)

    def written_out(self) -> "PrunedLayer":
        """Return the same layer without groups: its weight (n_out, n_in) is zero between them."""
        if self.groups == 1 or self.conv is None:
            return self
        parts = {k: self.grouped(getattr(self, k)).written_out() for k in ("weight", "mask")}
        return replace(self, conv=replace(self.conv, groups=1), **parts)

    @property
    def cells(self) -> tuple[np.ndarray, np.ndarray]:
        """Input and output (n_remaining,) of each weight that remains, output after output."""
        return self.pattern.cells

    @property
    def n_weight(self) -> int:
        """Weights before pruning; a grouped convolution has none between its groups."""
        return self.weight.size

    @property
    def n_remaining(self) -> int:
        """Weights that are left after pruning."""
        return int(self.mask.sum())

    @property
    def n_mac(self) -> int:
        """Products of weights and inputs per inference before pruning, by a digital machine."""
        n_place = len(self.n_real) or 1
        return self.n_weight // n_place * sum(self.n_real or (self.n_mvm,))

    @property
    def n_mac_remaining(self) -> int:
        """Products of weights and inputs per inference after pruning, by a digital machine."""
        if not self.n_real:
            return self.n_remaining * self.n_mvm
        return int(self.mask.reshape(-1, len(self.n_real)).sum(0) @ np.array(self.n_real))


@dataclass(frozen=True)
class DigitalModule:
    """A module that stays digital, without the modules inside it.

    module: its path; "" is the network itself.
    n_weight: numbers that it holds in parameters and in buffers of several dimensions.
    n_mac: multiplications and additions of its matrix products per inference.
    """

    module: str
    n_weight: int
    n_mac: int


@dataclass(frozen=True)
class PrunedNetwork:
    """The weight layers of a network in the order in which an inference meets them.

    digital: torch module paths with parameters that are not mapped (batch norm, say).
    left: everything that stays digital and holds weights or multiplies matrices.
    """

    layers: tuple[PrunedLayer, ...]
    digital: tuple[str, ...] = ()
    left: tuple[DigitalModule, ...] = ()

    def __post_init__(self) -> None:
        names = [layer.name for layer in self.layers]
        if not names:
            raise ValueError("the network has no weight layer to map; expected at least one")
        # SPICE and some file systems do not tell upper from lower case.
        if len({name.lower() for name in names}) != len(names):
            raise ValueError(f"layer names must differ (ignoring case); got {names}")

    def layer(self, name: str) -> PrunedLayer:
        """Return the layer of that name; KeyError names the ones there are."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(f"no layer {name!r}; there are {[layer.name for layer in self.layers]}")

    @property
    def digital_fractions(self) -> dict[str, tuple[float, float]]:
        """By module that stays digital: its fractions of all weights and of all multiplications.

        Of the layers, all weights count, pruned ones too.
        """
        n_weight = sum(x.n_weight for x in (*self.layers, *self.left))
        n_mac = sum(x.n_mac for x in (*self.layers, *self.left))
        return {x.module: (x.n_weight / n_weight, x.n_mac / n_mac) for x in self.left}

    @property
    def sparsity(self) -> float:
        """Fraction of the weights of all layers that are pruned."""
        total = sum(layer.n_weight for layer in self.layers)
        return 1.0 - sum(layer.n_remaining for layer in self.layers) / total


def _frozen(values: np.ndarray, dtype: type) -> np.ndarray:
    """Return a read-only contiguous copy, so that no shared array is written to."""
    array = np.array(values, dtype=dtype, order="C")
    array.setflags(write=False)
    return array
