"""ngspice fails in many ways while returning 0: each is caught, and the parent lives."""

import ctypes.util
import os
import shutil
import signal
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from crossbar_sim.ngspice.pool import solve_tiles
from crossbar_sim.ngspice.process import Job, JobResult, NgspiceError, Resistors
from crossbar_sim.ngspice.worker import NgspiceWorker, check_result, find_library, solve_ngspice
from crossbar_sim.solvers.nodal import solve
from netlists import Circuit, Elements, Periphery, Wires, array_circuit
from netlists.circuit.size import NetlistTooLarge, Size, free_memory, require_room

GOOD = "* t\nv1 a 0 1\nr1 a 0 100\n.options klu\n.dc v1 0 2 1\n.save i(v1)\n.end"
SIMPLE = Job(GOOD, "dc", ("v1#branch",), 3)
ENDS = Periphery(tia_gain=1e4)


def deck(body: str) -> Job:
    return Job(f"* t\n{body}\n.options klu\n.dc v1 0 2 1\n.end", "dc", ("v1#branch",), 3)


def random_circuit(
    seed: int, shape: tuple[int, int] = (6, 4), present: float = 1.0
) -> tuple[Circuit, np.ndarray]:
    rng = np.random.default_rng(seed)
    g = 10 ** rng.uniform(-6, -4, size=shape) * (rng.random(shape) < present)
    return array_circuit(g, Wires(1, 2), ENDS), rng.uniform(-0.2, 0.2, size=(5, shape[0]))


def pid_of(worker: NgspiceWorker) -> int:
    return worker._executor.submit(os.getpid).result()


def test_a_good_job(worker):
    result = worker.run(SIMPLE)
    assert result.values.tolist() == [[0.0, -0.01, -0.02]]
    assert result.klu


@pytest.mark.parametrize(
    ("job", "message"),
    [
        (deck("v1 a 0 1\nr1 a 0 nan"), "nan"),
        (deck("v1 a 0 1\nr1 a 0 inf"), "inf"),
        (deck("v1 a 0 1\nr1 a 0 0"), "too small"),
        (deck("v1 a 0 1\nr1 a 0 1\nr2 b c 1"), "singular"),
        (deck("v1 a 0 1\nv2 a 0 2"), "singular|no vector|plot"),
        (deck("v1 a 0 1\nd1 a 0 missing"), "missing|find model"),
        (deck("v1 a 0 1\nr1 a 0 1\nr1 a 0 2"), "r1|ngspice"),
        (deck("v1 a 0 1\nr1 a 0 np.float64(0.1)"), "ngspice"),
        (
            deck("v1 a 0 1\nr1 a 0 1\nvext_0 b 0 external\nr2 b 0 1"),
            "no voltages for its external sources",
        ),
        (Job(GOOD, "dc", ("v9#branch",), 3), "no vector 'v9#branch'"),
        (Job(GOOD, "dc", ("v1#branch",), 7), "has 3 of 7 points"),
        (Job(GOOD, "tran", ("v1#branch",), 3), "no 'tran' plot"),
        (Job("* only a title\n.end", "dc", ("x",), 1), "ngspice"),
        (Job(GOOD, "dc", ("v1#branch",), 3, command="dc nosuch 0 2 1"), "ngspice"),
    ],
)
def test_every_failure_is_an_error_and_the_worker_lives(worker, job, message):
    with pytest.raises(NgspiceError, match=message):
        worker.run(job)
    assert worker.run(SIMPLE).values.shape == (1, 3), "the next job gets a fresh plot"


@pytest.mark.parametrize("ohm", [-1e3, 0.0, np.nan, np.inf])
def test_resistances_that_ngspice_would_take_are_refused_before_it(ohm):
    with pytest.raises(ValueError, match="at branch 0"):
        hand_made(ohm=ohm)


