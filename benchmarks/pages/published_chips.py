"""The section on published chips beside ordinary runs, from the kept output."""

from typing import Any

from benchmarks.pages.tables import load, table
from crossbar_sim.jobs.published import chips


def section() -> str:
    """Return the section on published chips."""
    kept = load("published_chips")
    rows = [_row(row) for row in kept["figures"]]
    counted = [row["verdict"] for row in kept["figures"]]
    found = {verdict: counted.count(verdict) for verdict in ("within", "outside", "not reproduced")}
    known = chips()
    notes = "\n".join(
        f"- **{name}**: {chip.title} ({chip.source}). {chip.why}" for name, chip in known.items()
    )
    changes = "; ".join(
        f"{row['chip']}, {row['change']}: {_number(row['ours'])} ({row['metric']})"
        for row in kept["changes"]
    )
    return (
        "Published chips (`crossbar-sim reproduce NAME`; `benchmarks/studies/published_chips.py`). Of "
        f"{len(rows)} published figures {found['outside']} came out outside the tolerance stated before the run, "
        f"{found['within']} within, and {found['not reproduced']} cannot be reproduced here. The devices are banks of fixed "
        "resistors, not those of the chips. Intervals are over three dies of one trained network, not over trainings or test "
        "images:\n\n"
        + table(["chip", "figure", "published", "read in", "ours", "tolerance", "verdict"], rows)
        + f"\n\n{notes}\n\nThe same runs with parts made ideal or corrected: {changes}."
    )


def _row(row: dict[str, Any]) -> list[str]:
    low, high = row["published_low"], row["published_high"]
    stated = "–" if low is None else _number(low) if low == high else f"{low:g} … {high:g}"
    cells = [row["chip"], row["what"], stated, row["sure"]]
    if row["ours"] is None:
        return [*cells, "–", "–", f"not reproduced: {row['why'].split('. ')[0]}"]
    ours = " … ".join(_number(row[key]) for key in ("ours_low", "ours_high"))
    return [*cells, f"{_number(row['ours'])} ({ours})", f"± {row['tolerance']:g}", row["verdict"]]


def _number(value: float) -> str:
    return f"{value:.4g}"
