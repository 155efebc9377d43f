"""The arrays of the golden set, as README.md beside this file defines them."""

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from netlists.circuit import Circuit, Grid, Periphery, Wires
from tinynets.files.npz import read_npz

#: Version of the file format, the file, and the SHA-256 of what it holds; see `digest`.
VERSION = 1
FILE = Path(__file__).with_name("golden.npz")
SHA256 = "f316fa03f558bfa9aec2b0735e9568435b30a3eb49655a87951fc6360cfbd002"

#: Columns of a file: the type of each, and what it has one entry for.
PER_ARRAY = {
    "kind": "<U20",
    "n_word": "<i4",
    "n_bit": "<i4",
    "n_side": "<i4",
    "n_vector": "<i4",
    "r_word": "<f8",
    "r_bit": "<f8",
    "r_driver": "<f8",
    "r_feedback": "<f8",
    "r_input": "<f8",
    "gain": "<f8",
}
PER_NUMBER = {"ohm": "<f4", "v_in": "<f4", "v_offset": "<f4", "low": "<f8", "high": "<f8"}


@dataclass(frozen=True)
class GoldenArray:
    """One array; every number in it is meant exactly.

    name: its number in the set, such as "0042".
    kind: what it tries.
    ohm: resistance of the device between each word line and each bit line
        (n_side, n_word, n_bit) [ohm]; inf where there is none.
    v_in: voltages of the word lines (n_vector, n_word) [V].
    r_word, r_bit: resistance of a segment of a word line and of a bit line [ohm].
    r_driver: output resistance of the driver of a word line [ohm].
    r_feedback: feedback resistor of each amplifier [ohm].
    r_input: resistance between a bit line and its amplifier [ohm].
    gain: open-loop gain of the amplifiers; inf for a true virtual ground.
    v_offset: input offset voltage of each amplifier (n_line,) [V].
    low, high: the certified interval of each output current (n_vector, n_line) [A]. NaN in what a
        simulator under test is given.
    """

    name: str
    kind: str
    ohm: np.ndarray
    v_in: np.ndarray
    r_word: float
    r_bit: float
    r_driver: float
    r_feedback: float
    r_input: float
    gain: float
    v_offset: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def g(self) -> np.ndarray:
        """Conductances (n_side, n_word, n_bit) [S], rounded to doubles; 0 where no device is."""
        return 1.0 / self.ohm

    @property
    def n_line(self) -> int:
        """Number of bit lines: n_side * n_bit."""
        return self.ohm.shape[0] * self.ohm.shape[2]

    @property
    def r_tia(self) -> float:
        """Input resistance [ohm] of an amplifier: r_input + r_feedback / (1 + gain)."""
        return self.r_input + self.r_feedback / (1.0 + self.gain)

    @property
    def v_tia(self) -> np.ndarray:
        """Voltages (n_line,) [V] behind that resistance: v_offset * gain / (1 + gain)."""
        return self.v_offset - self.v_offset / (1.0 + self.gain)

    @property
    def scale(self) -> float:
        """The largest current of the array [A], which its errors are fractions of.

        1 pA where all currents are exactly zero.
        """
        return float(np.maximum(np.abs(self.low), np.abs(self.high)).max()) or 1e-12

    @property
    def is_ideal(self) -> bool:
        """True if drivers and amplifiers are ideal: only cells and wires have resistance."""
        return not (self.r_driver or self.r_tia or self.v_offset.any())

    def circuit(self) -> Circuit:
        """Return the circuit of this package; its cells may be off by a rounding of 1 / ohm."""
        wires = Wires(self.r_word, self.r_bit, self.r_driver)
        sides = ("",) if len(self.ohm) == 1 else ("_p", "_n")
        ends = _Amplifiers(
            r_feedback=self.r_feedback,
            tia_gain=self.gain,
            r_input=self.r_input,
            stated=tuple(self.v_offset.tolist()),
        )
        return Circuit(Grid(self.g, sides, wires), ends)

    def question(self) -> "GoldenArray":
        """Return the same without the answer, in arrays that cannot be written to."""
        unknown = np.full_like(self.low, math.nan)
        return replace(self, low=_fixed(unknown), high=_fixed(unknown))


