"""The table [foundry]: a bank of a foundry's devices, in a file, in a study and read back."""

import json
from pathlib import Path

import pytest
from foundry_models import models_of, rules_of

from approx import approx
from crossbar_sim.config import ConfigError, RunConfig, load_config
from crossbar_sim.config.study import with_values
from crossbar_sim.foundry.measured import measured

TEXT = """
name = "sky"

[foundry]
technology = "sky130"
resistor = "high_po"
lengths = [1e-6, 7e-6]
v_max = 0.2

[wires]
source = "given"
r_word = 5.2
r_bit = 1.8
"""


#: The end of TEXT, and in its place a switch that is not drawn, with the wires of the drawn cell.
WIRES = 'v_max = 0.2\n\n[wires]\nsource = "given"\nr_word = 5.2\nr_bit = 1.8'
SWITCH = 'v_max = 0.2\nswitch = "gate"\n[wires]\nsource = "drawn"'

ROOT = Path(__file__).parents[3]


@pytest.fixture
def path(tmp_path):
    (tmp_path / "run.toml").write_text(TEXT, encoding="utf-8")
    return tmp_path / "run.toml"


def test_the_bank_of_a_run_is_that_of_the_foundry(path):
    models_of("sky130")
    config = load_config(path)
    found = measured(config.foundry)
    assert config.bank.r_nominal == approx(found.r, rel=1e-15)
    assert config.bank.sigma_local == approx(tuple(found.sigma), rel=1e-15)
    assert config.bank.r_on == found.r_on
    assert config.bank.meter_error == 0.001, "the rest is as [bank] says"


def test_the_area_and_wires_are_those_of_the_foundrys_cell(path):
    models_of("sky130")
    config = load_config(path)
    cell = config.cell()
    assert config.hardware.wires.r_word == 5.2, "stated"
    assert [branch.length for branch in cell.branches[0]] == [1000, 7000]
    assert cell.area == approx(cell.width * cell.height * 1e-18, rel=1e-12)
    drawn = with_values(config, {"wires": {"source": "drawn"}})
    assert drawn.hardware.wires.r_word == approx(0.125 * cell.width * 1e-3, rel=1e-9)
    assert drawn.hardware.wires.r_bit == approx(0.047 * cell.height * 1e-3, rel=1e-9)
    wider = with_values(drawn, {"geometry.word_width": 2e-6})
    assert wider.hardware.wires.r_word == approx(drawn.hardware.wires.r_word / 2, rel=1e-9)
    assert with_values(config, {"foundry.switch": "gate"}).cell() is None, "is not drawn"


def test_a_cell_without_the_foundrys_rules_has_no_area(monkeypatch, tmp_path):
    models_of("ihp-sg13g2")
    rules_of("ihp-sg13g2")
    config = load_config(ROOT / "examples" / "foundry" / "digits_ihp.toml")
    assert config.cell().area == approx(20.76e-6 * 126.4e-6, rel=0.2)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("PDK_ROOT", raising=False)
    assert config.cell() is None


def test_a_kept_configuration_needs_no_models(path, monkeypatch, tmp_path):
    models_of("sky130")
    config = load_config(path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    monkeypatch.delenv("PDK_ROOT", raising=False)
    again = RunConfig.model_validate_json(json.dumps(config.as_json()))
    assert again == config
    assert again.digest == config.digest
    with pytest.raises(ConfigError, match=r"the models of sky130 are not in .*scripts/foundry\.sh"):
        load_config(path)


def test_a_study_over_corners_has_the_bank_of_each(path):
    models_of("sky130")
    config = load_config(path)
    high = with_values(config, {"foundry.corner": "high", "bank.meter_error": 0.01})
    assert (high.bank.r_nominal > 1.1 * config.bank.r_nominal).all()
    assert high.bank.r_nominal == approx(measured(high.foundry).r, rel=1e-15)
    assert high.bank.meter_error == 0.01


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("[bank]\nn = 2", r"bank\.n follows from \[foundry\]; leave out n of \[bank\]"),
        ("[bank]\nr_on = 5.0\ntemperature = 310.0", r"bank\.r_on follows .* r_on, temperature"),
        ("[geometry]\n", None),
    ],
)
def test_keys_that_the_models_give_are_refused(path, more, told):
    models_of("sky130")
    path.write_text(f"{TEXT}\n{more}\n", encoding="utf-8")
    if told is None:
        assert load_config(path).bank.n == 2
        return
    with pytest.raises(ConfigError, match=told):
        load_config(path)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"sky130"', '"tsmc"', r"foundry\.technology: must be 'sky130' or 'ihp-sg13g2'"),
        ('"high_po"', '"rhigh"', "expected a resistor of sky130, high_po, xhigh_po; got 'rhigh'"),
        ("v_max = 0.2", "v_max = 1.5", r"leave the supply of sky130, 0 … 1\.8 V"),
        ("v_max = 0.2", 'corner = "tt"', r"foundry\.corner: must be 'typical'"),
        ("v_max = 0.2", "colour = 1", "foundry"),
        (WIRES, SWITCH, "state the wires"),
        ("[wires]", '[geometry]\nprogramming = "via"\n[wires]', "via. draws no transistors"),
        ("lengths = [1e-6, 7e-6]", "", "foundry"),
        ("[wires]", "[life]\ntemperature = 350.0\n[wires]", r"give foundry\.temperature"),
    ],
)
def test_devices_that_do_not_exist_are_refused(path, old, new, told):
    models_of("sky130")
    assert old in TEXT
    path.write_text(TEXT.replace(old, new), encoding="utf-8")
    with pytest.raises(ConfigError, match=told):
        load_config(path)


def test_how_devices_are_solved_is_only_asked_where_there_are_some():
    with pytest.raises(ValueError, match=r"simulation\.devices = .lines. is about the devices of"):
        RunConfig.model_validate({"name": "plain", "simulation": {"devices": "lines"}})


def test_hardware_has_curves_or_straight_lines(path):
    models_of("sky130")
    config = load_config(path)
    assert config.hardware.devices == config.foundry
    assert config.ideal_hardware.devices is None
    assert with_values(config, {"simulation.devices": "lines"}).hardware.devices is None


def test_a_read_voltage_that_devices_were_not_asked_for_is_refused(path):
    models_of("sky130")
    with pytest.raises(ConfigError, match=r"v_max, 0\.2 V, must be at least periphery\.v_read"):
        with_values(load_config(path), {"periphery.v_read": 0.25})
