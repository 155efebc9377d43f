"""How far a simulator's currents are from the certified ones, and where it gives none."""

import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from crossbar_sim.golden.arrays import GoldenArray, golden_arrays, kinds_of
from tinynets.progress import Progress, silent

#: From an array to its output currents (n_vector, n_line) [A]. NotImplementedError: not modelled.
Simulator = Callable[[GoldenArray], Any]

#: Version of `Score.report`.
VERSION = 1
#: How an array may end.
ANSWERED, NOT_MODELLED, FAILED = "answered", "not modelled", "failed"
#: Errors up to which currents are counted.
WITHIN = (1e-12, 1e-9, 1e-6, 1e-3)
#: What a larger error counts as, so that JSON can hold it.
MOST = 1e300


@dataclass(frozen=True)
class Answer:
    """What a simulator did with an array.

    name, kind: of the array.
    status: ANSWERED, NOT_MODELLED or FAILED.
    reason: why there is no answer.
    seconds: wall time [s].
    error: distances of the currents (n_current,) from the middle of their intervals, as fractions
        of the array's largest current, MOST at most; empty without an answer.
    n_inside: how many currents are inside their intervals.
    """

    name: str
    kind: str
    status: str
    reason: str
    seconds: float
    error: np.ndarray
    n_inside: int


@dataclass(frozen=True)
class KindScore:
    """The score on the arrays of a kind, or on all; errors are NaN where nothing was answered.

    arrays, answered, not_modelled, failed: numbers of arrays.
    currents, inside: numbers of answered currents, and of those inside their intervals.
    median, percentile_95, worst: errors, as fractions of each array's largest current.
    seconds: wall time [s].
    """

    kind: str
    arrays: int
    answered: int
    not_modelled: int
    failed: int
    currents: int
    inside: int
    median: float
    percentile_95: float
    worst: float
    seconds: float


@dataclass(frozen=True)
class Score:
    """The answers to all arrays, in their order."""

    answers: tuple[Answer, ...]

    @property
    def kinds(self) -> list[KindScore]:
        """The score of each kind, and last that of all."""
        names = kinds_of(self.answers)
        parts = {kind: [a for a in self.answers if a.kind == kind] for kind in names}
        return [_kind_score(kind, part) for kind, part in {**parts, "all": self.answers}.items()]

    @property
    def failures(self) -> list[Answer]:
        """The answers that failed."""
        return [answer for answer in self.answers if answer.status == FAILED]

    @property
    def worst(self) -> float:
        """The largest error, NaN without any answer."""
        return self.kinds[-1].worst

    def report(self) -> dict[str, Any]:
        """Return the score for JSON, with null for NaN."""
        errors = np.concatenate([answer.error for answer in self.answers])
        return {
            "version": VERSION,
            "kinds": [_without_nan(asdict(kind)) for kind in self.kinds],
            "within": {f"{limit:g}": int((errors <= limit).sum()) for limit in WITHIN},
            "arrays": [_row(answer) for answer in self.answers],
        }


class _TimeUp(BaseException):
    """The time for an array is over; no `except Exception` of a simulator stops it."""


def golden_score(
    simulator: Simulator,
    arrays: Sequence[GoldenArray] | None = None,
    *,
    seconds: float = 300.0,
    progress: Progress = silent,
) -> Score:
    """Return how well a simulator does on the golden set.

    simulator: from an array to its output currents (n_vector, n_line) [A]; it may raise
        NotImplementedError for what it does not model. It does not see the answers. Whatever else
        it raises, a wrong shape, and NaN are failures.
    arrays: some of `golden_arrays()`; all by default.
    seconds: most wall time for an array, in which a simulator's first call may compile; it ends
        what runs in Python, in the main thread alone.
    """
    arrays = golden_arrays() if arrays is None else arrays
    answers = []
    for done, array in enumerate(arrays, 1):
        answers.append(_answer(simulator, array, seconds))
        progress("arrays", done, len(arrays))
    return Score(tuple(answers))


def _answer(simulator: Simulator, array: GoldenArray, seconds: float) -> Answer:
    begun, i_out, status = time.perf_counter(), None, FAILED
    try:
        with _at_most(seconds), redirect_stdout(sys.stderr):
            i_out = simulator(array.question())
        reason = _misfit(i_out, array.low.shape)
    except NotImplementedError as error:
        status, reason = NOT_MODELLED, str(error)
    except _TimeUp:
        reason = f"no answer within {seconds:g} s"
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}"
    took = time.perf_counter() - begun
    if reason or status == NOT_MODELLED:
        return Answer(array.name, array.kind, status, reason[:200], took, np.empty(0), 0)
    found = np.asarray(i_out, dtype=np.float64)
    with np.errstate(over="ignore"):
        error = np.abs(found - (array.low + (array.high - array.low) / 2)) / array.scale
    error = np.minimum(error, MOST)
    inside = int(((array.low <= found) & (found <= array.high)).sum())
    return Answer(array.name, array.kind, ANSWERED, "", took, error.ravel(), inside)


def _misfit(i_out: Any, shape: tuple[int, ...]) -> str:
    """Return what is wrong with currents, nothing if they fit."""
    found = np.asarray(i_out)
    if found.dtype.kind not in "fiu":
        return f"currents of type {found.dtype}; expected real numbers"
    if found.shape != shape:
        return f"currents of shape {found.shape}; expected {shape}"
    return "" if np.isfinite(found).all() else "currents that are NaN or infinite"


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Raise _TimeUp when the block takes longer; only the main thread can be interrupted."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise _TimeUp

    before = signal.signal(signal.SIGALRM, stop)
    # Again and again: what is raised in a destructor is lost.
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _kind_score(kind: str, answers: Sequence[Answer]) -> KindScore:
    count = {status: sum(a.status == status for a in answers) for status in _COLUMNS}
    error = np.concatenate([answer.error for answer in answers])
    median, most, worst = np.percentile(error, [50, 95, 100]) if error.size else [math.nan] * 3
    return KindScore(
        kind,
        len(answers),
        **{_COLUMNS[status]: n for status, n in count.items()},
        currents=error.size,
        inside=sum(answer.n_inside for answer in answers),
        median=float(median),
        percentile_95=float(most),
        worst=float(worst),
        seconds=sum(answer.seconds for answer in answers),
    )


_COLUMNS = {ANSWERED: "answered", NOT_MODELLED: "not_modelled", FAILED: "failed"}


def _row(answer: Answer) -> dict[str, Any]:
    row = {name: value for name, value in vars(answer).items() if name != "error"}
    worst = float(answer.error.max()) if answer.error.size else math.nan
    return _without_nan({**row, "currents": answer.error.size, "worst": worst})


def _without_nan(row: dict[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()}
