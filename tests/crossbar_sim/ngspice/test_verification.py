"""Two solvers compared on the tiles of a mapped network: agreement, and what fails."""

from dataclasses import replace

import numpy as np
import pytest

from approx import approx
from crossbar_sim import Solution, certify, solve, solve_ngspice
from crossbar_sim.certificates.certificate import Certificate
from crossbar_sim.ngspice import verification
from crossbar_sim.ngspice.verification import (
    TileCheck,
    TileFailure,
    Verification,
    VerificationError,
    chosen_tiles,
    compare,
    difference,
    random_inputs,
    verify,
    verify_selections,
)
from crossbar_sim.solvers.registry import SOLVERS, solver
from crossbar_sim.solvers.solution import SolverError
from mapping import MappedNetwork
from mapping.network.certified import certify_selections
from mapping.selection.certificate import SelectionCertificate
from netlists import Circuit, Periphery, Wires, tile_circuit

WIRES, ENDS = Wires(1, 1), Periphery(tia_gain=1e4)
REAL = Periphery(tia_gain=1e4, r_input=50.0, v_offset=2e-3, v_offset_sigma=1e-3, v_swing=0.05)


def check_tile(tile, v_in, wires, periphery, worker):
    """The difference of ngspice and the fast engine on one tile, and both solutions."""
    circuit = tile_circuit(tile, wires, periphery)
    spice, fast = (
        solve_ngspice(circuit, v_in, worker=worker),
        solver("fast")(circuit, v_in, nodes=True),
    )
    return compare(tile.name, spice, fast), spice, fast


@pytest.fixture
def v_in(mapped: MappedNetwork) -> dict[str, np.ndarray]:
    return random_inputs(mapped, v_read=0.2, n_vector=5)


def test_every_tile_is_compared_in_the_order_of_the_network(mapped, v_in):
    found = verify(mapped, v_in, WIRES, ENDS, n_worker=2)
    assert [check.tile for check in found.checks] == [tile.name for tile in mapped.tiles]
    assert all(check.n_vector == 5 for check in found.checks)
    assert found.passed
    assert found.worst.error < 1e-11
    assert "KLU" in found.solvers[0]
    assert "nodal" in found.solvers[1]
    assert found.tolerance == 1e-9
    found.require()


def test_each_tile_gets_a_certificate_that_its_solver_fits(mapped, v_in, tmp_path):
    folder = tmp_path / "proofs"
    found = verify(mapped, v_in, WIRES, REAL, certificates=folder)
    names = [tile.name for tile in mapped.tiles]
    assert sorted(path.stem for path in folder.iterdir()) == sorted(names)
    assert max(check.width for check in found.checks) < 1e-11
    assert max(check.outside for check in found.checks) < 1e-11
    assert {check.width for check in verify(mapped, v_in, WIRES, ENDS).checks} == {None}


def test_a_tile_too_large_to_keep_is_solved_again_to_be_certified(
    mapped, v_in, tmp_path, monkeypatch
):
    monkeypatch.setattr(verification, "_ROOM", 0)
    found = verify(mapped, v_in, WIRES, REAL, certificates=tmp_path)
    assert {check.balances for check in found.checks} == {(None, None)}
    assert max(check.width for check in found.checks) < 1e-11


def test_a_certificate_that_is_refused_is_an_error(mapped, v_in, tmp_path, monkeypatch):
    def shifted(solution: Solution) -> Certificate:
        right = certify(solution)
        return right.with_claims(right.low + 1e-6, right.high + 1e-6)

    monkeypatch.setattr(verification, "certify", shifted)
    with pytest.raises(VerificationError, match=r"the certificate .*\.npz is refused: an interval"):
        verify(mapped, v_in, WIRES, ENDS, certificates=tmp_path)


