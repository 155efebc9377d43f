"""Configurations: every mistake is one line that names file, key, value and what is allowed."""

import datetime
import math
import random
import warnings
from dataclasses import fields, is_dataclass
from functools import reduce
from pathlib import Path
from types import NoneType
from typing import Any, ClassVar, get_args, get_origin, get_type_hints

import pytest
from pydantic import BaseModel

from approx import approx
from crossbar_sim.config import ConfigError, RunConfig, load_config
from crossbar_sim.config.run import checked
from crossbar_sim.config.study import load_study, with_values
from crossbar_sim.report.modelled import modelled
from mapping.bank import LadderGapWarning, NoEffectWarning
from netlists import Wires
from tinynets.pruning.methods import REGISTRY

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "key 'name' is missing"),
        ('name = "a"\nbogus = 1', "unknown key 'bogus'"),
        ('name = "a"\n[bank]\nr_minn = 1', "unknown key 'bank.r_minn'"),
        ('name = "a"\n[bank]\nr_min = -5', "bank.r_min = -5: must be greater than or equal to 1"),
        ('name = "a"\n[bank]\nr_min = "x"', "bank.r_min = 'x': must be a valid number"),
        ('name = "a"\n[bank]\nn = 0', "bank.n = 0: must be greater than or equal to 1"),
        ('name = "a"\n[bank]\nladder = "funny"', "ladder = .* must be one of"),
        ('name = "a"\n[bank]\nr_off = 10.0', "r_off must be"),
        ('name = "a"\n[prune]\nsparsity = 1.5', "prune.sparsity = 1.5: must be less than 1"),
        ('name = "a"\n[simulation]\nn_image = 0', "simulation.n_image = 0: must be greater"),
        ('name = "a"\n[wires]\nr_word = -1.0', "wires.r_word = -1.0"),
        (
            'name = "a"\n[wires]\nsource = "given"\nr_word = 1.0\nr_bit = 1e-9',
            "r_bit must be 0 .ideal. or",
        ),
        ('name = "a"\n[model]\nkind = "lstm"', "'lstm': must be 'mlp', 'cnn' or 'lenet5'"),
        ('name = "a"\n[data]\nsource = ""', "data.source = '': must be a name or a path; got ''"),
        ('name = "a"\n[network]\nweights = " "', "weights = ' ': must be a name or a path"),
        ('name = "../up"', "name = '../up'"),
        ('name = "a"\n[energy]\nadc_case = "typical"', "'envelope', 'lower quartile' or 'median'"),
        ('name = "a"\n[periphery]\nr_input = 1e-9', "r_input must be"),
        ('name = "a"\n[periphery]\ninputs = "magic"', "must be 'analog' or 'bit-serial'"),
        ('name = "a"\n[geometry]\nfilm = "tin"', "must be 'sky130_high_po' or"),
        ('name = "a"\n[geometry]\nword_width = 1.0', "word_width must be"),
        ('name = "a"\n[wires]\nr_word = 1.0', "r_word given, but source is 'drawn'"),
        ('name = "a"\n[periphery]\ntile = "t"', "periphery.tile is set for every tile of a run"),
        ('name = "a"\n[bank]\nn = 21', "bank.n must be at most 20; got 21"),
        ('name = "a"\n[tile]\nn_bit = 513', "tile.n_bit must be at most 512; got 513"),
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
        ('name = "a/b"', "name = 'a/b': must be 1 to 64 characters: letters"),
        ('name = "a"\n[bank]\nnn = 1', r"unknown key 'bank.nn'; did you mean 'bank.n'\?"),
        ('name = "a"\n[bank]\nnn = 1', "known here: n, ladder, r_min, ratio"),
        ('name = "a"\nbnak = 1', r"did you mean 'bank'\?; known here: name, seed, data"),
        (
            'name = "a"\nbase = "b"',
            "expected a run; got a study, since it has a key 'base'; use `crossbar-sim study`",
        ),
        ('name = "a"\n[simulation]\nn_image = true', "n_image = True: must be a valid integer"),
        ('name = "a"\n[life]\np_stuck_open = true', "p_stuck_open = True: must be a valid number"),
        ('name = "a"\n[train]\nepochs = "6"', "epochs = '6': must be a valid integer"),
        ('name = "a"\n[train]\nlearning_rate = "1e-3"', "must be a valid number"),
        ('name = "a"\n[prune]\nrounds = 4.0', "rounds = 4.0: must be a valid integer"),
        ('name = "a"\nseed = -0.0', "seed = -0.0: must be a valid integer"),
        ('name = "a"\nquick = 1.0', "quick = 1.0: must be a valid boolean"),
        ('name = "a"\n[life]\nrepair = 1', "repair = 1: must be a valid boolean"),
        ('name = "a"\n[model]\nhidden = [8.0]', r"hidden.0 = 8.0: must be a valid integer"),
        ('name = "a"\n[model]\nhidden = [1000000000]', "must be less than or equal to 100000"),
        (
            'name = "a"\n[model]\nhidden = [100000, 100000]',
            "at most 100,000,000 weights; got up to 10,079,400,000",
        ),
        ('name = "a"\n[model]\nkind = "cnn"\nchannels = [4096, 4096]', "at most 100,000,000"),
        (f'name = "a"\n[train]\nepochs = {10**18}', "epochs = 1000000000000000000: must be less"),
        (f'name = "a"\n[train]\nepochs = 0x{"f" * 9000}', "a number of thousands of digits"),
        (f'name = "a"\n[train]\nepochs = {"9" * 9000}', "not valid TOML"),
        # Each of these was found out only after all training.
        ('name = "a"\n[bank]\nr_off = 1e300', "r_off = 1e.300: must be 1 … 1e.15, or inf"),
        ('name = "a"\n[bank]\nr_min = 1e300', "bank.r_min = 1e.300: must be less"),
        ('name = "a"\n[bank]\nr_min = 1e-300', "bank.r_min = 1e-300: must be greater"),
        ('name = "a"\n[bank]\nratio = 1e100', "bank.ratio = 1e.100: must be less"),
        ('name = "a"\n[bank]\nn = 20\nratio = 10.0', "bank: the largest resistor .* got 1e.24"),
        ('name = "a"\n[bank]\ntemperature = 1e300', "bank.temperature = 1e.300: must be less"),
        ('name = "a"\n[periphery]\nr_feedback = 1e300', "periphery.r_feedback = 1e.300: must be"),
        ('name = "a"\n[periphery]\nv_read = 1e300', "periphery.v_read = 1e.300: must be less"),
        ('name = "a"\n[periphery]\nv_read = 1e-300', "periphery.v_read = 1e-300: must be greater"),
        ('name = "a"\n[periphery]\ngbw = 1e300', "must be 1 … 1e.15, or inf for an ideal part"),
        ('name = "a"\n[periphery]\ngbw = nan', "periphery.gbw = nan: must be 1 … 1e.15, or inf"),
        ('name = "a"\n[train]\nlearning_rate = 1e300', "learning_rate = 1e.300: must be less"),
        ('name = "a"\n[wires]\nc_word = 1e300', "wires.c_word = 1e.300: must be less"),
        ('name = "a"\n[energy]\ntia_c_load = 1e300', "energy.tia_c_load.* = 1e.300: must be less"),
    ],
    ids=lambda text: text[:60],
)
def test_mistakes(tmp_path, text, message):
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_mistake_has_its_line(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('name = "a"\nx = 1\n[bank]\nladder = "funny"\nn = 0\n[train]\nepochs = 0')
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    lines = caught.value.lines
    assert [line.removeprefix(f"{path}: ").split(":")[0].split(";")[0] for line in lines] == [
        "train.epochs = 0",
        "bank.n = 0",
        "bank.ladder = 'funny'",
        "unknown key 'x'",
    ]
    assert all(str(path) in line for line in lines)


def test_a_file_of_many_mistakes_has_thirty_lines_and_their_number(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text("\n".join(f"x{k} = 1" for k in range(1031)) + '\nname = "a"')
    with pytest.raises(ConfigError, match=r"and 1,001 more$") as caught:
        load_config(path)
    assert len(caught.value.lines) == 31


def test_missing_file_and_binary_file(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "none.toml")
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_config(tmp_path / "b.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 3000, "not valid TOML"),
        ("x = " + "[" * 3000 + "]" * 3000, "nested too deeply"),
        ("a" + ".a" * 20_000 + " = 1", "a key of more than 40 parts"),
        ("[a" + ".a" * 20_000 + "]", "a key of more than 40 parts"),
        ("# " + "x" * 1_000_000, "at most 1,000,000 bytes; got more"),
        (f'name = "{"a" * 100_000}"', "name = 'aaa.*…: must be 1 to 64 characters"),
        (f'name = "a"\n{"a" * 100_000} = 1', "unknown key 'aaa.*…'; known here"),
        (f'name = "a"\n[bank]\nladder = "{"a" * 100_000}"', "ladder = .* must be one of"),
        (f'name = "a"\n[geometry]\nfilm = "{"a" * 100_000}"', "film = 'aaa.*…: must be"),
    ],
    ids=lambda text: text[:20],
)
def test_a_monstrous_file_is_refused_at_once_and_in_few_words(tmp_path, text, message):
    path = tmp_path / "run.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(path)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("null.safetensors", r"network\.source: .* is a pipe or a device; expected a file"),
        # The words are Python's, which found others in 3.13.
        ("loop.safetensors", r"network\.source.*loop.*(Symlink loop|levels of symbolic links)"),
        ("~nobody_at_all/x.pt", r"network\.source = '~nobody.*' names no file: .*home"),
        ("none.pt", r"network\.source: .*none\.pt cannot be read"),
    ],
)
def test_what_a_run_names_as_a_file_is_one(tmp_path, value, message):
    (tmp_path / "null.safetensors").symlink_to("/dev/null")
    (tmp_path / "loop.safetensors").symlink_to("loop.safetensors")
    (tmp_path / "run.toml").write_text(f'name = "a"\n[network]\nsource = "{value}"\n')
    with pytest.raises(ConfigError, match=rf"run\.toml: {message}"):
        load_config(tmp_path / "run.toml")


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("a" * 2000, r"study\.toml: base: .{10,80}\.\.\. names no file: File name too long"),
        ("null.toml", r"study\.toml: base: .*null\.toml is a pipe or a device"),
        (r"\\u0000", r"cannot be read \(embedded null byte\)"),
    ],
)
def test_what_a_study_names_as_its_run_is_a_file(tmp_path, base, message):
    (tmp_path / "null.toml").symlink_to("/dev/null")
    (tmp_path / "study.toml").write_text(f'name = "a"\nbase = "{base}"\n'.replace("\\\\", "\\"))
    with pytest.raises(ConfigError, match=message):
        load_study(tmp_path / "study.toml")


