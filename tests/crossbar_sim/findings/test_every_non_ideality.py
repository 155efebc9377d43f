"""Every field of the hardware is stated by a run's report and costs accuracy, or says why not."""

import warnings
from contextlib import suppress
from dataclasses import fields
from typing import Any

import pytest

from crossbar_sim import ConfigError, Converters, RunConfig
from crossbar_sim.config.run import checked
from crossbar_sim.findings.non_idealities import single_parts
from crossbar_sim.report.modelled import modelled
from mapping import ResistorBank
from netlists import Periphery, Wires

#: Hardware without errors; a bank with the age and the heat that other fields need so as to act.
PLAIN: dict[str, Any] = {
    "name": "plain",
    "bank": {"age": 1.0, "drift": 1e-3, "temperature": 320.0, "tc1": 1e-5},
    "wires": {"source": "given", "r_word": 0.0, "r_bit": 0.0},
    "periphery": {"tia_gain": float("inf"), "dac_bits": None, "adc_bits": None},
}
#: A field is switched on by the first of these that it takes and that changes it.
VALUES = (0.75, 7, 350.0, 1e8, True, "uniform", "binary", "two-phase", "bit-serial")
#: Needed by a value.
ALONG = {"inputs": {"dac_bits": 7}}

_CHOICE, _SEED = "the design, not an error of it", "which parts, not what they are"
_OF_SPREAD = "a bound of the spread that is stated"
_OF_HEAT = "stated as the temperature that it needs"
_RANGE = "what is beyond it is counted, as n_saturated"
#: Fields that a report's list of what is modelled does not show, and why.
NOT_LISTED = {
    **dict.fromkeys(("n", "ladder", "r_min", "ratio", "r_feedback", "v_read", "drive"), _CHOICE),
    **dict.fromkeys(("local_bound", "local_hole"), _OF_SPREAD),
    **dict.fromkeys(("tc1", "tc1_sigma", "tc2"), _OF_HEAT),
    **dict.fromkeys(("dac_range", "adc_range"), _RANGE),
    "seed": _SEED,
}
#: Fields of the hardware without a share in the table of costs, and why.
_SLOW = "time and energy, not accuracy"
COSTS_NOTHING = {
    **dict.fromkeys(("r_feedback", "v_read", "drive"), _CHOICE),
    **dict.fromkeys(("c_word", "c_bit", "gbw"), _SLOW),
    "auto_zero": "a correction, in the name of the offset that it corrects",
    "seed": _SEED,
}
#: Set by the run for every tile, never by its settings.
OF_THE_RUN = {"tile"}


def names_of(*parts: type) -> list[str]:
    return sorted({field.name for part in parts for field in fields(part)} - OF_THE_RUN)


HARDWARE = {"wires": names_of(Wires), "periphery": names_of(Periphery, Converters)}
PARTS = {"bank": names_of(ResistorBank), **HARDWARE}


def switched_on(table: str, name: str, **rest: Any) -> tuple[RunConfig, RunConfig]:
    """Return a run without a field, and the same run with it.

    rest: other tables.
    """
    before = PLAIN | rest | {table: PLAIN[table] | ALONG.get(name, {})}
    off = RunConfig.model_validate(before)
    for value in VALUES:
        raw = before | {table: before[table] | {name: value}}
        with suppress(ConfigError), warnings.catch_warnings(action="ignore"):
            on = checked(raw, RunConfig, "a test")
            if on != off:
                return off, on
    raise AssertionError(f"no value of VALUES switches {table}.{name} on; add one")


@pytest.mark.parametrize(("table", "name"), [(t, n) for t, names in PARTS.items() for n in names])
def test_a_report_lists_every_field_that_acts(table, name):
    off, on = switched_on(table, name, noise={"bandwidth": 1e6})
    assert (modelled(off) != modelled(on)) == (name not in NOT_LISTED)


@pytest.mark.parametrize(
    ("table", "name"), [(t, n) for t, names in HARDWARE.items() for n in names]
)
def test_every_field_of_the_hardware_has_a_share_in_the_costs(table, name):
    off, on = switched_on(table, name)
    assert (single_parts(off) != single_parts(on)) == (name not in COSTS_NOTHING)
