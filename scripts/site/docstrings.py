"""Docstrings as the site shows them: arguments, lines of `name: meaning`, become a list."""

import re
from typing import Any

import griffe

_ARGUMENT = re.compile(r"^(\w+(?:, \w+)*): (?=\S)", re.MULTILINE)
#: Words at the start of a line that are no argument.
_PLAIN = {"Source", "Run", "Ordered", "Raises", "Example"}


class ArgumentLists(griffe.Extension):
    """Rewrite the docstrings of functions and classes."""

    def on_instance(self, *, obj: griffe.Object, **_kwargs: Any) -> None:
        """Rewrite the docstring of what was found, but for modules."""
        if obj.docstring is not None and not obj.is_module:
            obj.docstring.value = as_list(obj.docstring.value)


def as_list(text: str) -> str:
    """Return a docstring with a list in place of its lines of arguments."""
    parts = []
    for part in re.split(r"\n\s*\n", text):
        found = _ARGUMENT.match(part)
        if found and found[1] not in _PLAIN:
            part = _ARGUMENT.sub(lambda m: f"- **{m[1]}**: ", part)
        parts.append(part)
    return "\n\n".join(parts)
