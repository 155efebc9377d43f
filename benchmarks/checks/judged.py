"""What a reader must make of a changed file: a clear refusal, or something that is right."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.checks.guarded import LIMIT, Outcome, watched
from crossbar_sim.system.failures import explained, is_said

#: Longest line of a message.
MAX_LINE = 1000
#: What a meaning says of something accepted: it is as before, right though different, or refused by
#: a clear message as soon as it is used.
UNCHANGED, OTHER, IN_USE = ENDS = "unchanged", "other", "refused in use"


@dataclass(frozen=True)
class Case:
    """A changed file, what reads it, and how what is read is checked.

    number: of the case.
    what: how the file was changed.
    read: the reader.
    meaning: of what it returns: one of ENDS, or what is wrong with it.
    root: of the files that must stay as they are.
    names: of which a message has to say one.
    may_ask: whether the reader asks ngspice about a foundry's devices, which starts a process.
    """

    number: int
    what: str
    read: Callable[[], Any]
    meaning: Callable[[Any], str]
    root: Path
    names: tuple[str, ...]
    may_ask: bool = False


def judged(case: Case) -> Outcome:
    """Return what became of a case."""
    number, what = case.number, case.what
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of ladders with gaps, and of old files
        found, done, seconds = watched(case.read, case.root)
        if case.may_ask and any("crossbar-ngspice" in text for text in done):
            done = [text for text in done if text.startswith("files")]
        if done:
            return Outcome(number, what, "wrong", f"it did {done[:3]}", seconds)
        if isinstance(found, BaseException):
            text = _refusal(found, case.names)
            end = "wrong" if text.startswith("WRONG") else "refused"
            return Outcome(number, what, end, text, seconds)
        try:
            text = case.meaning(found)
        except Exception as error:
            text = f"accepted, but of no use: {type(error).__name__}: {str(error)[:300]}"
    end = text if text in ENDS else "wrong"
    return Outcome(number, what, end, "" if end == text else text, seconds)


def _refusal(error: BaseException, names: tuple[str, ...]) -> str:
    """Return the message of a refusal, with WRONG before it if it is not a good one."""
    kind = f"{type(error).__name__}: {str(error)[:300]}"
    if not isinstance(error, Exception):
        return f"WRONG longer than {LIMIT:g} s: {kind}"
    told = explained(error)
    if told is None or isinstance(error, MemoryError):
        return f"WRONG traceback: {kind}"
    if not is_said(error) and not isinstance(error, OSError):
        return f"WRONG by chance: {kind}"
    message = told[0]
    if max(map(len, message.splitlines() or [""])) > MAX_LINE:
        return f"WRONG long line: {kind}"
    return message if any(name in message for name in names) else f"WRONG no file named: {kind}"


def same(one: Any, other: Any) -> bool:
    """Return whether two values are equal down to the last digit, arrays and all."""
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        one, other = np.asarray(one), np.asarray(other)
        alike = one.dtype.newbyteorder("=") == other.dtype.newbyteorder("=")
        return alike and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    if type(one) is not type(other):
        return False
    if is_dataclass(one):
        return all(same(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)
