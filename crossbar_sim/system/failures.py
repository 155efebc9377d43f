"""What to tell the user about an exception, and which ones are bugs that keep their traceback."""

import dis
import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

#: Exit codes.
WORK_FAILED, BAD_INPUT = 1, 2

_PACKAGES = ("tinynets", "mapping", "netlists", "crossbar_sim")
_ABOUT_INPUT = (ValueError, LookupError, TypeError)

_ADVICE = {
    errno.ENOSPC: "free some space, or write elsewhere",
    errno.EDQUOT: "free some of your quota, or write elsewhere",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f), or write elsewhere",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENFILE: "close other programs: the machine has no file handle left",
    errno.EACCES: "change its permissions, or name another place",
    errno.EPERM: "change its permissions, or name another place",
    errno.EROFS: "name a place that can be written to",
    errno.ENOENT: "check the path",
}


def explained(error: Exception) -> tuple[str, int] | None:
    """Return the line to show and the exit code, or None for a bug, which shows its traceback."""
    is_torch = type(error) is RuntimeError and "DefaultCPUAllocator" in str(error)
    if isinstance(error, MemoryError) or is_torch:
        return "out of memory; make the network, the tiles or the number of images smaller", 1
    if isinstance(error, OSError):
        return _of_system(error), WORK_FAILED
    if isinstance(error, ImportError):
        return str(error), WORK_FAILED
    if not is_said(error):
        return None
    message = str(error.args[0]) if isinstance(error, KeyError) else str(error)
    return message, BAD_INPUT if isinstance(error, _ABOUT_INPUT) else WORK_FAILED


def is_said(error: BaseException) -> bool:
    """Return whether the project itself raised an exception, for the user to read.

    Its own types always say what to do. Python's types may also come from numpy, torch or Python
    because our code is wrong, which must not be hidden. They count only where they come from a
    `raise` of ours, not from an `assert` or a call.
    """
    if type(error).__module__.split(".")[0] in _PACKAGES:
        return True
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    plain = isinstance(error, (*_ABOUT_INPUT, RuntimeError))
    return plain and trace is not None and _is_ours(trace) and _is_raise(trace)


def _is_ours(trace: TracebackType) -> bool:
    return str(trace.tb_frame.f_globals.get("__name__")).split(".")[0] in _PACKAGES


def _is_raise(trace: TracebackType) -> bool:
    return trace.tb_frame.f_code.co_code[trace.tb_lasti] == dis.opmap["RAISE_VARARGS"]


def _of_system(error: OSError) -> str:
    what = error.strerror or str(error) or type(error).__name__
    where = f"{error.filename}: " if error.filename is not None else ""
    advice = _ADVICE.get(error.errno or 0)
    return f"{where}{what}" + (f"; {advice}" if advice else "")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name this file in an OSError that names none, such as that of a full disk."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(path)
        raise
