"""Converters between numbers and voltages, and their errors."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import ConfigDict

from tinynets.settings import TABLE, Flag, Positive, Seed, Share, check_fields, within

Drive = Literal["bipolar", "two-phase"]
Inputs = Literal["analog", "bit-serial"]

#: Waves in the error curve of a converter; more would make it rougher, not higher.
_N_WAVE = 4


@dataclass(frozen=True)
class Converters:
    """DAC on every input of a layer, ADC on every pair of bit lines; ideal by default.

    Their errors are drawn as `Errors` says.
    """

    __pydantic_config__: ClassVar[ConfigDict] = TABLE

    v_read: Annotated[float, within(1e-6, 1000)] = 0.2
    """Voltage of the largest input [V]."""
    dac_bits: Annotated[int, within(1, 24)] | None = None
    """Resolution of the DAC [bits]; none for no rounding."""
    adc_bits: Annotated[int, within(1, 24)] | None = None
    """Resolution of the ADC [bits]; none for no rounding."""
    dac_range: Positive | None = None
    """Largest input [the layer's own units]; none for the largest of the range images. It is
    unsigned where those images give no negative input."""
    adc_range: Positive | None = None
    """Largest difference of two outputs, of either sign [V]; none for the largest of the range
    images."""
    drive: Drive = "bipolar"
    """How signed inputs reach the word lines: "bipolar", as voltages of both signs, or "two-phase",
    the positive part first, then the negative part, subtracted digitally; each phase has all
    dac_bits."""
    inputs: Inputs = "analog"
    """"analog", one voltage for each input, or "bit-serial", one pulse of 0 or v_read for each bit
    of its magnitude, weighted digitally after the ADC."""
    auto_zero: Flag = False
    """Measure once what the ADCs report at zero input, and always subtract it digitally."""
    dac_gain_sigma: Share = 0.0
    """Spread of the gain over DACs, as a fraction of the gain."""
    dac_offset_sigma: Share = 0.0
    """Spread of the offset over DACs [V]."""
    dac_inl: Share = 0.0
    """Largest deviation of each DAC from its straight line (integral non-linearity), as a fraction
    of full scale."""
    adc_gain_sigma: Share = 0.0
    """Spread of the gain over ADCs, as a fraction of the gain."""
    adc_offset_sigma: Share = 0.0
    """Spread of the offset over ADCs [V]."""
    adc_inl: Share = 0.0
    """Largest deviation of each ADC from its straight line (integral non-linearity), as a fraction
    of full scale."""
    seed: Seed = 0
    """Random seed of the converters' errors."""

    def __post_init__(self) -> None:
        check_fields(self)
        if self.inputs == "bit-serial" and (self.dac_bits or 0) < 2:
            raise ValueError(f"bit-serial inputs need dac_bits of 2 … 24; got {self.dac_bits}")

    @property
    def measures(self) -> bool:
        """Whether an ADC changes its input, and so needs a range."""
        errs = self.adc_gain_sigma or self.adc_offset_sigma or self.adc_inl
        return bool(self.adc_bits or self.adc_range or errs)

    @property
    def half_step(self) -> float:
        """Half a step of the ADC as a fraction of its range; for an ideal one, of 24 bits."""
        return 2.0 ** -((self.adc_bits or 24) + 1)

    @property
    def drive_bits(self) -> int | None:
        """Bits that a DAC converts at once: one where inputs come as pulses, bit by bit."""
        return 1 if self.inputs == "bit-serial" else self.dac_bits

    def dac_errors(self, n: int, label: str) -> "Errors":
        """Return the errors of the n DACs of a layer."""
        offset = self.dac_offset_sigma / self.v_read
        return _draw(n, self.dac_gain_sigma, offset, self.dac_inl, self._stream("dac", label))

    def adc_errors(self, n: int, label: str, limit: float) -> "Errors":
        """Return the errors of the n ADCs of a tile, of range -limit … limit [V]."""
        offset = self.adc_offset_sigma / limit
        return _draw(n, self.adc_gain_sigma, offset, self.adc_inl, self._stream("adc", label))

    def _stream(self, kind: str, label: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, *f"{kind} {label}".encode()])


