"""Find the ngspice library on this machine."""

import ctypes.util
import os
import sys
from fnmatch import fnmatch
from importlib.metadata import distributions
from pathlib import Path

from crossbar_sim.ngspice.errors import NgspiceError

INSTALL_HELP = (
    "install ngspice with its shared library and the KLU solver (44 and 46 have it): "
    "in a clone run `make setup`; elsewhere `apt install ngspice libngspice0`, `brew install "
    "ngspice libngspice` or `conda install -c conda-forge ngspice-lib`; NGSPICE_LIBRARY_PATH names "
    "a library at another place"
)

#: Names of the library on Linux, macOS and Windows.
_NAMES = ("libngspice.so*", "libngspice*.dylib", "*ngspice.dll")


def find_library() -> str:
    """Return the path or name of the ngspice library.

    The search covers the variable NGSPICE_LIBRARY_PATH, the environment of Python (conda), the
    system, and the installed Python packages, some of which bring a library. Raises NgspiceError
    that says how to install it.
    """
    library = _given() or _beside_python() or ctypes.util.find_library("ngspice") or _in_package()
    if not library:
        raise NgspiceError(f"no ngspice library found; {INSTALL_HELP}")
    return library


def _given() -> str | None:
    given = os.environ.get("NGSPICE_LIBRARY_PATH")
    if given and "/" in given and not Path(given).exists():
        raise NgspiceError(
            f"NGSPICE_LIBRARY_PATH is {given!r}, which does not exist; {INSTALL_HELP}"
        )
    return given or None


def _beside_python() -> str | None:
    here = Path(sys.prefix) / "lib"
    return next((str(path) for name in _NAMES for path in sorted(here.glob(name))), None)


def _in_package() -> str | None:
    """Return the library that comes with an installed Python package."""
    for package in distributions():
        for file in package.files or ():
            if any(fnmatch(file.name, name) for name in _NAMES):
                path = Path(str(package.locate_file(file)))
                if path.exists():
                    return str(path)
    return None