def hand_made(
    nodes: tuple[str, ...] = ("0", "a", "b"), branch: str = "R1", ohm: float = 1000.0
) -> Circuit:
    parts = Elements(
        n_node=3,
        branch_from=np.array([1]),
        branch_to=np.array([2]),
        branch_ohm=np.array([ohm]),
        branch_part=np.array([0]),
        input_nodes=np.array([1]),
        tia_nodes=np.array([2]),
        names=(list(nodes), [branch]),
    )
    return Circuit(parts, ENDS)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"branch": "R1\n.control\nshell"}, "branch name .* is not safe"),
        ({"branch": "V1"}, "start the name of a branch with R"),
        ({"nodes": ("0", "a b", "c")}, "node name 'a b' is not safe"),
        ({"nodes": ("0", "a", "A")}, "node names must differ"),
    ],
)
def test_names_that_could_add_a_card_are_refused(worker, names, message):
    with pytest.raises(ValueError, match=message):
        solve_ngspice(hand_made(**names), np.array([0.1]), worker=worker)
    found = solve_ngspice(hand_made(), np.array([0.1]), worker=worker)
    np.testing.assert_allclose(found.i_out, solve(hand_made(), np.array([0.1])).i_out, rtol=1e-12)


def test_quit_kills_the_process_and_not_the_worker():
    with NgspiceWorker(time_limit=60) as left:
        with pytest.raises(NgspiceError, match="crashed"):
            left.run(Job(GOOD, "dc", ("v1#branch",), 3, command="quit"))
        assert left.run(SIMPLE).klu


def test_a_hang_is_killed():
    slow = "* t\nv1 a 0 1\nr1 a 0 1\n.tran 1n 100\n.end"
    with NgspiceWorker(time_limit=1.0) as hung:
        with pytest.raises(NgspiceError, match=r"longer than its limit of 1 s"):
            hung.run(Job(slow, "tran", ("v1#branch",), 1))
        hung.time_limit = 60
        assert hung.run(SIMPLE).klu


def test_a_worker_killed_in_mid_run_is_reported_and_replaced():
    slow = Job("* t\nv1 a 0 1\nr1 a 0 1\n.tran 1n 100\n.end", "tran", ("v1#branch",), 1)
    with NgspiceWorker(time_limit=60) as killed:
        killed.run(SIMPLE)
        pid = pid_of(killed)
        threading.Timer(0.5, os.kill, (pid, signal.SIGKILL)).start()
        with pytest.raises(NgspiceError, match="crashed"):
            killed.run(slow)
        assert killed.run(SIMPLE).klu
        assert pid_of(killed) != pid


@pytest.mark.parametrize(
    "result",
    [
        None,
        np.zeros((1, 3)),
        JobResult(np.zeros((1, 2)), 46, True),
        JobResult(np.full((1, 3), np.nan), 46, True),
    ],
)
def test_a_corrupt_result_is_an_error(result):
    with pytest.raises(NgspiceError, match=r"expected a finite JobResult of shape \(1, 3\)"):
        check_result(result, SIMPLE)


def test_one_topology_is_parsed_once_and_equals_what_is_parsed_anew(worker):
    circuits = [random_circuit(seed) for seed in range(4)]
    parsed = {id(worker.parsed(circuit)) for circuit, _ in circuits}
    assert len(parsed) == 1
    for circuit, v_in in [*circuits, circuits[0]]:
        changed = solve_ngspice(circuit, v_in, worker=worker)
        worker._parsed = None
        anew = solve_ngspice(circuit, v_in, worker=worker)
        largest = np.abs(anew.i_out).max()
        np.testing.assert_allclose(changed.i_out, anew.i_out, rtol=0, atol=1e-12 * largest)
        np.testing.assert_allclose(
            changed.i_out, solve(circuit, v_in).i_out, rtol=0, atol=1e-12 * largest
        )
        worker._parsed = worker.parsed(circuits[0][0])


