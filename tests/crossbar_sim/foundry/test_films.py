"""Films of the foundries, by length."""

import json
from pathlib import Path

import numpy as np
import pytest

from approx import approx
from crossbar_sim.foundry.films import FILMS, LENGTHS

KEPT = Path(__file__).parents[3] / "benchmarks" / "results" / "foundry_devices.json"


def test_the_films_are_those_that_were_measured():
    devices = json.loads(KEPT.read_text())["devices"]
    assert len(devices) == len(FILMS) == 5
    for film, device in zip(FILMS, devices):
        assert (film.technology, film.resistor) == (device["technology"], device["resistor"])
        assert film.width == approx(device["width"])
        assert film.r_on == approx(device["r_on"], rel=1e-3)
        rows = device["rows"]
        assert tuple(row["length"] for row in rows) == approx(LENGTHS)
        np.testing.assert_allclose(film.ohm, [row["ohm"] for row in rows], rtol=1e-3)
        np.testing.assert_allclose(film.sigma, [row["sigma"] for row in rows], rtol=1e-2)


def test_a_length_gives_back_its_resistance_and_spread():
    film = FILMS[0]
    np.testing.assert_allclose(film.lengths(np.array(film.ohm)), LENGTHS, rtol=1e-12)
    np.testing.assert_allclose(film.sigmas(np.array(LENGTHS)), film.sigma, rtol=1e-12)


def test_beyond_the_longest_the_spread_falls_with_the_root_of_length():
    film = FILMS[2]
    far = film.lengths(4 * np.array(film.ohm[-1:]))
    assert far[0] == approx(4 * LENGTHS[-1])
    assert film.sigmas(far)[0] == approx(film.sigma[-1] / 2)


def test_a_bank_has_the_values_spreads_and_area_of_its_lengths():
    film = FILMS[3]
    ohms = np.array([film.ohm[1], film.ohm[3]])
    bank = film.bank(ohms)
    np.testing.assert_allclose(bank.r_nominal, ohms, rtol=1e-12)
    np.testing.assert_allclose(bank.sigma_local, (film.sigma[1], film.sigma[3]), rtol=1e-9)
    assert bank.r_on == film.r_on
    assert film.area(ohms) == approx(film.width * 12e-6)


def test_a_resistor_shorter_than_the_shortest_is_refused():
    with pytest.raises(ValueError, match=r"ohms must be at least 1958\.0 ohm, that of 1 um"):
        FILMS[0].lengths(np.array([100.0]))
