"""Selection rules on whole layers: what each buys, and what does not go together."""

import numpy as np
import pytest

from mapping import Die, ResistorBank, SelectionRule, TileConfig, map_network
from mapping.encode import g_lsb
from mapping.select import select
from tinynets.layers import PrunedLayer, PrunedNetwork


@pytest.fixture(scope="module")
def network():
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(20, 30)) * (rng.random((20, 30)) < 0.4)
    return PrunedNetwork((PrunedLayer("fc", weight, weight != 0),))


@pytest.fixture(scope="module")
def die():
    bank = ResistorBank(n=6, sigma_local=0.05, meter_error=1e-3, r_on=1e3, r_off=1e9)
    return Die(bank, seed=5)


def mapped(network, die, second_moment=None, **options):
    rule = SelectionRule(**options)
    found = map_network(network, die, TileConfig(64, 64), rule=rule, second_moment=second_moment)
    return found.layers[0]


def conductance(layer):
    return sum(float((tile.g_pos + tile.g_neg).sum()) for tile in layer.tiles)


def test_power_saves_current_and_stays_within_tolerance(network, die):
    nearest = mapped(network, die)
    light = mapped(network, die, objective="power", tolerance_lsb=0.5, lsb_bits=8)
    assert conductance(light) < 0.7 * conductance(nearest)
    assert light.n_closed < nearest.n_closed
    wanted = light.g_per_weight[:, None] * light.layer.weight
    gap = np.abs(light.predicted - wanted)[light.layer.mask]
    assert gap.max() <= 0.5 * g_lsb(die, 8) * (1 + 1e-9)


def test_at_most_so_many_switches_are_closed(network, die):
    few = mapped(network, die, max_closed=3)
    for tile in few.tiles:
        closed = np.bitwise_count(tile.chosen_pos) + np.bitwise_count(tile.chosen_neg)
        assert closed.max() <= 3


def test_reading_candidates_as_a_whole_lowers_the_error(network, die):
    plain, verified = mapped(network, die), mapped(network, die, n_candidate=16)
    assert np.abs(verified.error).mean() < 0.7 * np.abs(plain.error).mean()


def test_awareness_lowers_the_output_error(network, die):
    coarse = Die(ResistorBank(n=2, sigma_local=0.05), seed=1)
    rng = np.random.default_rng(1)
    x = np.abs(rng.normal(size=(400, 30)) @ rng.normal(size=(30, 30)))
    moment = x.T @ x / len(x)
    asked = []

    def second_moment(name, believed):
        asked.append((name, dict(believed)))
        return moment

    aware = mapped(network, coarse, second_moment, objective="aware")
    plain = mapped(network, coarse)
    weight = network.layers[0].weight
    errors = [np.linalg.norm(x @ (layer.weight - weight).T) for layer in (aware, plain)]
    assert errors[0] < 0.5 * errors[1]
    assert asked == [("fc", {})]


@pytest.mark.parametrize("per", ["layer", "output"])
def test_a_fitted_scale_lowers_the_output_error_of_cells_chosen_alone(network, per):
    """And is no worse than the scale of the largest weight, by the measure that it is fitted in."""
    coarse = Die(ResistorBank(n=1, sigma_local=0.05), seed=1)
    rng = np.random.default_rng(1)
    x = np.abs(rng.normal(size=(400, 30)) @ rng.normal(size=(30, 30)))

    def second_moment(_name, _believed):
        return x.T @ x / len(x)

    plain = mapped(network, coarse, scale_per=per)
    fitted = mapped(network, coarse, second_moment, scale_per=per, fit_scale=True)
    weight = network.layers[0].weight
    errors = [np.linalg.norm(x @ (layer.weight - weight).T) for layer in (fitted, plain)]
    assert errors[0] < 0.9 * errors[1]
    factors = fitted.g_per_weight / plain.g_per_weight
    assert len(np.unique(factors.round(6))) == 1 if per == "layer" else factors.min() >= 0.85 - 1e-9
    assert np.abs(factors - 1).max() > 0.1
    # Cells are still chosen alone: each takes the subset nearest to its own target.
    again = fitted.g_per_weight[:, None] * fitted.layer.weight
    rows, columns = np.nonzero(fitted.layer.mask.T)
    nearest = select(
        coarse.branches("fc", rows, columns, measured=True), again[columns, rows]
    ).predicted
    assert np.array_equal(fitted.predicted[columns, rows], nearest)


def test_targets_out_of_reach_are_listed(network):
    coarse = Die(ResistorBank(n=1, sigma_local=0.05), seed=1)
    layer = mapped(network, coarse)
    missed = layer.missed(0.05)
    assert 0 < len(missed) < layer.layer.n_remaining
    gap = np.abs(layer.predicted / layer.g_per_weight[:, None] - layer.layer.weight)
    far = gap > 0.05 * np.abs(layer.layer.weight).max()
    assert set(zip(missed.columns, missed.rows)) == set(zip(*np.nonzero(far)))
    assert len(layer.missed(10.0)) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "magic"}, "error, power or aware"),
        ({"n_candidate": 0}, "at least 1"),
        ({"n_candidate": 4, "objective": "power"}, "goes with objective='error'"),
        ({"n_candidate": 4, "max_closed": 2}, "goes with objective='error'"),
        ({"objective": "aware", "max_closed": 2}, "no max_closed"),
        ({"objective": "aware", "fit_scale": True}, "'aware' always fits its scale"),
        ({"n_candidate": 4, "fit_scale": True}, "fit_scale goes with objective='error'"),
    ],
)
def test_rules_that_make_no_sense(options, message):
    with pytest.raises(ValueError, match=message):
        SelectionRule(**options)


def test_aware_needs_a_second_moment(network, die):
    with pytest.raises(ValueError, match="need second_moment"):
        mapped(network, die, objective="aware")
    with pytest.raises(ValueError, match="fit_scale need second_moment"):
        mapped(network, die, fit_scale=True)


def test_mapping_reports_its_progress(network, die):
    seen = []
    map_network(network, die, TileConfig(8, 8), progress=seen.append)
    assert seen == ["fc"]
