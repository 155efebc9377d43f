"""Ladders: the nominal values of a bank's resistors."""

import math
import warnings
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field

LADDERS = ("equal", "geometric", "binary", "E6", "E12", "E24", "E48", "E96", "E192")
_E24 = (1.0, 1.1, 1.2, 1.3, 1.5, 1.6, 1.8, 2.0, 2.2, 2.4, 2.7, 3.0)
_E24 = (*_E24, 3.3, 3.6, 3.9, 4.3, 4.7, 5.1, 5.6, 6.2, 6.8, 7.5, 8.2, 9.1)


def _known(name: str) -> str:
    if name not in LADDERS:
        raise ValueError(f"must be one of {', '.join(LADDERS)}, or a list of ohms")
    return name


#: The name of a ladder.
Ladder = Annotated[str, Field(strict=True), AfterValidator(_known)]


class LadderGapWarning(UserWarning):
    """The ladder may leave gaps: conductances that no set of switches reaches."""


def nominal_ladder(ladder: str, n: int, r_min: float, ratio: float) -> np.ndarray:
    """Return the nominal resistances (n,) [ohm] of a named ladder, ascending.

    ladder: one of `LADDERS`.
    r_min: the first value [ohm].
    ratio: of neighbouring values.
    """
    if ladder == "equal":
        return np.full(n, float(r_min))
    geometric = r_min * (2.0 if ladder == "binary" else ratio) ** np.arange(n)
    return _nearest_preferred(geometric, int(ladder[1:])) if ladder.startswith("E") else geometric


def e_series(n_per_decade: int) -> np.ndarray:
    """Return one decade of preferred values, from 1 up to below 10.

    n_per_decade: 6, 12, 24, 48, 96 or 192. Returns (n_per_decade,).
    Raises ValueError for another number. Source: IEC 60063.
    """
    if n_per_decade in (6, 12, 24):
        return np.array(_E24[:: 24 // n_per_decade])
    if n_per_decade not in (48, 96, 192):
        raise ValueError(
            f"a series has 6, 12, 24, 48, 96 or 192 values a decade; got {n_per_decade}"
        )
    values = np.round(10 ** (np.arange(n_per_decade) / n_per_decade), 2)
    values[values == 9.19] = 9.20  # the one value at which the standard departs from its formula
    return values


def warn_of_gaps(ladder: str, ratio: float, tolerance: float, stacklevel: int) -> None:
    """Warn with `LadderGapWarning` if the ladder may leave gaps, and name a ratio without gaps.

    Source: g_k (1 + t) <= (1 - t) * sum of all smaller g, which is ratio <= 2 / (1 + t).
    """
    ratio = 2.0 if ladder == "binary" else ratio
    allowed = math.floor(2000 / (1 + tolerance)) / 1000
    if ratio <= allowed:
        return
    remedy = f"ratio={allowed}" if allowed > 1 else 'ladder="equal"'
    warnings.warn(
        f"ladder of ratio {ratio:.4g} has gaps at a tolerance of {tolerance:.3g}; "
        f"{remedy} closes them",
        LadderGapWarning,
        stacklevel=stacklevel + 1,
    )


def _nearest_preferred(ohms: np.ndarray, n_per_decade: int) -> np.ndarray:
    """Return the preferred value nearest to each of `ohms` on a logarithmic scale."""
    exponents = np.arange(math.floor(np.log10(ohms[0])) - 1, math.ceil(np.log10(ohms[-1])) + 2)
    preferred = np.multiply.outer(10.0**exponents, e_series(n_per_decade)).ravel()
    distance = np.abs(np.log(preferred[:, None] / ohms))
    return preferred[np.argmin(distance, axis=0)]
