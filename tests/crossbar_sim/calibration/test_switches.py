"""Resistors chosen for the array with its wires."""

from dataclasses import replace

import numpy as np
import pytest

from approx import approx
from crossbar_sim.calibration.descent import TileState, descend
from crossbar_sim.calibration.switches import matrix_error, reselect_for_wires
from crossbar_sim.calibration.tile import WiredDie, pair_matrix
from mapping import Die, MappedNetwork, ResistorBank, TileConfig, map_network
from netlists import Periphery, Wires
from tinynets.networks.layers import ConvGeometry, PrunedLayer, PrunedNetwork

WIRES, ENDS = Wires(5.0, 5.0, 20.0), Periphery(tia_gain=1e3)


def network(n_out: int = 24, n_in: int = 40, density: float = 0.2, seed: int = 0) -> PrunedNetwork:
    rng = np.random.default_rng(seed)
    weight = rng.uniform(-1, 1, (n_out, n_in)) * (rng.random((n_out, n_in)) < density)
    return PrunedNetwork((PrunedLayer("a", weight, weight != 0),))


def on_die(n: int = 8, meter: float = 0.0, tile: TileConfig = TileConfig(32, 32)) -> MappedNetwork:  # noqa: B008
    bank = ResistorBank(n=n, r_min=20e3, sigma_local=0.05, meter_error=meter, r_on=100.0, r_off=1e9)
    return map_network(network(), Die(bank, seed=1), tile)


def test_the_matrix_with_wires_becomes_the_target():
    mapped = on_die()
    found = reselect_for_wires(mapped, WIRES, ENDS)
    (report,) = found.layers
    assert report.before > 1e-2
    assert report.after < 0.05 * report.before
    assert list(report.errors) == sorted(report.errors, reverse=True)
    assert 0 < report.n_changed < report.n_switch
    assert 0.5 < report.scale <= 1.0
    assert not report.out_of_reach
    layer = found.mapped.layers[0]
    wired = WiredDie(mapped.die, WIRES, ENDS)
    assert matrix_error(layer, wired) == (report.after, report.floor)


@pytest.mark.parametrize(("n", "meter", "most"), [(6, 0.0, 1.3), (6, 1e-3, 1.2), (8, 0.0, 1.6)])
def test_it_ends_at_the_resolution_of_the_bank_and_the_meter(n, meter, most):
    mapped, wires, ends = on_die(n=n, meter=meter), Wires(1.0, 1.0), Periphery(tia_gain=1e4)
    resolution = float(np.sqrt(np.mean(mapped.layers[0].error ** 2)))
    found = reselect_for_wires(mapped, wires, ends)
    layer = found.mapped.layers[0]
    gaps = [
        ((pair_matrix(t, wires, ends) - layer.target_of(t)) / layer.g_per_weight[t.columns])[
            t.present
        ]
        for t in layer.tiles
    ]
    rms = float(np.sqrt(np.mean(np.concatenate(gaps) ** 2))) / np.abs(layer.source.weight).max()
    assert 0.5 * resolution < rms < most * resolution
    assert found.layers[0].before > 5 * found.layers[0].after


def test_a_cell_is_chosen_for_itself_and_for_its_neighbours():
    """Against all choices of one cell, by the exact transfer matrix."""
    mapped, wires, ends = on_die(n=3, tile=TileConfig(8, 6)), Wires(200.0, 200.0, 50.0), Periphery()
    layer, tile = mapped.layers[0], mapped.layers[0].tiles[0]
    i, j = (index[:1] for index in np.nonzero(tile.present))
    branches = mapped.die.branches(layer.name, tile.rows[i], tile.columns[j], measured=False)
    values = (branches.g_closed - branches.g_open).reshape(1, 6)
    base = branches.g_open.sum(axis=-1)[0]
    aim, error, current = layer.target_of(tile), {}, np.array([0], np.uint64)
    for mask in range(64):
        pos, neg = tile.g_pos.copy(), tile.g_neg.copy()
        closed = values[0] * [(mask >> k) & 1 for k in range(6)]
        pos[i[0], j[0]], neg[i[0], j[0]] = base + closed.reshape(2, 3).sum(axis=1)
        gap = aim - pair_matrix(replace(tile, g_pos=pos, g_neg=neg), wires, ends)
        error[mask] = float(np.sum(gap[tile.present] ** 2))
        if mask == 0:
            state = TileState(i, j, pos, neg, np.where(tile.present, gap, 0.0))
    resistances = WiredDie(mapped.die, wires, ends).resistances
    (found,) = descend(values, current, state, resistances, 1.0)
    assert error[int(found)] < 1.02 * min(error.values())
    (alone,) = descend(values, current, state, resistances, 0.0)
    assert error[int(alone)] >= error[int(found)] * 0.98


