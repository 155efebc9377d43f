"""Kernels that numba compiles and keeps on disk, also when they call kernels of other files."""

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from numba import njit


def kernels(*called: ModuleType, **options: Any) -> Callable[[Callable], Any]:
    """Return a decorator that compiles a function without the interpreter's lock, and keeps it.

    Numba tells by the source of a kernel's own file whether what it has kept is out of date; the
    kernels that it calls are compiled into it, but an edit of their file goes unseen. So what is
    kept depends on the source of those files too. What an older version of this program has kept
    may name types that are elsewhere now; then it counts as out of date.

    called: modules whose kernels are called, also by way of others, or whose types are used.
    options: of `numba.njit`.
    """
    source = b"".join(Path(str(module.__file__)).read_bytes() for module in called)
    digest = hashlib.sha256(source).hexdigest()

    def compiled(function: Callable) -> Any:
        kernel: Any = njit(cache=True, nogil=True, **options)(function)
        try:
            index = kernel._cache._cache_file
            if called:
                index._source_stamp = index._source_stamp, digest
            index._load_index = _or_nothing(index._load_index)
        except AttributeError:  # of another numba; then compiled in every process, and never stale
            return njit(nogil=True, **options)(function)
        return kernel

    return compiled


def _or_nothing(load: Callable[[], dict]) -> Callable[[], dict]:
    """Return a reader of numba's index of what is kept: empty if it cannot be understood."""

    def read() -> dict:
        try:
            return load()
        except (ImportError, AttributeError, EOFError, pickle.UnpicklingError):
            return {}

    return read
