"""The error of a meter's readings."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Meter:
    """Standard error of one reading.

    relative: as a fraction of the reading.
    absolute: independent of that, added in quadrature [S].

    Raises ValueError for an error that is negative or not finite.
    """

    relative: float = 0.0
    absolute: float = 0.0

    def __post_init__(self) -> None:
        for name, value in (("relative", self.relative), ("absolute", self.absolute)):
            if not 0 <= value < np.inf:
                raise ValueError(f"the meter's {name} error must be finite and >= 0; got {value}")

    @property
    def exact(self) -> bool:
        """True if the meter has no error."""
        return not (self.relative or self.absolute)

    def require_error(self) -> None:
        """Raise ValueError for a meter without any error, which gives readings no weights."""
        if self.exact:
            raise ValueError("give the meter's error: relative or absolute must be above zero")

    def sigma(self, readings: np.ndarray) -> np.ndarray:
        """Return the standard error [S] of readings [S] of any shape."""
        return np.hypot(self.relative * readings, self.absolute)
