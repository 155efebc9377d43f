"""Comparison of numbers of any size; `pytest.approx` lets everything below 1e-12 pass."""

from typing import Any

import pytest


def approx(expected: Any, rel: float = 1e-6, abs: float = 0.0) -> Any:
    """Return what equals `expected` within rel of it, or within abs where that is more.

    Joules, farads and square metres of this project are below the 1e-12 that `pytest.approx`
    always allows, so this allows nothing but what a test states.
    """
    return pytest.approx(expected, rel=rel, abs=abs)  # noqa: TID251
