"""Kernels that numba compiles and keeps on disk, when the source that they call changes."""

import os
from contextlib import suppress
from pathlib import Path
from types import ModuleType


def follow(file: str, *called: ModuleType) -> None:
    """Make a module's compiled kernels out of date when a module that they call is edited.

    Numba tells by the time of a kernel's own file whether it has changed; that of a file whose
    kernels it calls, which are compiled into it, goes unseen. So the file gets the time of the
    newest of them. Call it before the first kernel of the file.

    file: the module's `__file__`. A file that may not be written, as of an installation that
    nobody edits, stays as it is.
    """
    times = [os.stat(str(module.__file__)).st_mtime_ns for module in called]
    own = Path(file).stat()
    if max(times) > own.st_mtime_ns:
        with suppress(OSError):
            os.utime(file, ns=(own.st_atime_ns, max(times)))
