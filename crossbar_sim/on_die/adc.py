"""The ADCs of a layer: one for each pair of bit lines of its tiles, all with the same range."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from crossbar_sim.periphery.conversion import Errors, adc_errors, broadcast, quantise
from crossbar_sim.periphery.converters import Converters
from crossbar_sim.periphery.fused_drives import SLACK
from crossbar_sim.periphery.fused_reads import Each


class Adc:
    """The ADCs of a layer, by group of tiles.

    converters: their resolution and errors.
    groups: name and number of bit-line pairs of each tile, for each group that is read together.

    `v_limit` is the range [V], or None for ADCs that pass voltages on unchanged. `zeros` holds the
    report of each group at rest, which is subtracted digitally; it is empty if nothing is
    subtracted.
    """

    def __init__(self, converters: Converters, groups: Sequence[Sequence[tuple[str, int]]]) -> None:
        self.converters, self.groups = converters, groups
        self.zeros: list[torch.Tensor] = []
        self.errors: list[Errors] = []
        self._extremes: list[list[torch.Tensor]] | None = None
        self._each: tuple[list, Each] | None = None
        self.set_range(converters.adc_range)

    def set_range(self, v_limit: float | None) -> None:
        """Set the range [V], or None for ADCs that pass voltages on unchanged."""
        self.v_limit = v_limit
        # A file that is loaded for another device has its tensors there, so they say which it is.
        device = self.errors[0].gain.device if self.errors else torch.device("cpu")
        self.errors = [
            Errors.joined(
                [adc_errors(self.converters, n_bit, name, v_limit or 1.0) for name, n_bit in group]
            )
            for group in self.groups
        ]
        self.move(device)
        straight = all(errors.is_straight for errors in self.errors)
        self._flags = straight, not all(errors.are_none for errors in self.errors)

    def move(self, device: torch.device) -> None:
        """Move errors and zeros to a device."""
        self.errors = [errors.to(device) for errors in self.errors]
        self.zeros = [zeros.to(device) for zeros in self.zeros]

    @contextmanager
    def observing(self) -> Iterator[None]:
        """Pass all voltages on unchanged; then set the range to the largest one reported."""
        self._extremes = extremes = [[] for _ in self.groups]
        try:
            yield
        finally:
            self._extremes = None
        seen = [torch.stack(volts) for volts in extremes]
        self.set_range(max(float(v.abs().max()) for v in seen) or 1.0)
        reported = [self._with_errors(v, k) for k, v in enumerate(seen)]
        self.set_range(max(float(v.abs().max()) for v in reported) or 1.0)

    def read(self, volts: torch.Tensor, k: int) -> tuple[torch.Tensor, int]:
        """Return what the ADCs of group k report, with zeros subtracted, and how many saturated.

        volts: their inputs (n_vector, n_bit, ...) [V].
        """
        reported, n_saturated = self.report(volts, k)
        if self.zeros:
            reported = reported - broadcast(self.zeros[k].to(reported), reported)
        return reported, n_saturated

    def report(self, volts: torch.Tensor, k: int) -> tuple[torch.Tensor, int]:
        """Return the same without any subtraction."""
        if self._extremes is not None:
            inner = volts.detach().transpose(0, 1).flatten(1)
            ends = torch.aminmax(inner, dim=1)
            self._extremes[k] += [ends.min, ends.max]
            return volts, 0
        if self.v_limit is None:
            return volts, 0
        volts, n_saturated = self._with_errors(volts, k), 0
        low, high = torch.aminmax(volts.detach())
        if max(-low, high) > self.v_limit * (1 + SLACK):
            n_saturated = int((volts.abs() > self.v_limit * (1 + SLACK)).sum())
        return quantise(volts, self.converters.adc_bits, self.v_limit, signed=True), n_saturated

    @property
    def is_observing(self) -> bool:
        """Whether the range is being measured."""
        return self._extremes is not None

    @property
    def is_straight(self) -> bool:
        """Whether an ADC does nothing but scale, shift, clip and round to more than two levels."""
        if self._passes_on:
            return True
        return self.converters.adc_bits != 1 and self._flags[0]

    @property
    def has_errors(self) -> bool:
        """Whether gains and offsets of straight ADCs count."""
        return not self._passes_on and self._flags[1]

    def levels(self) -> tuple[float, float, float]:
        """Return limit, voltage that counts as beyond it, and step [V]; a step of 0 for none."""
        if self._passes_on:
            return math.inf, math.inf, 0.0
        assert self.v_limit is not None
        bits = self.converters.adc_bits
        step = self.v_limit / (2 ** (bits - 1) - 1) if bits else 0.0
        return self.v_limit, self.v_limit * (1 + SLACK), step

    def zeros_by(self, columns: np.ndarray, n_out: int) -> np.ndarray:
        """Return what is subtracted from the sums of a layer's outputs (n_out,) [V].

        columns: output of each pair of all groups.
        """
        if not self.zeros:
            return np.zeros(n_out)
        return np.bincount(columns, torch.cat(self.zeros).double().numpy(), minlength=n_out)

    def each(self, like: torch.Tensor) -> Each:
        """Return gains and offsets of all pairs, of a tensor's type."""
        state = [self.errors, like.dtype]
        if self._each is None or any(a is not b for a, b in zip(self._each[0], state)):
            gain, offset = (
                torch.cat([getattr(x, name).to(like) for x in self.errors]).numpy()
                for name in ("gain", "offset")
            )
            self._each = state, Each(1.0 + gain, offset)
        return self._each[1]

    def ends(self, kind: type) -> np.ndarray:
        """Return what extremes (2, n_pair) begin with while they are observed; else (2, 0)."""
        n_pair = sum(map(len, (errors.gain for errors in self.errors))) if self.is_observing else 0
        ends = np.full((2, n_pair), np.inf, kind)
        ends[1] *= -1
        return ends

    def observe(self, ends: np.ndarray) -> None:
        """Take note of the least and greatest inputs (2, n_pair) [V] of all pairs."""
        if self._extremes is not None:
            sizes = [sum(n_bit for _, n_bit in group) for group in self.groups]
            for of_group, both in zip(self._extremes, torch.from_numpy(ends).split(sizes, dim=1)):
                of_group += list(both)

    @property
    def _passes_on(self) -> bool:
        return self.is_observing or self.v_limit is None

    def _with_errors(self, volts: torch.Tensor, k: int) -> torch.Tensor:
        errors = self.errors[k]
        if errors.are_none:
            return volts
        assert self.v_limit is not None
        return errors.apply(volts / self.v_limit, dim=1) * self.v_limit
