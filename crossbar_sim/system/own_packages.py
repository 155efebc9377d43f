"""The packages that this program consists of, and others of the same name in their place.

`mapping` and `netlists` are common names: a file beside the user's script comes before them, and a
package of that name from an index is written over them.
"""

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType

#: Where all of them lie, one beside the other.
HOME = Path(__file__).resolve().parents[2]
NAMES = ("tinynets", "mapping", "netlists")
#: What the first file of each of them contains.
_MARK = "from tinynets import moved"


class ForeignPackageError(ImportError):
    """A package of ours is not the one that Python finds."""


def refuse_foreign() -> None:
    """Raise ForeignPackageError, which is told in one line, if a package is not ours."""
    for name in NAMES:
        if problem := _problem(name, find_spec(name)):
            _tell_in_one_line()
            raise ForeignPackageError(problem, name=name)


def _problem(name: str, spec: ModuleSpec | None) -> str:
    """Return what Python finds in place of a package, and what to do; "" if it is ours."""
    ours = HOME / name / "__init__.py"
    if spec is None or spec.origin is None:  # a folder without its first file has no origin
        return f"{ours} of crossbar-sim is missing; {_again()}"
    found = Path(spec.origin)
    if found.resolve() != ours:
        return (
            f"Python finds {found} in place of the package {name!r} of crossbar-sim, {ours}; "
            "rename it, or start from another folder"
        )
    if _MARK not in ours.read_text(encoding="utf-8", errors="replace"):
        return (
            f"{ours} is not that of crossbar-sim: another package {name!r} was installed over it; "
            f"pip uninstall {name}, then {_again()}"
        )
    return ""


def _again() -> str:
    return "install crossbar-sim again: pip install --force-reinstall --no-deps crossbar-sim"


def _tell_in_one_line() -> None:
    """Show this error without a traceback, since the traceback is ours and says nothing."""
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if isinstance(error, ForeignPackageError):
            print(f"crossbar-sim: {error}", file=sys.stderr)
        else:
            before(kind, error, trace)

    sys.excepthook = hook
