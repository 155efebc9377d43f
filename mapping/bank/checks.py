"""What a bank, a die's table and a list of cells must be; ValueError says what they are."""

import math

import numpy as np

from mapping.bank.ladders import LADDERS
from mapping.bank.streams import DISTRIBUTIONS

T_REFERENCE = 300.15  # kelvin; 27 degrees Celsius, the nominal temperature of SPICE
MAX_BRANCHES = 32  # a bank's switches are one 32-bit mask


def require(condition, name, value, expected):
    """Raise ValueError, naming what came and what was expected, unless a condition holds."""
    if not condition:
        raise ValueError(f"{name} must be {expected}, not {value!r}")


def check_ladder(bank):
    """Check the nominal values of a bank."""
    require(isinstance(bank.n, int), "n", bank.n, "a whole number of branches")
    require(1 <= bank.n <= MAX_BRANCHES, "n", bank.n, f"from 1 to {MAX_BRANCHES} branches")
    require(0 < bank.r_min < math.inf, "r_min", bank.r_min, "positive and finite [ohm]")
    require(1 < bank.ratio < math.inf, "ratio", bank.ratio, "above 1 and finite")
    if isinstance(bank.ladder, str):
        known = bank.ladder in LADDERS
        require(known, "ladder", bank.ladder, f"one of {', '.join(LADDERS)} or a list of ohms")
        return
    ohms = np.asarray(bank.ladder, float)
    require(ohms.shape == (bank.n,), "ladder", bank.ladder, f"a list of n = {bank.n} values")
    positive = np.all((ohms > 0) & (ohms < math.inf))
    require(positive, "ladder", bank.ladder, "positive and finite [ohm]")


def check_spread(bank):
    """Check how a bank scatters."""
    expected = f"one of {', '.join(DISTRIBUTIONS)}"
    require(bank.distribution in DISTRIBUTIONS, "distribution", bank.distribution, expected)
    for name in ("sigma_lot", "sigma_gradient", "sigma_on", "meter_error"):
        value = getattr(bank, name)
        require(0 <= value < 1, name, value, "a fraction in [0, 1)")
    require(0 <= bank.tc1_sigma < 1, "tc1_sigma", bank.tc1_sigma, "in [0, 1) [1/K]")
    local = np.asarray(bank.sigma_local, float)
    require(local.shape in ((), (bank.n,)), "sigma_local", bank.sigma_local, f"1 or {bank.n} long")
    require(np.all((local >= 0) & (local < 1)), "sigma_local", bank.sigma_local, "in [0, 1)")
    require(bank.local_bound > 0, "local_bound", bank.local_bound, "positive [sigmas]")
    hole_fits = 0 <= bank.local_hole < bank.local_bound or bank.distribution != "holed"
    require(hole_fits, "local_hole", bank.local_hole, "in [0, local_bound) [sigmas]")
    bounded = bank.distribution in ("truncated", "holed", "uniform")
    require(not bounded or bank.tolerance < 1, "sigma_local", bank.sigma_local, "less wide")


def check_circuit(bank):
    """Check a bank's switches, temperatures, faults and ageing."""
    require(0 <= bank.r_on < math.inf, "r_on", bank.r_on, "zero or more, and finite [ohm]")
    require(bank.r_off > bank.r_on, "r_off", bank.r_off, f"above r_on = {bank.r_on} [ohm]")
    require(math.isfinite(bank.tc1), "tc1", bank.tc1, "finite [1/K]")
    require(math.isfinite(bank.tc2), "tc2", bank.tc2, "finite [1/K^2]")
    require(0 < bank.temperature < math.inf, "temperature", bank.temperature, "positive [K]")
    kelvin = bank.temperature - T_REFERENCE
    drift = 1 + bank.tc1 * kelvin + bank.tc2 * kelvin**2
    require(drift > 0, "tc1", bank.tc1, "small enough that resistances stay positive")
    require(0 <= bank.age < math.inf, "age", bank.age, "zero or more, and finite [h]")
    require(-1 < bank.drift < 1, "drift", bank.drift, "in (-1, 1), after 1,000 hours")
    require(0 <= bank.drift_sigma < 1, "drift_sigma", bank.drift_sigma, "in [0, 1)")
    for name in ("p_stuck_open", "p_stuck_closed"):
        value = getattr(bank, name)
        require(0 <= value <= 1, name, value, "a probability in [0, 1]")
    together = bank.p_stuck_open + bank.p_stuck_closed
    require(together <= 1, "p_stuck_open + p_stuck_closed", together, "at most 1")


def check_table(layer, ohms, n):
    """Check a die's own resistances of one layer."""
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
