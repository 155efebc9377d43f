"""What converters do to numbers, in torch: rounding, errors, and the passes of a product."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import torch

from crossbar_sim.periphery.converters import Converters
from crossbar_sim.periphery.fused_drives import SLACK

#: Waves in the error curve of a converter; more would make it rougher, not higher.
_N_WAVE = 4


@dataclass(frozen=True)
class Errors:
    """Errors of n converters, as fractions of full scale.

    The non-linearity is smooth, a sum of sin(pi k u) over k = 1 … 4 with random amplitudes, scaled
    to the stated largest deviation over the range. It is zero at zero and at both ends, as after
    the end points of a converter are trimmed.

    gain, offset: (n,); these two come first, since they alone leave a converter straight.
    bend: (n, 4), amplitudes of the non-linearity.
    """

    gain: torch.Tensor
    offset: torch.Tensor
    bend: torch.Tensor

    @cached_property
    def is_straight(self) -> bool:
        """Whether there is nothing but gains and offsets."""
        return not any(self._has(field.name) for field in fields(self)[2:])

    @cached_property
    def are_none(self) -> bool:
        """Whether there are no errors at all."""
        return not any(self._has(field.name) for field in fields(self))

    def _has(self, name: str) -> bool:
        return bool(getattr(self, name).any())

    def to(self, device: torch.device) -> "Errors":
        """Return the same errors on a device."""
        return Errors(*(getattr(self, field.name).to(device) for field in fields(self)))

    @staticmethod
    def joined(parts: Sequence["Errors"]) -> "Errors":
        """Return the errors of several groups of converters as those of one."""
        names = (field.name for field in fields(Errors))
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


def dac_errors(converters: Converters, n: int, label: str) -> Errors:
    """Return the errors of the n DACs of a layer."""
    offset = converters.dac_offset_sigma / converters.v_read
    rng = _stream(converters, "dac", label)
    return _draw(n, converters.dac_gain_sigma, offset, converters.dac_inl, rng)


def adc_errors(converters: Converters, n: int, label: str, limit: float) -> Errors:
    """Return the errors of the n ADCs of a tile, of range -limit … limit [V]."""
    offset = converters.adc_offset_sigma / limit
    rng = _stream(converters, "adc", label)
    return _draw(n, converters.adc_gain_sigma, offset, converters.adc_inl, rng)


def _stream(converters: Converters, kind: str, label: str) -> np.random.Generator:
    return np.random.default_rng([converters.seed, *f"{kind} {label}".encode()])


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
    if x.requires_grad:
        # What is beyond by rounding alone has a gradient: a range is often that of what was seen.
        near = x.clamp(low * (1 + SLACK), limit * (1 + SLACK))
        x = near + (x.clamp(low, limit) - near).detach()
    else:
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
