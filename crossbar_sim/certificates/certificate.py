"""A circuit, its node voltages, and what proves how far they are from the exact ones."""

from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from tinynets.files.drafts import new_file
from tinynets.files.npz import read_npz

#: Version of the file format.
VERSION = 1
#: Below this, a current is what rounding near the smallest doubles leaves of none [A].
_NO_CURRENT = 1e-200


@dataclass(frozen=True)
class Certificate:
    """What `crossbar_sim.certificates.checker` reads; the claims are `low` and `high`.

    tail, head: nodes (n_branch,) at the ends of each resistor; node 0 is ground.
    ohm: resistances (n_branch,) [ohm].
    inputs: nodes (n_word,) that are held at the input voltages.
    outputs: nodes (n_line,) at the ends of the bit lines.
    r_tia: resistance between an output node and its amplifier [ohm]; 0 if the node is held.
    t: voltages (n_line,) behind that resistance [V].
    volts: voltages (n_vector, n_node) that were computed [V].
    bound: by how much they may be off at most, at each node (n_node,) [V].
    line: of each node (n_node,) the bit line that it is on, or -1.
    low, high: the interval of each output current (n_vector, n_line) [A].

    The currents flow out of the bit lines into the amplifiers.
    """

    tail: np.ndarray
    head: np.ndarray
    ohm: np.ndarray
    inputs: np.ndarray
    outputs: np.ndarray
    r_tia: np.ndarray
    t: np.ndarray
    volts: np.ndarray
    bound: np.ndarray
    line: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def width(self) -> float:
        """The widest interval, as a fraction of the largest current."""
        largest = float(np.maximum(np.abs(self.low), np.abs(self.high)).max(initial=0.0))
        if largest < _NO_CURRENT:
            return 0.0
        return float((self.high - self.low).max(initial=0.0)) / largest

    def outside(self, i_out: np.ndarray) -> float:
        """Return how far currents (n_vector, n_line) [A] are from the intervals; 0 inside.

        As a fraction of the largest current.
        """
        beyond = float(np.maximum(self.low - i_out, i_out - self.high).max(initial=0.0))
        return beyond / float(np.abs(i_out).max()) if beyond else 0.0

    def save(self, path: Path) -> None:
        """Write it as npz."""
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        with new_file(path) as draft, draft.open("wb") as file:
            np.savez_compressed(file, version=np.array(VERSION), **arrays)

    @classmethod
    def load(cls, path: Path) -> "Certificate":
        """Read what `save` wrote; nothing is checked but the names. Raises ValueError."""
        arrays = read_npz(path)
        wanted = {field.name for field in fields(cls)} | {"version"}
        if set(arrays) != wanted or int(arrays.pop("version")) != VERSION:
            raise ValueError(f"{path} is not a certificate of version {VERSION}")
        return cls(**arrays)

    def with_claims(self, low: np.ndarray, high: np.ndarray) -> "Certificate":
        """Return the same with other intervals."""
        return replace(self, low=low, high=high)
