"""The word "none" in a file, for a key that has no value: TOML itself has no word for that."""

from functools import cache
from types import NoneType
from typing import Any, get_args, get_type_hints

from pydantic import BaseModel

from crossbar_sim.config.problems import table_of

#: What a file says for no value. Leaving a key out means its default, which may be a number.
NONE = "none"


def without_none(raw: dict[str, Any], kind: type[BaseModel]) -> dict[str, Any]:
    """Return a raw configuration with None for each "none" of a key that may have no value.

    kind: of the configuration, such as RunConfig.
    """
    changed = {}
    for name, field in kind.model_fields.items():
        table, value = table_of(field.annotation), raw.get(name)
        if table is not None and isinstance(value, dict):
            keys = {key for key in may_be_none(table) if value.get(key) == NONE}
            changed[name] = value | dict.fromkeys(keys)
    return raw | changed


@cache
def may_be_none(table: type) -> frozenset[str]:
    """Return the keys of a table that are a number, or another plain value but no text, or None."""
    hints = get_type_hints(table)
    return frozenset(
        key for key, hint in hints.items() if NoneType in get_args(hint) and not _takes_text(hint)
    )


def _takes_text(hint: Any) -> bool:
    """Return whether a text may be a value, of which "none" could be one."""
    return hint is str or isinstance(hint, str) or any(map(_takes_text, get_args(hint)))
