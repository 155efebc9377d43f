"""Types of a configuration's keys: bounds that physics sets, or a machine that has to serve them.

Types are strict: a text or a boolean is no number, a fraction no whole number.
"""

import math
import re
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

#: No quantity of this program is beyond this, or nearer to zero than its inverse.
LARGEST = 1e30


class Section(BaseModel):
    """A table of the file: no unknown keys, no coercion, no changes."""

    # JSON has no infinity; as a string it comes back as one.
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, ser_json_inf_nan="strings", allow_inf_nan=False
    )


def within(low: float, high: float) -> Any:
    """Return what keeps a number in low … high."""
    return Field(ge=low, le=high)


def within_or_inf(low: float, high: float) -> Any:
    """Return what keeps a number in low … high, or at infinity for a part that is ideal."""

    def check(value: Any, number: ValidatorFunctionWrapHandler, info: ValidationInfo) -> float:
        if value == math.inf or (info.mode == "json" and value == "Infinity"):
            return math.inf
        found = number(value)
        if not low <= found <= high:
            raise ValueError(f"must be {low:g} … {high:g}, or inf for an ideal part")
        return found

    return WrapValidator(check)


def _name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", value):
        raise ValueError(
            "must be 1 to 64 characters: letters A-Z and a-z, digits, '_', '.' or '-', "
            "a letter or digit first"
        )
    return value


Name = Annotated[str, AfterValidator(_name)]
Share = Annotated[float, Field(ge=0, lt=1)]
Probability = Annotated[float, within(0, 1)]
Positive = Annotated[float, within(1 / LARGEST, LARGEST)]
NotNegative = Annotated[float, within(0, LARGEST)]
Ohm = Annotated[float, within(1, 1e15)]
Kelvin = Annotated[float, within(1, 1000)]
LearningRate = Annotated[float, within(1 / LARGEST, 10)]
Count = Annotated[int, within(1, 1_000_000)]
Seed = Annotated[int, within(0, 2**63 - 1)]