def test_another_pattern_other_ends_or_shape_are_parsed_anew(worker):
    circuit, v_in = random_circuit(1)
    same = array_circuit(circuit.grid.g[0], Wires(1, 2), ENDS.for_tile("next"))
    assert worker.parsed(same) is worker.parsed(circuit)
    other_ends = array_circuit(circuit.grid.g[0], Wires(1, 2), Periphery(tia_gain=200.0))
    for other, volts in [
        random_circuit(1, present=0.5),
        random_circuit(1, shape=(6, 5)),
        (other_ends, v_in),
        (array_circuit(circuit.grid.g[0], Wires(1, 2), replace(ENDS, v_offset_sigma=1e-3)), v_in),
    ]:
        key = worker.parsed(circuit).key
        assert worker.parsed(other).key != key
        found = solve_ngspice(other, volts, worker=worker).i_out
        np.testing.assert_allclose(found, solve(other, volts).i_out, rtol=1e-10)


def test_a_failed_alter_is_an_error_and_leaves_nothing_behind(worker):
    wrong = Resistors(("r9",), np.array([1.0]), np.array([2.0]))
    with pytest.raises(NgspiceError, match="r9"):
        worker.run(Job(GOOD, "dc", ("v1#branch",), 3, resistors=wrong))
    right = Resistors(("r1",), np.array([100.0]), np.array([50.0]))
    result = worker.run(Job(GOOD, "dc", ("v1#branch",), 3, resistors=right))
    assert result.values.tolist() == [[0.0, -0.02, -0.04]]
    assert worker.run(SIMPLE).values.tolist() == [[0.0, -0.01, -0.02]], "as written again"


def test_a_pool_solves_every_tile():
    circuits = {f"t{k}": random_circuit(k, present=0.8) for k in range(7)}
    tasks = ((name, *task) for name, task in circuits.items())
    found = dict(solve_tiles(tasks, n_worker=2, time_limit=60))
    assert set(found) == set(circuits)
    for name, (circuit, v_in) in circuits.items():
        np.testing.assert_allclose(found[name].i_out, solve(circuit, v_in).i_out, rtol=1e-9)


def test_in_a_pool_the_other_tiles_finish():
    """One tile takes for ever, one is not a circuit for a solver: the rest is solved."""
    large, _ = random_circuit(0, shape=(48, 48))
    tasks = [
        ("a", *random_circuit(1)),
        ("slow", large, np.zeros((20_000, 48))),
        ("floating", floating(), np.array([1.0])),
        *((f"b{k}", *random_circuit(k)) for k in range(4)),
    ]
    found = dict(solve_tiles(tasks, n_worker=2, time_limit=4))
    assert isinstance(found["slow"], NgspiceError)
    assert "longer than its limit" in str(found["slow"])
    assert isinstance(found["floating"], NgspiceError)
    good = set(found) - {"slow", "floating"}
    assert len(good) == 5
    assert all(found[name].i_out.shape == (5, 4) for name in good)


def floating() -> Circuit:
    parts = Elements(
        n_node=5,
        branch_from=np.array([1, 3]),
        branch_to=np.array([2, 4]),
        branch_ohm=np.array([1e3, 1e3]),
        branch_part=np.array([0, 0]),
        input_nodes=np.array([1]),
        tia_nodes=np.array([2]),
        names=(["0", "a", "b", "c", "d"], ["R1", "R2"]),
    )
    return Circuit(parts, ENDS)


def test_a_pool_can_be_left_early_and_passes_on_errors_of_tasks():
    tasks = (("t", *random_circuit(0)) for _ in range(10**9))
    results = solve_tiles(tasks, n_worker=1, time_limit=60)
    next(results)
    started = time.monotonic()
    results.close()
    assert time.monotonic() - started < 30, "a thousand million tasks were left undone"
    circuit, v_in = random_circuit(0)
    with pytest.raises(ValueError, match="6 word lines"):
        list(solve_tiles([("t", circuit, v_in[:, :2])], n_worker=1))
    with pytest.raises(ValueError, match="n_worker must be >= 1"):
        list(solve_tiles([], n_worker=0))


