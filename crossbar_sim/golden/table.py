"""Scores as lines of text, for people and for pipes."""

from collections.abc import Sequence

from crossbar_sim.golden.scoring import KindScore, Score

_HEAD = ("kind", "arrays", "answered", "not modelled", "failed", "inside", "median", "95 %")
_REST = ("worst", "seconds")


def table(score: Score) -> str:
    """Return a score as a table with a line per kind; errors are fractions of largest currents."""
    rows = [[*_HEAD, *_REST], *map(_cells, score.kinds)]
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return "\n".join(_line(row, widths) for row in rows)


def failures(score: Score, most: int = 20) -> str:
    """Return the first failures, a line each."""
    failed = score.failures
    lines = [f"{each.name} ({each.kind}): {' '.join(each.reason.split())}" for each in failed]
    left = len(lines) - most
    return "\n".join(lines[:most] + ([f"… and {left:,} more; --json has all"] if left > 0 else []))


def _cells(row: KindScore) -> list[str]:
    counts = (row.arrays, row.answered, row.not_modelled, row.failed)
    inside = f"{row.inside / row.currents:.1%}" if row.currents else "-"
    errors = (row.median, row.percentile_95, row.worst)
    shown = [f"{error:.1e}" if row.currents else "-" for error in errors]
    return [row.kind, *(f"{n}" for n in counts), inside, *shown, f"{row.seconds:.2f}"]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = (cell.rjust(width) for cell, width in zip(cells, widths))
    return "  ".join([first.strip().ljust(widths[0]), *rest])
