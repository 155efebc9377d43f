"""Resistors chosen for the array with its wires."""

import numpy as np
import pytest

from crossbar_sim.calibrate import calibrate, matrix_error, pair_matrix, wanted
from mapping import Die, ResistorBank, TileConfig, map_network
from netlists import Periphery, Wires
from tinynets.layers import PrunedLayer, PrunedNetwork

WIRES, ENDS = Wires(5.0, 5.0, 20.0), Periphery(tia_gain=1e3)


def network(n_out=24, n_in=40, density=0.2, seed=0):
    rng = np.random.default_rng(seed)
    weight = rng.uniform(-1, 1, (n_out, n_in)) * (rng.random((n_out, n_in)) < density)
    return PrunedNetwork((PrunedLayer("a", weight, weight != 0),))


def on_die(n=8, meter=0.0, tile=TileConfig(32, 32)):  # noqa: B008
    bank = ResistorBank(n=n, r_min=20e3, sigma_local=0.05, meter_error=meter, r_on=100.0, r_off=1e9)
    return map_network(network(), Die(bank, seed=1), tile)


def test_the_matrix_with_wires_becomes_the_wanted_one():
    mapped = on_die()
    found = calibrate(mapped, WIRES, ENDS)
    (report,) = found.layers
    assert report.before > 1e-2
    assert report.after < 0.05 * report.before
    assert list(report.errors) == sorted(report.errors, reverse=True)
    assert 0 < report.n_changed < report.n_switch
    assert 0.5 < report.scale <= 1.0
    assert not report.out_of_reach
    layer = found.mapped.layers[0]
    assert matrix_error(layer, layer.tiles, WIRES, ENDS) == (report.after, report.floor)


def test_it_ends_at_the_resolution_of_the_bank_and_the_meter():
    ideal = on_die(n=6, meter=1e-3).layers[0]
    resolution = float(np.sqrt(np.mean(ideal.error**2)))
    (report,) = calibrate(on_die(n=6, meter=1e-3), Wires(1.0, 1.0), Periphery()).layers
    # Over all places of the tiles, most of which are pruned; the error sits on the others.
    density = 0.2
    assert report.after < 3 * resolution * np.sqrt(density)


def test_calibration_sees_the_meter_and_is_judged_by_the_truth():
    mapped = on_die(meter=0.02)
    (report,) = calibrate(mapped, WIRES, ENDS).layers
    assert report.errors[-1] < 0.5 * report.after


def test_networks_of_several_tiles_and_what_they_predict():
    mapped = on_die(tile=TileConfig(16, 8))
    seen = []
    found = calibrate(mapped, WIRES, ENDS, progress=lambda *done: seen.append(done))
    assert seen[-1] == (len(mapped.tiles), len(mapped.tiles))
    layer = found.mapped.layers[0]
    assert [tile.name for tile in layer.tiles] == [tile.name for tile in mapped.tiles]
    realised = layer.assemble([tile.g_pos - tile.g_neg for tile in layer.tiles])
    np.testing.assert_allclose(realised, layer.predicted, atol=1e-15)  # a perfect meter
    for tile in layer.tiles:
        gap = pair_matrix(tile, WIRES, ENDS) - wanted(layer, tile)
        assert np.abs(gap).max() < 0.02 * np.abs(wanted(layer, tile)).max()


def test_wires_that_take_too_much_are_reported():
    (report,) = calibrate(on_die(n=4), Wires(2000.0, 2000.0), Periphery(), rounds=2).layers
    assert report.out_of_reach


def test_rounds_must_be_positive():
    with pytest.raises(ValueError, match="rounds must be at least 1"):
        calibrate(on_die(), WIRES, ENDS, rounds=0)
