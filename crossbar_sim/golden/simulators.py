"""Simulators by name: the solvers of this package, and functions of the user's Python."""

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from crossbar_sim.golden.arrays import GoldenArray
from crossbar_sim.golden.scoring import Simulator
from crossbar_sim.solvers.registry import SOLVERS, solver


def simulator(name: str, *, trust: bool = False) -> Simulator:
    """Return a function from an array to its output currents.

    name: of a solver of this package, or "MODULE:FUNCTION", or "FILE.py:FUNCTION".
    trust: whether the user's Python may run.

    Raises ValueError for another name, for Python that is not trusted or that cannot be loaded.
    """
    if name in SOLVERS:
        return _of_solver(solver(name))
    place, _, function = name.rpartition(":")
    if not place or not function.isidentifier():
        known = ", ".join(SOLVERS)
        raise ValueError(f"expected {known}, MODULE:FUNCTION or FILE.py:FUNCTION; got {name!r}")
    if not trust:
        raise ValueError(
            f"{name} would run Python code; if you trust it, say so with --trust "
            "(in Python: trust=True)"
        )
    try:
        found = getattr(_module(place), function, None)
    except (Exception, SystemExit) as error:
        raise ValueError(f"{place} failed: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise ValueError(f"{place} has no function {function!r}")
    return found


def _of_solver(solve: Callable[..., Any]) -> Simulator:
    def currents(array: GoldenArray) -> Any:
        return solve(array.circuit(), array.v_in).i_out

    return currents


def _module(place: str) -> ModuleType:
    """Execute a module or a file; it may import what is beside it."""
    path = Path(place)
    is_file = path.suffix == ".py"
    sys.path.insert(0, str(path.resolve().parent if is_file else Path.cwd()))
    if not is_file:
        return import_module(place)
    spec = spec_from_file_location(f"own_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a file of Python")
    module = sys.modules[spec.name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
