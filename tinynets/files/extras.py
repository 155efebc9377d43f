"""Optional packages, imported only where they are used."""

from importlib import import_module
from typing import Any


def optional(module: str, *, extra: str) -> Any:
    """Return an optional module; ImportError says what to install when it is missing."""
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(
            f"this needs the package {module.split('.')[0]!r}: pip install 'crossbar-sim[{extra}]'"
        ) from error