@dataclass(frozen=True)
class Errors:
    """Errors of n converters, as fractions of full scale.

    The non-linearity is smooth, a sum of sin(pi k u) over k = 1 … 4 with random amplitudes, scaled
    to the stated largest deviation over the range. It is zero at zero and at both ends, as after
    the end points of a converter are trimmed.

    gain, offset: (n,).
    bend: (n, 4), amplitudes of the non-linearity.
    """

    gain: torch.Tensor
    offset: torch.Tensor
    bend: torch.Tensor

    @property
    def is_straight(self) -> bool:
        """Whether there is no non-linearity."""
        return not bool(self.bend.any())

    @property
    def are_none(self) -> bool:
        """Whether there are no errors at all."""
        return self.is_straight and not bool(self.gain.any() or self.offset.any())

    @staticmethod
    def joined(parts: Sequence["Errors"]) -> "Errors":
        """Return the errors of several groups of converters as those of one."""
        names = ("gain", "offset", "bend")
        return Errors(*(torch.cat([getattr(part, name) for part in parts]) for name in names))

    def apply(self, u: torch.Tensor, dim: int = -1) -> torch.Tensor:
        """Return the output of the converters for inputs u, where 1 is full scale.

        u: (..., n, ...) with the converters in dimension dim.
        """
        gain, offset, bend = (part.to(u) for part in (self.gain, self.offset, self.bend))
        wrong = u * (1.0 + broadcast(gain, u, dim)) + broadcast(offset, u, dim)
        if not self.is_straight:
            for k in range(_N_WAVE):
                wave = torch.sin(math.pi * (k + 1) * u.clamp(-1, 1))
                wrong = wrong + broadcast(bend[:, k], u, dim) * wave
        return wrong


def broadcast(values: torch.Tensor, like: torch.Tensor, dim: int = 1) -> torch.Tensor:
    """Return values (n,) shaped to lie along one dimension of another tensor."""
    shape = [1] * like.ndim
    shape[dim] = -1
    return values.reshape(shape)


def _draw(n: int, gain: float, offset: float, inl: float, rng: np.random.Generator) -> Errors:
    g, o, bend = rng.normal(size=n), rng.normal(size=n), rng.normal(size=(n, _N_WAVE))
    u = np.linspace(0.0, 1.0, 501)
    waves = np.sin(np.pi * np.outer(np.arange(1, _N_WAVE + 1), u))
    bend *= inl / np.abs(bend @ waves).max(axis=1, keepdims=True)
    return Errors(*(torch.from_numpy(a).float() for a in (gain * g, offset * o, bend)))


def quantise(x: torch.Tensor, bits: int | None, limit: float, *, signed: bool) -> torch.Tensor:
    """Round to the levels of a converter over 0 … limit, or -limit … limit when signed.

    A signed converter has a level at zero, so one of its 2^bits levels is unused. With one bit it
    only has the levels -limit and limit. Values beyond the range saturate, as in hardware. Without
    bits (None), values only saturate. Gradients pass as if nothing were rounded.
    """
    low = -limit if signed else 0.0
    x = x.clamp(low, limit)
    if bits is None:
        return x
    if signed and bits == 1:
        return x + (torch.where(x < 0, -limit, limit) - x).detach()
    step = limit / (2 ** (bits - signed) - 1)
    if x.requires_grad:
        return x + ((x / step).round() * step - x).detach()
    return x.div_(step).round_().mul_(step)


def passes(
    x: torch.Tensor, converters: Converters, limit: float, *, signed: bool
) -> list[tuple[float, torch.Tensor]]:
    """Return the passes that read inputs x: a digital weight, and drives of -1 … 1 like x.

    The sum of weight * drive over the passes is x / limit, rounded by the DACs.
    """
    phases = [(1.0, x)]
    if signed and converters.drive == "two-phase":
        phases, signed = [(1.0, x.clamp(min=0)), (-1.0, (-x).clamp(min=0))], False
    planes = []
    for sign, part in phases:
        drive = quantise(part, converters.dac_bits, limit, signed=signed) / limit
        if converters.inputs == "analog":
            planes.append((sign, drive))
            continue
        assert converters.dac_bits is not None
        n_plane = converters.dac_bits - signed
        planes += [(sign * weight, plane) for weight, plane in _planes(drive, n_plane)]
    return planes


def _planes(drive: torch.Tensor, n_plane: int) -> list[tuple[float, torch.Tensor]]:
    """Return the bits of a magnitude, the least significant first, with the sign of the drive."""
    largest = 2**n_plane - 1
    code = (drive.abs() * largest).round().long()
    return [(2**k / largest, drive.sign() * ((code >> k) & 1)) for k in range(n_plane)]


def n_pass(converters: Converters, *, signed: bool) -> int:
    """Return how many times a layer's tiles are read, and its ADCs convert, for one product."""
    two = signed and converters.drive == "two-phase"
    if converters.inputs == "analog":
        return 1 + two
    assert converters.dac_bits is not None
    return 2 * converters.dac_bits if two else converters.dac_bits - signed
