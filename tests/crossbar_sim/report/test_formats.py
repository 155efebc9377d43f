"""How a report writes numbers."""

import pytest

from crossbar_sim.report import formats


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1.234e-12, "J", "1.23 pJ"),
        (999.9, "Ω", "1 kΩ"),
        (146e-9, "J", "146 nJ"),
        (0.9996, "V", "1 V"),
        (5e12, "Hz", "5,000 GHz"),
        (3e-20, "J", "0.03 aJ"),
        (0, "V", "0 V"),
        (None, "V", "–"),
    ],
)
def test_si_prefixes(value, unit, text):
    assert formats.si(value, unit) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.9244, "92.4 %"), (1.0, "100.0 %"), (-0.0072, "−0.7 %"), (None, "–")],
)
def test_percent_has_one_style(share, text):
    assert formats.percent(share) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.046, "4.6 %"),
        (0.47, "47 %"),
        (0.000123, "0.012 %"),
        (2.6e-13, "2.6 × 10⁻¹³"),
        (0.0, "0 %"),
        (None, "–"),
    ],
)
def test_small_errors_have_two_digits(share, text):
    assert formats.small_percent(share) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e4, "10,000"), (0.5, "0.5"), (1.46e-5, "1.46 × 10⁻⁵"), (0, "0"), (None, "–")],
)
def test_plain_numbers_have_no_e(value, text):
    assert formats.plain(value) == text


def test_powers_of_ten():
    assert formats.power_of_ten(1e-9, 0) == "1 × 10⁻⁹"
    assert formats.power_of_ten(0.0) == "0"
    assert formats.power_of_ten(None) == "–"


def test_a_metric_is_a_percentage_only_if_it_is_a_share():
    assert formats.metric(0.5, "accuracy") == "50.0 %"
    assert formats.metric(0.5, "mse") == "0.5"
    assert formats.metric(None, "mse") == "–"


@pytest.mark.parametrize(
    ("p", "text", "shows"),
    [
        (0.4531, "p = 0.45", "no difference shown"),
        (0.0004, "p < 0.001", "a difference"),
        (0.03, "p = 0.03", "a difference"),
        (1.0, "p = 1", "no difference shown"),
        (None, "–", "–"),
    ],
)
def test_a_probability_says_what_it_shows(p, text, shows):
    assert (formats.probability(p), formats.verdict(p)) == (text, shows)


def test_counts_intervals_and_lists():
    assert (formats.count(1, "image"), formats.count(1200, "tile")) == ("1 image", "1,200 tiles")
    assert formats.interval(0.896, 0.9456) == "89.6 … 94.6 %"
    assert formats.interval(None, None) == formats.number(None, "%.1f") == "–"