def test_a_proof_of_selections_that_is_refused_is_an_error(mapped, tmp_path, monkeypatch):
    def too_good(network: MappedNetwork) -> SelectionCertificate:
        right = certify_selections(network)
        return replace(right, least=1.01 * right.least)

    assert verify_selections(mapped, tmp_path).optimal.all()
    monkeypatch.setattr(verification, "certify_selections", too_good)
    with pytest.raises(VerificationError, match=r"selections\.npz is refused: tile fc_0_0, cell"):
        verify_selections(mapped, tmp_path)


def test_voltages_are_compared_with_offsets_feedback_and_swing(mapped, worker):
    v_in = random_inputs(mapped, v_read=0.5, n_vector=5)
    tile = mapped.tiles[0]
    check, spice, _ = check_tile(tile, v_in["fc"][:, tile.rows], WIRES, REAL, worker)
    # Some outputs are at the limit, which ngspice may round to the double just below it.
    assert (np.abs(spice.v_out) >= REAL.v_swing * (1 - 1e-12)).any()
    assert 0 < check.error < 1e-9
    assert check.error == max(check.i_error, check.v_error)


#: What an engine could do to a right solution's voltages; none touches a current.
FAULTS = {
    "offset of the other sign": lambda right: right.v_out - 2 * REAL.v_offset,
    "offset left out": lambda right: right.v_out - REAL.v_offset,
    "feedback off by a part in a million": lambda right: right.v_out * (1 + 1e-6),
    "current not inverted": lambda right: -right.v_out,
    "no swing": lambda right: (
        solve(replace(right.circuit, periphery=replace(REAL, v_swing=np.inf)), right.v_in).v_out
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_voltage_fails_loudly(mapped, worker, monkeypatch, fault):
    def wrong(circuit, v_in, *, nodes=False):
        right = solve(circuit, v_in, nodes=nodes)
        return replace(right, v_out=FAULTS[fault](right))

    v_in = random_inputs(mapped, v_read=0.5, n_vector=5)
    monkeypatch.setitem(SOLVERS, "fast", wrong)
    found = verify(mapped, v_in, WIRES, REAL, n_worker=1)
    assert all(check.i_error < 1e-11 for check in found.checks)
    assert found.worst.v_error > 0.9e-6
    assert not found.passed
    with pytest.raises(VerificationError, match=r"and .*e-.* of the largest output voltage"):
        found.require()
    tile = mapped.tiles[0]
    assert not check_tile(tile, v_in["fc"][:, tile.rows], WIRES, REAL, worker)[0].error < 1e-9


def test_errors_are_relative_to_the_second_solutions_largest_output(mapped):
    circuit = tile_circuit(mapped.tiles[0], Wires(), Periphery())
    right = solve(circuit, np.full((1, circuit.n_word), 0.1))
    by_current = replace(right, i_out=right.i_out + 0.25 * np.abs(right.i_out).max())
    by_voltage = replace(right, v_out=right.v_out - 0.5 * np.abs(right.v_out).max())
    assert difference(by_current, right) == approx(0.25, rel=1e-12)
    assert difference(by_voltage, right) == approx(0.5, rel=1e-12)
    assert difference(right, right) == 0
    nothing = replace(right, i_out=0 * right.i_out, v_out=0 * right.v_out)
    assert difference(right, nothing) == max(np.abs(right.i_out).max(), np.abs(right.v_out).max())
    assert np.isnan(difference(replace(right, v_out=np.nan * right.v_out), right))


@pytest.mark.parametrize("by", ["fast", "ngspice"])
def test_a_voltage_between_the_ends_that_is_off_fails(mapped, v_in, monkeypatch, by):
    """Outputs are right, so that only currents at the nodes and power can tell."""
    right = solver(by)

    def wrong(circuit, volts, **options):
        found = right(circuit, volts, **options)
        moved = found.nodes.copy()
        moved[0, circuit.n_word + 3] += 1e-6
        return replace(found, v_node=moved)

    monkeypatch.setitem(SOLVERS, by, wrong)
    pair = ("fast", "ngspice") if by == "ngspice" else ("ngspice", "fast")
    found = verify(mapped, v_in, WIRES, ENDS, solvers=pair, n_worker=1)
    assert found.worst.error < 1e-11
    assert not found.passed
    with pytest.raises(VerificationError, match=r"the currents at a node are off by .* the power"):
        found.require()


def test_balances_are_told_for_both_solvers_as_room_allows(mapped, v_in, monkeypatch):
    told = verify(mapped, v_in, WIRES, REAL, n_worker=1)
    assert told.checks
    for check in told.checks:
        assert all(each is not None and each.current < 1e-11 for each in check.balances)
    monkeypatch.setattr(verification, "_ROOM", 0)
    found = verify(mapped, v_in, WIRES, REAL, n_worker=1)
    assert found.passed
    assert {check.balances for check in found.checks} == {(None, None)}
    # Room for the nodes of one vector is not room for those of all.
    most = max(tile_circuit(tile, WIRES).elements.n_node for tile in mapped.tiles)
    assert len(next(iter(v_in.values()))) > 1
    monkeypatch.setattr(verification, "_ROOM", most)
    found = verify(mapped, v_in, WIRES, REAL, n_worker=1)
    assert {check.balances for check in found.checks} == {(None, None)}


def test_random_inputs_reach_both_ends_and_come_back(mapped):
    v_in = random_inputs(mapped, v_read=0.2, n_vector=400, seed=1)["fc"]
    assert v_in.shape == (400, 7)
    assert -0.2 <= v_in.min() < -0.19 < 0.19 < v_in.max() <= 0.2
    again, other = (random_inputs(mapped, v_read=0.2, n_vector=400, seed=k)["fc"] for k in (1, 2))
    np.testing.assert_array_equal(again, v_in)
    assert not np.array_equal(other, v_in)


def test_one_tile_gives_the_same_as_all(mapped, v_in, worker):
    tile = mapped.tiles[1]
    check, spice, fast = check_tile(tile, v_in["fc"][:, tile.rows], WIRES, ENDS, worker)
    assert check.tile == tile.name
    assert check.error < 1e-11
    assert spice.i_out.shape == fast.i_out.shape
    # The engine's solution holds the voltages of all nodes, so its power can be told.
    g_in = (tile.g_pos + tile.g_neg).sum(axis=1)
    watts = v_in["fc"][:, tile.rows] ** 2 @ g_in
    assert fast.power()["source"] == approx(watts, rel=1e-2)


def test_tiles_are_chosen_by_name_or_by_a_seeded_sample(mapped, v_in):
    names = [tile.name for tile in mapped.tiles]
    assert [tile.name for tile in chosen_tiles(mapped)] == names
    assert [tile.name for tile in chosen_tiles(mapped, names[1:])] == names[1:]
    two = chosen_tiles(mapped, n_sample=2, seed=3)
    assert [tile.name for tile in two] == [
        tile.name for tile in chosen_tiles(mapped, n_sample=2, seed=3)
    ]
    assert len(two) == 2
    drawn = [chosen_tiles(mapped, n_sample=1, seed=k)[0].name for k in range(20)]
    assert set(drawn) == set(names)
    assert chosen_tiles(mapped, n_sample=1)[0].name == drawn[0] != drawn[1]
    found = verify(mapped, v_in, WIRES, ENDS, tiles=two, n_worker=1)
    assert [check.tile for check in found.checks] == [tile.name for tile in two]
    with pytest.raises(ValueError, match=r"expected a tile of fc_0_0.*; got 'nonsense'"):
        chosen_tiles(mapped, ["nonsense"])
    with pytest.raises(ValueError, match="n_sample must be >= 1"):
        chosen_tiles(mapped, n_sample=0)


def test_a_tile_that_ngspice_fails_on_is_named_and_others_compared(mapped, v_in):
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
    checks = (TileCheck("a", 1, 1e-12, 0.0), TileCheck("b", 1, 1e-3, 2e-5))
    found = Verification(checks, 1e-9, ("one", "other"))
    assert not found.passed
    with pytest.raises(VerificationError, match=r"tile b: .* 1.0e-03 .* 2.0e-05"):
        found.require()
    failed = Verification(checks[:1], 1e-9, ("one", "other"), (TileFailure("c", "it hung"),))
    with pytest.raises(VerificationError, match="c: it hung"):
        failed.require()


def test_nan_never_passes():
    for errors in ((np.nan, 0.0), (0.0, np.nan)):
        checks = (TileCheck("a", 1, *errors), TileCheck("b", 1, 1.0, 1.0))
        found = Verification(checks, 1e-9, ("", ""))
        assert not found.passed
        assert found.worst.tile == "a"
        with pytest.raises(VerificationError, match="tile a"):
            found.require()


def dense(circuit: Circuit, v_in: np.ndarray) -> Solution:
    """Solve an array with ideal wires by NumPy's dense solver, as a third opinion."""
    parts, ends, share = circuit.elements, circuit.periphery, circuit.periphery.share
    g = np.zeros((parts.n_node, parts.n_node))
    for a, b, ohm in zip(parts.branch_from, parts.branch_to, parts.branch_ohm):
        g[[a, b, a, b], [a, b, b, a]] += np.array([1, 1, -1, -1]) / ohm
    g[parts.tia_nodes, parts.tia_nodes] += 1 / ends.r_tia_input
    fixed = np.concatenate([[0], parts.input_nodes])
    free = np.setdiff1d(np.arange(parts.n_node), fixed)
    v = np.zeros((parts.n_node, len(v_in)))
    v[parts.input_nodes] = v_in.T
    v[free] = np.linalg.solve(g[np.ix_(free, free)], -g[np.ix_(free, fixed)] @ v[fixed])
    i_out = v[parts.tia_nodes].T / ends.r_tia_input
    v_out = -share * ends.r_feedback * i_out
    return Solution(circuit, v_in, i_out, v_out, v.T, "dense (numpy)", float("nan"))


@pytest.mark.parametrize("pair", [("ngspice", "dense"), ("dense", "fast"), ("fast", "ngspice")])
def test_any_two_solvers_are_compared_by_name(mapped, v_in, monkeypatch, pair):
    monkeypatch.setitem(SOLVERS, "dense", dense)
    verification = verify(mapped, v_in, WIRES, ENDS, solvers=pair, n_worker=1)
    assert verification.passed
    assert len(verification.checks) == len(mapped.tiles)
    assert 0 < verification.worst.error < 1e-11
    signs = {"ngspice": "KLU", "dense": "numpy", "fast": "nodal"}
    first, second = verification.solvers
    assert signs[pair[0]] in first
    assert signs[pair[1]] in second


def test_a_third_solver_that_is_wrong_or_fails_is_named(mapped, v_in, monkeypatch):
    def wrong(circuit, v_in):
        right = dense(circuit, v_in)
        return replace(right, i_out=right.i_out * (1 + 1e-6))

    def failing(circuit, v_in):
        raise SolverError("it gave up")

    monkeypatch.setitem(SOLVERS, "third", wrong)
    verification = verify(mapped, v_in, WIRES, ENDS, solvers=("third", "fast"))
    with pytest.raises(VerificationError, match=r"dense .numpy. and nodal.* differ by 1\.0e-06"):
        verification.require()
    monkeypatch.setitem(SOLVERS, "third", failing)
    for pair in (("third", "fast"), ("fast", "third")):
        verification = verify(mapped, v_in, WIRES, ENDS, solvers=pair)
        assert len(verification.failures) == len(mapped.tiles)
        with pytest.raises(VerificationError, match=r"third failed on .*: it gave up"):
            verification.require()


def test_a_solver_that_does_not_exist_is_refused(mapped, v_in):
    with pytest.raises(ValueError, match="expected a solver of fast, ngspice; got 'nonsense'"):
        verify(mapped, v_in, WIRES, ENDS, solvers=("ngspice", "nonsense"))
    assert solver("fast") is solve
