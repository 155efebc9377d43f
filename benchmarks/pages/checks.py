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


def blows() -> str:
    """Return the section on commands and workers that are hit at random times."""
    kept = load("blows")
    each = [
        (name, what, one)
        for name, found in kept.items()
        for what, one in found.items()
        if isinstance(one, dict) and "blows" in one
    ]
    rows = [
        [
            f"`{name}`" if name != "study on two" else "`study --jobs 2`",
            "killed" if what == "killed" else f"one {what.replace('worker:', 'worker,')}",
            str(one["blows"]),
            *(str(one["ends"].get(end, 0)) for end in ("killed", "failed with a message", "done")),
            str(len(one["wrong"])),
        ]
        for name, what, one in each
    ]
    head = [
        "command",
        "hit",
        "times",
        "killed",
        "failed with a message",
        "ended as usual",
        "wrong after it",
    ]
    return (
        "The same from outside (`benchmarks/checks/blows.py`): a command gets SIGKILL at a random time between its start and "
        "its usual end, or one of the two processes of a study is killed or finds its disk full. What is checked after it is "
        "the same: no result lost, none halved, none twice; no process left; the next command gives the right "
        "answer and leaves no stray file. A killed command that ended as usual was ending already; a worker whose disk was "
        "full did not always have something left to write.\n\n" + table(head, rows)
    )


_ENDS = ("refused", "unchanged", "other", "refused in use", "wrong")


def fuzz() -> str:
    """Return the section on changed files."""
    kept = load("fuzz")
    rows = [
        [name, f"{one['cases']:,}"]
        + [f"{one['ends'].get(end, 0):,}" for end in _ENDS]
        + [
            f"{one['kinds of messages']:,}",
            f"{one['worst time']:.2g} s",
            f"{one['memory'] / 2**20:,.0f} MiB",
        ]
        for name, one in kept.items()
    ]
    head = ["files", "changed", "refused", "accepted, as before", "accepted, as the change says"]
    head += ["refused in use", "wrong", "kinds of messages", "longest", "memory"]
    minutes = sum(one["seconds"] for one in kept.values()) / 60
    return (
        "Real files with a change that a seed draws (`benchmarks/checks/fuzz.py`, "
        f"{minutes:.0f} minutes on a busy machine): configurations of runs and studies; packs, runs, mappings and saved "
        "networks, with the checksums of the changed file made again half of the time; networks (.safetensors, .pt, .onnx), data (.npz, "
        ".safetensors) and Python, with pickles and code that would leave a trace. A file must be refused by one line that names "
        "it, or be accepted with a meaning that is checked in another way: a configuration says what its text says and comes "
        "back the same, a pack is the network it was, weights are those that another reader finds, an ONNX graph gives what "
        "ONNX's reference evaluator gives (where that takes it). A reader may start nothing (but ngspice, which a configuration with "
        "[foundry] asks), write nothing, and take 20 s at most. Every hundredth file goes to a command, too. What a "
        "mapping, a run, a saved network or a pack (its biases) says in one place only, nothing contradicts: such changes count "
        "as accepted.\n\n"
        + table(head, rows)
        + _counted_wrong([text for one in kept.values() for text in one["wrong"]])
    )


def _counted_wrong(found: list[str]) -> str:
    """Return what stands under the table of what was wrong."""
    seeds = (
        "Earlier seeds found what was mended since (CHANGELOG); this one was not looked at before."
    )
    told = "".join(f"\n- {text[:200]}" for text in found)
    return f"\n\n{seeds}" + (f" Counted as wrong:\n{told}" if found else "")


def selftest() -> str:
    """Return the section on random cases."""
    kept = load("selftest")
    rows = [
        [row["check"], *(str(row[end]) for end in ("passed", "failed", "left out"))]
        for row in kept["checks"]
    ]
    return (
        f"`crossbar-sim selftest`, {kept['seconds'] / 60:.0f} minutes on a busy machine, {kept['cases']:,} random cases from "
        f"seed {kept['seed']:,} (`benchmarks/checks/selftest.py`). One case in a hundred also has a study of three dies, killed on its way and begun again. Left out are decks of banks whose open switches do not "
        "conduct at all, and circuits that the engine refuses because of conductances many decades apart:\n\n"
        + table(["check", "passed", "failed", "left out"], rows)
        + _failed(kept["failures"])
    )


def _failed(failures: dict[str, dict[str, str]]) -> str:
    """Return what stands under the table of the self-test: each case that failed, as it was reported."""
    if not failures:
        return "\n\nNo case failed. Earlier seeds found what was mended since (CHANGELOG); this one was not looked at before."
    told = [
        f"- case {seed}, `{one['check']}`: {one['message'][:300]}" for seed, one in failures.items()
    ]
    return "\n\n" + "\n".join(["Failed:", "", *told])


def browser() -> str:
    """Return why a report does not carry ngspice for its reader's browser."""
    kept = load("ngspice_in_browser")
    sizes = kept["sizes"]
    rows = [
        [
            f"{row['n']} × {row['n']}",
            "KLU" if row["klu"] else "Sparse 1.3",
            f"{row['first']:.2g} s",
            f"{kept['native'][str(row['n'])]:.2g} s",
            f"{row['difference']:.0e}",
        ]
        for row in kept["rows"]
    ]
    return (
        f"A report could carry ngspice, as npm's {kept['package']} has it in WebAssembly, and solve a tile in its reader's browser "
        "(`benchmarks/checks/ngspice_in_browser.py`). It can, with KLU and from a file, after a start of "
        f"{max(row['start'] for row in kept['rows']):.1f} s:\n\n"
        + table(
            [
                "tile",
                "solver",
                "in Chromium",
                "ngspice installed, with its start",
                "from the engine",
            ],
            rows,
        )
        + "\n\nReports are without it all the same. The WebAssembly alone has "
        f"{sizes['wasm, gzip'] / 1e6:.1f} MB when compressed ({sizes['wasm'] / 1e6:.1f} MB otherwise), the package's script, which "
        f"holds it twice beside models of foundries, {sizes['script, gzip'] / 1e6:.1f} MB ({sizes['script'] / 1e6:.0f} MB in a page). And "
        "the package states the MIT licence alone, while it holds parts of ngspice (KLU, numparam) under the LGPL, without their "
        "notices or an offer of their sources. A build of our own, with KLU alone and with its notices, would be the way."
    )
