"""A real switch against the linear one, and temperature, in ngspice."""

import numpy as np
import pytest

from approx import approx
from benchmarks.circuits.transmission_gate import (
    DEFAULT_MODELS,
    Gate,
    check_models,
    check_switch,
    read_models,
)
from crossbar_sim.ngspice.process import Job
from mapping import Die, ResistorBank

PLAIN = ".model n1 nmos (level=1 vto=0.4 kp=200u)\n.model p1 pmos (level=1 vto=-0.4 kp=80u)\n"


def test_on_resistance_is_that_of_the_transistors(worker):
    # Each conducts kp W / L (v_gate - v_to) about 0 V.
    gate = Gate(2e-6, 5e-6, 0.2e-6, -0.9, 0.9, PLAIN)
    found = check_switch(gate, 100e3, 0.01, worker=worker)
    wanted = 1 / (200e-6 * 10 * 0.5 + 80e-6 * 25 * 0.5)
    assert found.r_on == approx(wanted, rel=1e-3)
    assert found.r_off == np.inf


def test_the_linear_model_is_better_the_larger_the_resistor(worker):
    errors = {r: check_switch(Gate(), r, 0.2, worker=worker).error for r in (1e3, 10e3, 100e3)}
    assert errors[1e3] > errors[10e3] > errors[100e3]
    assert 1e-3 < errors[1e3] < 0.05
    assert errors[100e3] < 1e-5


def test_a_small_switch_of_the_examples_bank(worker):
    small = check_switch(Gate(w_n=0.42e-6, w_p=1e-6), 100e3, 0.2, worker=worker)
    assert 2e3 < small.r_on < 5e3
    assert 1e-5 < small.error < 1e-3
    half = check_switch(Gate(w_n=0.42e-6, w_p=1e-6), 100e3, 0.1, worker=worker)
    assert half.error < 0.6 * small.error
    # What a fixed r_on leaves is an error of the branch, as stated.
    linear = small.v / (100e3 + small.r_on)
    gap = np.abs(small.i_closed - linear).max() / np.abs(small.i_closed).max()
    assert gap == approx(small.error, rel=1e-9)


def test_a_hot_switch_conducts_less(worker):
    cold, warm, hot = (
        check_switch(Gate(), 100e3, 0.2, worker=worker, temperature=t).r_on
        for t in (250.0, 300.15, 400.0)
    )
    assert cold < warm < hot
    assert hot / warm == approx(1.12, abs=0.03)


def test_an_open_switch_that_leaks(worker):
    leaky = PLAIN.replace("vto=0.4", "vto=-1.0")
    found = check_switch(Gate(models=leaky), 100e3, 0.05, worker=worker)
    assert 1e2 < found.r_off < 1e6
    assert np.abs(found.i_open).max() > 0


def test_models_from_a_file(tmp_path, worker):
    path = tmp_path / "models.lib"
    path.write_text(
        "* two cards\n\n.MODEL fast_n NMOS (level=1\n+ vto=0.3 kp=3.0e-4)\n"
        ".model fast_p pmos level=1 vto=-0.3 kp=1e-4\n"
    )
    gate = Gate(models=read_models(path))
    assert check_models(gate.models) == {"nmos": "fast_n", "pmos": "fast_p"}
    fast = check_switch(gate, 100e3, 0.2, worker=worker)
    assert fast.r_on < check_switch(Gate(), 100e3, 0.2, worker=worker).r_on


@pytest.mark.parametrize(
    "line",
    [
        ".control",
        ".include /etc/passwd",
        "shell rm -r x",
        "r1 a 0 1",
        ".model d1 d (is=1e-14)",
        ".model x nmos (vto=0.4)\t; quit",
        ".model x nmos (vto={system('x')})",
        ".model x nmos (vto=`x`)",
        ".model ünsafe nmos (vto=0.4)",
        "+ .control",
    ],
)
def test_no_other_card_gets_in(line):
    with pytest.raises(ValueError, match=r"only \.model cards of nmos or pmos are allowed"):
        check_models(f"{line}\n{PLAIN}")


def test_comments_never_reach_ngspice():
    gate = Gate(models=f"*# shell touch /tmp/x\n* plain\n{PLAIN}")
    assert not any(line.startswith("*") for line in gate.lines("a", "b", closed=True))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PLAIN + ".model n2 nmos (level=1)", "expected one nmos model; got 'n1' and 'n2'"),
        (".model n1 nmos (level=1)", r"expected one nmos and one pmos model; got \['nmos'\]"),
        ("", "got none"),
        (PLAIN.replace("p1", "N1"), "need different names; got 'n1' for both"),
    ],
)
def test_two_models_are_expected(text, message):
    with pytest.raises(ValueError, match=message):
        Gate(models=text)


def test_a_file_too_large(tmp_path):
    path = tmp_path / "models.lib"
    path.write_text(DEFAULT_MODELS + "*\n" * 600_000)
    with pytest.raises(ValueError, match="must have at most"):
        read_models(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"w_n": 0}, "w_n must be > 0 m"),
        ({"length": 2.0}, "length must be > 0 m and < 1 m"),
        ({"v_low": 1.0}, "v_low must be below v_high"),
    ],
)
def test_bad_gates(options, message):
    with pytest.raises(ValueError, match=message):
        Gate(**options)


def test_bad_sweeps(worker):
    with pytest.raises(ValueError, match="r_branch must be > 0"):
        check_switch(Gate(), 0.0, 0.2, worker=worker)
    with pytest.raises(ValueError, match="temperature must be > 0"):
        check_switch(Gate(), 1e3, 0.2, worker=worker, temperature=-1.0)


@pytest.mark.parametrize("kelvin", [233.15, 300.15, 398.15])
def test_resistors_follow_temperature_as_ngspice_has_it(kelvin, worker):
    tc1, tc2 = 514e-6, 1.2e-6
    deck = (
        f"* t\nv1 a 0 1\nr1 a 0 100k tc1={tc1!r} tc2={tc2!r}\n.options klu\n"
        f".temp {kelvin - 273.15!r}\n.dc v1 1 2 1\n.save i(v1)\n.end"
    )
    current = worker.run(Job(deck, "dc", ("v1#branch",), 2)).values[0, 0]
    rise = kelvin - 300.15
    assert -1 / current == approx(100e3 * (1 + tc1 * rise + tc2 * rise**2), rel=1e-9)
    # The bank's resistors have the linear term.
    die = Die(ResistorBank(n=1, r_min=100e3, tc1=tc1, temperature=kelvin))
    found = die.resistances("fc", [0], [0])[0, 0, 0]
    assert found == approx(100e3 * (1 + tc1 * rise), rel=1e-12)
