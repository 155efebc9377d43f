"""The table [foundry]: a bank of a foundry's devices, in a file, in a study and read back."""

import json

import pytest
from foundry_models import models_of

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
        ('source = "given"\nr_word = 5.2\nr_bit = 1.8', 'source = "drawn"', "state the wires"),
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
