"""ngspice fails in many ways while returning 0: each is caught, and the parent lives."""

import os
import signal

import pytest

from crossbar_sim.ngspice import NgspiceWorker, find_library, solve_ngspice
from crossbar_sim.ngspice_process import Job, NgspiceError
from netlists import Wires, array_circuit

GOOD = "* t\nv1 a 0 1\nr1 a 0 100\n.options klu\n.dc v1 0 2 1\n.save i(v1)\n.end"
SIMPLE = Job(GOOD, "dc", ("v1#branch",), 3)


def deck(body: str) -> Job:
    return Job(f"* t\n{body}\n.options klu\n.dc v1 0 2 1\n.end", "dc", ("v1#branch",), 3)


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
        (deck("v1 a 0 1\nr1 a 0 np.float64(0.1)"), "ngspice"),
        (Job(GOOD, "dc", ("v9#branch",), 3), "no vector 'v9#branch'"),
        (Job(GOOD, "dc", ("v1#branch",), 7), "has 3 of 7 points"),
        (Job(GOOD, "tran", ("v1#branch",), 3), "no 'tran' plot"),
        (Job("* only a title\n.end", "dc", ("x",), 1), "ngspice"),
    ],
)
def test_every_failure_is_an_error_and_the_worker_lives(worker, job, message):
    with pytest.raises(NgspiceError, match=message):
        worker.run(job)
    assert worker.run(SIMPLE).values.shape == (1, 3), "the next job gets a fresh plot"


def test_a_duplicate_name_is_an_error(worker):
    with pytest.raises(NgspiceError):
        worker.run(deck("v1 a 0 1\nr1 a 0 1\nr1 a 0 2"))


def test_a_hang_is_killed():
    slow = "* t\nv1 a 0 1\nr1 a 0 1\n.tran 1n 100\n.end"
    with NgspiceWorker(time_limit=1.0) as hung:
        with pytest.raises(NgspiceError, match=r"longer than its limit of 1 s"):
            hung.run(Job(slow, "tran", ("v1#branch",), 1))
        hung.time_limit = 60
        assert hung.run(SIMPLE).klu


def test_a_crash_is_reported_and_followed_by_a_new_process():
    with NgspiceWorker(time_limit=60) as crashed:
        crashed.run(SIMPLE)
        pid = crashed._executor.submit(os.getpid).result()
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(NgspiceError, match="crashed"):
            crashed.run(SIMPLE)
        assert crashed.run(SIMPLE).klu


def test_no_library(monkeypatch):
    monkeypatch.setenv("NGSPICE_LIBRARY_PATH", "/nowhere/libngspice.so")
    with pytest.raises(NgspiceError, match="does not exist"):
        find_library()
    monkeypatch.delenv("NGSPICE_LIBRARY_PATH")
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    with pytest.raises(NgspiceError, match="make setup"):
        find_library()


def test_a_library_that_cannot_be_loaded(tmp_path):
    fake = tmp_path / "libngspice.so"
    fake.write_text("not a library")
    with (
        NgspiceWorker(time_limit=60, library=str(fake)) as broken,
        pytest.raises(NgspiceError, match="cannot load"),
    ):
        broken.probe()


def test_without_klu_it_is_refused(worker):
    without = Job(GOOD.replace(".options klu", ".options sparse"), "dc", ("v1#branch",), 3)
    with pytest.raises(NgspiceError, match="without KLU"):
        worker.run(without)


def test_without_klu_large_circuits_are_refused_before_they_start():
    import numpy as np

    circuit = array_circuit(np.full((80, 80), 1e-6), Wires(1, 1))
    with (
        NgspiceWorker(require_klu=False) as lenient,
        pytest.raises(NgspiceError, match="nodes without KLU"),
    ):
        solve_ngspice(circuit, np.zeros(80), worker=lenient)


def test_memory_stays_flat(worker):
    import numpy as np

    circuit = array_circuit(np.full((16, 16), 1e-6), Wires(1, 1))
    v_in = np.full((4, 16), 0.1)

    def resident():
        pid = worker._executor.submit(os.getpid).result()
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * 4096

    for _ in range(20):
        solve_ngspice(circuit, v_in, worker=worker)
    before = resident()
    for _ in range(150):
        solve_ngspice(circuit, v_in, worker=worker)
    assert resident() - before < 15e6
