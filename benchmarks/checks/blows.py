"""What becomes of files and processes when a command is hit from outside, at a random time.

The command is killed; or, of a study on two processes, one of these is killed or finds the disk
full. What is checked after it is as in `benchmarks.checks.faults`.

Run: python -m benchmarks.checks.blows [COMMAND …] [--kills N] [--workers N] [--seed S]
"""

import argparse
import itertools
import os
import resource
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.checks import faults
from benchmarks.checks.faults import COUNTED, Bench, Ended
from benchmarks.checks.injection import FULL, KILLED
from benchmarks.common import machine, save_part
from crossbar_sim.study.trial import KEPT

#: Commands that are killed, and the one whose workers are hit.
COMMANDS, ON_TWO = ("export", "reselect", "study", "study on two", "run"), "study on two"
#: How a command ends that is done before it is hit; that does not count as a blow.
BEFORE = "ended before"
#: Number of a kind of blow in the seeds.
KINDS = {KILLED: 1, FULL: 2}


@dataclass
class Blow:
    """Something that hits a command after some time.

    seconds: how long after its start [s].
    hit: told the number of the process; returns whether there was something to hit.
    came: whether it has hit, before the command ended.
    """

    seconds: float
    hit: Callable[[int], bool]
    came: bool = False
    start: float | None = None

    def __call__(self, pid: int) -> bool:
        """Hit if it is time; return whether that is done."""
        self.start = self.start or time.monotonic()
        if time.monotonic() - self.start >= self.seconds:
            self.came = self.hit(pid)
        return self.came


def kill(pid: int) -> bool:
    """Kill a process."""
    os.kill(pid, signal.SIGKILL)
    return True


def workers(pid: int) -> list[int]:
    """Return the processes of a study that compute its trials."""
    found = []
    for member in faults._members(pid):
        with suppress(OSError):
            if b"loky.backend.popen_loky_posix" in Path(f"/proc/{member}/cmdline").read_bytes():
                found.append(member)
    return sorted(found)


def hit_worker(kind: str, which: int) -> Callable[[int], bool]:
    """Return a blow to one of the workers of a study, as soon as there is one."""

    def hit(pid: int) -> bool:
        found = workers(pid)
        if not found:
            return False
        with suppress(ProcessLookupError):
            if kind == KILLED:
                os.kill(found[which % len(found)], signal.SIGKILL)
            else:
                limit = found[which % len(found)], resource.RLIMIT_FSIZE, (0, 0)
                resource.prlimit(*limit)
            return True
        return False

    return hit


def series(
    bench: Bench, n: int, seed: list[int], blow: Callable[[float, int], Blow], kind: str
) -> dict[str, Any]:
    """Hit a command n times, each at a time between its start and its usual end; return counts.

    blow: what hits it, given the time [s] and a number.
    """
    usual, wrong, ends, counts = bench.unbroken(), list[str](), Counter[str](), Counter[str]()
    for k in itertools.count():
        if ends.total() - ends[BEFORE] >= n or k >= 4 * n:
            break
        rng = np.random.default_rng([*seed, k])
        seconds, which = usual * rng.uniform(0, 1), int(rng.integers(100))
        hit = blow(seconds, which)
        ended, found = bench.blown(kind, which, hit)
        ends[_end(ended) if hit.came else BEFORE] += 1
        for text in found:
            counts[next((v for key, v in COUNTED.items() if text.startswith(key)), "other")] += 1
            wrong.append(f"{bench.name}, {kind} after {seconds:.2f} s: {text}")
            print(wrong[-1], flush=True)
        print(f"{bench.name}: {k + 1}, {dict(ends)}", flush=True)
    return {
        "blows": ends.total() - ends[BEFORE],
        "usual time": usual,
        "ends": dict(ends),
        **counts,
        "wrong": wrong,
    }


def _end(ended: Ended) -> str:
    if ended.code == 0:
        return "done"
    return "killed" if ended.code == -signal.SIGKILL else "failed with a message"


def main() -> None:
    """Hit commands and workers; keep the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("commands", nargs="*", help="all by default")
    parser.add_argument("--kills", type=int, default=100, help="of all commands together")
    parser.add_argument("--workers", type=int, default=20, help="blows of each kind to workers")
    parser.add_argument("--seed", type=int, default=0)
    given, about = parser.parse_args(), machine()
    Figure.savefig = faults._blank  # pyright: ignore[reportAttributeAccessIssue]  # takes longest
    scratch = Path(tempfile.mkdtemp())
    try:
        faults.prepare(scratch / "before")
        for name in given.commands or COMMANDS:
            bench = Bench(name, scratch / "before", scratch)
            KEPT._results.clear()
            resource_tracker._resource_tracker._stop()  # each fork starts one of its own
            each = given.kills // len(COMMANDS)
            blow = lambda seconds, _: Blow(seconds, kill)  # noqa: E731
            seed = [given.seed, 0, COMMANDS.index(name)]
            found = {"killed": series(bench, each, seed, blow, KILLED)}
            if name == ON_TWO:
                found |= _inside(bench, given.workers, given.seed)
            save_part("blows", name, {"machine": about, "seed": given.seed, **found}, COMMANDS)
    finally:
        shutil.rmtree(scratch)


def _inside(bench: Bench, n: int, seed: int) -> dict[str, Any]:
    found = {}
    for kind, place in KINDS.items():
        blow = lambda seconds, which, kind=kind: Blow(seconds, hit_worker(kind, which))  # noqa: E731
        # Neither a worker's end nor a full disk ends the study's own process.
        found[f"worker: {kind}"] = series(bench, n, [seed, place], blow, "worker")
    return found


if __name__ == "__main__":
    main()
