"""Optional packages, imported only where they are used."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any


def optional(module: str, *, extra: str) -> Any:
    """Return an optional module; ImportError says what to install when it is missing."""
    try:
        return import_module(module)
    except ImportError as error:
        raise _missing(module, extra) from error


def require(package: str, *, extra: str) -> None:
    """Raise ImportError, before long work, for an optional package that is not installed."""
    if find_spec(package) is None:
        raise _missing(package, extra)


def _missing(module: str, extra: str) -> ImportError:
    package = module.split(".")[0]
    return ImportError(f"this needs the package {package!r}: pip install 'crossbar-sim[{extra}]'")
