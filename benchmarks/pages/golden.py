"""Section on the golden set and the scores of simulators on it, from the kept outputs."""

from collections.abc import Iterable
from typing import Any

from benchmarks.pages.tables import load, table


def golden() -> str:
    """Return the section on the golden set."""
    made, scores = load("golden_set"), load("golden")["simulators"]
    return (
        f"The golden set: {made['arrays']:,} arrays of {made['cells']:,} devices with {made['currents']:,} output "
        f"currents ({made['bytes'] / 1e6:.1f} MB), each in an interval that was proved with whole numbers; the widest "
        f"is {made['widest']:.1e} of its array's largest current. Proving all of them takes {made['prove_s']:.0f} s on one "
        f"core. The certificates of {made['certified_by_certify']:,} arrays by `certify` meet these intervals, and "
        f"{made['solved_in_rational_numbers']} small arrays solved in rational numbers are inside "
        "(`benchmarks/golden/make.py`). Scores of simulators, each asked for the arrays that it models "
        "(`benchmarks/golden/peers.py`). Errors are distances of currents from the middle of their intervals, as "
        "fractions of the array's largest current; v @ g leaves out all but the devices. Seconds are wall time on a "
        "busy machine and good for orders of magnitude:\n\n"
        + table(_HEAD, [_row(name, one) for name, one in scores.items()])
        + "\n\nThe error that 95 % of the answered currents stay below, by kind of array:\n\n"
        + _by_kind(scores)
        + "\n\n"
        + _remarks(scores)
    )


_HEAD = ["simulator", "answered", "not modelled", "failed", "in the interval", "within 1e-6"]
_HEAD += ["median", "95 %", "worst", "seconds"]


def _row(name: str, one: dict[str, Any]) -> list[str]:
    every = one["kinds"][-1]
    counts = [str(every[key]) for key in ("answered", "not_modelled", "failed")]
    n = every["currents"]
    shares = [f"{every['inside'] / n:.0%}", f"{one['within']['1e-06'] / n:.1%}"]
    errors = [f"{every[key]:.0e}" for key in ("median", "percentile_95", "worst")]
    return [
        f"{name} {one['version']}".strip(),
        *counts,
        *shares,
        *errors,
        f"{every['seconds']:.0f}",
    ]


def _by_kind(scores: dict[str, Any]) -> str:
    """Return a table of kinds and simulators."""
    columns = [{kind["kind"]: kind for kind in one["kinds"]} for one in scores.values()]
    kinds = [kind for kind in columns[0] if kind != "all"]
    rows = [[kind, *(_cell(column[kind]) for column in columns)] for kind in kinds]
    return table(["kind", *scores], rows)


def _cell(kind: dict[str, Any]) -> str:
    error = kind["percentile_95"]
    failed = f"; {kind['failed']} failed" if kind["failed"] else ""
    return ("–" if error is None else f"{error:.0e}") + failed


_REMARKS = {
    "ngspice": "Every simulator is stopped after 60 s for an array, ngspice after 48 s.",
    "CrossSim": "CrossSim answers to a tolerance, by default 1e-3 of the voltages. Version 3.2.0 puts the resistance of "
    "drivers, `Rp_row_terminal`, into all segments of the first row instead of the first segment of every row.",
    "aihwkit": "aihwkit computes in single precision; its IR drop is a first-order formula for bit lines alone, made for "
    "small drops.",
}


def _remarks(names: Iterable[str]) -> str:
    """Return what a reader of the table must know of the simulators in it."""
    return " ".join(_REMARKS[name] for name in names if name in _REMARKS)
