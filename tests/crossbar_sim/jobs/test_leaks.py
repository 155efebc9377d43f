"""Nothing on a die is fixed on test images: neither ranges nor selections nor what is tuned."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from approx import approx
from crossbar_sim.config.study import with_values
from crossbar_sim.findings.selection_rules import compare_rules
from crossbar_sim.on_die.circuit_layer import CircuitLayer
from crossbar_sim.on_die.layer_inputs import input_ranges
from crossbar_sim.on_die.to_torch import to_torch
from crossbar_sim.pipeline import deployment, finished_run, steps
from crossbar_sim.pipeline.deployment import Deployment
from crossbar_sim.pipeline.kept import Kept
from crossbar_sim.pipeline.steps import load_data, network_on_die, select_on_die
from crossbar_sim.study import trial


@pytest.fixture(scope="module")
def setting(digits_mlp):
    """A tuned run, its data, and the same data with other test images, five times as bright."""
    config, data, pruned = digits_mlp
    config = with_values(config, {"tune.n_output": 200})
    rng = np.random.default_rng(0)
    other = 5 * rng.permutation(data.x_test.ravel()).reshape(data.x_test.shape)
    return config, pruned, data, replace(data, x_test=other.astype(np.float32))


def test_a_run_fixes_ranges_and_gains_on_training_images(setting):
    config, pruned, data, other = setting
    mapped = select_on_die(config, pruned, data)
    with torch.no_grad():
        made = [network_on_die(config, pruned, mapped, config.hardware, d) for d in (data, other)]
        outputs = [network(torch.from_numpy(data.x_test)) for network in made]
    first = next(m for m in made[1].modules() if isinstance(m, CircuitLayer))
    assert first.input_range.limit == approx(data.x_train.max())
    assert torch.equal(*outputs)


def test_selections_use_training_images(setting):
    config, pruned, data, other = setting
    aware = with_values(config, {"select.objective": "aware"})
    one, two = (select_on_die(aware, pruned, d) for d in (data, other))
    assert one.tiles
    for a, b in zip(one.tiles, two.tiles, strict=True):
        np.testing.assert_array_equal(a.chosen_pos, b.chosen_pos)
        np.testing.assert_array_equal(a.chosen_neg, b.chosen_neg)
    tables = [compare_rules(deployed(config, pruned, one, d), 0.1) for d in (data, other)]
    assert all(tables)
    of_tests = dict.fromkeys(("accuracy", "low", "high", "lost", "gained", "p"), 0)
    for row, same in zip(*tables, strict=True):
        assert row | of_tests == same | of_tests


def deployed(config, pruned, mapped, data):
    """A deployment of which the steps up to the die are done, with data of one's choice."""

    class Done(Deployment):
        pruned = property(lambda self: pruned)
        mapped = property(lambda self: mapped)
        data = property(lambda self: data)

    return Done(config, Kept())


def watched(monkeypatch):
    """Note the images that fix ranges."""
    seen = []

    def noting(*args, calibration, **options):
        seen.append(calibration)
        return to_torch(*args, calibration=calibration, **options)

    def ranging(network, paths, calibration):
        seen.append(calibration)
        return input_ranges(network, paths, calibration)

    for module in (steps, deployment):
        monkeypatch.setattr(module, "to_torch", noting)
    monkeypatch.setattr(deployment, "input_ranges", ranging)
    return seen


def test_trials_and_scores_fix_ranges_on_training_images(setting, monkeypatch, tmp_path):
    config, pruned, data, _ = setting
    seen = watched(monkeypatch)
    torch.save(pruned.state_dict(), tmp_path / "pruned.pt")
    trial.run_trial(config, tmp_path / "pruned.pt")
    finished_run.score(config, pruned, select_on_die(config, pruned, data))
    training = torch.from_numpy(load_data(config).x_train)
    assert [torch.equal(images, training) for images in seen] == [True] * 3
