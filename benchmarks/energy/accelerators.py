"""Published accelerators, beside which the die's operations per joule stand."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Accelerator:
    """A product and its published figures; a multiplication and an addition are two operations.

    name: of the product.
    operations: per second, at peak [1/s].
    power: at that rate [W]; None if no figure is available.
    source: of the figures.
    certainty: "published", or what is uncertain about the figures.
    """

    name: str
    operations: float
    power: float | None
    source: str
    certainty: str

    @property
    def per_joule(self) -> float | None:
        """Operations per joule, at peak."""
        return self.operations / self.power if self.power else None


_SELLER = "read at a user of the product, not its maker"

#: Peak figures at each maker's own precision; a network reaches less.
ACCELERATORS = (
    Accelerator(
        "IBM HERMES (phase-change memory, 14 nm, 8-bit, one-phase reads)",
        63.1e12,
        63.1 / 9.76,
        "Le Gallo et al., Nature Electronics 2023 (s41928-023-01010-1), abstract: 63.1 TOPS, 9.76 "
        "TOPS/W; four-phase reads, more precise: 16.1 TOPS, 2.48 TOPS/W",
        "published",
    ),
    Accelerator(
        "Mythic M1076 (analog flash, int8)",
        26e12,
        4.0,
        "hyundaimib.com/technology/ai/analog-npu: 26 TOPS at 3 … 4 W, of which the upper is taken; "
        "mythic-ai.com/technology: over 4 TOPS/W",
        _SELLER,
    ),
    Accelerator(
        "Intel NCS2 (Myriad X)",
        1e12,
        None,
        "Intel, Optimize Networks for the Neural Compute Stick 2 (2018): 1 TOPS on networks; no "
        "power was read",
        "published",
    ),
    Accelerator(
        "IBM Spyre (successor of the AIU)",
        300e12,
        75.0,
        "torch-spyre, docs/source/overview/spyre_accelerator.md: over 300 TOPS at 75 W",
        "published",
    ),
)
