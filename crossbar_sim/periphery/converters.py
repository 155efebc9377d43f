"""Settings of the converters between numbers and voltages."""

from dataclasses import dataclass, fields
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict

from tinynets.settings import TABLE, Flag, Positive, Seed, Share, check_fields, within

Drive = Literal["bipolar", "two-phase"]
Inputs = Literal["analog", "bit-serial"]


@dataclass(frozen=True)
class Converters:
    """DAC on every input of a layer, ADC on every pair of bit lines; ideal by default.

    Their errors are drawn as `crossbar_sim.periphery.conversion.Errors` says.
    """

    __pydantic_config__: ClassVar[ConfigDict] = TABLE

    v_read: Annotated[float, within(1e-6, 1000)] = 0.2
    """Voltage of the largest input [V]."""
    dac_bits: Annotated[int, within(1, 24)] | None = None
    """Resolution of the DAC [bits]; "none" for no rounding, whose energy is not known."""
    adc_bits: Annotated[int, within(1, 24)] | None = None
    """Resolution of the ADC [bits]; "none" for no rounding, whose energy is not known."""
    dac_range: Positive | None = None
    """Largest input [the layer's own units]; "none" for the largest of the range images. It is
    unsigned where those images give no negative input."""
    adc_range: Positive | None = None
    """Largest difference of two outputs, of either sign [V]; "none" for the largest of the range
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
        return any(getattr(self, name) for name in fields_of("adc"))

    @property
    def half_step(self) -> float:
        """Half a step of the ADC as a fraction of its range; for an ideal one, of 24 bits."""
        return 2.0 ** -((self.adc_bits or 24) + 1)

    @property
    def drive_bits(self) -> int | None:
        """Bits that a DAC converts at once: one where inputs come as pulses, bit by bit."""
        return 1 if self.inputs == "bit-serial" else self.dac_bits


def fields_of(part: Literal["dac", "adc"]) -> tuple[str, ...]:
    """Return the names of the fields of the DACs or of the ADCs, which begin with theirs."""
    return tuple(field.name for field in fields(Converters) if field.name.startswith(f"{part}_"))


def n_pass(converters: Converters, *, signed: bool) -> int:
    """Return how many times a layer's tiles are read, and its ADCs convert, for one product."""
    two = signed and converters.drive == "two-phase"
    if converters.inputs == "analog":
        return 1 + two
    assert converters.dac_bits is not None
    return 2 * converters.dac_bits if two else converters.dac_bits - signed