def test_a_long_value_of_a_study_is_said_in_few_words():
    base = RunConfig(name="a")
    for key in ("network.source", "x" * 10_000, "y.z" * 5_000):
        with pytest.raises(ConfigError) as caught:
            with_values(base, {key: "a" * 10_000})
        assert max(map(len, str(caught.value).splitlines())) < 1_000
    assert base.network.source == "mlp"


def test_a_run_given_as_a_study_is_told_so():
    with pytest.raises(ConfigError, match=r"expected a study.*got a run; use `crossbar-sim run`"):
        load_study(ROOT / "examples" / "runs" / "digits.toml")


def test_what_a_run_keeps_as_json_comes_back():
    ends = {"tia_gain": math.inf, "gbw": math.inf}
    config = RunConfig.model_validate({"name": "a", "periphery": ends, "bank": {"ladder": "E24"}})
    assert RunConfig.model_validate_json(config.model_dump_json()) == config
    assert RunConfig.model_validate(config.model_dump()) == config
    with pytest.raises(ConfigError, match="gbw = 'Infinity'"):  # in TOML it is a text
        checked({"name": "a", "periphery": {"gbw": "Infinity"}}, RunConfig, "here")


def test_whole_numbers_will_do_for_others():
    found = RunConfig.model_validate({"name": "a", "bank": {"r_min": 100_000, "ratio": 1.75}})
    assert isinstance(found.bank.r_min, float)
    assert found.bank == RunConfig(name="a").bank


