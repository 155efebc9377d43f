"""Ends of processes: a command that is asked to stop, and workers whose parent is gone."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

#: How often a worker looks for its parent [s].
_WATCH = 0.5
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
#: What can be said of a command that keeps what it has finished.
_GOES_ON = {
    "run": "; the same command with --resume goes on from here",
    "study": "; the same command goes on from here",
}


class Stopped(BaseException):
    """A signal asks this process to stop; no Exception, so that nothing takes it for a failure."""

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
    """Answer Ctrl-C and SIGTERM; yield what to call as soon as there is something to put away.

    Until then they end the process at once, with a message. Later the first one raises Stopped, and
    the second one ends the process.
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
    """Let this process end soon after its parent, whatever killed that; called in a worker.

    parent: number of the process that started this one; in that process itself, nothing happens.
    A thread looks who the parent is. Linux could send a signal instead (PR_SET_PDEATHSIG), but does
    so already when the *thread* that started the worker ends, which here is often not the main one.
    """
    if os.getpid() != parent:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_WATCH)
    os._exit(1)
