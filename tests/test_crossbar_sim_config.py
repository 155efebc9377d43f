"""Configurations: every mistake is one line that names file, key, value and what is allowed."""

from pathlib import Path

import pytest

from crossbar_sim.config import ConfigError, RunConfig, load_config

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
        ('name = "a"\n[wires]\nr_bit = 1e-9', "r_bit must be 0 .ideal. or"),
        ('name = "a"\n[model]\nkind = "lstm"', "'lstm': must be 'mlp', 'cnn' or 'lenet5'"),
        ('name = "../up"', "name = '../up'"),
        ('name = "a"\n[periphery]\nadc_bits = 12', "no typical ADC of 12 bits"),
        ('name = "a"\n[periphery]\ndac_bits = 7', "no DAC of 7 bits"),
        ('name = "a"\n[periphery]\nr_input = 1e-9', "r_input must be"),
        ('name = "a"\n[periphery]\ninputs = "magic"', "must be 'analog' or 'bit-serial'"),
        ('name = "a"\n[geometry]\nword_metal = "tin"', "word_metal must be one of"),
        ('name = "a"\n[energy]\nt_read = "settling"', "nothing takes time"),
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


def test_wires_follow_from_the_geometry_when_asked():
    given = RunConfig.model_validate({"name": "a", "wires": {"r_driver": 7.0}})
    shaped = RunConfig.model_validate(
        {"name": "a", "wires": {"r_driver": 7.0}, "geometry": {"wires": True}}
    )
    assert given.build_wires().r_word == 1.0
    wires = shaped.build_wires()
    assert wires.r_driver == 7.0
    assert 3 < wires.r_word < 10
    assert 1e-15 < wires.c_word < 1e-13
    larger = shaped.model_copy(update={"bank": shaped.bank.model_copy(update={"n": 9})})
    assert larger.build_wires().r_word > 2 * wires.r_word


def test_the_read_time_is_given_or_that_of_settling():
    fixed = RunConfig.model_validate({"name": "a", "energy": {"t_read": 5e-9}})
    assert fixed.energy.build(1e-9).t_read == 5e-9
    slow = {"name": "a", "energy": {"t_read": "settling"}, "periphery": {"gbw": 1e8}}
    assert RunConfig.model_validate(slow).energy.build(1e-9).t_read == 1e-9
