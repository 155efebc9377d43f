"""Hashing with resistors as they come, through the circuits."""

import numpy as np
import pytest
import torch

from crossbar_sim import solve_ngspice
from crossbar_sim.on_die.flyhash_projection import crossbar_projection
from mapping import Die, ResistorBank, TileConfig
from netlists import Periphery, Wires, array_circuit
from tinynets.data import digits
from tinynets.flyhash import FlyHash, nearest_codes, nearest_exact, recall, sparse_projection

TILE = TileConfig(32, 64)


@pytest.fixture(scope="module")
def projection() -> np.ndarray:
    return sparse_projection(64, 320, seed=0).numpy()


def die(sigma: float, seed: int = 1) -> Die:
    return Die(ResistorBank(n=1, r_min=100e3, sigma_local=sigma), seed=seed)


def test_perfect_resistors_and_wires_give_the_projection_itself(projection):
    found = crossbar_projection(projection, die(0.0), Wires(), tile=TILE)
    np.testing.assert_allclose(found, projection * 1e-5, rtol=1e-12)


def test_resistors_conduct_what_the_die_says(projection):
    found = crossbar_projection(projection, die(0.2), Wires(), tile=TILE, layer="other")
    columns, rows = np.nonzero(projection)
    true = die(0.2).branches("other", rows, columns, measured=False).g_closed[:, 0, 0]
    np.testing.assert_allclose(found[columns, rows], true, rtol=1e-12)
    assert 0.1 < np.std(true) / np.mean(true) < 0.3
    assert (found[~projection] == 0).all()


def test_the_circuit_is_the_one_that_ngspice_solves(worker):
    projection = sparse_projection(16, 24, share=0.3, seed=2).numpy()
    wires, ends = Wires(r_word=5.0, r_bit=5.0), Periphery(tia_gain=1e4)
    config = TileConfig(16, 24)
    found = crossbar_projection(projection, die(0.3), wires, tile=config, periphery=ends)
    columns, rows = np.nonzero(projection)
    g = np.zeros((16, 24))
    g[rows, columns] = die(0.3).branches("hash", rows, columns, measured=False).g_closed[:, 0, 0]
    volts = 0.2 * digits(seed=0, flat=True).x_test[:3, 24:40].astype(float)
    spice = solve_ngspice(array_circuit(g, wires, ends), volts, worker=worker).i_out
    np.testing.assert_allclose(volts @ found.T, spice, atol=1e-9 * abs(spice).max())


def test_scatter_and_wires_cost_almost_no_recall_until_wires_dominate(projection):
    data = digits(seed=0, flat=True)
    x, queries = torch.from_numpy(data.x_train[:700]), torch.from_numpy(data.x_test[:150])
    exact = nearest_exact(x, queries, 10)

    def share(matrix):
        hash_of = FlyHash(torch.from_numpy(matrix), 16)
        return recall(nearest_codes(hash_of(x), hash_of(queries), 10), exact)

    def through(ohm):
        wires = Wires(r_word=ohm, r_bit=ohm)
        return share(crossbar_projection(projection, die(0.1), wires, tile=TILE))

    ideal = share(projection)
    assert through(0.0) > ideal - 0.03
    assert through(20.0) > ideal - 0.04
    assert through(2e3) < ideal - 0.06


def test_a_projection_must_be_bool():
    with pytest.raises(ValueError, match="of bool"):
        crossbar_projection(np.ones((3, 3)), die(0.0), Wires(), tile=TILE)
