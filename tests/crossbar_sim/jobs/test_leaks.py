"""Nothing on a die is fixed on test images: neither ranges nor selections nor what is tuned."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from approx import approx
from crossbar_sim.config.study import with_values
from crossbar_sim.jobs import wafer_loop as exchange
from crossbar_sim.on_die.circuit_layer import CircuitLayer
from crossbar_sim.on_die.to_torch import to_torch
from crossbar_sim.pipeline.outcome import die_maker
from crossbar_sim.pipeline.selection_rules import compare_rules
from crossbar_sim.pipeline.steps import load_data, select_on_die
from crossbar_sim.study import trial
from tinynets.networks.extraction import extract


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
        made = [die_maker(config, pruned, mapped, d)(config.hardware) for d in (data, other)]
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
    network = extract(pruned, torch.from_numpy(data.x_test[:1]))
    tables = [
        compare_rules(pruned, network, one.die, one.tile, d, v_rms=0.1, n_calibration=100)
        for d in (data, other)
    ]
    assert all(tables)
    for row, same in zip(*tables, strict=True):
        assert row | {"accuracy": 0} == same | {"accuracy": 0}


def watched(monkeypatch, module):
    """Note the images that a module fixes ranges with."""
    seen = []

    def noting(*args, calibration, **options):
        seen.append(calibration)
        return to_torch(*args, calibration=calibration, **options)

    monkeypatch.setattr(module, "to_torch", noting)
    return seen


def test_trials_and_scores_fix_ranges_on_training_images(setting, monkeypatch, tmp_path):
    config, pruned, data, _ = setting
    seen = watched(monkeypatch, trial), watched(monkeypatch, exchange)
    torch.save(pruned.state_dict(), tmp_path / "pruned.pt")
    trial.run_trial(config, tmp_path / "pruned.pt")
    exchange.score(config, pruned, select_on_die(config, pruned, data))
    wanted = torch.from_numpy(load_data(config).x_train)
    assert [[torch.equal(x, wanted) for x in images] for images in seen] == [[True], [True]]
