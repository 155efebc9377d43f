"""Published chips as ordinary runs, and the same runs with parts made ideal or corrected.

Run: python -m benchmarks.studies.published_chips     (about five minutes on one core)

The tolerances are those of crossbar_sim/jobs/published_chips/claims.toml, stated before the runs.
"""

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.common import machine, print_table, save_json, timed
from crossbar_sim.config.study import with_values
from crossbar_sim.jobs.published import chips, configuration_of, found_on_dies, reproduce
from crossbar_sim.study.intervals import mean_interval
from crossbar_sim.system.terminal import progress_bars

#: What is changed in a run to see what the difference is made of.
CHANGES = {
    "ideal wires": {"wires.source": "given", "wires.r_word": 0.0, "wires.r_bit": 0.0},
    "no stuck switches": {"life.p_stuck_open": 0.0, "life.p_stuck_closed": 0.0},
}
CHANGES["both"] = CHANGES["ideal wires"] | CHANGES["no stuck switches"]
CHANGES["switches chosen against the wires, and repaired"] = {
    "calibrate.rounds": 3,
    "life.repair": True,
}


def changed(name: str, cache: Path) -> list[dict[str, Any]]:
    """Return the compared metrics of a chip's run with each of the changes that is one."""
    config, rows = configuration_of(name), []
    metrics = [f.metric for f in chips()[name].figures if f.metric]
    for change, values in CHANGES.items():
        if any(key.startswith("life.") for key in values) and not config.life.happens:
            continue
        found = found_on_dies(with_values(config, values), cache)
        for metric in metrics:
            columns = mean_interval(found[metric]).columns("ours")
            rows.append({"chip": name, "change": change, "metric": metric} | columns)
    return rows


def main() -> None:
    figures, changes, seconds = [], [], {}
    with tempfile.TemporaryDirectory() as directory:
        for name, chip in chips().items():
            with progress_bars() as tell:
                rows, wall, _ = timed(
                    lambda n=name, t=tell: reproduce(n, Path(directory), progress=t)
                )
            figures += rows
            seconds[name] = round(wall, 1)
            if chip.configuration:
                changes += changed(name, Path(directory))
    for title, rows in (("figures", figures), ("changes", changes)):
        print_table(title, tuple(rows[0]), [list(row.values()) for row in rows])
    save_json(
        "published_chips",
        {"machine": machine(), "seconds": seconds, "figures": figures, "changes": changes},
    )


if __name__ == "__main__":
    main()
