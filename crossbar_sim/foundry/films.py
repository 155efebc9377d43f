"""Films as measured with the foundries' models: resistance and mismatch by length.

The figures are those of `benchmarks/results/foundry_devices.json`, so that banks of a foundry's
lengths can be drawn on a machine without its models: typical corner, 300.15 K.
"""

from dataclasses import dataclass

import numpy as np

from mapping.bank import ResistorBank
from mapping.bank.checks import require

#: Lengths at which each film was measured [m].
LENGTHS = (1e-6, 2e-6, 5e-6, 10e-6, 20e-6, 50e-6)


@dataclass(frozen=True)
class Film:
    """A resistor of one width in a foundry's process.

    technology, resistor: names, as `netlists.foundry` has them.
    width: of the film [m].
    r_on: of the closed switch in series [ohm], without its spread.
    ohm: resistance at each of LENGTHS [ohm].
    sigma: spread by mismatch at each of LENGTHS, as a fraction.
    """

    technology: str
    resistor: str
    width: float
    r_on: float
    ohm: tuple[float, ...]
    sigma: tuple[float, ...]

    @property
    def name(self) -> str:
        """Technology, resistor and width in micrometres."""
        return f"{self.technology} {self.resistor} {self.width * 1e6:g} um"

    def lengths(self, ohms: np.ndarray) -> np.ndarray:
        """Return the lengths [m] of resistors (n,) [ohm].

        Linear between the lengths measured, and proportional to the resistance beyond the longest.
        Raises ValueError for a resistor below the shortest one measured.
        """
        ohms = np.asarray(ohms, float)
        low = ohms < self.ohm[0] * (1 - 1e-12)
        require(not np.any(low), "ohms", ohms, f"at least {self.ohm[0]} ohm, that of 1 um")
        between = np.interp(ohms, self.ohm, LENGTHS)
        return np.where(ohms > self.ohm[-1], LENGTHS[-1] * ohms / self.ohm[-1], between)

    def sigmas(self, lengths: np.ndarray) -> np.ndarray:
        """Return the spreads by mismatch (n,) of resistors of some lengths [m].

        A power law between the lengths measured, and 1 / sqrt(length) beyond the longest.
        Source: Pelgrom, Duinmaijer, Welbers, IEEE JSSC 24 (1989) 1433, sigma = a_r / sqrt(W * L).
        """
        between = np.exp(np.interp(np.log(lengths), np.log(LENGTHS), np.log(self.sigma)))
        return between * np.sqrt(np.minimum(1.0, LENGTHS[-1] / np.asarray(lengths)))

    def area(self, ohms: np.ndarray) -> float:
        """Return the area [m^2] of the films of a bank, without contacts, spacing and switches."""
        return float(self.width * self.lengths(ohms).sum())

    def bank(self, ohms: np.ndarray) -> ResistorBank:
        """Return the bank of resistors of some nominal values (n,) [ohm], ascending."""
        sigma = self.sigmas(self.lengths(ohms))
        ladder, spread = tuple(map(float, ohms)), tuple(map(float, sigma))
        return ResistorBank(
            n=len(ohms), ladder=ladder, sigma_local=spread, r_on=self.r_on, r_off=1e12
        )


#: Source: benchmarks/results/foundry_devices.json, which states the models' versions.
FILMS = (
    Film(
        "sky130",
        "high_po",
        3.5e-07,
        958.0,
        (1958.0, 2953.0, 5938.0, 10910.0, 20860.0, 50710.0),
        (0.0442, 0.0321, 0.0197, 0.0127, 0.00806, 0.0048),
    ),
    Film(
        "sky130",
        "high_po",
        1.41e-06,
        958.0,
        (508.2, 738.5, 1429.0, 2581.0, 4884.0, 11790.0),
        (0.0246, 0.0182, 0.0109, 0.00685, 0.00427, 0.00246),
    ),
    Film(
        "sky130",
        "xhigh_po",
        3.5e-07,
        958.0,
        (7162.0, 14540.0, 36660.0, 73540.0, 147300.0, 368500.0),
        (0.0742, 0.049, 0.0339, 0.0253, 0.0172, 0.0109),
    ),
    Film(
        "ihp-sg13g2",
        "rhigh",
        5e-07,
        1043.0,
        (3775.0, 7079.0, 16930.0, 33270.0, 65860.0, 163400.0),
        (0.077, 0.0517, 0.033, 0.0234, 0.0182, 0.0113),
    ),
    Film(
        "ihp-sg13g2",
        "rppd",
        5e-07,
        1043.0,
        (655.9, 1164.0, 2688.0, 5228.0, 10310.0, 25540.0),
        (0.026, 0.0188, 0.0124, 0.00838, 0.00632, 0.00411),
    ),
)
