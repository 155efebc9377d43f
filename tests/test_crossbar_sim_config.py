"""Configurations: every mistake is one line that names file, key, value and what is allowed."""

from pathlib import Path

import pytest

from approx import approx
from crossbar_sim.config import ConfigError, RunConfig, load_config
from netlists import Wires

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("digits*.toml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_examples_are_valid(path):
    config = load_config(path)
    assert config.name == path.stem
    assert config.bank.build().n == config.bank.n
    quick = config.made_quick()
    assert quick.simulation.n_image < config.simulation.n_image
    assert quick.digest != config.digest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "key 'name' is missing"),
        ('name = "a"\nbogus = 1', "unknown key 'bogus'"),
        ('name = "a"\n[bank]\nr_minn = 1', "unknown key 'bank.r_minn'"),
        ('name = "a"\n[bank]\nr_min = -5', "bank.r_min = -5: must be greater than 0"),
        ('name = "a"\n[bank]\nr_min = "x"', "bank.r_min = 'x': must be a valid number"),
        ('name = "a"\n[bank]\nn = 0', "bank.n = 0: must be greater than or equal to 1"),
        ('name = "a"\n[bank]\nladder = "funny"', "ladder must be one of"),
        ('name = "a"\n[bank]\nr_off = 10.0', "r_off must be"),
        ('name = "a"\n[bank]\nr_off = inf', "bank.r_off = inf"),
        ('name = "a"\n[prune]\nsparsity = 1.5', "prune.sparsity = 1.5: must be less than 1"),
        ('name = "a"\n[simulation]\nn_image = 0', "simulation.n_image = 0: must be greater"),
        ('name = "a"\n[wires]\nr_word = -1.0', "wires.r_word = -1.0"),
        (
            'name = "a"\n[wires]\nsource = "given"\nr_word = 1.0\nr_bit = 1e-9',
            "r_bit must be 0 .ideal. or",
        ),
        ('name = "a"\n[model]\nkind = "lstm"', "'lstm': must be 'mlp', 'cnn' or 'lenet5'"),
        ('name = "../up"', "name = '../up'"),
        ('name = "a"\n[energy]\nadc_case = "typical"', "'envelope', 'lower quartile' or 'median'"),
        ('name = "a"\n[periphery]\nr_input = 1e-9', "r_input must be"),
        ('name = "a"\n[periphery]\ninputs = "magic"', "must be 'analog' or 'bit-serial'"),
        ('name = "a"\n[geometry]\nfilm = "tin"', "must be 'sky130_high_po' or"),
        ('name = "a"\n[geometry]\nword_width = 1.0', "word_width must be"),
        ('name = "a"\n[wires]\nr_word = 1.0', "r_word given, but source is 'drawn'"),
        ('name = "a"\n[wires]\nsource = "thin"\nc_bit = 0.0', "c_bit given, but source is 'thin'"),
        ('name = "a"\n[wires]\nsource = "given"\nr_word = 1.0', "needs r_word and r_bit"),
        ('name = "a"\n[bank]\nr_min = 1e3', "this bank cannot be drawn: a resistor of 1000 ohm"),
        (
            'name = "a"\n[wires]\nsource = "given"\nr_word = 1.0\nr_bit = 1.0\n'
            '[energy]\nt_read = "settling"',
            "nothing takes time",
        ),
        ('name = "a"\n[model]\nkind = "lenet5"', "takes 28 × 28 images; got data 'digits'"),
        ('name = "a"\n[prune]\nbits = 1', "bits must be 0"),
        ('name = "a"\n[noise]\nbandwidth = -1', "noise.bandwidth = -1"),
        ("name = ", "not valid TOML"),
    ],
)
def test_mistakes(tmp_path, text, message):
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_several_mistakes_are_counted(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('name = "a"\nx = 1\ny = 2')
    with pytest.raises(ConfigError, match=r"\(and 1 more\)"):
        load_config(path)


def test_missing_file_and_binary_file(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "none.toml")
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_config(tmp_path / "b.toml")


def test_the_digest_names_the_settings():
    a = RunConfig(name="a")
    assert a.digest == RunConfig(name="a").digest
    assert a.digest != RunConfig(name="a", seed=2).digest


def settings(**tables):
    return RunConfig.model_validate({"name": "a", **tables})


def test_wires_and_area_are_those_of_the_drawn_cell():
    config = settings(wires={"r_driver": 7.0})
    wires, cell = config.build_wires(), config.cell()
    assert wires.r_driver == 7.0
    # A cell of 41.4 x 38.0 um, word line of met1 and bit line of met3, both 1 um wide.
    assert cell.area == approx(41.4e-6 * 38.0e-6)
    assert wires.r_word == approx(0.125 * 41.4)
    assert wires.r_bit == approx(0.047 * 38.0)
    assert wires.c_word == approx(0.2e-15 * 41.4 / 0.14)
    assert wires.c_bit == approx(0.2e-15 * 38.0 / 0.3)
    larger = settings(bank={"n": 9})
    assert larger.build_wires().r_word > 2 * wires.r_word
    assert larger.cell().area > 4 * cell.area
    wide = settings(geometry={"word_width": 2e-6}).build_wires()
    assert wide.r_word == approx(wires.r_word / 2)
    assert wide.c_word == approx(wires.c_word * 2)
    assert settings(geometry={"programming": "via"}).cell().area < cell.area


def test_wires_may_be_given_or_thin():
    given = {"source": "given", "r_word": 2.0, "r_bit": 0.0, "c_bit": 3e-15}
    assert settings(wires=given).build_wires() == Wires(2.0, 0.0, 0.0, 0.0, 3e-15)
    thin = settings(wires={"source": "thin", "r_driver": 5.0}).build_wires()
    assert thin == Wires(1.0, 1.0, 5.0, 7e-15, 7e-15)


def test_a_bank_that_cannot_be_drawn_has_given_wires_and_no_area():
    parts = {"r_min": 1e3, "r_on": 10.0}
    wires = {"source": "given", "r_word": 0.1, "r_bit": 0.1}
    assert settings(bank=parts, wires=wires).cell() is None


def test_the_read_time_is_given_or_that_of_settling():
    fixed = RunConfig.model_validate({"name": "a", "energy": {"t_read": 5e-9}})
    assert fixed.energy.build(1e-9).t_read == 5e-9
    slow = {"name": "a", "energy": {"t_read": "settling"}, "periphery": {"gbw": 1e8}}
    assert RunConfig.model_validate(slow).energy.build(1e-9).t_read == 1e-9
