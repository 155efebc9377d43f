"""One trial of a study: what it measures, what it shares with others, a die and its life."""

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from approx import approx
from benchmarks.studies.run_studies import KEPT
from benchmarks.studies.run_studies import METRICS as DRAWN
from crossbar_sim.config import ConfigError, RunConfig, load_config
from crossbar_sim.config.study import with_values
from crossbar_sim.pipeline.steps import load_data, load_validation, train_and_prune
from crossbar_sim.study import trial
from crossbar_sim.study.metrics import METRICS, OF_TESTS
from tinynets.pruning import rounds

pytestmark = pytest.mark.training

BASE = RunConfig.model_validate(
    {
        "name": "small",
        "train": {"epochs": 4},
        "prune": {"sparsity": 0.8, "rounds": 1, "epochs_per_round": 3},
    }
)
GIVEN = {"wires.source": "given", "wires.r_word": 20.0, "wires.r_bit": 1.0}


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trial.trained_path(BASE, tmp_path_factory.mktemp("networks"))


def test_what_trials_share_changes_nothing(network):
    points = [
        {"periphery.adc_bits": 6},
        {"periphery.adc_bits": 8},
        GIVEN,
        {"periphery.tia_gain": 100.0},
        {"life.p_stuck_open": 0.1},
        {"calibrate.rounds": 2},
        {"calibrate.rounds": 2, **GIVEN},
        {"noise.bandwidth": 1e9},
        {"die.seed": 2},
        {"tile.n_word": 16},
    ]
    configs = [with_values(BASE, values) for values in points]
    trial.KEPT.clear()
    together = [trial.run_trial(config, network) for config in configs]
    assert len(together) == 10
    for config, found in zip(configs, together):
        trial.KEPT.clear()
        assert trial.run_trial(config, network) == found
    accuracies = [found["accuracy"] for found in together]
    assert len(set(accuracies)) > 2
    errors = [found["mvm_error"] for found in together]
    assert errors[0] == errors[1], "an ADC is not in the circuit"
    assert len(set(errors[1:7])) == 6


def test_what_other_test_images_change_is_marked_as_theirs(network, tmp_path):
    data, found = load_data(BASE), []
    kept = {key: getattr(data, key) for key in ("x_train", "y_train")}
    # Other images with wrong labels; the ADCs clip so much that no metric is equal by chance: the
    # accuracy falls by about 11 points with the right labels, and rises by 2 with the wrong ones.
    narrow = {"periphery.adc_range": 0.05, **GIVEN}
    for k, part in enumerate((slice(0, 200), slice(200, 400))):
        path, labels = tmp_path / f"{k}.npz", (data.y_test[part] + k) % 10
        np.savez(path, **kept, x_test=data.x_test[part], y_test=labels)
        config = with_values(BASE, {"data.source": str(path), **narrow})
        found.append(trial.run_trial(config, network))
    changed = {name for name in found[0] if found[0][name] != found[1][name]}
    # Test images are read for these too, but they say nothing of how right the answers are.
    assert changed - {"energy", "power"} == set(OF_TESTS) & found[0].keys()
    assert "n_saturated" in changed


def test_metrics_say_what_they_say(network):
    found = trial.run_trial(BASE, network)
    n_cell = found["n_resistor"] / (2 * BASE.bank.n)
    assert n_cell == round(0.2 * (64 * 32 + 32 * 10))
    # KLayout measures of the drawn cell 41.4 um along the word line and 38 um along the bit line.
    assert found["area"] == approx(n_cell * 41.4e-6 * 38e-6, rel=1e-12)
    assert found["mvm_error_p99"] > 2 * found["mvm_error"]
    # Rounding numbers of -1 … 1 to steps of so many bits errs by as much.
    x, step = np.linspace(-1, 1, 1_000_003), 2.0 / 2 ** found["effective_bits"]
    rounded = step * np.round(x / step)
    assert np.sqrt(np.mean((rounded - x) ** 2)) == approx(found["mvm_error"], rel=1e-2)
    assert found["n_changed"] == 0
    assert found["n_test"] == 450
    assert "ngspice_error" not in found
    assert "accuracy_validation" not in found, "nothing is held out"


def test_a_trial_has_the_metrics_of_the_table(network):
    """All of them where everything is asked for, else those that are always there."""
    asked = {"validation": 0.2, "measure.metric": "mse", "simulation.check_tiles": 1}
    assert set(trial.run_trial(with_values(BASE, asked), network)) == set(METRICS)
    bare = trial.run_trial(with_values(BASE, {"simulation.n_power": 0}), network)
    if_labelled_and_drawn = {"accuracy", "loss", "area"}
    assert set(bare) - if_labelled_and_drawn == {n for n, m in METRICS.items() if not m.when}


def test_figures_of_studies_are_metrics():
    assert {*KEPT, *(name for names in DRAWN.values() for name in names)} <= set(METRICS)


def test_images_held_out_are_not_trained_on_and_change_nothing_else(network):
    """The same network, told that a fifth of the training images is for choosing settings."""
    config = with_values(BASE, {"validation": 0.2})
    data, whole = load_data(config), load_data(BASE)
    x, y = load_validation(config)
    assert np.array_equal(data.x_test, whole.x_test)
    assert len(data.x_train) + len(x) == len(whole.x_train)
    used, held_out = ({row.tobytes() for row in images} for images in (data.x_train, x))
    assert not used & held_out
    assert used | held_out == {row.tobytes() for row in whole.x_train}
    assert load_validation(BASE) is None
    trial.KEPT.clear()
    found = trial.run_trial(config, network)
    assert found["accuracy"] == trial.run_trial(BASE, network)["accuracy"]
    assert 0.7 < found["accuracy_validation"] <= 1.0
    assert found["accuracy_validation"] * len(y) == approx(
        round(found["accuracy_validation"] * len(y)), rel=1e-9
    )
    assert trial.training_key(config) != trial.training_key(BASE)


