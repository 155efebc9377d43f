"""The measurement plan as a file: the switches that each reading closes, and the meter."""

import csv
from pathlib import Path

import numpy as np

from mapping.wafer.meter import Meter
from mapping.wafer.reading_plan import Plan
from mapping.wafer.readings import told_apart
from tinynets.files.drafts import new_file

_METER = ("meter_relative", "meter_siemens")


class PlanError(ValueError):
    """A file that is not a measurement plan for these banks."""


def plan_columns(n: int) -> list[str]:
    """Return the columns of a plan for banks of n branches, in order."""
    return ["reading", *(f"branch_{k}" for k in range(n)), *_METER]


def write_plan(plan: Plan, meter: Meter, path: str | Path) -> None:
    """Write a plan as CSV: the number of each reading, then 1 for each branch that it closes.

    The last two columns are the standard error of a reading: as a fraction of it, and in siemens.
    """
    with new_file(path) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(plan_columns(plan.closed.shape[1]))
        for k, closed in enumerate(plan.closed.astype(int).tolist()):
            table.writerow([k, *closed, repr(float(meter.relative)), repr(float(meter.absolute))])


def read_plan(path: str | Path, n: int) -> tuple[Plan, Meter]:
    """Read a plan for banks of n branches and the meter that it names.

    Raises PlanError for a file that cannot be read, other columns, readings that are not numbered
    0, 1, …, values other than 0 and 1, meters that differ or have a negative error, and readings
    that do not determine all branches.
    """
    path, columns = Path(path), plan_columns(n)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            head, *rows = [row for row in csv.reader(file) if row] or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise PlanError(f"{path} cannot be read: {error}") from error
    if head != columns:
        raise PlanError(
            f"{path}: a plan for banks of {n} branches must have columns {', '.join(columns)}; got "
            f"{', '.join(head)}: use plan.csv of this run's pack"
        )
    for k, row in enumerate(rows):
        if len(row) != len(columns) or row[0] != str(k) or set(row[1 : n + 1]) - {"0", "1"}:
            raise PlanError(
                f"{path}: row {k + 2} must be reading {k}, then 0 or 1 for each of {n} branches, "
                f"then the meter's error; got {','.join(row)}"
            )
    closed = np.array([[bit == "1" for bit in row[1 : n + 1]] for row in rows], bool)
    closed = closed.reshape(len(rows), n)
    if not told_apart(closed).all():
        raise PlanError(
            f"{path}: its {len(rows)} readings do not determine all {n} branches; add readings"
        )
    return Plan(closed), _meter({tuple(row[n + 1 :]) for row in rows}, path)


def _meter(meters: set[tuple[str, ...]], path: Path) -> Meter:
    """Return the one meter of all rows."""
    if len(meters) > 1:
        raise PlanError(f"{path}: rows differ in {' or '.join(_METER)}; a plan has one meter")
    try:
        return Meter(*map(float, meters.pop()))
    except ValueError as error:
        raise PlanError(f"{path}: {' and '.join(_METER)} must be numbers >= 0: {error}") from error
