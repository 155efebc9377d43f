"""Sections on faults and on the self-test, from the kept outputs."""

from typing import Any

from benchmarks.pages.tables import load, table

_KINDS = ("refused", "disk full", "killed")
_WRONG = ("lost", "halves", "stray files", "processes left", "tracebacks", "not repeatable")
_WRONG += ("other answers", "other faults")


def faults() -> str:
    """Return the section on faults at every file, process and statement."""
    commands = load("faults")["commands"]
    rows = [
        [f"`{name}`", _every(one["step"]), *(str(one["kinds"][kind]["faults"]) for kind in _KINDS)]
        + [str(_count(one, names)) for names in (_WRONG[:2], _WRONG[2:3], _WRONG[3:4], _WRONG[4:])]
        for name, one in commands.items()
    ]
    head = ["command", "a fault at", *_KINDS, "results lost or halved", "stray files"]
    head += ["processes left", "other"]
    total = sum(one["kinds"][kind]["faults"] for one in commands.values() for kind in _KINDS)
    return (
        "Each command fails at its i-th file, process or statement of SQLite, for i = 1, 2, … until it "
        "passes without a fault (`benchmarks/checks/faults.py`): that one is refused, or the disk is full from then on, or "
        "the process is killed there. After each, the earlier results must be as they were, no process left, the message "
        "one line without a traceback, and the same command once more must give the right answer and leave no stray file. "
        f"Of {total:,} faults:\n\n" + table(head, rows)
    )


def _every(step: int) -> str:
    return "every touch" if step == 1 else f"one touch in {step}"


def _count(one: dict[str, Any], names: tuple[str, ...]) -> int:
    return sum(one["kinds"][kind].get(name, 0) for kind in _KINDS for name in names)


def selftest() -> str:
    """Return the section on random cases."""
    kept = load("selftest")
    rows = [
        [row["check"], *(str(row[end]) for end in ("passed", "failed", "left out"))]
        for row in kept["checks"]
    ]
    return (
        f"`crossbar-sim selftest`, {kept['seconds'] / 60:.0f} minutes on a busy machine, {kept['cases']:,} random cases from "
        f"seed {kept['seed']:,} (`benchmarks/checks/selftest.py`). Left out are decks of banks whose open switches do not "
        "conduct at all, and circuits that the engine refuses because of conductances many decades apart:\n\n"
        + table(["check", "passed", "failed", "left out"], rows)
    )
