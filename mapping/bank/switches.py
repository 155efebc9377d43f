"""Switches of a bank as bits of a mask, and what banks conduct with them."""

import numpy as np

from mapping.bank.die import Branches


def closed_switches(chosen: np.ndarray, n: int) -> np.ndarray:
    """Return (..., n) bool: which of n switches each mask of `chosen` (...) closes."""
    return (np.asarray(chosen, np.uint64)[..., None] >> np.arange(n, dtype=np.uint64)) & 1 == 1


def split_mask(mask: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the (uint32) masks of the positive and the negative bank of a mask over both."""
    low = np.uint64((1 << n) - 1)
    return (mask & low).astype(np.uint32), (mask >> np.uint64(n)).astype(np.uint32)


def joined_mask(chosen_pos: np.ndarray, chosen_neg: np.ndarray, n: int) -> np.ndarray:
    """Return the mask (uint64) over both banks of n branches, the inverse of `split_mask`."""
    return chosen_pos.astype(np.uint64) | chosen_neg.astype(np.uint64) << np.uint64(n)


def realise(
    branches: Branches, chosen_pos: np.ndarray, chosen_neg: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return what the banks conduct with the chosen switches closed and the others open.

    branches: the true ones.
    chosen_pos, chosen_neg: (n_cell,) masks.

    Returns g_pos, g_neg: (n_cell,) [S].
    """
    chosen = np.stack([chosen_pos, chosen_neg], axis=-1)
    closed = closed_switches(chosen, branches.g_closed.shape[-1])
    g = np.where(closed, branches.g_closed, branches.g_open).sum(axis=-1)
    return g[:, 0], g[:, 1]
