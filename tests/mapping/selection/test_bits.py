"""Two definitions of bits, and that they agree on the errors of rounding."""

import numpy as np

from approx import approx
from mapping.selection.bits import effective_bits, worst_case_bits


def test_a_quantiser_has_its_own_bits_by_both_definitions():
    # 2^6 steps of 1/32 over -1 ... 1: errors are uniform in half a step either way.
    step = 2.0 / 64
    error = np.random.default_rng(0).uniform(-step / 2, step / 2, 200_000)
    assert worst_case_bits(np.abs(error).max(), 2.0) == approx(6.0, rel=1e-4)
    assert effective_bits(2.0, np.sqrt(np.mean(error**2))) == approx(6.0, rel=1e-3)


def test_by_hand_and_without_error():
    assert worst_case_bits(-1 / 512, 1.0) == 8
    assert effective_bits(1.0, 1 / np.sqrt(12) / 1024) == approx(10.0)
    assert worst_case_bits(0.0, 1.0) == effective_bits(1.0, 0.0) == np.inf
