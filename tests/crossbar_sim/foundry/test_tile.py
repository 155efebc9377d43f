"""Tiles of a foundry's devices: the nonlinear engine against ngspice with the foundry's models."""

from dataclasses import replace

import numpy as np
import pytest
from foundry_models import IHP, SKY130, models_of

from crossbar_sim import solve
from crossbar_sim.foundry.bank import TileDevices, foundry_bank, tile_devices
from crossbar_sim.foundry.laws import cell_laws
from crossbar_sim.foundry.measured import measured
from crossbar_sim.foundry.tile import MAX_DEVICES, FoundryTile
from crossbar_sim.solvers.solution import SolverError
from mapping import Die, TileConfig, map_network
from netlists import Periphery, Wires, tile_circuit
from netlists.foundry.branch import FoundryBranch
from tinynets import PrunedLayer, PrunedNetwork

LENGTHS = {"sky130": (1e-6, 3e-6, 9e-6, 27e-6), "ihp-sg13g2": (0.96e-6, 2.8e-6, 8e-6, 24e-6)}
WIRES, ENDS = Wires(5.2, 1.8, 100.0), Periphery(tia_gain=1e3, v_offset_sigma=1e-3)


def foundry_tile(kind: dict, *, wires: Wires = WIRES, ends: Periphery = ENDS, **options):
    """Return a tile of 5 × 4 cells, some of them empty, on a die of a foundry's devices."""
    models_of(kind["technology"])
    lengths = LENGTHS[kind["technology"]]
    found = measured(FoundryBranch(**kind, lengths=lengths, v_max=0.2, **options))
    rng = np.random.default_rng(1)
    weight = rng.normal(size=(4, 5)) * (rng.random((4, 5)) < 0.7)
    network = PrunedNetwork((PrunedLayer("fc", weight, weight != 0),))
    mapped = map_network(network, Die(foundry_bank(found), seed=3), TileConfig(8, 8))
    return FoundryTile(mapped.tiles[0], mapped.die, found, wires, ends)


def inputs(n: int = 12) -> np.ndarray:
    return np.random.default_rng(2).uniform(-0.19, 0.19, (n, 5))


@pytest.mark.parametrize("kind", [SKY130, IHP], ids=["sky130", "ihp"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"switch_at": "word line"},
        {"switch": "gate"},
        {"corner": "low", "temperature": 233.15},
        {"corner": "slow", "temperature": 398.15},
    ],
    ids=["usual", "word", "gate", "cold", "hot"],
)
def test_the_engine_is_ngspice_with_the_foundrys_models(kind, options):
    tile = foundry_tile(kind, **options)
    v_in = inputs()
    ours, theirs = tile.solve(v_in).i_out, tile.by_ngspice(v_in)
    largest = np.abs(theirs).max()
    assert np.abs(ours - theirs).max() < 3e-6 * largest
    # Straight lines in place of the models are off by far more, so that this can fail.
    circuit = tile_circuit(tile.tile, tile.wires, tile.periphery)
    assert np.abs(solve(circuit, v_in).i_out - theirs).max() > 1e-4 * largest


@pytest.mark.parametrize(
    ("wires", "ends"),
    [
        (Wires(), Periphery()),
        (Wires(r_word=40.0), Periphery(r_input=20.0)),
        (Wires(r_bit=40.0), Periphery(tia_gain=1e4)),
        (Wires(r_driver=300.0), Periphery(v_offset=2e-3)),
    ],
)
def test_wires_and_amplifiers_are_where_they_are_in_ngspice(wires, ends):
    tile = foundry_tile(SKY130, wires=wires, ends=ends)
    v_in = inputs(6)
    ours, theirs = tile.solve(v_in).i_out, tile.by_ngspice(v_in)
    assert np.abs(ours - theirs).max() < 1e-6 * np.abs(theirs).max()