def test_no_library(monkeypatch):
    monkeypatch.setenv("NGSPICE_LIBRARY_PATH", "/nowhere/libngspice.so")
    with pytest.raises(NgspiceError, match="does not exist"):
        find_library()
    monkeypatch.delenv("NGSPICE_LIBRARY_PATH")
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    monkeypatch.setattr(sys, "prefix", "/nowhere")
    with pytest.raises(NgspiceError, match="make setup"):
        find_library()


def test_a_library_beside_python_or_in_an_installed_package_is_found(monkeypatch, tmp_path):
    """The machine's library, copied to where conda or a wheel would put it, solves a circuit."""
    monkeypatch.delenv("NGSPICE_LIBRARY_PATH", raising=False)
    with NgspiceWorker() as running:
        running.probe()
        with open(f"/proc/{pid_of(running)}/maps") as file:
            real = next(line.split()[-1] for line in file if "libngspice" in line)
    package = tmp_path / "site" / "spicebox"
    (package / "lib").mkdir(parents=True)
    shutil.copy(real, package / "lib" / "libngspice.so.0")
    info = tmp_path / "site" / "spicebox-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: spicebox\nVersion: 1.0\n")
    (info / "RECORD").write_text("spicebox/lib/gone.txt,,\nspicebox/lib/libngspice.so.0,,\n")
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    monkeypatch.syspath_prepend(tmp_path / "site")
    found = find_library()
    assert found == str(package / "lib" / "libngspice.so.0")
    with NgspiceWorker(time_limit=60, library=found) as running:
        assert running.run(SIMPLE).klu
    monkeypatch.setattr(sys, "prefix", str(package))
    assert find_library() == str(package / "lib" / "libngspice.so.0")


def test_a_library_that_cannot_be_loaded(tmp_path):
    fake = tmp_path / "libngspice.so"
    fake.write_text("not a library")
    with (
        NgspiceWorker(time_limit=60, library=str(fake)) as broken,
        pytest.raises(NgspiceError, match="cannot load"),
    ):
        broken.probe()


def test_a_library_of_something_else():
    other = ctypes.util.find_library("m")
    with (
        NgspiceWorker(time_limit=60, library=other) as broken,
        pytest.raises(NgspiceError, match=r"not ngspice's .*; set NGSPICE_LIBRARY_PATH to"),
    ):
        broken.probe()


def test_without_klu_it_is_refused(worker):
    without = Job(GOOD.replace(".options klu", ".options sparse"), "dc", ("v1#branch",), 3)
    with pytest.raises(NgspiceError, match="without KLU"):
        worker.run(without)


def test_without_klu_large_circuits_are_refused_before_they_start():
    circuit = array_circuit(np.full((80, 80), 1e-6), Wires(1, 1))
    with (
        NgspiceWorker(require_klu=False) as lenient,
        pytest.raises(NgspiceError, match="nodes without KLU"),
    ):
        solve_ngspice(circuit, np.zeros(80), worker=lenient)


def test_what_would_exhaust_the_machine_is_refused_before_it_starts(worker):
    too_large = Size.of_circuits([int(free_memory() / 1000)], 1)
    with pytest.raises(NetlistTooLarge, match=r"the net has .* elements, about .* GB and .* free"):
        require_room(too_large, "the net", force=False)
    require_room(too_large, "the net", force=True)
    assert Size.of_circuits([1000], 1).memory < Size.of_circuits([2000], 1).memory
    assert Size.of_circuits([1000] * 8, 1).time < Size.of_circuits([8000], 1).time


def test_memory_stays_flat_over_a_thousand_jobs(worker):
    """Half of them parse a new circuit, half of them change the one that is there."""
    circuits = [random_circuit(seed, present=0.7) for seed in range(4)]

    def resident():
        with open(f"/proc/{pid_of(worker)}/statm") as file:
            return int(file.read().split()[1]) * 4096

    def solve_all(n):
        for k in range(n):
            circuit, v_in = circuits[k // 2 % 4]
            solve_ngspice(circuit, v_in, worker=worker)

    solve_all(200)
    before = resident()
    solve_all(1000)
    assert resident() - before < 4e6
