"""What becomes of files and processes when a command fails at any point.

Each command runs again and again, with a fault at its i-th file, process or statement, for
i = 1, 2, … until it ends before the fault comes. After each: the earlier results are intact, no
process is left, the message is one line, and the same command once more gives the right answer and
leaves no stray file.

Run: python -m benchmarks.checks.faults [COMMAND …] [--step N]
"""

import argparse
import atexit
import contextlib
import hashlib
import io
import json
import os
import shutil
import signal
import sqlite3
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from safetensors.numpy import save_file

from benchmarks.checks.injection import KILLED, KINDS, Fault, arm
from benchmarks.checks.same_answers import digest, digests_of
from benchmarks.common import RESULTS, ROOT, machine, save_json
from crossbar_sim.cli import main as entry
from crossbar_sim.study.trial import KEPT

#: Longest time that a command takes, and that its processes take to end after it [s].
LIMIT, PATIENCE = 120.0, 8.0
RUN = """
name = "small"
[network]
source = "mlp"
hidden = [32]
weights = "{root}/tests/networks/small.safetensors"
[train]
epochs = 30
learning_rate = 0.01
[prune]
sparsity = 0.8
rounds = 6
epochs_per_round = 30
learning_rate = 0.01
[tile]
n_word = 64
n_bit = 32
[simulation]
n_image = 1
n_power = 1
"""
STUDY = """
name = "study"
base = "small.toml"
dies = {dies}
"""


@dataclass(frozen=True)
class Command:
    """A command under test, in a folder of its own.

    words: its arguments, relative to the folder.
    old: words that make the earlier results.
    results: paths whose content is the answer.
    resumed: words that go on after a fault, in turn with the same words.
    """

    words: tuple[str, ...]
    old: tuple[str, ...] = ()
    results: tuple[str, ...] = ()
    resumed: tuple[str, ...] = ()


COMMANDS = {
    "run": Command(
        ("run", "small.toml", "--results", "results"),
        ("run", "other.toml", "--results", "results"),
        ("results/small",),
        ("run", "small.toml", "--results", "results", "--resume"),
    ),
    "study": Command(
        ("study", "two.toml", "--store", "s.sqlite", "--jobs", "1", "--output", "out"),
        ("study", "one.toml", "--store", "s.sqlite", "--jobs", "1", "--output", "out"),
        ("s.sqlite", "out.csv"),
    ),
    "study on two": Command(
        ("study", "four.toml", "--store", "s.sqlite", "--jobs", "2", "--output", "out"),
        ("study", "one.toml", "--store", "s.sqlite", "--jobs", "1", "--output", "out"),
        ("s.sqlite", "out.csv"),
    ),
    "map": Command(
        ("map", "net.safetensors", "--output", "new", "--config", "bank.toml"), results=("new",)
    ),
    "netlist": Command(("netlist", "mapped", "--output", "new"), results=("new",)),
    "export": Command(("export", "mapped", "--output", "new"), results=("new",)),
    "reselect": Command(("reselect", "mapped", "wafer.csv", "--output", "new"), results=("new",)),
    "layout": Command(
        ("layout", "mapped", "--output", "masks", "--tile", "fc2_0_0"),
        ("layout", "mapped", "--output", "masks", "--tile", "fc1_0_0"),
        ("masks",),
    ),
}


@dataclass
class Ended:
    """How a command ended: its exit code (negative for a signal), stderr, and the fault's place."""

    code: int
    error: str
    place: str
    orphans: list[str] = field(default_factory=list)


def here(words: tuple[str, ...], folder: Path) -> None:
    """Run a command in this process, so that its forks have loaded everything."""
    before, argv = Path.cwd(), sys.argv
    os.chdir(folder)
    try:
        sys.argv = ["crossbar-sim", *words]
        with contextlib.redirect_stdout(io.StringIO()):
            entry()
    except SystemExit as stop:
        if stop.code:
            raise
    finally:
        sys.argv = argv
        os.chdir(before)


