"""The main job, end to end on real digits with a real ngspice, as a user runs it."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch

from approx import approx
from commands import command
from crossbar_sim.config import ConfigError, RunConfig, load_config
from crossbar_sim.pipeline.finished_run import REPORT_VERSION, read_numbers
from crossbar_sim.pipeline.workspace import Workspace
from crossbar_sim.report.formats import si
from mapping.network.mapped_network import MappedNetwork
from tinynets.version import VERSION

ROOT = Path(__file__).parents[3]
SMALL = """
name = "small"
[train]
epochs = 4
[prune]
sparsity = 0.8
rounds = 2
epochs_per_round = 3
[tile]
n_word = 24
n_bit = 24
[simulation]
n_image = 3
"""
COMMAND = [sys.executable, "-c", "from crossbar_sim.cli import main; main()"]


def call(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False, **options
    )


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "small.toml"
    path.write_text(SMALL)
    return path


@pytest.fixture(scope="module")
def done(
    config: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    root = tmp_path_factory.mktemp("results")
    result = call("run", config, "--results", root)
    assert result.returncode == 0, result.stderr
    return root / "small", result


def test_the_run_ends_with_the_path_of_its_report(done):
    directory, result = done
    assert result.stdout.strip() == str(directory / "report.html")
    expected = {"report.html", "report.json", "selection.csv", "mapped.npz", "netlists", "figures"}
    assert expected <= {path.name for path in directory.iterdir()}
    assert [path.name for path in directory.parent.iterdir()] == ["small"]
    assert "test accuracy" in result.stderr


def test_the_report_follows_its_schema(done):
    schema = json.loads(command("schema", "report").stdout)
    jsonschema.Draft202012Validator(schema).validate(read_numbers(done[0]))
    broken = read_numbers(done[0]) | {"seed": "one"}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate(broken)


@pytest.mark.parametrize(
    ("versions", "message"),
    [
        (
            {"report.json": "2.0", "crossbar-sim": "9.1.0"},
            "has version 2.0, written by crossbar-sim 9.1.0",
        ),
        ({"crossbar-sim": "0.1.0"}, "has version 0, written by crossbar-sim 0.1.0"),
        ({"report.json": 7}, "has version 7"),
        ([7], "cannot be read"),
    ],
)
def test_a_report_of_another_major_version_is_refused_by_its_number(tmp_path, versions, message):
    (tmp_path / "report.json").write_text(json.dumps({"versions": versions}))
    with pytest.raises(ConfigError, match=message):
        read_numbers(tmp_path)


def test_a_report_of_a_newer_minor_version_is_read(done, tmp_path):
    numbers = read_numbers(done[0])
    assert numbers["versions"]["report.json"] == REPORT_VERSION
    assert numbers["versions"]["crossbar-sim"] == VERSION
    numbers["versions"]["report.json"] = REPORT_VERSION.partition(".")[0] + ".99"
    (tmp_path / "report.json").write_text(json.dumps(numbers))
    assert read_numbers(tmp_path) == numbers


def test_what_the_report_states(done):
    numbers = json.loads((done[0] / "report.json").read_text())
    accuracy = {row["network"]: row["accuracy"] for row in numbers["accuracy"]}
    assert accuracy["float"] > 0.8
    assert abs(accuracy["mapped, wires and TIA"] - accuracy["pruned"]) < 0.02
    assert numbers["sparsity"] == approx(0.8, abs=1e-3)
    check = numbers["verification"]
    assert check["passed"]
    worst = check["worst"]
    assert 0 < worst["error"] == max(worst["i_error"], worst["v_error"]) < 1e-9
    assert check["solvers"][0].startswith("ngspice")
    assert "KLU" in check["solvers"][0]
    assert len(check["tiles"]) == sum(layer["n_tile"] for layer in numbers["layers"])
    assert all(tile["n_vector"] == 3 for tile in check["tiles"])
    for layer in numbers["layers"]:
        assert layer["error"]["median"] < layer["error"]["worst"] < 0.05
        assert layer["n_closed"] < layer["n_branch"] == 12 * layer["n_remaining"]
    assert numbers["modelled"]["on"]
    assert "noise bandwidth [Hz]" in numbers["modelled"]["off"]
    assert numbers["versions"]["torch"]
    assert numbers["config"]["seed"] == 1


def test_the_report_needs_no_network(done):
    html = (done[0] / "report.html").read_text()
    assert not re.findall(r"https?:|src=|@import", html)
    links = set(re.findall(r'href="(?!#|data:)([^"]*)"', html))
    assert {"report.json", "selection.csv", "netlists/", "settings.toml"} <= links
    assert [link for link in links if not (done[0] / link).exists()] == []
    assert len(list((done[0] / "figures").glob("*.png"))) > html.count("<figure") > 5


def test_the_settings_beside_the_report_are_those_of_the_run(done):
    again, first = (
        RunConfig.model_validate_json((done[0] / "config.json").read_text()),
        load_config(done[0] / "settings.toml"),
    )
    assert again.as_json() == first.as_json()


def test_accuracies_have_intervals_and_pairs(done):
    numbers = read_numbers(done[0])
    rows = {row["network"]: row for row in numbers["accuracy"]}
    assert len(rows) > 4
    n, digital = rows["pruned"]["n_image"], rows["pruned"]["accuracy"]
    for row in rows.values():
        assert row["low"] < row["accuracy"] < row["high"]
        assert (row["gained"] - row["lost"]) / n == approx(row["accuracy"] - digital, abs=1e-12)
    assert (rows["pruned"]["lost"], rows["pruned"]["p"]) == (0, 1.0)
    last = numbers["measure"]["scores"][-1]
    assert last["p"] == numbers["accuracy"][-1]["p"]


def test_one_change_of_the_hardware_is_worked_out(done):
    numbers = read_numbers(done[0])
    costs = {row["term"]: row["error"] for row in numbers["costs"]}
    everything = costs.pop("all together")
    first, adc, dac = numbers["changes"]
    assert first["change"] == f"{max(costs, key=costs.get)}: none"
    assert first["error"] < everything < adc["error"]
    assert (adc["change"], dac["change"]) == ("ADC: 7 bits", "DAC: 7 bits")
    assert dac["saved"] == approx(numbers["energy"]["analog"]["DAC"] / 2)
    assert 0 < adc["saved"] < numbers["energy"]["analog"]["ADC"] / 2


def test_the_same_seed_gives_the_same_numbers(done, config, tmp_path):
    again = command("run", config, "--results", tmp_path)
    assert again.returncode == 0, again.stderr
    first, second = (
        json.loads((path / "report.json").read_text()) for path in (done[0], tmp_path / "small")
    )
    assert first == second
    tables = [(path / "selection.csv").read_bytes() for path in (done[0], tmp_path / "small")]
    assert tables[0] == tables[1]


def test_an_interrupted_run_resumes(done, config, tmp_path):
    partial = tmp_path / ".small.partial"
    process = subprocess.Popen(
        [*COMMAND, "run", str(config), "--results", str(tmp_path)], stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not (partial / "mapped.npz").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "small").exists(), "nothing under its final name"
    model = (partial / "model" / "pruned.pt").stat().st_mtime_ns
    resumed = command("run", config, "--results", tmp_path, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert (tmp_path / "small" / "model" / "pruned.pt").stat().st_mtime_ns == model
    assert json.loads((tmp_path / "small" / "report.json").read_text()) == json.loads(
        (done[0] / "report.json").read_text()
    )


def test_bad_configuration_is_one_line_and_code_2(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text('name = "bad"\n[prune]\nsparsity = 1.2')
    result = command("run", path, "--results", tmp_path / "results")
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "bad.toml: prune.sparsity = 1.2: must be less than 1" in result.stderr
    assert not (tmp_path / "results").exists()


def test_without_ngspice_it_says_how_to_get_it(config, tmp_path, monkeypatch):
    monkeypatch.setenv("NGSPICE_LIBRARY_PATH", "/nowhere/libngspice.so")
    result = command("run", config, "--results", tmp_path / "results")
    assert result.returncode == 1
    assert "/nowhere/libngspice.so" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "results").exists()
    doctor = command("doctor")
    assert doctor.returncode == 1
    assert "make setup" in doctor.stderr


def test_doctor(done):
    result = command("doctor")
    assert result.returncode == 0, result.stderr
    for word in ("KLU", "libngspice", "torch", "threads"):
        assert word in result.stdout


def test_help_teaches():
    text = command("run", "--help").stdout
    for word in ("--quick", "--resume", "report.html", "Exit code"):
        assert word in text


def test_workspace_refuses_other_settings_and_foreign_directories(tmp_path):
    config = RunConfig(name="w")
    Workspace(tmp_path, config, resume=False)
    Workspace(tmp_path, config, resume=True)
    with pytest.raises(ConfigError, match=r"other settings of \['seed'\]"):
        Workspace(tmp_path, RunConfig(name="w", seed=9), resume=True)
    (tmp_path / "w").mkdir()
    with pytest.raises(ConfigError, match="not a finished run"):
        Workspace(tmp_path, config, resume=False)


def test_workspace_makes_things_once_and_replaces_an_older_run(tmp_path):
    config = RunConfig(name="w")
    for text in ("first", "second"):
        work = Workspace(tmp_path, config, resume=False)
        work.once("report.json", lambda draft, text=text: draft.write_text(text))
        work.once("report.json", lambda draft: pytest.fail("made twice"))
        assert work.finish() == tmp_path / "w"
        assert (tmp_path / "w" / "report.json").read_text() == text
    assert [path.name for path in tmp_path.iterdir()] == ["w"]


def test_si_prefixes():
    assert si(0, "J") == "0 J"
    assert si(1.234e-12, "J") == "1.23 pJ"
    assert si(4.7e4, "Ω") == "47 kΩ"
    assert si(-0.02, "V") == "-20 mV"


LIVED = """
name = "lived"
[train]
epochs = 4
[prune]
sparsity = 0.8
rounds = 1
epochs_per_round = 3
noise = 0.02
bits = 4
[tile]
n_word = 64
n_bit = 32
[wires]
source = "given"
r_word = 20.0
r_bit = 20.0
[periphery]
v_offset_sigma = 2e-3
[calibrate]
rounds = 2
[life]
p_stuck_open = 0.05
repair = true
[tune]
n_output = 200
epochs = 1
"""


def test_a_network_quantised_calibrated_aged_mended_and_tuned(tmp_path):
    (tmp_path / "lived.toml").write_text(LIVED)
    result = command("run", tmp_path / "lived.toml", "--quick", "--results", tmp_path)
    assert result.returncode == 0, result.stderr
    directory = tmp_path / "lived"
    numbers = json.loads((directory / "report.json").read_text())
    schema = json.loads(command("schema", "report").stdout)
    jsonschema.Draft202012Validator(schema).validate(numbers)
    assert [layer["layer"] for layer in numbers["calibrated"]] == ["fc1", "fc2"]
    for layer in numbers["calibrated"]:
        assert layer["after"] < 0.5 * layer["before"]
        assert layer["errors"][-1] == min(layer["errors"])
        assert 0 < layer["n_changed"] < layer["n_switch"]
        assert not layer["lost"]
    accuracy = {row["network"]: row["accuracy"] for row in numbers["accuracy"]}
    assert accuracy["pruned"] > 0.8
    # Without [tune], offsets of 2 mV leave about half of the accuracy.
    assert accuracy["mapped, wires, TIA, DAC and ADC"] > accuracy["pruned"] - 0.05
    weights = torch.load(directory / "model" / "pruned.pt", weights_only=True)
    for row in weights["fc1.weight"]:
        assert len(row.unique()) <= 2**4, "bits"
    assert (weights["fc1.weight"] == 0).float().mean() > 0.7, "zeros stay when noise trains"
    new = MappedNetwork.load(directory / "calibrated" / "mapped.npz")
    later = MappedNetwork.load(directory / "mapped.npz")
    assert [network.die.bank.p_stuck_open for network in (new, later)] == [0.0, 0.05]
    assert numbers["config"]["tune"] == {"n_output": 200, "epochs": 1, "learning_rate": 0.003}
