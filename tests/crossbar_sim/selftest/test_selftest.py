"""The self-test finds a wrong solver, makes the case small, and leaves a test that fails."""

import runpy
from collections.abc import Iterator
from dataclasses import fields, replace
from functools import partial

import pytest

from commands import command
from crossbar_sim.ngspice.worker import solve_ngspice
from crossbar_sim.selftest.case import Case, Shape, drawn
from crossbar_sim.selftest.checks import CHECKS, LeftOut, Tools, failure, solvers_agree
from crossbar_sim.selftest.session import tools, write_test
from crossbar_sim.selftest.shrinking import shrunk, simpler
from crossbar_sim.solvers.nodal import solve
from mapping import ResistorBank, TileConfig
from netlists import Periphery, Wires

pytestmark = pytest.mark.filterwarnings("ignore::mapping.bank.ladders.LadderGapWarning")


@pytest.fixture(scope="module")
def used() -> Iterator[Tools]:
    with tools() as running:
        yield running


def slightly_wrong(circuit, v_in, **options):
    """Return currents that are off by a millionth where a column has no device."""
    found = solve(circuit, v_in, **options)
    empty = not circuit.grid.g.any(axis=1).all()
    return replace(found, i_out=found.i_out * (1 + 1e-6)) if empty else found


def test_a_slightly_wrong_solver_is_found_and_the_case_is_tiny(used, tmp_path, monkeypatch):
    wrong = replace(used, engine=slightly_wrong)
    number = 3  # the first that has an empty column
    first = failure("solvers", drawn(number), wrong)
    assert first, "it is found"
    found = shrunk(first, wrong)
    assert "differ by 1.0e-06" in found.message
    assert found.case.shapes == (Shape(1, 1),)
    assert found.case.wires == Wires()
    path = write_test(found, number, tmp_path)
    assert f"selftest --seed {number} --cases 1" in path.read_text()
    test = runpy.run_path(str(path))[f"test_case_{number}"]
    test()  # the right solver passes
    monkeypatch.setitem(CHECKS, "solvers", lambda case, tools: solvers_agree(case, wrong))
    with pytest.raises(AssertionError):
        test()


def with_other(**parts):
    """Return a solver that multiplies parts of what ngspice or the engine finds."""

    def wrong(circuit, v_in, *, by=solve, **options):
        found = by(circuit, v_in, **options)
        changed = {name: getattr(found, name) * factor for name, factor in parts.items()}
        return replace(found, **changed)

    return wrong


def test_each_of_both_is_held_to_what_it_says_itself(used, monkeypatch):
    case = drawn(3)
    for name in ("solvers", "outputs", "ngspice"):
        assert failure(name, case, used) is None
    outputs = failure("outputs", case, replace(used, engine=with_other(v_out=1 + 1e-6)))
    assert outputs, "wrong outputs are found"
    assert "output voltages of ngspice and the engine differ" in outputs.message
    nodes = failure("solvers", case, replace(used, engine=with_other(v_node=1 + 1e-3)))
    assert nodes, "voltages that make other currents are found"
    assert "does not add up" in nodes.message
    spice = partial(with_other(v_node=1 + 1e-3), by=solve_ngspice)
    monkeypatch.setattr("crossbar_sim.selftest.checks.solve_ngspice", spice)
    found = failure("ngspice", case, used)
    assert found, "ngspice is held to it, too"
    assert "ngspice" in found.message
    assert failure("solvers", case, used) is None


@pytest.mark.parametrize(
    "case",
    [
        Case(shapes=(Shape(n_out=1, n_in=3),), tile=TileConfig(n_word=2, n_bit=4)),
        Case(
            seed=90543,
            shapes=(Shape(n_out=6, n_in=3),),
            bank=ResistorBank(n=1, r_min=350682.84533500404, r_off=4745013651.968582),
            wires=Wires(r_bit=0.0016621545993225487, r_driver=5.254349324555932),
            periphery=Periphery(r_input=114.66301204751026),
        ),
    ],
    ids=["a tile without a cell", "milliohm wires"],
)
def test_sums_of_ngspice_are_not_held_to_more_than_it_can(used, case):
    assert failure("ngspice", case, used) is None


def test_a_killed_study_that_prints_another_table_is_found(used, monkeypatch):
    monkeypatch.setattr("crossbar_sim.selftest.studies._run", lambda _folder, store: store)
    found = failure("studies", drawn(0), used)
    assert found, "tables differ"
    assert "killed and begun again" in found.message
    with pytest.raises(LeftOut, match="one case in 100"):
        failure("studies", drawn(1), used)


def test_code_of_a_case_makes_the_same_case():
    from crossbar_sim.selftest import case

    for seed in range(20):
        assert eval(drawn(seed).as_code(), dict(vars(case))) == drawn(seed)


def test_every_case_has_simpler_ones_and_the_simplest_has_none():
    case, steps = drawn(7), 0
    while following := next(simpler(case), None):
        case, steps = following, steps + 1
        assert steps < 1000
    assert case.shapes == (Shape(1, 1),)
    assert case.bank == ResistorBank(n=1)
    assert {f.name for f in fields(case) if getattr(case, f.name) != getattr(Case(), f.name)} <= {
        "seed",
        "v_read",
    }


def test_the_command_prints_counts_and_fails_with_a_test_file(tmp_path, monkeypatch):
    done = command("selftest", "--cases", "1", "--seed", "100", "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "check,passed,failed,left out"
    assert done.stdout.splitlines()[1:] == [f"{name},1,0,0" for name in CHECKS]
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr("crossbar_sim.selftest.checks.TOLERANCE", -0.1)
    done = command("selftest", "--cases", "1", "--seed", "101", "--output", tmp_path / "out")
    assert done.returncode == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["test_case_101.py"]
    assert "selftest --seed 101 --cases 1" in done.stderr