def test_other_code_of_training_makes_another_network(monkeypatch):
    before = trial.training_key(BASE)
    monkeypatch.setattr(trial, "_TRAINING_CODE", ("mapping/*.py",))
    assert trial.training_key(BASE) != before


@pytest.mark.parametrize("method", ["iterative_magnitude", "magnitude", "tiles"])
def test_a_dense_network_is_trained_as_long_as_a_pruned_one(monkeypatch, method):
    """The same calls of training, whatever the sparsity; a dense one loses no weight."""
    asked, real = {}, rounds.train

    def counted(model, data, **training):
        asked.setdefault(sparsity, []).append(tuple(training.values()))
        return real(model, data, **training)

    monkeypatch.setattr(rounds, "train", counted)
    kept = {}
    for sparsity in (0.0, 0.5):
        values = {"prune.rounds": 2, "prune.epochs_per_round": 1, "prune.method": method}
        config = with_values(BASE, values | {"prune.sparsity": sparsity, "train.epochs": 1})
        _, model = train_and_prune(config, load_data(config))
        weights = [layer.weight for layer in model if hasattr(layer, "weight")]
        kept[sparsity] = sum(int((weight != 0).sum()) for weight in weights)
    assert asked[0.0] == asked[0.5]
    assert kept[0.0] == approx(64 * 32 + 32 * 10, rel=1e-3)
    assert kept[0.5] == approx(0.5 * kept[0.0], rel=0.05)


def test_tiles_can_be_checked_by_ngspice(network):
    found = trial.run_trial(with_values(BASE, {"simulation.check_tiles": 2}), network)
    assert 0 < found["ngspice_error"] < 1e-9


def test_power_is_left_out_on_request(network, monkeypatch):
    whole = trial.run_trial(BASE, network)
    monkeypatch.setattr(trial, "LARGE", 100)  # so that only the last die stays in memory
    found = trial.run_trial(with_values(BASE, {"simulation.n_power": 0}), network)
    assert set(whole) - set(found) == {"power", "energy", "t_read"}
    assert found == {name: whole[name] for name in found}
    assert {len(results) for results in trial.KEPT._results.values()} == {1}
    with pytest.raises(ConfigError, match=r"n_power, which must be above 0; got check_tiles = 2"):
        with_values(BASE, {"simulation.n_power": 0, "simulation.check_tiles": 2})


def test_a_die_fails_and_is_mended(network):
    points = {
        "new": {},
        "failed": {"life.p_stuck_open": 0.5},
        "mended": {"life.p_stuck_open": 0.5, "life.repair": True},
        "aged": {"bank.drift_sigma": 0.5, "life.age": 1000.0},
        "young again": {"bank.drift_sigma": 0.5, "life.age": 1000.0, "life.repair": True},
        "hot": {"bank.tc1_sigma": 2e-3, "life.temperature": 400.0},
    }
    found = {
        name: trial.run_trial(with_values(BASE, values), network) for name, values in points.items()
    }
    loss = {name: metrics["loss"] for name, metrics in found.items()}
    assert loss["failed"] > 0.1 > 10 * abs(loss["new"])
    assert loss["mended"] < 0.5 * loss["failed"]
    assert loss["aged"] > loss["young again"] + 0.02
    assert found["hot"]["weight_error"] > 10 * found["new"]["weight_error"]
    assert found["failed"]["n_changed"] == 0 < found["mended"]["n_changed"]
    # Far fewer switches move than if everything were selected anew.
    assert found["mended"]["n_changed"] < 0.4 * found["mended"]["n_resistor"]


def test_a_life_that_makes_no_sense(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('name = "a"\n[bank]\np_stuck_open = 0.6\n[life]\np_stuck_open = 0.5\n')
    with pytest.raises(ConfigError, match="p_stuck_open must be less than or equal to 1"):
        load_config(path)


def test_one_thread_stays_one_when_numba_starts():
    """In a process of its own, since numba starts its threads once."""
    code = (
        "from crossbar_sim.pipeline.steps import single_thread\n"
        "import numba, torch\n"
        "with single_thread():\n"
        "    numba.get_num_threads()\n"
        "    print(torch.get_num_threads())\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    environment["NUMBA_NUM_THREADS"] = "2"
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert found.stdout == "1\n"


def test_trials_of_two_networks_share_no_circuits(network, tmp_path):
    """The same settings with the weights of another file: other currents."""
    state = torch.load(network, weights_only=True)
    other = tmp_path / "other.pt"
    torch.save({name: value.flip(0) for name, value in state.items()}, other)
    trial.KEPT.clear()
    first, second = (trial.run_trial(BASE, path) for path in (network, other))
    trial.KEPT.clear()
    assert trial.run_trial(BASE, other) == second
    assert first["energy"] != second["energy"]


def test_a_process_that_ends_does_not_wait_for_its_ngspice():
    """As joblib ends one whose memory has grown: it returns from its work, and nothing more."""
    process = multiprocessing.get_context("spawn").Process(target=_start_ngspice)
    process.start()
    process.join(120)
    ended = process.exitcode
    if ended is None:
        process.kill()
        process.join()
    assert ended == 0


def _start_ngspice() -> None:
    assert trial._worker(60.0).probe().klu
