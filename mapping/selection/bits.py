"""Bits of an error: the two definitions that every table, report and metric of this project uses.

**Worst-case bits** belong to one error, usually the largest of many: the bits of a quantiser whose
largest rounding error, half a step, is that error. **Effective bits** belong to a root-mean-square
error: the bits of a quantiser whose rounding has that rms, a step over sqrt(12). For uniform
errors, like those of rounding, the two agree. A full scale reaches from the smallest value to the
largest: 2 for weights of -1 … 1.
"""

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64] | float


def worst_case_bits(error: Values, full_scale: Values) -> NDArray[np.float64]:
    """Return -log2(2 |error| / full_scale), infinite for no error.

    error: the largest one, or another single error.
    full_scale: in the same unit.
    """
    with np.errstate(divide="ignore"):
        return -np.log2(2.0 * np.abs(error) / full_scale)


def effective_bits(full_scale: Values, rms: Values) -> NDArray[np.float64]:
    """Return log2(full_scale / (sqrt(12) rms)), infinite for no error.

    full_scale: from the smallest to the largest value.
    rms: of error or noise, in the same unit.
    """
    with np.errstate(divide="ignore"):
        return np.log2(np.asarray(full_scale) / (np.sqrt(12.0) * np.asarray(rms)))
