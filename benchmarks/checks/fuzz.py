"""What readers make of files that somebody has changed: a clear refusal, or something right.

Configurations, packs, runs, networks and data: in each case a real file gets a change that a seed
draws, and is read; half of the time the checksums of it in other files are made again. A reader may
refuse it in a line that names it, or accept it with a meaning that is checked in another way. It
may start nothing, change no file, and take no more than `guarded.LIMIT` and `guarded.MEMORY`. Every
hundredth file goes to a command too.

Run: python -m benchmarks.checks.fuzz [configurations] [packs] [models] [--n N] [--seed S]
"""

import argparse
import re
import shutil
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.checks import faults
from benchmarks.checks.fuzzed_configurations import Configurations
from benchmarks.checks.fuzzed_models import Models
from benchmarks.checks.fuzzed_packs import Packs
from benchmarks.checks.guarded import COMMAND_EVERY, Outcome, outcomes
from benchmarks.common import machine, save_part

KINDS = ("configurations", "packs", "models")
#: Changed files that commands do not read.
UNREAD = (".pt ", "saved: ")
#: Most wrong cases that are kept in words, and most kinds of messages.
KEPT, MESSAGES = 200, 40


class WithCommands:
    """Cases of which every hundredth goes to a command too."""

    def __init__(self, cases: Any) -> None:
        self.cases = cases

    def __call__(self, number: int) -> Outcome:
        """Return what became of a case; wrong if the command makes something else of it."""
        outcome = self.cases(number)
        if number % COMMAND_EVERY:
            return outcome
        words, folder = self.cases.command(number)
        unread = any(part in outcome.what for part in UNREAD)
        if not unread and (outcome.end == "refused" or words[0] not in ("run", "study")):
            text = _wrong_command(words, folder, outcome.end)
            if text:
                outcome.end, outcome.text = "wrong", f"{' '.join(words)}: {text}"
        if hasattr(self.cases, "done"):
            self.cases.done(number)
        return outcome


def _wrong_command(words: tuple[str, ...], folder: Path, end: str) -> str:
    """Return what is wrong with how a command ends; "" if nothing is."""
    ended = faults.execute(words, folder)
    if ended.orphans:
        return f"processes left: {ended.orphans}"
    if "Traceback" in ended.error or ended.code not in (0, 1, 2):
        return f"code {ended.code}: {ended.error.strip()[-600:]}"
    if ended.code and "crossbar-sim:" not in ended.error:
        return f"no message: {ended.error[-300:]}"
    if (ended.code == 0) and end == "refused":
        return "accepted what its reader refuses"
    return ""


def made(folder: Path) -> Path:
    """Return a folder with a mapping and a finished run."""
    faults.prepare(folder)
    faults.here(faults.COMMANDS["run"].words, folder)
    return folder


def kind_of(message: str) -> str:
    """Return a message without what differs from file to file."""
    text = re.sub(r"/[^\s:;,'\"]*", "PATH", message.splitlines()[0] if message else "")
    text = re.sub(r"'[^']*'|\"[^\"]*\"", "'…'", text)
    text = re.sub(r"[\d.,]*\d", "N", text).removeprefix("PATH").lstrip(":. ")
    return text[:70]


def counted(name: str, cases: Any, n: int) -> dict[str, Any]:
    """Go through the cases of a kind; return counts, the worst time and what was wrong."""
    ends, whats, messages = Counter[str](), dict[str, Counter[str]](), Counter[str]()
    wrong, worst, memory, start = list[str](), ("", 0.0), 0, time.perf_counter()
    for outcome, used in outcomes(cases, n):
        ends[outcome.end] += 1
        whats.setdefault(outcome.what, Counter())[outcome.end] += 1
        memory = max(memory, used)
        if outcome.seconds > worst[1]:
            worst = f"case {outcome.number}, {outcome.what}", outcome.seconds
        if outcome.end == "refused":
            messages[kind_of(outcome.text)] += 1
        elif outcome.end == "wrong":
            wrong.append(f"{name} {outcome.number} ({outcome.what}): {outcome.text}")
            print(wrong[-1], flush=True)
        if sum(ends.values()) % 1000 == 0:
            print(f"{name}: {sum(ends.values())} of {n}, {dict(ends)}", flush=True)
    return {
        "cases": n,
        "seconds": time.perf_counter() - start,
        "ends": dict(ends),
        "changes": {what: dict(whats[what]) for what in sorted(whats)},
        "kinds of messages": len(messages),
        "messages": dict(messages.most_common(MESSAGES)),
        "worst case": worst[0],
        "worst time": worst[1],
        "memory": memory,
        "wrong": wrong[:KEPT],
    }


def main() -> None:
    """Go through the kinds that are asked for, or all; keep the counts of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kinds", nargs="*", help="all by default")
    parser.add_argument("--n", type=int, default=10_000, help="cases of each kind")
    parser.add_argument("--seed", type=int, default=0)
    given, about = parser.parse_args(), machine()
    memory = Path("/dev/shm")
    scratch = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
    try:
        for name in given.kinds or KINDS:
            (scratch / name).mkdir()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                cases = _cases(name, scratch, given.seed)
            found = counted(name, WithCommands(cases), given.n)
            print(name, {k: v for k, v in found.items() if k != "wrong"}, flush=True)
            save_part("fuzz", name, {"machine": about, "seed": given.seed, **found}, KINDS)
    finally:
        shutil.rmtree(scratch)


def _cases(name: str, scratch: Path, seed: int) -> Any:
    if name == "configurations":
        return Configurations(scratch / name, seed)
    if name == "packs":
        return Packs(scratch / name, seed, made(scratch / "made"))
    return Models(scratch / name, seed)


if __name__ == "__main__":
    main()