def execute(
    words: tuple[str, ...],
    folder: Path,
    fault: tuple[str, int] | None = None,
    *,
    blow: Callable[[int], bool] | None = None,
) -> Ended:
    """Run a command in a fork of this process, with a fault of that kind at that touch.

    blow: told the number of the process again and again, until it has done something to it or to
        its workers and returns True.
    """
    told, errors = os.pipe(), os.pipe()
    pid = os.fork()
    if not pid:
        os.setsid()
        os.chdir(folder)
        os.dup2(errors[1], 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        _command(words, Fault(*fault, folder, told[1]) if fault else None)
    for _, end in (told, errors):
        os.close(end)
    text: list[bytes] = []
    reader = threading.Thread(target=lambda: text.append(_all_of(errors[0])), daemon=True)
    reader.start()
    status = _wait(pid, blow or (lambda _: True))
    orphans = _orphans(pid)
    reader.join(5)
    with closing_all(told[0], errors[0]):
        os.set_blocking(told[0], False)
        place = _all_of(told[0]).decode()
    return Ended(status, b"".join(text).decode(errors="replace"), place, orphans)


@contextmanager
def closing_all(*descriptors: int) -> Iterator[None]:
    """Close descriptors afterwards."""
    yield
    for descriptor in descriptors:
        os.close(descriptor)


def _all_of(descriptor: int) -> bytes:
    parts = []
    try:
        while part := os.read(descriptor, 65536):
            parts.append(part)
    except BlockingIOError:
        pass
    return b"".join(parts)


def _command(words: tuple[str, ...], fault: Fault | None) -> None:
    """Be the command, and end this process."""
    os.environ["TMPDIR"] = tempfile.tempdir = str(Path.cwd() / "tmp")
    sys.argv, code = ["crossbar-sim", *words], 0
    try:
        if fault:
            arm(fault)
        entry()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    try:
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _wait(pid: int, blow: Callable[[int], bool]) -> int:
    deadline, blown = time.monotonic() + LIMIT, False
    while time.monotonic() < deadline:
        blown = blown or blow(pid)
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return 124


def _orphans(session: int) -> list[str]:
    """Return the processes of a session that are still there after a while, and end them."""
    deadline = time.monotonic() + PATIENCE
    while found := _members(session):
        if time.monotonic() > deadline:
            for pid in found:
                os.kill(pid, signal.SIGKILL)
            return list(found.values())
        time.sleep(0.05)
    return []


def _members(session: int) -> dict[int, str]:
    """Return the running processes of a session, with their names."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            head, _, rest = path.read_text().rpartition(")")
        except OSError:
            continue
        state, _, _, its = rest.split()[:4]
        if int(its) == session and state != "Z":
            found[int(path.parent.name)] = head
    return found


def answers(folder: Path, results: tuple[str, ...]) -> dict[str, str]:
    """Return digests of what people read; of a store, those of its trials."""
    found: dict[str, str] = {}
    for name in results:
        path = folder / name
        files = sorted(path.rglob("*")) if path.is_dir() else [path] if path.exists() else []
        for file in (f for f in files if f.is_file()):
            found |= {f"{file.relative_to(folder)} {k}": v for k, v in content(file).items()}
    return found


def content(path: Path) -> dict[str, str]:
    """Return digests of the parts of a file that do not change from run to run."""
    if path.suffix == ".sqlite":
        with closing(sqlite3.connect(path)) as connection:
            rows = connection.execute("SELECT key, metrics FROM trial").fetchall()
            (state,) = connection.execute("PRAGMA integrity_check").fetchone()
        return {str(key): digest(metrics.encode()) for key, metrics in rows} | {"state": state}
    if path.suffix in (".json", ".npz", ".csv"):
        return digests_of(path)
    if path.suffix in (".html", ".pt"):  # hold times
        return {"size": str(path.stat().st_size > 0)}
    return {"": hashlib.sha256(path.read_bytes()).hexdigest()[:16]}


def names(folder: Path) -> set[str]:
    """Return all paths in a folder, without what SQLite keeps beside an open file."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


class Bench:
    """A command with the folder it starts from, and what it leaves when nothing fails."""

    def __init__(self, name: str, before: Path, scratch: Path) -> None:
        self.name, self.command, self.scratch = name, COMMANDS[name], scratch / name
        self.before = scratch / f"{name}.before"
        shutil.copytree(before, self.before)
        if self.command.old:
            here(self.command.old, self.before)
        self.old = answers(self.before, self.command.results)
        self._fresh()
        if "2" in self.command.words:  # a pool of processes cannot be forked
            execute(self.command.words, self.scratch)
        else:
            here(self.command.words, self.scratch)
        self.right, self.files = self._left()

    def _fresh(self) -> None:
        shutil.rmtree(self.scratch, ignore_errors=True)
        shutil.copytree(self.before, self.scratch)

    def _left(self) -> tuple[dict[str, str], set[str]]:
        return answers(self.scratch, self.command.results), names(self.scratch)

    def case(self, kind: str, at: int) -> tuple[str, list[str]]:
        """Return the place of a fault, "" if it did not come, and what was wrong after it."""
        self._fresh()
        ended = execute(self.command.words, self.scratch, (kind, at))
        return ended.place, self._wrong(kind, at, ended) if ended.place else []

    def blown(self, kind: str, at: int, blow: Callable[[int], bool]) -> tuple[Ended, list[str]]:
        """Return how a command ends that is hit from outside, and what was wrong after it."""
        self._fresh()
        ended = execute(self.command.words, self.scratch, blow=blow)
        return ended, self._wrong(kind, at, ended)

    def unbroken(self) -> float:
        """Return the time that the command takes if nothing hits it [s]."""
        self._fresh()
        start = time.perf_counter()
        execute(self.command.words, self.scratch)
        return time.perf_counter() - start

    def _wrong(self, kind: str, at: int, ended: Ended) -> list[str]:
        wrong = [f"process left: {orphan}" for orphan in ended.orphans]
        wrong += self._wrong_end(kind, ended)
        wrong += [] if self._kept_old(ended) else ["old result lost"]
        if ended.code == 0 and self._left()[0] != self.right:
            wrong.append("half a result with exit code 0")
        whole = not self._appears or answers(self.scratch, ("new",)) in ({}, self.right)
        wrong += [] if whole else ["half a result at its final name"]
        if not (self._appears and (self.scratch / "new").exists()):
            wrong += self._wrong_next(at, names(self.scratch) - self.files)
        right, files = self._left()
        if right != self.right:
            parts = {
                k for k in right.keys() | self.right.keys() if right.get(k) != self.right.get(k)
            }
            wrong.append(f"other answer: {sorted(parts)[:4]}")
        if files - self.files:
            wrong.append(f"stray: {sorted(files - self.files)[:4]}")
        return wrong

    @property
    def _appears(self) -> bool:
        """Whether the result is a new directory, which a second time would be refused."""
        return self.command.results == ("new",)

    def _wrong_next(self, at: int, stray: set[str]) -> list[str]:
        """Return what is wrong with the next command, which goes on or starts again."""
        again = self.command.resumed if self.command.resumed and at % 2 else self.command.words
        ended = execute(again, self.scratch)
        if not ended.code:
            return []
        left = f", with {sorted(stray)[:3]} left" if stray else ""
        return [f"next one ends with {ended.code}{left}: {ended.error.strip()[-300:]}"]

    def _kept_old(self, ended: Ended) -> bool:
        """Return whether each old answer is there, or the command had replaced it."""
        now = answers(self.scratch, self.command.results)
        if ended.code == 0 or not self.old or now == self.right:
            return True
        if (self.scratch / "results" / ".small.old").exists():
            return True  # on its way to its place, where the next command brings it back
        return all(now.get(key) in (value, self.right.get(key)) for key, value in self.old.items())

    def _wrong_end(self, kind: str, ended: Ended) -> list[str]:
        """Return what is wrong with an exit code and a message."""
        if kind == KILLED:
            return [] if ended.code in (0, -signal.SIGKILL) else [f"exit code {ended.code}"]
        wrong = []
        lines = [line for line in ended.error.splitlines() if line.startswith("crossbar-sim:")]
        if ended.code not in (0, 1):
            wrong.append(f"exit code {ended.code}")
        if "Traceback" in ended.error:
            wrong.append("traceback: " + ended.error.strip()[-1500:])
        elif ended.code and len(lines) != 1 and not self.name.startswith("study"):
            wrong.append(f"{len(lines)} lines of message: {ended.error.strip()[-300:]}")
        return wrong


def prepare(folder: Path) -> None:
    """Write what the commands start from."""
    folder.mkdir()
    (folder / "tmp").mkdir()
    text = RUN.format(root=ROOT)
    (folder / "small.toml").write_text(text)
    (folder / "other.toml").write_text(text + "[die]\nseed = 7\n")
    for name, dies in (("one", 1), ("two", 2), ("four", 4)):
        (folder / f"{name}.toml").write_text(STUDY.format(dies=dies))
    rng = np.random.default_rng(0)
    shapes = {"fc1": (4, 6), "fc2": (3, 4)}
    weights = {f"{k}.weight": rng.normal(size=s).astype("f4") for k, s in shapes.items()}
    save_file(weights, folder / "net.safetensors")
    (folder / "bank.toml").write_text('name = "bank"\n[bank]\nn = 4\n')
    words = ("map", "net.safetensors", "--config", "bank.toml", "--output", "mapped")
    here(words, folder)
    write_wafer(folder)


def _blank(_figure: Figure, file: Any, **options: Any) -> None:
    if options.get("format") == "svg":
        file.write('<svg viewBox="0 0 1 1"></svg>')
    elif hasattr(file, "write"):
        file.write(b"picture")
    else:
        Path(file).write_bytes(b"picture")


def write_wafer(folder: Path) -> None:
    """Write readings of the mapped network, each 3 % off."""
    from crossbar_sim.jobs.source import read_source

    mapped = read_source(folder / "mapped").mapped
    lines = ["layer,input,output,side,branch,ohm"]
    for layer in mapped.layers:
        columns, rows = np.nonzero(layer.source.mask)
        ohm = mapped.die.measured(layer.name, rows, columns)
        for c, s, b in np.ndindex(ohm.shape):
            value = ohm[c, s, b] * (1.03 if b % 2 else 0.97)
            lines.append(f"{layer.name},{rows[c]},{columns[c]},{('pos', 'neg')[s]},{b},{value}")
    (folder / "wafer.csv").write_text("\n".join(lines) + "\n")


#: Words that begin what is wrong, and what the table calls it.
COUNTED = {
    "traceback": "tracebacks",
    "old result": "lost",
    "half": "halves",
    "process": "processes left",
    "stray": "stray files",
    "next": "not repeatable",
    "other": "other answers",
}


def sweep(bench: Bench, kind: str, step: int, found: list[str]) -> dict[str, Any]:
    """Let a fault of a kind come at every `step`-th touch of a command; return counts.

    found: gets what was wrong, in words.
    """
    counts: Counter[str] = Counter(faults=0)
    at, places = 1, Counter[str]()
    while True:
        place, wrong = bench.case(kind, at)
        if not place:
            break
        counts["faults"] += 1
        if counts["faults"] % 20 == 0:
            print(f"{bench.name}, {kind}, at {at}", flush=True)
        places[place.split()[0]] += 1
        for text in wrong:
            name = next((v for k, v in COUNTED.items() if text.startswith(k)), "other faults")
            counts[name] += 1
            found.append(f"{bench.name}, {kind} at {at} ({place}): {text}")
            print(found[-1], flush=True)
        at += step
    return {**counts, "places": dict(places)}


def main() -> None:
    """Run the commands that are asked for, or all; keep the counts of a run of all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("commands", nargs="*", help="all by default")
    parser.add_argument("--step", type=int, default=1, help="a fault at every N-th touch only")
    given = parser.parse_args()
    Figure.savefig = _blank  # pyright: ignore[reportAttributeAccessIssue]  # takes longest
    scratch = Path(tempfile.mkdtemp())  # not a TemporaryDirectory, which each fork would remove
    try:
        prepare(scratch / "before")
        for name in given.commands or COMMANDS:
            start, found = time.perf_counter(), list[str]()
            bench = Bench(name, scratch / "before", scratch)
            KEPT._results.clear()
            resource_tracker._resource_tracker._stop()  # each fork starts one of its own
            counts = {kind: sweep(bench, kind, given.step, found) for kind in KINDS}
            about = {"step": given.step, "seconds": time.perf_counter() - start}
            keep(name, {**about, "kinds": counts, "wrong": found})
            print(name, counts, about, flush=True)
    finally:
        shutil.rmtree(scratch)


def keep(name: str, found: dict[str, Any]) -> None:
    """Keep what was found for a command, beside what was found for others."""
    path = RESULTS / "faults.json"
    kept = json.loads(path.read_text())["commands"] if path.exists() else {}
    commands = {key: found if key == name else kept.get(key) for key in COMMANDS}
    save_json(
        "faults", {"machine": machine(), "commands": {k: v for k, v in commands.items() if v}}
    )


if __name__ == "__main__":
    main()