#: What a key may be given by mistake, of every type that TOML has.
VALUES = [True, False, "", "6", " 6 ", "inf", "x" * 10_000, [], [1], ["a"], [[1]], {}, {"a": 1}]
VALUES += [0, 1, -1, 2, 7, 10**6, 10**18, -(10**18), 2**31, 2**63, 2**64, 10**400]
VALUES += [-0.0, 0.5, 1.0, -1.0, 1e-300, 1e-30, 1e30, 1e300, -1e300, math.inf, -math.inf, math.nan]
VALUES += [datetime.date(2020, 1, 1), [1e300, 1e-300], [10**18, 1], [True, False]]


def leaves(kind, before=()):
    """Yield the path of every key, and the types that it takes."""
    for name, hint in get_type_hints(kind).items():
        kinds = (
            [part for part in get_args(hint) if part is not NoneType] if "None" in str(hint) else []
        )
        annotation = kinds[0] if len(kinds) == 1 else hint  # a table, or another value, or none
        is_table = isinstance(annotation, type) and (
            issubclass(annotation, BaseModel) or is_dataclass(annotation)
        )
        if is_table:
            yield from leaves(annotation, (*before, name))
        elif not name.startswith("_") and get_origin(annotation) is not ClassVar:
            yield (*before, name), annotation