@dataclass(frozen=True)
class _Amplifiers(Periphery):
    """Amplifiers whose offsets are stated one by one."""

    stated: tuple[float, ...] = ()

    def offsets(self, n_line: int) -> np.ndarray:
        return np.array(self.stated[:n_line])


def golden_arrays(kind: str | None = None, *, file: str | Path = FILE) -> list[GoldenArray]:
    """Return the arrays of the golden set.

    kind: of one kind alone, such as "finite gain"; all by default.
    file: of the set; that of this package by default.

    Raises ValueError for a file that is not the published one to the last bit, or an unknown kind.
    """
    columns = read_npz(file)
    version = columns.pop("version", np.array(0))
    if version.shape or int(version) != VERSION or set(columns) != {*PER_ARRAY, *PER_NUMBER}:
        raise ValueError(f"{file} is not a golden set of version {VERSION}; fetch it again")
    if digest(columns) != SHA256:
        raise ValueError(
            f"{file} has the SHA-256 {digest(columns)[:12]}…, expected {SHA256[:12]}…: it is "
            "damaged or was changed; fetch it again"
        )
    arrays = list(unpacked(columns))
    kinds = kinds_of(arrays)
    if kind is not None and kind not in kinds:
        raise ValueError(f"expected a kind of {', '.join(kinds)}; got {kind!r}")
    return [array for array in arrays if kind in (None, array.kind)]


def kinds_of(arrays: Iterable[Any]) -> list[str]:
    """Return the kinds of arrays, or of what has their kinds, in their order."""
    return list(dict.fromkeys(array.kind for array in arrays))


def digest(columns: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 of columns: names, types, shapes and numbers, however compressed."""
    found = hashlib.sha256()
    for name in sorted(columns):
        column = columns[name]
        found.update(f"{name} {column.dtype.str} {column.shape}\n".encode())
        found.update(np.ascontiguousarray(column).tobytes())
    return found.hexdigest()


def packed(arrays: list[GoldenArray]) -> dict[str, np.ndarray]:
    """Return the columns of a file."""
    columns = {}
    shapes = [(*array.ohm.shape, len(array.v_in)) for array in arrays]
    sizes = dict(zip(("n_side", "n_word", "n_bit", "n_vector"), np.array(shapes).T))
    for name, dtype in PER_ARRAY.items():
        column = sizes[name] if name in sizes else [getattr(array, name) for array in arrays]
        columns[name] = np.array(column, dtype)
    for name, dtype in PER_NUMBER.items():
        parts = [np.ravel(getattr(array, name)) for array in arrays]
        columns[name] = np.concatenate(parts).astype(dtype)
    return columns


def unpacked(columns: Mapping[str, np.ndarray]) -> Iterator[GoldenArray]:
    """Yield the arrays of the columns of a file."""
    start = dict.fromkeys(PER_NUMBER, 0)
    rows = zip(*(columns[name].tolist() for name in PER_ARRAY))
    for number, row in enumerate(rows):
        one = dict(zip(PER_ARRAY, row))
        n_word, n_bit, n_side, n_vector = (
            one.pop(name) for name in ("n_word", "n_bit", "n_side", "n_vector")
        )
        n_line = n_side * n_bit
        shapes = {
            "ohm": (n_side, n_word, n_bit),
            "v_in": (n_vector, n_word),
            "v_offset": (n_line,),
            "low": (n_vector, n_line),
            "high": (n_vector, n_line),
        }
        for name, shape in shapes.items():
            end = start[name] + math.prod(shape)
            part = columns[name][start[name] : end].astype(np.float64)
            one[name], start[name] = _fixed(part.reshape(shape)), end
        yield GoldenArray(name=f"{number:04d}", **one)


def _fixed(numbers: np.ndarray) -> np.ndarray:
    """Return numbers, which from now on cannot be written to."""
    numbers.flags.writeable = False
    return numbers
