"""The settings as a report lists them, and the file that does the same run again."""

from pathlib import Path

import pytest

from crossbar_sim.config import RunConfig, load_config
from crossbar_sim.config.schema import run_toml
from crossbar_sim.report.modelled import in_words, modelled
from crossbar_sim.report.settings import command, setting_rows

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("name", ["runs/digits", "runs/own_network", "published/hermes"])
def test_a_run_is_written_and_read_back_as_itself(tmp_path, name):
    config = load_config(ROOT / "examples" / f"{name}.toml", trust=True)
    (tmp_path / "settings.toml").write_text(run_toml(config))
    assert load_config(tmp_path / "settings.toml", trust=True).as_json() == config.as_json()


def test_settings_that_differ_come_first_with_their_units():
    given = {"name": "a", "periphery": {"v_noise": 1e-8, "auto_zero": True}, "seed": 3}
    rows = setting_rows(RunConfig.model_validate(given))
    changed = {row["key"]: (row["value"], row["default"]) for row in rows["changed"]}
    assert changed == {
        "seed": ("3", "1"),
        "periphery.v_noise": ("10 nV/√Hz", "0 V/√Hz"),
        "periphery.auto_zero": ("yes", "no"),
    }
    rest = {row["key"]: row for row in rows["rest"]}
    assert rest["bank.r_min"]["value"] == "100 kΩ"
    assert rest["periphery.gbw"]["value"] == "infinite"
    assert all(row["meaning"] for row in [*rows["changed"], *rows["rest"]])


def test_what_is_modelled_is_said_without_reciprocals_or_e_notation():
    ends = {"tia_gain": 1e4, "v_swing": 1.0, "gbw": 1e8, "v_noise": 1e-8}
    given = {"name": "a", "periphery": ends, "noise": {"bandwidth": 2e7}}
    given["bank"] = {"drift": 0.01, "age": 10.0}
    said = in_words(RunConfig.model_validate(given))
    expected = {
        "finite TIA gain: 10,000",
        "TIA output swing: 1 V",
        "TIA gain-bandwidth: 100 MHz",
        "amplifier noise: 10 nV/√Hz",
        "age when selected: 10 h",
        "local spread of resistors (normal): 5.0 %",
    }
    assert expected <= set(said["on"])
    assert "TIA offset of all" in said["off"]
    assert len(said["off"]) == len(modelled(RunConfig.model_validate(given))["off"])


def test_the_command_says_whether_python_must_be_trusted():
    runs = ROOT / "examples" / "runs"
    assert command(load_config(runs / "digits.toml")) == "crossbar-sim run settings.toml"
    own = load_config(runs / "own_network.toml", trust=True)
    assert command(own) == "crossbar-sim run settings.toml --trust"


def test_objects_given_in_python_have_no_command(finished):
    page = (finished / "report.html").read_text()
    assert "<code>crossbar_sim.simulate</code> does the run again" in page
