"""Checks of names and numbers before they are written into a netlist, a script or a path."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

#: Longest path that a message shows whole.
_MAX_PATH = 500

MAX_NAME = 64
#: Largest size, count or index that is written as text.
LARGEST = 2**31 - 1


def is_word(text: Any) -> bool:
    """Return whether a text is one or more ASCII letters, digits and underscores."""
    return isinstance(text, str) and text.isascii() and text.replace("_", "0").isalnum()


def check_name(name: Any, what: str) -> None:
    """Raise ValueError unless a name can add nothing to a netlist, a script or a path."""
    if not is_word(name) or not name[0].isalpha() or len(name) > MAX_NAME:
        raise ValueError(
            f"{what} {_short(name)} is not safe in a netlist; use a letter followed by "
            f"at most {MAX_NAME - 1} letters, digits or underscores"
        )


def whole_number(value: Any, what: str, *, least: int) -> int:
    """Return a whole number as an int; ValueError for anything else, or below `least`."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or not least <= value <= LARGEST:
        raise ValueError(
            f"{what} must be a whole number from {least} to {LARGEST}; got {_short(value)}"
        )
    return int(value)


def check_file(path: str | Path) -> None:
    """Raise ValueError for a pipe or a device, which may never end, and for a name of no file.

    A missing file passes.
    """
    path = Path(path)
    try:
        is_other = path.exists() and not (path.is_file() or path.is_dir())
    except OSError as error:  # such as a name longer than any file may have
        raise ValueError(f"{_shown(path)} names no file: {error.strerror}") from error
    if is_other:
        raise ValueError(f"{path} is a pipe or a device; expected a file")


@contextmanager
def said_of(path: str | Path) -> Iterator[None]:
    """Put the path of a file before a ValueError about its content that does not name it."""
    try:
        yield
    except ValueError as error:
        if _shown(path) in str(error):
            raise
        raise ValueError(f"{_shown(path)}: {error}") from error


def _shown(path: str | Path) -> str:
    """Return a path as a message shows it."""
    text = str(path)
    return text if len(text) <= _MAX_PATH else f"{text[:60]}..."


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
