"""Selection rules on whole layers: what each buys, and what does not go together."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from approx import approx
from elsewhere import GPU, device_named
from mapping import Branches, Die, MappedLayer, ResistorBank, SelectionRule, TileConfig, map_network
from mapping.network.map_network import map_layers
from mapping.selection.encode import g_lsb
from mapping.selection.select import select
from mapping.tiling.compact import split
from mapping.wafer.meter import Meter
from mapping.wafer.reading_plan import one_at_a_time
from mapping.wafer.survey import Survey
from tinynets.networks.layers import PrunedLayer, PrunedNetwork
from tinynets.subset_sum import in_torch


@pytest.fixture(scope="module")
def network() -> PrunedNetwork:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(20, 30)) * (rng.random((20, 30)) < 0.4)
    return PrunedNetwork((PrunedLayer("fc", weight, weight != 0),))


@pytest.fixture(scope="module")
def die() -> Die:
    bank = ResistorBank(n=6, sigma_local=0.05, meter_error=1e-3, r_on=1e3, r_off=1e9)
    return Die(bank, seed=5)


def mapped(
    network: PrunedNetwork, die: Die, second_moment: Any = None, **options: Any
) -> MappedLayer:
    rule = SelectionRule(**options)
    found = map_network(network, die, TileConfig(64, 64), rule=rule, second_moment=second_moment)
    return found.layers[0]


def conductance(layer: MappedLayer) -> float:
    return sum(float((tile.g_pos + tile.g_neg).sum()) for tile in layer.tiles)


def test_power_saves_current_and_stays_within_tolerance(network, die):
    nearest = mapped(network, die)
    light = mapped(network, die, objective="power", tolerance_lsb=0.5, lsb_bits=8)
    assert conductance(light) < 0.7 * conductance(nearest)
    assert light.n_closed < nearest.n_closed
    wanted = light.g_per_weight[:, None] * light.source.weight
    gap = np.abs(light.predicted - wanted)[light.source.mask]
    assert gap.max() <= 0.5 * g_lsb(die, 8) * (1 + 1e-9)


def test_at_most_so_many_switches_are_closed(network, die):
    """And of all choices of so few, each cell has the one that misses its target by least."""
    few = mapped(network, die, max_closed=3)
    columns, rows = np.nonzero(few.source.mask)
    measured = die.branches("fc", rows, columns, measured=True)
    masks = np.arange(2**12)
    masks = masks[np.bitwise_count(masks) <= 3]
    closed = (masks[:, None] >> np.arange(12) & 1).astype(bool).reshape(-1, 2, 6)
    open_, more = measured.g_open, measured.g_closed - measured.g_open
    banks = open_.sum(axis=2) + np.einsum("msb,csb->mcs", closed, more)
    wanted = (few.g_per_weight[:, None] * few.source.weight)[columns, rows]
    gap = np.abs(banks[..., 0] - banks[..., 1] - wanted).min(axis=0)
    found = np.abs(few.predicted[columns, rows] - wanted)
    np.testing.assert_allclose(found, gap, rtol=1e-9, atol=1e-18)
    counted = [np.bitwise_count(t.chosen_pos) + np.bitwise_count(t.chosen_neg) for t in few.tiles]
    assert max(count.max() for count in counted) == 3


def inputs_moment(n_in: int = 30) -> np.ndarray:
    """Return the second moment of inputs that go together, as those of a real layer do."""
    rng = np.random.default_rng(1)
    x = np.abs(rng.normal(size=(400, n_in)) @ rng.normal(size=(n_in, n_in)))
    return x.T @ x / len(x)


def banks_of(
    layer: MappedLayer, branches: Branches, rows: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """Return (n_cell,) [S]: what given branches conduct, positive less negative, as switched."""
    total = np.zeros(len(rows))
    for tile in layer.tiles:
        for side, chosen in ((0, tile.chosen_pos), (1, tile.chosen_neg)):
            for i, j in np.argwhere(tile.present):
                (k,) = np.flatnonzero((rows == tile.rows[i]) & (columns == tile.columns[j]))
                for b in range(branches.g_closed.shape[-1]):
                    state = branches.g_closed if chosen[i, j] >> b & 1 else branches.g_open
                    total[k] += (1, -1)[side] * state[k, side, b]
    return total


@pytest.mark.parametrize(
    "options",
    [{}, {"max_closed": 3}, {"objective": "power"}, {"objective": "aware"}],
    ids=["error", "few", "power", "aware"],
)
def test_the_meter_chooses_and_tiles_hold_what_is_there(network, options):
    """A poor meter tells the two apart."""
    poor = Die(ResistorBank(n=4, sigma_local=0.05, meter_error=0.05, r_off=1e8), seed=2)
    layer = mapped(network, poor, lambda name, believed: inputs_moment(), **options)
    columns, rows = np.nonzero(layer.source.mask)
    read, true = (poor.branches("fc", rows, columns, measured=m) for m in (True, False))
    believed = layer.predicted[columns, rows]
    np.testing.assert_allclose(banks_of(layer, read, rows, columns), believed, atol=1e-18)
    (tile,) = layer.tiles
    there = (tile.g_pos - tile.g_neg)[tile.present]
    by_tile = banks_of(layer, true, rows, columns)
    where = [
        np.flatnonzero((rows == tile.rows[i]) & (columns == tile.columns[j]))[0]
        for i, j in np.argwhere(tile.present)
    ]
    np.testing.assert_allclose(there, by_tile[where], atol=1e-18)


def test_reading_candidates_as_a_whole_lowers_the_error(network, die):
    plain, verified = mapped(network, die), mapped(network, die, n_candidate=16)
    assert np.abs(verified.error).mean() < 0.7 * np.abs(plain.error).mean()


def test_awareness_lowers_the_output_error(network, die):
    coarse = Die(ResistorBank(n=2, sigma_local=0.05), seed=1)
    moment, asked = inputs_moment(), []

    def second_moment(name, believed):
        asked.append((name, dict(believed)))
        return moment

    aware = mapped(network, coarse, second_moment, objective="aware")
    plain = mapped(network, coarse)
    weight = network.layers[0].weight
    # The mean square of an output's error is e' M e for its errors of weights e.
    errors = [layer.weight - weight for layer in (aware, plain)]
    squares = [np.einsum("oi,ij,oj->", e, moment, e) for e in errors]
    assert squares[0] < 0.25 * squares[1]
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
    again = fitted.g_per_weight[:, None] * fitted.source.weight
    rows, columns = np.nonzero(fitted.source.mask.T)
    nearest = select(
        coarse.branches("fc", rows, columns, measured=True), again[columns, rows]
    ).predicted
    assert np.array_equal(fitted.predicted[columns, rows], nearest)


def test_weights_that_are_kept_and_zero_are_not_missed():
    """A selection realises zero to within leakage, which is far below a fraction of full scale."""
    zeros = PrunedLayer("z", np.zeros((3, 4)), np.ones((3, 4), bool))
    die = Die(ResistorBank(n=4, sigma_local=0.05, r_on=1e3, r_off=1e9), seed=1)
    layer = map_network(PrunedNetwork((zeros,)), die, TileConfig(4, 3)).layers[0]
    assert 0 < np.abs(layer.error).max() < 0.01
    assert len(layer.missed(0.01)) == 0


def test_targets_out_of_reach_are_listed(network):
    coarse = Die(ResistorBank(n=1, sigma_local=0.05), seed=1)
    layer = mapped(network, coarse)
    missed = layer.missed(0.05)
    assert 0 < len(missed) < layer.source.n_remaining
    gap = np.abs(layer.predicted / layer.g_per_weight[:, None] - layer.source.weight)
    far = gap > 0.05 * np.abs(layer.source.weight).max()
    assert set(zip(missed.columns, missed.rows)) == set(zip(*np.nonzero(far)))
    assert len(layer.missed(10.0)) == 0
    cells = missed.columns, missed.rows
    wanted = layer.g_per_weight[:, None] * layer.source.weight
    np.testing.assert_allclose(missed.target, wanted[cells], rtol=1e-12, atol=0)
    np.testing.assert_array_equal(missed.realised, layer.predicted[cells])
    limit = 0.05 * np.abs(layer.source.weight).max() * layer.g_per_weight.max()
    assert missed.tolerance == approx(limit, rel=1e-12)


def test_each_tile_knows_its_targets_and_all_tiles_are_asked(network, die):
    layer = map_network(network, die, TileConfig(8, 8)).layers[0]
    wanted = layer.g_per_weight[:, None] * layer.source.weight
    assert len(layer.tiles) > 1
    for tile in layer.tiles:
        i, j = np.nonzero(tile.present)
        asked = wanted[tile.columns[j], tile.rows[i]]
        np.testing.assert_allclose(layer.target_of(tile)[i, j], asked, rtol=1e-12, atol=0)
    fewer = replace(layer, tiles=layer.tiles[:-1])
    with pytest.raises(ValueError, match="shorter"):
        layer.n_different(fewer)
    with pytest.raises(ValueError, match="shorter"):
        layer.assemble([tile.g_pos for tile in fewer.tiles])


SURVEY = Survey(one_at_a_time(6), Meter(1e-3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "magic"}, "objective must be 'error', 'power' or 'aware'"),
        ({"n_candidate": 0}, "n_candidate must be greater than or equal to 1"),
        ({"n_candidate": 2, "objective": "power"}, "goes with objective='error'"),
        ({"n_candidate": 4, "max_closed": 2}, "goes with objective='error'"),
        ({"objective": "aware", "max_closed": 2}, "no max_closed"),
        ({"objective": "aware", "fit_scale": True}, "'aware' always fits its scale"),
        ({"n_candidate": 4, "fit_scale": True}, "fit_scale goes with objective='error'"),
        ({"survey": SURVEY, "objective": "power"}, "survey goes with objective='error'"),
        ({"survey": SURVEY, "max_closed": 2}, "survey goes with objective='error'"),
        ({"survey": SURVEY, "n_candidate": 4}, "survey goes with objective='error'"),
    ],
)
def test_rules_that_make_no_sense(options, message):
    with pytest.raises(ValueError, match=message):
        SelectionRule(**options)


def test_a_survey_goes_with_the_nearest_choice():
    assert SelectionRule(survey=SURVEY).survey is SURVEY


@pytest.mark.parametrize("tiling", ["in order", "clustered"])
def test_lines_are_shared_out_among_tiles_as_asked(network, die, tiling):
    config = TileConfig(8, 8)
    found = map_network(network, die, config, tiling=tiling).tiles
    wanted = split(network.layers[0].mask, config, tiling)
    assert [tile.rows.tolist() for tile in found] == [block.rows.tolist() for block in wanted]
    assert [tile.columns.tolist() for tile in found] == [block.columns.tolist() for block in wanted]


@pytest.mark.parametrize("kind", ["cpu", "elsewhere", pytest.param("cuda", marks=GPU)])
@pytest.mark.parametrize("per", ["layer", "output"])
def test_a_device_chooses_the_same_switches(network, die, kind, per):
    config, rule = TileConfig(8, 8), SelectionRule(scale_per=per)
    expected = map_network(network, die, config, rule=rule, tiling="clustered")
    with device_named(kind) as there:
        found = map_network(network, die, config, rule=rule, tiling="clustered", device=there)
    same = [
        np.array_equal(getattr(a, name), getattr(b, name))
        for a, b in zip(found.tiles, expected.tiles, strict=True)
        for name in ("rows", "columns", "chosen_pos", "chosen_neg", "g_pos", "g_neg")
    ]
    assert all(same)
    assert len(same) > 6
    np.testing.assert_array_equal(found.layers[0].predicted, expected.layers[0].predicted)


def test_a_device_is_what_the_subsets_are_searched_on(network, die, monkeypatch):
    asked, search = [], in_torch.nearest_masks
    monkeypatch.setattr(in_torch, "nearest_masks", lambda *a: asked.append(a[2]) or search(*a))
    map_network(network, die, TileConfig(8, 8))
    assert asked == []
    map_network(network, die, TileConfig(8, 8), device="cpu")
    assert asked == [torch.device("cpu")]


@pytest.mark.parametrize(
    "options",
    [
        {"objective": "power"},
        {"objective": "aware"},
        {"max_closed": 3},
        {"n_candidate": 4},
        {"survey": SURVEY},
        {"fit_scale": True},
    ],
)
def test_a_rule_that_only_the_cpu_follows_is_refused_with_a_device(network, die, options):
    message = rf"device='cpu' searches .* sets {next(iter(options))}; leave device out"
    with pytest.raises(ValueError, match=message):
        map_network(network, die, TileConfig(), rule=SelectionRule(**options), device="cpu")


def test_a_keyword_that_does_not_exist_is_refused(network, die):
    with pytest.raises(TypeError, match="unexpected keyword argument 'tilling'"):
        map_network(network, die, TileConfig(), tilling="clustered")


def test_aware_needs_a_second_moment(network, die):
    with pytest.raises(ValueError, match="need second_moment"):
        mapped(network, die, objective="aware")
    with pytest.raises(ValueError, match="fit_scale need second_moment"):
        mapped(network, die, fit_scale=True)


def test_layers_come_one_by_one(network, die):
    layers = list(map_layers(network, die, TileConfig(8, 8)))
    assert [layer.name for layer in layers] == ["fc"]
    whole = map_network(network, die, TileConfig(8, 8)).layers[0]
    np.testing.assert_array_equal(layers[0].predicted, whole.predicted)


def test_the_default_tolerance_is_half_a_step_of_eight_bits():
    assert SelectionRule(objective="power") == SelectionRule("power", "layer", 0.5, 8)
