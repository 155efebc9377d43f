"""A branch of a foundry's devices: which resistor, which lengths, which switch, where it works."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from mapping.bank.checks import MAX_BRANCHES, T_REFERENCE
from netlists.foundry.technologies import CORNERS, TECHNOLOGIES, Device, Technology, technology
from tinynets.settings import TABLE, Kelvin, OneOf, check_fields, within

Metre = Annotated[float, within(1e-9, 1e-2)]


@dataclass(frozen=True)
class FoundryBranch:
    """The branches of a bank, made of a foundry's devices.

    Raises ValueError for a device, a size, a corner or a voltage that the process does not have.
    """

    __pydantic_config__: ClassVar[ConfigDict] = TABLE

    technology: Annotated[str, OneOf(tuple(TECHNOLOGIES))]
    """Process whose models are used."""
    resistor: str
    """Resistor of the process, such as "high_po" of SKY130 or "rhigh" of IHP SG13G2."""
    lengths: Annotated[tuple[Metre, ...], Field(strict=False)]
    """Length of the resistor of each branch [m], ascending: the first conducts most."""
    width: Annotated[float, within(0, 1e-3)] = 0.0
    """Width of all resistors [m]; 0 for the least of the process."""
    switch: Literal["nmos", "gate"] = "nmos"
    """Switch: "nmos", an n-channel transistor alone, or "gate", a transmission gate."""
    w_nmos: Metre = 1e-6
    """Width of the n-channel transistor [m]; both are as short as the process allows."""
    w_pmos: Metre = 2e-6
    """Width of the p-channel transistor of a transmission gate [m]."""
    switch_at: Literal["word line", "bit line"] = "bit line"
    """End of the branch that has the switch. A bit line stays near ground, so that a switch there
    sees little of the signal."""
    corner: Annotated[str, OneOf(CORNERS)] = "typical"
    """Corner of the models: "low" and "high" are of the resistors, "slow" and "fast" of the
    transistors."""
    temperature: Kelvin = T_REFERENCE
    """Temperature of the die [K]."""
    common: Annotated[float, within(-1, 10)] = -1.0
    """How far the signals' ground lies above the substrate [V]; -1 for the least, v_max, where an
    n-channel switch conducts best."""
    v_max: Annotated[float, within(0.01, 5)] = 0.3
    """Largest voltage of either sign on a word or bit line, about the signals' ground [V]."""

    v_select: Annotated[float, within(0, 5)] = 0.0
    """Voltage across a branch at which its conductance is taken for the selection of switches [V],
    I / V; 0 for the slope at no voltage. No curve depends on it."""

    def __post_init__(self) -> None:
        check_fields(self)
        _check_sizes(self)
        process, ground = self.process, self.ground
        if ground - self.v_max < 0 or ground + self.v_max > process.supply:
            raise ValueError(
                f"signals of {ground:g} ± {self.v_max:g} V leave the supply of {process.name}, "
                f"0 … {process.supply:g} V; lower v_max or move common"
            )

    @property
    def process(self) -> Technology:
        """The process."""
        return technology(self.technology)

    @property
    def device(self) -> Device:
        """The resistor of the process."""
        return self.process.resistors[self.resistor]

    @property
    def drawn_width(self) -> float:
        """Width of the resistors as drawn [m]."""
        return self.width or min(self.device.widths)

    @property
    def ground(self) -> float:
        """How far the signals' ground lies above the substrate [V]."""
        return self.v_max if self.common == -1 else self.common


def _check_sizes(branch: FoundryBranch) -> None:
    if branch.v_select > branch.v_max:
        raise ValueError(
            f"v_select, {branch.v_select:g} V, must be at most v_max, {branch.v_max:g} V"
        )
    process = branch.process
    if branch.resistor not in process.resistors:
        raise ValueError(
            f"expected a resistor of {process.name}, {', '.join(process.resistors)}; "
            f"got {branch.resistor!r}"
        )
    device, n = branch.device, len(branch.lengths)
    if not 1 <= n <= MAX_BRANCHES:
        raise ValueError(f"lengths must be 1 … {MAX_BRANCHES} lengths [m]; got {n}")
    if list(branch.lengths) != sorted(branch.lengths) or branch.lengths[0] < device.length:
        raise ValueError(
            f"lengths must ascend from at least {device.length:g} m; got {branch.lengths}"
        )
    if branch.drawn_width < min(device.widths):
        raise ValueError(f"width must be at least {min(device.widths):g} m; got {branch.width:g}")
    if len(device.widths) > 1 and branch.drawn_width not in device.widths:
        widths = ", ".join(f"{width:g}" for width in device.widths)
        raise ValueError(f"width must be one of {widths} m, which are drawn; got {branch.width:g}")
    for name, least in (("w_nmos", process.nmos), ("w_pmos", process.pmos)):
        width = getattr(branch, name)
        if width < min(least.widths):
            raise ValueError(f"{name} must be at least {min(least.widths):g} m; got {width:g}")