def test_open_switches_leak_next_to_nothing():
    """All switches of a tile open, at 125 degrees."""
    tile = foundry_tile(SKY130, temperature=398.15, wires=Wires(), ends=Periphery())
    none = np.zeros(int(tile.tile.present.sum()), np.uint32)
    true = tile.die.branches("fc", *tile.tile.cells, measured=False)
    tile = replace(tile, tile=tile.tile.with_switches(none, none, true))
    v_in = np.full((1, 5), 0.15)
    # Both are known to the picoampere that ngspice is asked for, and a closed branch has 40 uA.
    for amps in (tile.solve(v_in).i_out, tile.by_ngspice(v_in)):
        assert 0 < np.abs(amps).max() < 1e-11


def test_laws_are_the_series_of_both_parts_branch_by_branch():
    tile = foundry_tile(IHP)
    devices = tile_devices(tile.tile, tile.die, tile.measured)
    laws = cell_laws(devices, tile.tile.present, tile.measured)
    rng = np.random.default_rng(0)
    v_word, v_bit = rng.uniform(-0.2, 0.2, (1, 5, 4)), rng.uniform(-0.03, 0.03, (1, 5, 8))
    found = laws.currents(v_word, v_bit).current[0].reshape(5, 2, 4)
    expected = np.zeros((5, 2, 4))
    for c, (i, j) in enumerate(np.argwhere(tile.tile.present)):
        for side in range(2):
            ends = v_word[0, i, j], v_bit[0, i, 4 * side + j]
            for k in range(4):
                part = (devices.closed, devices.resistor, devices.switch)
                closed, r, s = (array[side, c, k] for array in part)
                expected[i, side, j] += current(tile.measured, k, ends, (closed, r, s))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7 * np.abs(expected).max())


def current(found, k: int, ends: tuple[float, float], device: tuple[bool, float, float]) -> float:
    """Return the current of a branch, its inner node by bisection."""
    closed, r, s = device
    low, high = sorted(ends)
    word, bit = ends
    for _ in range(60):
        middle = np.array((low + high) / 2)
        through = r * found.resistor_current(k, word - middle)[0]
        left = through - s * found.switch_current(middle, np.array(bit), closed=bool(closed))[0]
        low, high = (middle, high) if left > 0 else (low, middle)
    return float(through)


def test_voltages_beyond_the_models_are_refused():
    tile = foundry_tile(SKY130)
    with pytest.raises(SolverError, match=r"word node is at 0\.25 V"):
        tile.solve(np.full((1, 5), 0.25))
    loose = replace(tile, wires=Wires(r_bit=2000.0), periphery=Periphery())
    with pytest.raises(SolverError, match="larger box"):
        loose.solve(np.full((1, 5), 0.19))
    assert np.isfinite(loose.solve(np.full((1, 5), 0.19), bit_share=1.0).i_out).all()


def test_what_ngspice_cannot_take_is_said_before_it_starts(monkeypatch):
    tile = foundry_tile(SKY130)
    with pytest.raises(ValueError, match="at most 4096 vectors and 200,000 devices; got 5000 and"):
        tile.deck(np.zeros((5000, 5)))
    monkeypatch.setattr("crossbar_sim.foundry.tile.MAX_DEVICES", 10)
    with pytest.raises(ValueError, match="10 devices; got 1 and"):
        tile.deck(np.zeros((1, 5)))
    assert MAX_DEVICES == 200_000


def test_a_die_of_other_resistors_is_refused():
    tile = foundry_tile(SKY130)
    other = Die(replace(tile.die.bank, ladder=tuple(1.01 * tile.measured.r)), seed=3)
    with pytest.raises(ValueError, match="make the bank with foundry_bank"):
        replace(tile, die=other).solve(inputs(1))


def test_a_switch_that_takes_most_of_the_voltage_is_refused():
    models_of("ihp-sg13g2")
    kind = {"technology": "ihp-sg13g2", "resistor": "rsil"}
    found = measured(FoundryBranch(**kind, lengths=(2e-6, 4e-6), v_max=0.2))
    assert found.r_on > 2 * found.r[0]
    none = np.zeros((2, 0, 2))
    with pytest.raises(ValueError, match=r"the switch has .* ohm and the shortest resistor"):
        cell_laws(TileDevices(none, none, none), np.zeros((1, 1), bool), found)
