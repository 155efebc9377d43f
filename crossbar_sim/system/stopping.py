"""How processes end: a command on a signal, a worker when its parent is gone."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

#: Time between two looks of a worker for its parent [s].
_WATCH = 0.5
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
#: How to go on with a command that keeps its finished work.
_GOES_ON = {
    "run": "; the same command with --resume goes on from here",
    "study": "; the same command goes on from here",
}


class Stopped(BaseException):
    """A signal asks this process to stop; not an Exception, so nothing takes it for a failure."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def code(self) -> int:
        """The exit code by which a shell knows the signal."""
        return 128 + self.number

    @property
    def message(self) -> str:
        """What to tell the user."""
        what = "interrupted" if self.number == signal.SIGINT else "terminated"
        return what + _GOES_ON.get(next(iter(sys.argv[1:]), ""), "")


@contextmanager
def answered_signals() -> Iterator[Callable[[], None]]:
    """Answer Ctrl-C and SIGTERM; yield a function to call once there is something to clean up.

    Until that call, a signal ends the process at once, with a message. After it, the first signal
    raises Stopped, and the second one ends the process.
    """
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    _handle(_exit)
    try:
        yield lambda: _handle(_stop)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _handle(handler: Callable[[int, FrameType | None], None]) -> None:
    for number in _SIGNALS:
        signal.signal(number, handler)


def _exit(number: int, _frame: FrameType | None) -> None:
    stop = Stopped(number)
    os.write(2, f"\ncrossbar-sim: {stop.message}\n".encode())
    os._exit(stop.code)


def _stop(number: int, _frame: FrameType | None) -> None:
    _handle(_exit)
    raise Stopped(number)


def end_with(parent: int) -> None:
    """End this worker process soon after its parent, whatever killed the parent.

    A thread watches the parent. Linux could send a signal instead (PR_SET_PDEATHSIG), but does so
    as soon as the *thread* that started the worker ends, which here is often not the main one.

    parent: number of the process that started this one; in that process itself, nothing happens.
    """
    if os.getpid() != parent:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_WATCH)
    os._exit(1)
