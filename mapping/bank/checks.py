"""Checks of a bank, of a die's table and of a list of cells."""

import warnings

import numpy as np

T_REFERENCE = 300.15  # kelvin; 27 degrees Celsius, the nominal temperature of SPICE
MAX_BRANCHES = 32  # a bank's switches are one 32-bit mask


class NoEffectWarning(UserWarning):
    """Something is stated that changes no resistor of the bank."""


def warn_of_no_effect(bank, stacklevel):
    """Warn with `NoEffectWarning` of an age without drift, or a temperature without coefficient."""
    of_age = bank.drift or bank.drift_sigma
    of_heat = bank.tc1 or bank.tc1_sigma or bank.tc2
    for name, value, acts, needed in (
        ("age", bank.age, of_age, "drift or drift_sigma"),
        ("temperature", bank.temperature - T_REFERENCE, of_heat, "tc1, tc1_sigma or tc2"),
    ):
        if value and not acts:
            text = f"{name} = {getattr(bank, name):g} changes no resistor; give the bank {needed}"
            warnings.warn(text, NoEffectWarning, stacklevel=stacklevel + 1)


def require(condition, name, value, expected):
    """Raise ValueError, saying what was expected and what came, unless a condition holds."""
    if not condition:
        raise ValueError(f"{name} must be {expected}; got {value!r}")


def check_table(layer, ohms, n):
    """Check the resistances that a die's table gives for one layer."""
    expected = f"(n_in, n_out, 2, {n}), positive and finite [ohm]"
    require(np.shape(ohms)[2:] == (2, n), f"table[{layer!r}]", np.shape(ohms), expected)
    require(np.all((ohms > 0) & np.isfinite(ohms)), f"table[{layer!r}]", ohms, expected)


def check_cells(rows, columns):
    """Return the lines of cells as int64, checked."""
    rows, columns = np.asarray(rows), np.asarray(columns)
    if rows.ndim != 1 or rows.shape != columns.shape:
        raise ValueError(
            f"rows has shape {rows.shape} and columns {columns.shape}; pass two 1-D arrays of "
            "equal length, one entry for each cell"
        )
    for name, index in (("rows", rows), ("columns", columns)):
        whole = index.size == 0 or (index.dtype.kind in "iu" and index.min() >= 0)
        require(whole, name, index, "integers of zero or more")
    return rows.astype(np.int64), columns.astype(np.int64)
