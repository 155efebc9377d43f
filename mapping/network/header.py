"""The header of a saved network, checked against one schema before any of it is used."""

import json
from dataclasses import asdict, fields
from functools import cache
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    TypeAdapter,
    ValidationError,
)

from tinynets.files.checks import LARGEST

FORMAT = "crossbar-sim mapped network"
#: Files of version 1 hold each array of each tile alone; since 2, those of a layer are joined.
#: Version 3 is for networks with groups: before, the matrices of their layers were written out.
VERSIONS = (1, 2, 3)

_Kind = TypeVar("_Kind")
_Index = Annotated[int, Field(ge=0, le=LARGEST)]


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("a path of a module must be text without control characters")
    return text


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class LayerHeader(_Part):
    """What the header says of a layer.

    tiles: their indices, in order.
    n_real: see `PrunedLayer`; written for transposed convolutions alone.
    sizes: word lines and pairs of bit lines of each tile; None in files of version 1.
    """

    name: str
    module: Annotated[str, AfterValidator(_printable), Field(max_length=1000)]
    n_mvm: int
    conv: dict[str, JsonValue] | None
    tiles: list[tuple[_Index, _Index]]
    sizes: list[tuple[_Index, _Index]] | None = None
    n_real: list[_Index] = []


class Header(_Part):
    """The header of a saved network.

    sha256: of each array, by its name.
    """

    format: str
    version: int
    bank: dict[str, JsonValue]
    seed: int
    tile: dict[str, JsonValue]
    layers: Annotated[list[LayerHeader], Field(min_length=1)]
    sha256: dict[str, str]

    @staticmethod
    def read(text: bytes) -> "Header":
        """Return the header of a JSON text; the text of its ValueError follows the file's path."""
        check_start(text, FORMAT, *VERSIONS)
        try:
            header = Header.model_validate_json(text)
        except ValidationError as error:
            raise ValueError(f"is damaged: {first_problem(error)}") from error
        for layer in header.layers:
            n = None if layer.sizes is None else len(layer.sizes)
            if n != (None if header.version == 1 else len(layer.tiles)):
                raise ValueError(
                    f"is damaged: layer {layer.name!r} has {len(layer.tiles)} tiles and {n} sizes"
                )
        return header


def built(kind: type[_Kind], values: Any, what: str) -> _Kind:
    """Return a dataclass made of a file's values, of exactly the types that its fields have.

    Raises ValueError naming `what` for values that are not an object, fields that are unknown (of
    a newer version, say) or of another type, and values that the dataclass refuses.
    """
    if not isinstance(values, dict):
        raise ValueError(f"{what} must be an object; got {str(values)[:60]!r}")
    known: Any = kind
    if unknown := sorted(values.keys() - {field.name for field in fields(known)}):
        raise ValueError(
            f"{what} has {unknown[0][:60]!r}, which this program does not know; "
            "read it with the program that wrote it or a newer one"
        )
    try:
        return _adapter(kind).validate_json(json.dumps(values), strict=True)
    except ValidationError as error:
        raise ValueError(f"{what}: {first_problem(error)}") from error
    except ArithmeticError as error:
        raise ValueError(f"{what} has a number that is too large or too small: {error}") from error


def plain(part: Any) -> Any:
    """Return a dataclass as JSON would give it back."""
    return json.loads(json.dumps(asdict(part)))


def first_problem(error: ValidationError) -> str:
    """Return the first problem in one line: where it is, and what was expected."""
    problem = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(map(str, problem["loc"]))
    return f"{where}: {problem['msg']}"[:300]


@cache
def _adapter(kind: type[_Kind]) -> TypeAdapter[_Kind]:
    return TypeAdapter(kind)


class _Start(BaseModel):
    """The keys that tell what a file is, whatever else it holds."""

    format: JsonValue = None
    version: JsonValue = None


def check_start(text: bytes, format_: str, *versions: int) -> None:
    """Raise ValueError unless JSON is of a format and a version; its text follows the path."""
    try:
        start = _Start.model_validate_json(text)
    except ValidationError as error:
        raise ValueError(f"is damaged: {first_problem(error)}") from error
    if start.format != format_:
        raise ValueError(f"is not a {format_}")
    if start.version not in versions:
        known = " and ".join(map(str, versions))
        raise ValueError(
            f"has version {str(start.version)[:20]}; this program reads {known}; "
            "use the program that wrote it or a newer one"
        )
