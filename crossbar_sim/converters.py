"""Converters between numbers and voltages."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Converters:
    """DAC on every word line, ADC on every pair of bit lines.

    v_read: voltage of the largest input [V]. dac_bits, adc_bits: resolution, or None for ideal
    converters. An input range is unsigned where calibration saw no negative input; an ADC's range
    is symmetric.
    """

    v_read: float = 0.2
    dac_bits: int | None = None
    adc_bits: int | None = None

    def __post_init__(self) -> None:
        if not self.v_read > 0:
            raise ValueError(f"v_read must be > 0 volts; got {self.v_read}")
        for name in ("dac_bits", "adc_bits"):
            bits = getattr(self, name)
            if bits is not None and not 1 <= bits <= 24:
                raise ValueError(f"{name} must be 1 … 24, or None for an ideal one; got {bits}")


def quantise(x: torch.Tensor, bits: int | None, limit: float, *, signed: bool) -> torch.Tensor:
    """Round to the levels of a converter over 0 … limit, or -limit … limit when signed.

    Values beyond the range saturate, as in hardware. bits None only saturates.
    """
    low = -limit if signed else 0.0
    x = x.clamp(low, limit)
    if bits is None:
        return x
    # A signed converter keeps a level at zero, at the price of one level of its 2^bits.
    step = 2 * limit / max(2**bits - 2, 1) if signed else limit / (2**bits - 1)
    return (x / step).round() * step
