"""Settings of a part: types with bounds, each stated once for Python and configuration files.

A part is a frozen dataclass whose fields have these types. `check_fields` holds its values to them
when Python makes one; pydantic does when a file does. Bounds are set by physics, or by what a
machine can hold. Types are strict: text and booleans are not numbers, 1.0 is not an integer.
"""

import math
import re
from dataclasses import dataclass, fields
from functools import cache
from typing import Annotated, Any, get_type_hints

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import CoreSchema, ErrorDetails, core_schema

#: No quantity of this program is beyond this, or nearer to zero than its inverse.
LARGEST = 1e30
#: Configuration of a dataclass that is a table. JSON has no infinity, so it is stored as a string.
TABLE = ConfigDict(extra="forbid", ser_json_inf_nan="strings")


class Section(BaseModel):
    """A table that is not a part of the hardware: no unknown keys, no coercion, no changes."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, ser_json_inf_nan="strings", allow_inf_nan=False
    )


def within(low: float, high: float) -> Any:
    """Return the bounds of a number in low … high."""
    return Field(ge=low, le=high, strict=True)


def within_or_inf(low: float, high: float) -> Any:
    """Return the bounds of a number in low … high, or infinite for an ideal part."""

    def check(value: Any, number: ValidatorFunctionWrapHandler, info: ValidationInfo) -> float:
        if value == math.inf or (info.mode == "json" and value == "Infinity"):
            return math.inf
        converted = number(value)
        if isinstance(value, str | bool) or not low <= converted <= high:
            raise ValueError(f"must be {low:g} … {high:g}, or inf for an ideal part")
        return converted

    return WrapValidator(check)


@dataclass(frozen=True)
class OneOf:
    """The bound of a text that is one of the names of a registry."""

    names: tuple[str, ...]

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        return core_schema.literal_schema(list(self.names))


def _name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", value):
        raise ValueError(
            "must be 1 to 64 characters: letters A-Z and a-z, digits, '_', '.' or '-', "
            "a letter or digit first"
        )
    return value


Name = Annotated[str, AfterValidator(_name)]
Flag = Annotated[bool, Field(strict=True)]
Fraction = Annotated[float, Field(gt=-1, lt=1, strict=True)]
Share = Annotated[float, Field(ge=0, lt=1, strict=True)]
Probability = Annotated[float, within(0, 1)]
Positive = Annotated[float, within(1 / LARGEST, LARGEST)]
NotNegative = Annotated[float, within(0, LARGEST)]
Ohm = Annotated[float, within(1, 1e15)]
Kelvin = Annotated[float, within(1, 1000)]
LearningRate = Annotated[float, within(1 / LARGEST, 10)]
Count = Annotated[int, within(1, 1_000_000)]
Seed = Annotated[int, within(0, 2**63 - 1)]


_BOUNDS = ("ge", "gt", "le", "lt")


def check_fields(part: Any) -> None:
    """Raise ValueError for a value of a dataclass that is not of its field's type.

    Call it in `__post_init__`. Numbers of NumPy become Python's.
    """
    for name, adapter in _adapters(type(part)).items():
        value = getattr(part, name)
        if isinstance(value, np.generic):
            value = value.item()
            object.__setattr__(part, name, value)
        try:
            adapter.validate_python(value)
        except ValidationError as error:
            raise ValueError(f"{name} {must_be(error)}; got {value!r}") from None


def must_be(error: ValidationError) -> str:
    """Return what pydantic expected, as "must be …"."""
    return said(error.errors()[0])


def said(problem: ErrorDetails) -> str:
    """Return what pydantic expected of one value, as "must be …"."""
    message = re.sub(r"^Input should be", "must be", problem["msg"].removeprefix("Value error, "))
    bound = next((v for k, v in problem.get("ctx", {}).items() if k in _BOUNDS), None)
    return f"{message.rpartition(' ')[0]} {bound:g}" if isinstance(bound, float) else message


@cache
def _adapters(part: type) -> dict[str, TypeAdapter[Any]]:
    hints = get_type_hints(part, include_extras=True)
    return {field.name: TypeAdapter(hints[field.name]) for field in fields(part)}
