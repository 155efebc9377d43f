"""Cases in a forked process under watch: nothing runs, nothing is written, time and memory end."""

import json
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

#: Longest time of a case [s], what it may do in C beyond that, and its memory beyond the start.
LIMIT, GRACE, MEMORY = 20.0, 20.0, 4 * 2**30
#: Every how many cases a command reads the file too.
COMMAND_EVERY = 100
_STARTS = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty")
_STARTS += ("subprocess.Popen", "pty.spawn", "socket.connect", "socket.bind", "ctypes.dlopen")
_CHANGES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.symlink")
_CHANGES += ("os.truncate", "os.chmod", "os.chown", "shutil.rmtree", "sqlite3.connect")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class TooLong(BaseException):
    """A case takes longer than LIMIT; not an Exception, so that no reader takes it for its own."""


@dataclass
class Outcome:
    """What became of a case.

    number: of the case.
    what: how its file was changed.
    end: "refused", one of `judged.ENDS`, or "wrong".
    text: the message of a refusal, or what was wrong.
    seconds: that the reader took [s].
    """

    number: int
    what: str = ""
    end: str = "wrong"
    text: str = ""
    seconds: float = 0.0


@dataclass
class Watch:
    """Notes what this process starts or changes while `on`."""

    on: bool = False
    seen: list[str] = field(default_factory=list)

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Be told of an event by Python."""
        if not self.on:
            return
        writes = event == "open" and (arguments[2] or 0) & _WRITING
        if event in _STARTS or event in _CHANGES or writes:
            self.seen.append(f"{event} {str(arguments[:1])[:100]}")


WATCH = Watch()


def snapshot(root: Path) -> dict[str, tuple[int, int]]:
    """Return size and time of change of everything below a folder, by path."""
    found = {}
    for folder, _, names in os.walk(root):
        for name in names:
            about = os.lstat(os.path.join(folder, name))
            found[os.path.join(folder, name)] = about.st_size, about.st_mtime_ns
        found[folder] = (0, 0)
    return found


def watched(read: Callable[[], Any], root: Path) -> tuple[Any, list[str], float]:
    """Return what a reader returns or raises, what it did that it must not, and its time [s]."""
    before, start = snapshot(root), time.perf_counter()
    WATCH.seen.clear()
    signal.setitimer(signal.ITIMER_REAL, LIMIT)
    WATCH.on = True
    try:
        found = read()
    except (Exception, TooLong) as error:
        found = error
    finally:
        WATCH.on = False
        signal.setitimer(signal.ITIMER_REAL, 0)
    seconds, done = time.perf_counter() - start, list(WATCH.seen)
    if (after := snapshot(root)) != before:
        changed = sorted(k for k in before.keys() | after.keys() if before.get(k) != after.get(k))
        done.append(f"files changed: {changed[:3]}")
    return found, done, seconds


def outcomes(case: Callable[[int], Outcome], n: int) -> Iterator[tuple[Outcome, int]]:
    """Yield the outcomes of the cases 0 … n - 1, and the memory of their process beyond its start.

    A process that dies or hangs is the outcome of the case that it was at; another one goes on.
    """
    at = 0
    while at < n:
        pid, lines = _forked(case, at, n)
        for outcome, memory in _received(lines):
            at = outcome.number + 1
            yield outcome, memory
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if at < n:
            ended = f"its process ended by {os.waitstatus_to_exitcode(status)}, or hung"
            yield Outcome(at, text=ended), 0
            at += 1


def _received(descriptor: int) -> Iterator[tuple[Outcome, int]]:
    """Yield what a process tells, until it ends or is silent for too long."""
    with os.fdopen(descriptor) as lines:
        signal.signal(signal.SIGALRM, _too_long)
        try:
            while True:
                signal.setitimer(signal.ITIMER_REAL, 3 * LIMIT + GRACE)
                line = lines.readline()
                signal.setitimer(signal.ITIMER_REAL, 0)
                if not line.endswith("\n"):
                    return
                told = json.loads(line)
                yield Outcome(**told["outcome"]), told["memory"]
        except TooLong:
            return


def _forked(case: Callable[[int], Outcome], at: int, n: int) -> tuple[int, int]:
    """Start a process that goes through the cases from `at`; return it and where it tells them."""
    mine, its = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        os.close(its)
        return pid, mine
    try:
        os.close(mine)
        signal.signal(signal.SIGALRM, _too_long)
        sys.dont_write_bytecode = True
        sys.addaudithook(WATCH.audit)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
        start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with os.fdopen(its, "w") as told:
            for number in range(at, n):
                outcome = asdict(_tried(case, number))
                memory = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start)
                told.write(json.dumps({"outcome": outcome, "memory": memory}) + "\n")
                told.flush()
    finally:
        os._exit(0)


def _tried(case: Callable[[int], Outcome], number: int) -> Outcome:
    """Return the outcome of a case; an exception of the case itself is something wrong too."""
    try:
        return case(number)
    except Exception:
        return Outcome(number, text=traceback.format_exc()[-1000:])


def _too_long(_number: int, _frame: FrameType | None) -> None:
    raise TooLong(f"longer than {LIMIT:g} s")
