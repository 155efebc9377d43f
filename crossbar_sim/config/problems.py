"""What is wrong with a configuration, one line for each mistake."""

import difflib
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tinynets.settings import said

_TYPES = {"str", "int", "float", "bool", "nullable", "constrained-int", "constrained-float"}
#: Most mistakes that are listed; a file may hold a million.
MAX_LISTED = 30


class ConfigError(ValueError):
    """A configuration that cannot be used; the message has a line for each mistake."""

    @property
    def lines(self) -> list[str]:
        """The mistakes, one a line."""
        return str(self).splitlines()


def config_error(error: ValidationError, kind: type, where: str) -> ConfigError:
    """Return all mistakes as one error.

    kind: type of the configuration, whose fields are the known keys.
    where: what every line begins with, such as the file.
    """
    found = list(problems(error, kind))
    more = [f"and {len(found) - MAX_LISTED:,} more"] if len(found) > MAX_LISTED else []
    return ConfigError("\n".join(f"{where}: {line}" for line in found[:MAX_LISTED] + more))


def problems(error: ValidationError, kind: type) -> Iterator[str]:
    """Yield each problem in one line: the key, its value and its bounds."""
    told = set()
    for problem in error.errors():
        # For a key with several types, pydantic names the type, such as "str" or "tuple[…]", and
        # says for each type what is wrong; the first will do.
        types = [k for k, part in enumerate(problem["loc"]) if _is_type(part)]
        key = problem["loc"][: types[0]] if types else problem["loc"]
        if not types or key not in told:
            yield _line(problem, kind)
        told.add(key)


def _is_type(part: int | str) -> bool:
    return part in _TYPES or "[" in str(part)


def _line(problem: ErrorDetails, kind: type) -> str:
    place = [str(part) for part in problem["loc"] if not _is_type(part)]
    key = shortened(".".join(place))
    if problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"unknown key {key!r}{_instead(place, kind)}"
    if problem["type"] == "missing":
        return f"key {key!r} is missing"
    message = shortened(said(problem), 400)
    if isinstance(problem["input"], dict | BaseModel):  # a rule about several keys together
        return f"{key}: {message}" if key else message
    return f"{key} = {_shown(problem['input'])}: {message}"


def _instead(place: list[str], kind: type) -> str:
    """Return the alternatives to an unknown key: the nearest known key, and all known keys."""
    for part in place[:-1]:
        kind = table_of(_keys(kind).get(part)) or kind
    known = list(_keys(kind))
    near = difflib.get_close_matches(place[-1][:60], known, n=1)
    guess = f"; did you mean {'.'.join([*place[:-1], near[0]])!r}?" if near else ""
    return f"{guess}; known here: {', '.join(known)}"


def _keys(kind: type) -> dict[str, Any]:
    """Return the keys of a table and their types."""
    if issubclass(kind, BaseModel):
        return {name: field.annotation for name, field in kind.model_fields.items()}
    return {field.name: field.type for field in fields(kind)}


def table_of(annotation: Any) -> type | None:
    """Return the type of the table that a key is, or contains; None for a plain value."""
    if isinstance(annotation, type) and (
        issubclass(annotation, BaseModel) or is_dataclass(annotation)
    ):
        return annotation
    return next(filter(None, map(table_of, get_args(annotation))), None)


def shortened(text: str, length: int = 60) -> str:
    """Return a text cut to a length, with an ellipsis if it was longer."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _shown(value: Any) -> str:
    try:
        return shortened(repr(value))
    except ValueError:  # Python refuses to print integers of thousands of digits
        return "a number of thousands of digits"
