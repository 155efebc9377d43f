"""ngspice against the engine on the tiles of a mapped network: agreement, and what fails."""

import numpy as np
import pytest

from crossbar_sim.verification import (
    TileCheck,
    TileFailure,
    Verification,
    VerificationError,
    check_tile,
    chosen_tiles,
    random_inputs,
    verify,
)
from netlists import Periphery, Wires

WIRES, ENDS = Wires(1, 1), Periphery(tia_gain=1e4)


@pytest.fixture
def v_in(mapped):
    return random_inputs(mapped, v_read=0.2, n_vector=5)


def test_every_tile_is_compared_in_the_order_of_the_network(mapped, v_in):
    found = verify(mapped, v_in, WIRES, ENDS, n_worker=2)
    assert [check.tile for check in found.checks] == [tile.name for tile in mapped.tiles]
    assert all(check.n_vector == 5 for check in found.checks)
    assert found.passed
    assert found.worst.error < 1e-11
    assert "KLU" in found.solvers[0]
    found.require()


def test_one_tile_gives_the_same_as_all(mapped, v_in, worker):
    tile = mapped.tiles[1]
    check, spice, fast = check_tile(tile, v_in["fc"][:, tile.rows], WIRES, ENDS, worker)
    assert check.tile == tile.name
    assert check.error < 1e-11
    assert spice.i_out.shape == fast.i_out.shape


def test_tiles_are_chosen_by_name_or_by_a_seeded_sample(mapped, v_in):
    names = [tile.name for tile in mapped.tiles]
    assert [tile.name for tile in chosen_tiles(mapped)] == names
    assert [tile.name for tile in chosen_tiles(mapped, names[1:])] == names[1:]
    two = chosen_tiles(mapped, n_sample=2, seed=3)
    assert [tile.name for tile in two] == [
        tile.name for tile in chosen_tiles(mapped, n_sample=2, seed=3)
    ]
    assert len(two) == 2
    found = verify(mapped, v_in, WIRES, ENDS, tiles=two, n_worker=1)
    assert [check.tile for check in found.checks] == [tile.name for tile in two]
    with pytest.raises(ValueError, match="no tile 'nonsense'; there are fc_0_0"):
        chosen_tiles(mapped, ["nonsense"])
    with pytest.raises(ValueError, match="n_sample must be >= 1"):
        chosen_tiles(mapped, n_sample=0)


def test_a_tile_that_ngspice_fails_on_is_named_and_the_others_are_compared(mapped, v_in):
    """One tile's inputs are so many that its time runs out."""
    slow, *_, last = mapped.tiles
    v_in["fc"] = np.resize(v_in["fc"], (300_000, 7))
    found = verify(mapped, v_in, WIRES, ENDS, tiles=[slow], n_worker=1, time_limit=0.5)
    assert [failure.tile for failure in found.failures] == [slow.name]
    assert not found.passed
    with pytest.raises(VerificationError, match=rf"failed on 1 tile.*: {slow.name}; .* limit"):
        found.require()
    assert verify(mapped, random_inputs(mapped, v_read=1, n_vector=1), WIRES, ENDS, tiles=[last])


def test_verification_fails_loudly():
    checks = (TileCheck("a", 1, 1e-12), TileCheck("b", 1, 1e-3))
    found = Verification(checks, 1e-9, ("one", "other"))
    assert not found.passed
    with pytest.raises(VerificationError, match=r"tile b: one and other differ by 1.0e-03"):
        found.require()
    failed = Verification(checks[:1], 1e-9, ("one", "other"), (TileFailure("c", "it hung"),))
    with pytest.raises(VerificationError, match="c: it hung"):
        failed.require()


def test_nan_never_passes():
    found = Verification((TileCheck("a", 1, float("nan")), TileCheck("b", 1, 1.0)), 1e-9, ("", ""))
    assert not found.passed
    assert found.worst.tile == "a"
    with pytest.raises(VerificationError, match="tile a"):
        found.require()
