"""What a law of this room consists of, and the list of all laws."""

import importlib
import json
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinynets.files.drafts import new_file
from tinynets.progress import Progress, silent

#: Line and marker of each curve of a figure, so that none needs a colour.
STYLES = ("ko-", "ks--", "k^-.", "kD:", "kv-", "kx--", "k*-.", "k+:")
#: The module of each law, by its name on the command line, in the order of the page.
LAWS = {
    "fixed-size": "fixed_size",
    "meter": "meter",
    "transition": "transition",
    "failure": "failure",
    "ladders": "ladders",
    "shared-banks": "shared_banks",
    "residual-banks": "residual_banks",
    "refinement": "refinement",
    "tickets": "tickets",
}


@dataclass(frozen=True)
class Effort:
    """How much is measured, and who is told how far it is.

    scale: factor of the number of instances; 1 takes a few minutes at the most.
    progress: called as each part of the work is done.
    parts: directory where the parts of long measurements are kept, so that one that was stopped
        goes on; None to keep none.

    Raises ValueError for a scale that is not a positive number.
    """

    scale: float = 1.0
    progress: Progress = silent
    parts: Path | None = None

    def __post_init__(self) -> None:
        if not 0 < self.scale < math.inf:
            raise ValueError(
                f"effort must be a positive number, such as 0.1 or 4; got {self.scale}"
            )

    def count(self, usual: float, *, least: int = 2) -> int:
        """Return a number of instances: `usual` at scale 1, never below `least`."""
        return max(least, round(usual * self.scale))

    def part(self, name: str, measure: Callable[[], Any]) -> Any:
        """Return a part of a measurement: as it was kept, or else measured now and kept.

        name: says everything that the part depends on, its seed and counts too.
        measure: returns plain numbers, ready for JSON.
        """
        if self.parts is None:
            return measure()
        path = self.parts / f"{re.sub(r'[^0-9A-Za-z.]+', '_', name)}.json"
        if not path.exists():
            found = measure()
            self.parts.mkdir(parents=True, exist_ok=True)
            with new_file(path) as draft:
                draft.write_text(json.dumps(found, allow_nan=False), encoding="utf-8")
        return json.loads(path.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Table:
    """Rows that belong together: each a record with the same names."""

    title: str
    rows: list[dict[str, Any]]


@dataclass(frozen=True)
class Law:
    """A law of imprecise resistors, with what measures and shows it.

    name: as on the command line.
    question: one sentence.
    statement: what is known, and whether it is a theorem, a conjecture or a measurement.
    sources: where that is from.
    measure: from effort and seed to plain numbers, ready for JSON.
    tables: what the command prints and the page shows, of what was measured.
    draw: writes the figure (PNG), readable without colour, of what was measured.
    """

    name: str
    question: str
    statement: str
    sources: tuple[str, ...]
    measure: Callable[[Effort, int], dict[str, Any]]
    tables: Callable[[dict[str, Any]], list[Table]]
    draw: Callable[[dict[str, Any], Path], None]


def law_named(name: str) -> Law:
    """Return a law by its name on the command line. Raises ValueError for an unknown one."""
    if name not in LAWS:
        raise ValueError(f"there is no law {name!r}; choose one of {', '.join(LAWS)}")
    return importlib.import_module(f"crossbar_sim.laws.{LAWS[name]}").LAW


def save_measured(law: Law, measured: dict[str, Any], directory: Path) -> list[Path]:
    """Write law_NAME.json and law_NAME.png to a directory, with "_" for "-"; return their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    stem = directory / f"law_{law.name.replace('-', '_')}"
    data, picture = stem.with_suffix(".json"), stem.with_suffix(".png")
    with new_file(data) as draft:
        draft.write_text(json.dumps(measured, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    with new_file(picture) as draft:
        law.draw(measured, draft)
    return [data, picture]


@contextmanager
def panels(path: Path, count: int = 1) -> Iterator[list[Any]]:
    """Yield axes to draw on, side by side; then write them to a file as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2 * count, 3.9), layout="constrained")
    axes = [figure.add_subplot(1, count, k + 1) for k in range(count)]
    yield axes
    for panel in axes:
        panel.grid(alpha=0.3)
        if panel.get_legend_handles_labels()[1]:
            panel.legend(frameon=False, fontsize=7)
    figure.savefig(path, format="png", dpi=130)
