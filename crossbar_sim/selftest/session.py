"""A self-test of some minutes: cases one after another, counts, and a test for each failure."""

import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from warnings import catch_warnings, simplefilter

from crossbar_sim.ngspice.worker import NgspiceWorker
from crossbar_sim.selftest.case import drawn
from crossbar_sim.selftest.checks import CHECKS, Failure, LeftOut, Tools, failure
from crossbar_sim.selftest.shrinking import shrunk
from crossbar_sim.solvers.nodal import solve
from crossbar_sim.solvers.registry import Solver
from mapping.bank.ladders import LadderGapWarning
from tinynets.files.drafts import new_file
from tinynets.files.templates import rendered
from tinynets.progress import Progress, silent

#: Failures after which a session ends: they tend to be one.
MOST_FAILURES = 5


@dataclass
class Session:
    """What became of the cases so far.

    cases: number of cases.
    counts: by check, then "passed", "failed" and "left out".
    failures: of the shrunk cases, by the seed of the case that was drawn.
    """

    cases: int = 0
    counts: dict[str, Counter[str]] = field(default_factory=lambda: {k: Counter() for k in CHECKS})
    failures: dict[int, Failure] = field(default_factory=dict)

    def rows(self) -> list[dict[str, Any]]:
        """Return the counts of each check, as rows of a table."""
        ends = ("passed", "failed", "left out")
        return [
            {"check": name, **{end: count[end] for end in ends}}
            for name, count in self.counts.items()
        ]


@contextmanager
def tools(engine: Solver = solve) -> Iterator[Tools]:
    """Yield a running ngspice and a folder that is removed afterwards; coarse banks do not warn."""
    with NgspiceWorker() as worker, tempfile.TemporaryDirectory() as folder, catch_warnings():
        simplefilter("ignore", LadderGapWarning)
        inner = Path(folder) / "work"
        inner.mkdir()
        yield Tools(worker, inner, engine)


def run_session(
    tools: Tools,
    *,
    seed: int = 0,
    seconds: float = 60.0,
    cases: int | None = None,
    progress: Progress = silent,
) -> Session:
    """Put cases to the test, those of seed, seed + 1, …, until the time is over.

    seconds: after which no further case starts [s].
    cases: number of cases after which it ends, however long they take; None for no end.
    progress: told of the step "selftest", in seconds or in cases.
    """
    session, start = Session(), time.monotonic()
    while len(session.failures) < MOST_FAILURES:
        spent = time.monotonic() - start
        done, total = (int(spent), int(seconds)) if cases is None else (session.cases, cases)
        progress("selftest", min(done, total), total)
        if (spent >= seconds) if cases is None else (session.cases >= cases):
            break
        _add(session, seed + session.cases, tools)
    return session


def _add(session: Session, seed: int, tools: Tools) -> None:
    """Put one case to all checks."""
    case = drawn(seed)
    session.cases += 1
    for name, count in session.counts.items():
        try:
            found = failure(name, case, tools)
        except LeftOut:
            count["left out"] += 1
            continue
        count["failed" if found else "passed"] += 1
        if found and seed not in session.failures:
            session.failures[seed] = shrunk(found, tools)


def write_test(found: Failure, seed: int, folder: Path) -> Path:
    """Write the test of a failure, which pytest runs; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"test_case_{seed}.py"
    with new_file(path) as draft:
        text = rendered("crossbar_sim.selftest", "test_case.py.j2", found=found, seed=seed)
        draft.write_text(text, encoding="utf-8")
    return path
