"""Switches that fail: the state of each switch of a die."""

from collections.abc import Mapping

import numpy as np

WORKS, NEVER_CLOSES, NEVER_OPENS = 0, 1, 2


def checked_states(states: Mapping[str, np.ndarray], n: int) -> dict[str, np.ndarray]:
    """Return the states of all switches of a die, layer -> (n_in, n_out, 2, n) int8, read-only.

    Raises ValueError for another shape or another number.
    """
    checked = {}
    for layer, values in states.items():
        values = np.asarray(values)
        if values.ndim != 4 or values.shape[2:] != (2, n):
            raise ValueError(
                f"stuck[{layer!r}] must have shape (n_in, n_out, 2, {n}); got {values.shape}"
            )
        if not np.isin(values, (WORKS, NEVER_CLOSES, NEVER_OPENS)).all():
            raise ValueError(
                f"stuck[{layer!r}] must hold {WORKS} (works), {NEVER_CLOSES} (never closes) and "
                f"{NEVER_OPENS} (never opens) only"
            )
        checked[layer] = np.array(values, np.int8)
        checked[layer].setflags(write=False)
    return checked