def test_errors_of_wires_cancel_on_real_inputs():
    mapped, wires = on_die(n=3, tile=TileConfig(16, 8)), Wires(20.0, 20.0)
    rng = np.random.default_rng(1)
    x = rng.random((300, 8)) @ rng.random((8, 40))
    moment = x.T @ x / len(x)
    errors = {}
    for name, options in (("nearest", {}), ("aware", {"second_moment": lambda *_: moment})):
        found = reselect_for_wires(mapped, wires, ENDS, rounds=8, **options)
        layer = found.mapped.layers[0]
        assert [tile.name for tile in layer.tiles] == [tile.name for tile in mapped.tiles]
        matrix = layer.assemble([pair_matrix(tile, wires, ENDS) for tile in layer.tiles])
        miss = matrix / layer.g_per_weight[:, None] - layer.source.weight
        errors[name] = np.sqrt(np.mean((x @ miss.T) ** 2))
        size = np.sqrt(np.mean((x @ layer.source.weight.T) ** 2))
    assert errors["aware"] < 0.4 * errors["nearest"]
    (report,) = found.layers
    assert report.errors[-1] == approx(errors["aware"] / size, rel=1e-6)
    assert list(report.errors) == sorted(report.errors, reverse=True)
    assert report.errors[-1] < 0.7 * report.errors[0]


@pytest.mark.parametrize("aware", [False, True])
def test_a_grouped_layer_is_selected_as_if_written_out(aware):
    conv = ConvGeometry(4, (2, 2), (1, 1), (0, 0), (1, 1), groups=4)
    weight, x = (
        np.random.default_rng(0).normal(size=(8, 4)),
        np.random.default_rng(1).random((9, 16)),
    )
    layer = PrunedLayer("a", weight, weight != 0, conv=conv)
    die = Die(ResistorBank(n=4, sigma_local=0.05), seed=1)
    moment = {"second_moment": lambda *_: x.T @ x / len(x)} if aware else {}
    found = []
    for each in (layer, layer.written_out()):
        mapped = map_network(PrunedNetwork((each,)), die, TileConfig(8, 8))
        found.append(reselect_for_wires(mapped, WIRES, ENDS, rounds=3, **moment))
    (grouped,), (whole,) = (each.mapped.layers for each in found)
    assert found[0].layers == found[1].layers
    assert grouped.n_different(whole) == 0 < found[0].layers[0].n_changed
    predicted = grouped.source.grouped(grouped.predicted).written_out()
    np.testing.assert_array_equal(predicted, whole.predicted)


def test_calibration_sees_the_meter_and_is_judged_by_the_truth():
    mapped = on_die(meter=0.02)
    (report,) = reselect_for_wires(mapped, WIRES, ENDS).layers
    assert report.errors[-1] < 0.5 * report.after


def test_networks_of_several_tiles_and_what_they_predict():
    mapped = on_die(tile=TileConfig(16, 8))
    seen = []
    found = reselect_for_wires(mapped, WIRES, ENDS, progress=lambda *done: seen.append(done))
    assert seen[0] == ("calibrate", 0, len(mapped.tiles))
    assert seen[-1] == ("calibrate", len(mapped.tiles), len(mapped.tiles))
    layer = found.mapped.layers[0]
    assert [tile.name for tile in layer.tiles] == [tile.name for tile in mapped.tiles]
    realised = layer.assemble([tile.g_pos - tile.g_neg for tile in layer.tiles])
    np.testing.assert_allclose(realised, layer.predicted, atol=1e-15)  # a perfect meter
    for tile in layer.tiles:
        gap = pair_matrix(tile, WIRES, ENDS) - layer.target_of(tile)
        assert np.abs(gap).max() < 0.02 * np.abs(layer.target_of(tile)).max()


def test_wires_that_take_too_much_are_reported():
    (report,) = reselect_for_wires(on_die(n=4), Wires(2000.0, 2000.0), Periphery(), rounds=2).layers
    assert report.out_of_reach


def test_rounds_must_be_positive():
    with pytest.raises(ValueError, match="rounds must be at least 1"):
        reselect_for_wires(on_die(), WIRES, ENDS, rounds=0)
