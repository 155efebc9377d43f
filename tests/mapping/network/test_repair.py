"""A die that changed: few switches set anew."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mapping import Die, MappedNetwork, ResistorBank, TileConfig, map_network
from mapping.network.repair import on_die, reselect
from tinynets.networks.layers import PrunedLayer, PrunedNetwork

BANK = ResistorBank(n=6, sigma_local=0.05, meter_error=1e-4, r_on=1e3, r_off=1e9)


@pytest.fixture(scope="module")
def mapped() -> MappedNetwork:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(12, 20)) * (rng.random((12, 20)) < 0.4)
    network = PrunedNetwork((PrunedLayer("fc", weight, weight != 0),))
    return map_network(network, Die(BANK, seed=1), TileConfig(8, 8))


def aged(seed: int, drift: float, open_share: float = 0.0) -> Die:
    """Return the die of seed 1 after drift of every resistor, some of them broken."""
    rng = np.random.default_rng(seed)
    rows, columns = (a.ravel() for a in np.meshgrid(range(20), range(12), indexing="ij"))
    ohms = Die(BANK, seed=1).resistances("fc", rows, columns).reshape(20, 12, 2, 6)
    ohms = ohms * (1 + drift * rng.standard_normal(ohms.shape))
    ohms[rng.random(ohms.shape) < open_share] = 1e15
    return Die(BANK, table={"fc": ohms})


def worst(mapped: MappedNetwork) -> float:
    return float(np.abs(mapped.layers[0].error).max())


def masks(mapped: MappedNetwork) -> list[np.ndarray]:
    return [m for tile in mapped.tiles for m in (tile.chosen_pos, tile.chosen_neg)]


def n_different(a: MappedNetwork, b: MappedNetwork) -> int:
    return sum(int(np.bitwise_count(x ^ y).sum()) for x, y in zip(masks(a), masks(b)))


def test_an_unchanged_die_keeps_every_switch(mapped):
    found = reselect(mapped, mapped.die, tolerance=0.02)
    assert (found.changes, found.n_cell, found.n_unrepaired) == ((), 0, 0)
    assert len(mapped.tiles) == len(found.mapped.tiles) > 1
    for a, b in zip(mapped.tiles, found.mapped.tiles):
        np.testing.assert_array_equal(a.g_pos, b.g_pos)


def test_broken_branches_are_worked_around_with_few_changes(mapped):
    die = aged(0, drift=0.0, open_share=0.02)
    broken = on_die(mapped, die)
    found = reselect(mapped, die)
    fresh = map_network(PrunedNetwork((mapped.layers[0].source,)), die, TileConfig(8, 8))
    assert worst(broken) > 0.05
    assert found.n_unrepaired == 0
    assert worst(found.mapped) < 0.006
    assert len(found.changes) == n_different(mapped, found.mapped)
    assert len(found.changes) < 0.1 * n_different(mapped, fresh)
    assert found.n_cell < 40


def test_drift_is_followed(mapped):
    die = aged(1, drift=0.03)
    found = reselect(mapped, die)
    assert worst(on_die(mapped, die)) > 0.02
    # The largest weight sits at the edge of what its bank can do, and may drift out of reach.
    assert found.n_unrepaired <= 2
    assert np.quantile(np.abs(found.mapped.layers[0].error), 0.97) < 0.006
    assert 0 < found.n_cell <= mapped.layers[0].source.n_remaining


def test_the_changes_tell_how_to_get_from_one_to_the_other(mapped):
    found = reselect(mapped, aged(2, drift=0.05))
    by_name = {tile.name: tile for tile in found.mapped.tiles}
    before = {tile.name: tile for tile in mapped.tiles}
    assert len(found.changes) > 10
    for change in found.changes:
        side = "chosen_pos" if change.side == "pos" else "chosen_neg"
        place = change.word_line, change.bit_line
        bit = 1 << change.branch
        assert bool(getattr(by_name[change.tile], side)[place] & bit) == change.closed
        assert bool(getattr(before[change.tile], side)[place] & bit) != change.closed


def test_what_cannot_be_mended_is_counted(mapped):
    found = reselect(mapped, aged(3, drift=0.0, open_share=0.7), tolerance=1e-4)
    assert found.n_unrepaired > 0


def test_bad_repairs(mapped):
    with pytest.raises(ValueError, match=r"banks of . branches; got 5"):
        reselect(mapped, Die(replace(BANK, n=5), seed=1))
    with pytest.raises(
        ValueError, match="tolerance must be a fraction of the largest weight > 0; got"
    ):
        reselect(mapped, mapped.die, tolerance=0.0)


def test_doubt_chooses_among_choices_that_need_no_more_changes(mapped):
    """Branches of one bank are known ten times worse: closing them is avoided where it can be."""
    die = aged(0, drift=0.05)

    def doubt(layer, rows, columns):
        g = die.branches(layer, rows, columns, measured=True).g_closed
        sigma = np.array([1e-2, 1e-3])[:, None] * g
        return np.square(sigma)[..., None] * np.eye(6)

    plain, minding, freer = (
        reselect(mapped, die, **options)
        for options in ({}, {"doubt": doubt}, {"doubt": doubt, "extra": 2})
    )
    assert (minding.n_cell, minding.n_unrepaired) == (plain.n_cell, plain.n_unrepaired)
    assert worst(minding.mapped) <= max(0.005, worst(plain.mapped)) + 1e-12
    assert len(minding.changes) == len(plain.changes)
    assert expected(minding.mapped, doubt) < 0.98 * expected(plain.mapped, doubt)
    assert expected(freer.mapped, doubt) < 0.7 * expected(plain.mapped, doubt)
    cells = {(c.tile, c.word_line, c.bit_line) for c in plain.changes}
    assert cells == {(c.tile, c.word_line, c.bit_line) for c in freer.changes}
    assert len(plain.changes) < len(freer.changes) <= len(plain.changes) + 2 * len(cells)


def test_more_changes_than_needed_come_nearer(mapped):
    die = aged(0, drift=0.05)
    plain, freer = (reselect(mapped, die, extra=k) for k in (0, 3))
    errors = [np.abs(found.mapped.layers[0].error) for found in (plain, freer)]
    assert (errors[1] <= errors[0] + 1e-12).all()
    assert errors[1].mean() < 0.9 * errors[0].mean()
    with pytest.raises(ValueError, match="extra must be a number of changes >= 0; got -1"):
        reselect(mapped, die, extra=-1)


def expected(mapped: MappedNetwork, doubt: Callable) -> float:
    """Mean expected squared error of all cells [S^2]: as predicted, and of what is not known."""
    layer = mapped.layers[0]
    columns, rows = np.nonzero(layer.source.mask)
    covariance, total = doubt("fc", rows, columns), 0.0
    for tile in layer.tiles:
        for i, j in np.argwhere(tile.present):
            cell = np.flatnonzero((rows == tile.rows[i]) & (columns == tile.columns[j]))[0]
            masks = np.array([tile.chosen_pos[i, j], tile.chosen_neg[i, j]])
            closed = (masks[:, None] >> np.arange(6)) & 1
            total += float(np.einsum("si,sij,sj->", closed, covariance[cell], closed))
    scale = layer.g_per_weight[0] * np.abs(layer.source.weight).max()
    return total + float(np.sum(np.square(layer.error * scale)))