LEAVES = list(leaves(RunConfig))


def given(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """Return settings with one key."""
    for name in reversed(path):
        value = {name: value}
    return {"name": "a"} | value


def tried(raw: dict[str, Any]) -> tuple[RunConfig | None, str]:
    """Return the configuration, or none, and what is wrong with it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return checked(raw, RunConfig, "file"), ""
    except ConfigError as error:
        return None, str(error)


@pytest.mark.parametrize(("path", "annotation"), LEAVES, ids=[".".join(p) for p, _ in LEAVES])
def test_any_value_of_any_key_is_taken_or_refused_in_one_line(path, annotation):
    """What is taken is of the key's type, and kept as it was given."""
    fits = {int: int, bool: bool, float: (int, float), str: str}.get(annotation, object)
    for value in VALUES:
        config, message = tried(given(path, value))
        assert all(line.startswith("file: ") for line in message.splitlines())
        assert len(message) < 1000
        if config:
            assert isinstance(value, fits)
            assert annotation is bool or not isinstance(value, bool)
            kept = reduce(getattr, path, config)
            assert kept == (tuple(value) if isinstance(value, list) else value)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                assert RunConfig.model_validate_json(config.model_dump_json()) == config


def test_random_pairs_of_values_are_taken_or_refused_in_one_line():
    """Rules about several keys see whatever their own bounds let pass."""
    rng, good = random.Random(0), 0
    numbers = [value for value in VALUES if isinstance(value, int | float)]
    for _ in range(700):
        (a, _), (b, _) = rng.sample(LEAVES, 2)
        raw = given(a, rng.choice(numbers))
        for name, value in given(b, rng.choice(numbers)).items():
            both = isinstance(raw.get(name), dict) and isinstance(value, dict)
            raw[name] = raw[name] | value if both else value
        config, message = tried(raw)
        assert all(line.startswith("file: ") for line in message.splitlines())
        if config:
            good += 1
            assert config.hardware.wires
    assert 10 < good < 300


def test_the_digest_names_the_settings():
    a = RunConfig(name="a")
    assert a.digest == RunConfig(name="a").digest
    assert a.digest != RunConfig(name="a", seed=2).digest


def settings(**tables: Any) -> RunConfig:
    return RunConfig.model_validate({"name": "a", **tables})


def test_wires_and_area_are_those_of_the_drawn_cell():
    config = settings(wires={"r_driver": 7.0})
    wires, cell = config.hardware.wires, config.cell()
    assert wires.r_driver == 7.0
    # A cell of 41.4 x 38.0 um, word line of met1 and bit line of met3, both 1 um wide.
    assert cell.area == approx(41.4e-6 * 38.0e-6)
    assert wires.r_word == approx(0.125 * 41.4)
    assert wires.r_bit == approx(0.047 * 38.0)
    assert wires.c_word == approx(0.2e-15 * 41.4 / 0.14)
    assert wires.c_bit == approx(0.2e-15 * 38.0 / 0.3)
    larger = settings(bank={"n": 9})
    assert larger.hardware.wires.r_word > 2 * wires.r_word
    assert larger.cell().area > 4 * cell.area
    wide = settings(geometry={"word_width": 2e-6}).hardware.wires
    assert wide.r_word == approx(wires.r_word / 2)
    assert wide.c_word == approx(wires.c_word * 2)
    assert settings(geometry={"programming": "via"}).cell().area < cell.area


def test_wires_may_be_given_or_thin():
    given = {"source": "given", "r_word": 2.0, "r_bit": 0.0, "c_bit": 3e-15}
    assert settings(wires=given).hardware.wires == Wires(2.0, 0.0, 0.0, 0.0, 3e-15)
    thin = settings(wires={"source": "thin", "r_driver": 5.0}).hardware.wires
    assert thin == Wires(1.0, 1.0, 5.0, 7e-15, 7e-15)


@pytest.mark.parametrize("source", ["given", "drawn"])
def test_every_field_of_wires_survives_from_toml_to_hardware(tmp_path, source):
    drawn_cell = {"r_word", "r_bit", "c_word", "c_bit"}
    names = {field.name for field in fields(Wires)} - (drawn_cell if source == "drawn" else set())
    values = {name: 1.5 + k for k, name in enumerate(sorted(names))}
    lines = "".join(f"{name} = {value}\n" for name, value in values.items())
    (tmp_path / "a.toml").write_text(f'name = "a"\n[wires]\nsource = "{source}"\n{lines}')
    wires = load_config(tmp_path / "a.toml").hardware.wires
    assert values == {name: getattr(wires, name) for name in values}


def test_a_bank_that_cannot_be_drawn_has_given_wires_and_no_area():
    parts = {"r_min": 1e3, "r_on": 10.0}
    wires = {"source": "given", "r_word": 0.1, "r_bit": 0.1}
    assert settings(bank=parts, wires=wires).cell() is None


def test_the_read_time_is_given_or_that_of_settling():
    fixed = RunConfig.model_validate({"name": "a", "energy": {"t_read": 5e-9}})
    assert fixed.energy.settled(1e-9).t_read == 5e-9
    slow = {"name": "a", "energy": {"t_read": "settling"}, "periphery": {"gbw": 1e8}}
    assert RunConfig.model_validate(slow).energy.settled(1e-9).t_read == 1e-9


def test_the_report_says_how_large_each_non_ideality_is():
    plain = RunConfig(name="a")
    off = modelled(plain)["off"]
    given = {
        "bank": {"sigma_local": [0.01, 0.02, 0.03, 0.02, 0.01, 0.01], "age": 10.0, "drift": 0.01},
        "periphery": {"v_offset": 1e-3},
    }
    on = modelled(RunConfig.model_validate({"name": "a"} | given))["on"]
    assert {"age when selected [h]", "TIA offset of all [V]"} <= set(off)
    assert "local spread of resistors (normal): 0.03" in on
    assert "age when selected [h]: 10" in on
    assert "drift in 1,000 h, mean and spread: 0.01" in on
    assert "TIA offset of all [V]: 0.001" in on


def test_a_bank_that_was_aged_when_it_was_selected_grows_older():
    raw = {"name": "a", "bank": {"age": 100.0, "drift": 0.01}, "life": {"age": 10.0}}
    config = RunConfig.model_validate(raw)
    assert config.life.later(config.chip).bank.age == 110.0


def test_a_ladder_with_gaps_is_said_once_where_its_file_is_read(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('name = "a"\n[bank]\nsigma_local = 0.2\n')
    with pytest.warns(LadderGapWarning, match="has gaps") as told:
        load_config(path)
    assert len(told) == 1


def test_a_run_may_prune_by_each_method_that_keeps_shapes():
    for method in REGISTRY:
        table = {"name": "a", "prune": {"method": method}}
        if method == "filters":
            with pytest.raises(ConfigError, match=r"prune\.method = 'filters'"):
                checked(table, RunConfig, "a.toml")
        else:
            assert checked(table, RunConfig, "a.toml").prune.method == method


def test_a_life_that_changes_nothing_is_said_when_a_file_is_read(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text('name = "a"\n[life]\nage = 8760.0')
    with pytest.warns(NoEffectWarning, match="age = 8760 changes no resistor"):
        load_config(path)
