"""Published chips: what is claimed, what is found, what is not, and the command."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from approx import approx
from commands import command
from crossbar_sim.config import ConfigError, RunConfig, load_config
from crossbar_sim.jobs import published
from crossbar_sim.jobs.published import (
    PER_JOULE,
    Chip,
    Figure,
    chips,
    configuration_of,
    found_on_dies,
    reproduce,
)
from crossbar_sim.pipeline.steps import load_data
from crossbar_sim.study.metrics import METRICS
from tinynets.data import mnist_files

ROOT = Path(__file__).parents[3]
SMALL = load_config(ROOT / "tests" / "networks" / "small.toml")
POINT = {"what": "bits", "published": (5.0, 8.0), "sure": "abstract"}


@pytest.fixture
def one_chip(monkeypatch) -> Chip:
    """A chip whose run is that of the small network of the tests."""
    near = Figure(
        what="accuracy", published=(0.9, 0.9), sure="paper", metric="accuracy", tolerance=0.2
    )
    far = Figure(
        what="bits", published=(40, 41), sure="paper", metric="effective_bits", tolerance=1
    )
    absent = Figure(what="speed", published=(1, 1), sure="abstract", missing="no clock")
    chip = Chip(
        title="t", source="s", configuration=True, why="Other devices.", figures=(near, far, absent)
    )
    monkeypatch.setattr(published, "chips", lambda: {"one": chip})
    monkeypatch.setattr(published, "configuration_of", lambda _: SMALL)
    return chip


def test_every_chip_says_what_is_compared_or_why_not():
    known = chips()
    assert {"neurram", "hermes", "li2018", "song2024", "li2026"} == set(known)
    compared = {name for name, chip in known.items() if any(f.metric for f in chip.figures)}
    assert compared == {name for name, chip in known.items() if chip.configuration}
    metrics = {figure.metric for chip in known.values() for figure in chip.figures if figure.metric}
    assert metrics <= {*METRICS, PER_JOULE}


@pytest.mark.parametrize("name", ["neurram", "hermes", "li2018"])
def test_configurations_are_examples_of_ordinary_runs(name):
    example = ROOT / "examples" / "published" / f"{name}.toml"
    config = configuration_of(name)
    assert isinstance(config, RunConfig)
    assert config == load_config(example)
    assert config.name == name
    packaged = ROOT / "crossbar_sim" / "jobs" / "published_chips" / f"{name}.toml"
    assert packaged.read_bytes() == example.read_bytes()


def test_rows_state_verdicts_and_what_is_not_reproduced(one_chip, tmp_path):
    near, far, absent = reproduce("one", tmp_path, n_die=2)
    assert (near["verdict"], far["verdict"]) == ("within", "outside")
    assert absent["verdict"] == "not reproduced"
    assert absent["why"] == "no clock. Other devices."
    assert absent["ours"] is None
    assert near["ours_low"] <= near["ours"] <= near["ours_high"]


def test_operations_per_joule_count_each_weight_twice(tmp_path):
    found = found_on_dies(SMALL, tmp_path, n_die=2)
    weights = np.array(found["n_resistor"]) / (2 * SMALL.bank.n)
    expected = 2 * weights / np.array(found["energy"]) / 1e12
    np.testing.assert_allclose(found[PER_JOULE], expected, rtol=1e-12)
    assert found["weight_error"][0] != found["weight_error"][1], "two dies"
    assert found == found_on_dies(SMALL, tmp_path, n_die=2)


@pytest.mark.parametrize(("ours", "verdict"), [(4.4, "outside"), (4.6, "within"), (8.4, "within")])
def test_a_range_is_met_within_its_tolerance(ours, verdict):
    figure = Figure.model_validate(POINT | {"metric": "effective_bits", "tolerance": 0.5})
    assert figure.verdict(ours) == verdict
    assert figure.tolerance == approx(0.5)


@pytest.mark.parametrize(
    "more",
    [{}, {"metric": "accuracy"}, {"metric": "accuracy", "tolerance": 1.0, "missing": "no data"}],
)
def test_a_figure_has_a_metric_and_tolerance_or_a_reason(more):
    with pytest.raises(ValidationError, match=r"expected a metric with a tolerance"):
        Figure.model_validate(POINT | more)


def test_a_metric_that_no_run_has_is_refused():
    with pytest.raises(ValidationError, match=r"metric must be one of studies"):
        Figure.model_validate(POINT | {"metric": "speed", "tolerance": 1.0})


def test_an_unknown_chip_is_refused_with_all_names():
    done = command("reproduce", "loihi")
    assert done.returncode == 2
    assert "choose one of neurram, hermes" in " ".join(done.stderr.split())


def test_a_chip_without_a_run_has_no_configuration(tmp_path):
    with pytest.raises(ConfigError, match=r"li2026 is not run here"):
        configuration_of("li2026")
    rows = reproduce("li2026", tmp_path)
    assert {row["verdict"] for row in rows} == {"not reproduced"}


def test_the_command_lists_chips_and_prints_figures(one_chip, tmp_path):
    listed = command("reproduce")
    assert listed.stdout == "one: t (s)\n"
    done = command("reproduce", "one", "--dies", 2, "--networks", tmp_path)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["verdict"] for row in rows] == ["within", "outside", "not reproduced"]
    assert rows[2]["ours"] == ""


def test_without_mnist_it_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(mnist_files, "URL", "file:///nowhere")
    mnist_files.read_mnist.cache_clear()
    done = command("reproduce", "neurram", "--networks", tmp_path / "n")
    mnist_files.read_mnist.cache_clear()
    assert done.returncode == 2
    assert "MNIST is not in" in done.stderr
    assert load_data(SMALL).x_test.size
