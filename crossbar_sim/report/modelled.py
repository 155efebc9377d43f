"""Which non-idealities a run models; a new one gets a line in the table of its part."""

import numpy as np

from crossbar_sim.config import RunConfig
from crossbar_sim.report.formats import plain, si, small_percent

#: Non-idealities that no run models.
NEVER = ("slew rate", "1/f noise", "curvature of the switch")
#: Those whose size is the reciprocal of what people state, with its name and unit.
_RECIPROCAL = {
    "finite TIA gain (1/gain)": "finite TIA gain",
    "TIA output swing (1/V)": "TIA output swing [V]",
    "TIA gain-bandwidth (1/Hz)": "TIA gain-bandwidth [Hz]",
}
#: Those without a unit that are no fractions.
_NUMBERS = ("finite TIA gain", "DAC gain, offset, INL", "ADC gain, offset, INL")


def modelled(config: RunConfig) -> dict[str, list[str]]:
    """Return the non-idealities that a run has on, with their values, and those that are off."""
    values = terms(config)
    on = [f"{name}: {value:g}" for name, value in values.items() if value]
    off = [name for name, value in values.items() if not value]
    return {"on": [*on, *_more(config)], "off": [*off, *NEVER]}


def in_words(config: RunConfig) -> dict[str, list[str]]:
    """Return the same as `modelled` for people: percent, units with prefixes, no reciprocals."""
    values = terms(config)
    on = [_said(name, value) for name, value in values.items() if value]
    off = [_RECIPROCAL.get(name, name) for name, value in values.items() if not value]
    words = [name.partition(" [")[0] for name in off]
    return {"on": [*on, *_more(config)], "off": [*words, *NEVER]}


def _more(config: RunConfig) -> list[str]:
    """Return what has no size: devices, resolutions and corrections."""
    return [*_foundry(config), *_converters(config), *_corrections(config)]


def _said(name: str, value: float) -> str:
    """Return a non-ideality with its size: a fraction in percent, or in the unit in brackets."""
    value = 1.0 / value if name in _RECIPROCAL else value
    what, _, unit = _RECIPROCAL.get(name, name).rstrip("]").partition(" [")
    if what in _NUMBERS or unit in ("K", "h"):
        return f"{what}: {plain(value)} {unit}".rstrip()
    return f"{what}: {si(value, unit.replace('ohm', 'Ω')) if unit else small_percent(value)}"


def terms(config: RunConfig) -> dict[str, float]:
    """Return the size of every non-ideality by name; 0 where it is off."""
    return _bank(config) | _life(config) | _wires(config) | _periphery(config)


def _bank(config: RunConfig) -> dict[str, float]:
    bank = config.bank
    return {
        "lot spread of resistors": bank.sigma_lot,
        "gradient across the die": bank.sigma_gradient,
        f"local spread of resistors ({bank.distribution})": float(np.max(bank.sigma_local)),
        "meter error": bank.meter_error,
        "switch on-resistance [ohm]": bank.r_on,
        "spread of on-resistance": bank.sigma_on,
        "switch off-leakage [S]": 1.0 / bank.r_off,
        "temperature away from 300.15 K [K]": bank.temperature - 300.15,
        "stuck-open switches": bank.p_stuck_open,
        "stuck-closed switches": bank.p_stuck_closed,
        "age when selected [h]": bank.age,
    }


def _life(config: RunConfig) -> dict[str, float]:
    bank, life = config.bank, config.life
    drift = max(abs(bank.drift), bank.drift_sigma) if bank.age or life.age else 0.0
    return {
        "age [h]": life.age,
        "drift in 1,000 h, mean and spread": drift,
        "temperature at work away from 300.15 K [K]": (life.temperature or 300.15) - 300.15,
        "switches stuck open after selection": life.p_stuck_open,
        "switches stuck closed after selection": life.p_stuck_closed,
    }


def _wires(config: RunConfig) -> dict[str, float]:
    source, wires = config.wires.source, config.hardware.wires
    return {
        f"word-line wire ({source}) [ohm per segment]": wires.r_word,
        f"bit-line wire ({source}) [ohm per segment]": wires.r_bit,
        "driver resistance [ohm]": wires.r_driver,
        "word-line capacitance [F per segment]": wires.c_word,
        "bit-line capacitance [F per segment]": wires.c_bit,
    }


def _periphery(config: RunConfig) -> dict[str, float]:
    ends, noise = config.periphery, config.noise
    return {
        "finite TIA gain (1/gain)": 1.0 / ends.tia_gain,
        "TIA input resistance [ohm]": ends.r_input,
        "TIA offset of all [V]": ends.v_offset,
        "TIA offset, sigma [V]": ends.v_offset_sigma,
        "TIA output swing (1/V)": 1.0 / ends.v_swing,
        "TIA gain-bandwidth (1/Hz)": 1.0 / ends.gbw,
        "amplifier noise [V/√Hz]": ends.v_noise if noise.bandwidth else 0.0,
        "noise bandwidth [Hz]": noise.bandwidth,
        "DAC gain, offset, INL": max(ends.dac_gain_sigma, ends.dac_offset_sigma, ends.dac_inl),
        "ADC gain, offset, INL": max(ends.adc_gain_sigma, ends.adc_offset_sigma, ends.adc_inl),
    }


def _foundry(config: RunConfig) -> list[str]:
    """Return whose devices the resistors and switches are."""
    made = config.foundry
    if made is None:
        return []
    how = {
        "curves": "by the curves of the foundry's models; sensitivities, noise, settling and the "
        "comparison with ngspice as straight lines",
        "lines": "as straight lines",
    }
    fault = made.device.fault
    return [
        *([f"fault of the foundry's model of {made.resistor}: {fault}"] if fault else []),
        f"devices of {made.technology}: {made.resistor}, {made.switch} switch at the "
        f"{made.switch_at}, {made.corner} corner, {made.temperature:g} K; "
        f"{how[config.simulation.devices]}",
    ]


def _converters(config: RunConfig) -> list[str]:
    ends = config.periphery
    resolution = f"DAC {ends.dac_bits} bits, ADC {ends.adc_bits} bits, {ends.inputs} inputs"
    return [resolution, "auto-zero of the ADC"] if ends.auto_zero else [resolution]


def _corrections(config: RunConfig) -> list[str]:
    """Return what is done against the non-idealities.

    Digital fits and training leave no trace in the netlists of a run, so their names say so.
    """
    tune, life, rounds = config.tune, config.life, config.calibrate.rounds
    applied = {
        f"switches chosen against the wires, {rounds} rounds": rounds,
        f"repair after the die's life, within {life.tolerance:g}": life.repair,
        f"gain and offset of outputs fitted on {tune.n_output} training images, digitally, in no "
        "netlist": tune.n_output,
        f"digital parameters trained through the die, {tune.epochs} epochs, in no "
        "netlist": tune.epochs,
    }
    return [name for name, value in applied.items() if value]
