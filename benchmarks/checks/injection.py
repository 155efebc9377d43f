"""Faults put into a command from outside, at the i-th file, process or statement that it touches.

Python tells an audit hook of every open, rename, mkdir, unlink and fork before it takes place. What
it does not tell of (statements of SQLite, jobs of ngspice, fsync) is wrapped. The product has no
hook of its own.
"""

import errno
import multiprocessing.util
import os
import resource
import signal
import sqlite3
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from joblib.externals.loky.process_executor import ProcessPoolExecutor

#: What becomes of the i-th touch: refused once, the disk full from then on, the process killed.
REFUSED, FULL, KILLED = KINDS = ("refused", "disk full", "killed")
_FILES = ("os.mkdir", "os.rename", "os.link", "os.symlink", "os.remove", "os.rmdir", "os.truncate")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@dataclass
class Fault:
    """A fault of this process, which comes at the i-th touch of something below `root`.

    at: number of the touch, from 1.
    tell: file descriptor that gets the name of the touch, where the fault came.
    """

    kind: str
    at: int
    root: Path
    tell: int
    seen: int = 0
    pid: int = field(default_factory=os.getpid)

    def touch(self, name: str, refuse: Callable[[], object]) -> None:
        """Count a touch; at the i-th one, let the fault come."""
        if os.getpid() != self.pid:
            return
        self.seen += 1
        if self.seen != self.at:
            return
        os.write(self.tell, name.encode())
        if self.kind == KILLED:
            os.kill(self.pid, signal.SIGKILL)
        elif self.kind == FULL:
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        else:
            refuse()

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Be told of an event by Python; an exception here refuses it."""
        if event == "os.fork":
            self.touch(event, lambda: _raise(errno.EAGAIN))
        elif event in _FILES or (event == "open" and (arguments[2] or 0) & _WRITING):
            path = arguments[0]
            if isinstance(path, str | bytes) and self._is_below(os.fsdecode(path)):
                number = errno.ENOSPC if event == "open" else errno.EACCES
                self.touch(f"{event} {os.fsdecode(path)}", lambda: _raise(number, path))

    def _is_below(self, path: str) -> bool:
        return os.path.abspath(path).startswith(f"{self.root}{os.sep}")


def arm(fault: Fault) -> None:
    """Let a fault come in this process, which cannot be undone."""
    plain_spawn, plain_submit = multiprocessing.util.spawnv_passfds, ProcessPoolExecutor.submit
    plain_connect, plain_sync = sqlite3.connect, os.fsync

    def spawn(*arguments: Any) -> int:
        fault.touch("spawn", lambda: _raise(errno.EAGAIN))
        return plain_spawn(*arguments)

    def submit(pool: ProcessPoolExecutor, /, *arguments: Any, **options: Any) -> Any:
        future = plain_submit(pool, *arguments, **options)
        name = getattr(arguments[0], "__name__", "")
        kill = lambda: [os.kill(pid, signal.SIGKILL) for pid in list(pool._processes)]  # noqa: E731
        fault.touch(f"job {name}", kill)
        return future

    def sync(descriptor: int) -> None:
        fault.touch("fsync", lambda: _raise(errno.EIO))
        plain_sync(descriptor)

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
            fault.touch(f"SQL {sql.split()[0]}", _refuse_sql)
            return super().execute(sql, *arguments)

    def connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
        fault.touch("connect", _refuse_sql)
        return plain_connect(*arguments, factory=Connection, **options)

    multiprocessing.util.spawnv_passfds = spawn
    ProcessPoolExecutor.submit = submit  # pyright: ignore[reportAttributeAccessIssue]
    os.fsync, sqlite3.connect = sync, connect
    sys.addaudithook(fault.audit)


def _raise(number: int, path: str | bytes | None = None) -> None:
    raise OSError(number, os.strerror(number), *([] if path is None else [path]))


def _refuse_sql() -> None:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    raise error
