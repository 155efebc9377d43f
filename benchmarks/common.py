"""What the benchmark scripts share: timing, tables, figures and kept results."""

import json
import math
import os
import platform
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numba

from crossbar_sim.system.machine import arithmetic

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def machine() -> dict:
    """Return the processor, the threads used and the load at the start."""
    return {
        **arithmetic(),
        "cores": os.cpu_count(),
        "threads": numba.get_num_threads(),
        "load_at_start": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
    }


def timed(call: Callable[[], object]) -> tuple[object, float, float]:
    """Return the result of a call, its wall time [s], and the processor time of all threads [s]."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = call()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence]) -> None:
    cells = [list(header)] + [[_text(cell) for cell in row] for row in rows]
    widths = [max(len(row[k]) for row in cells) for k in range(len(header))]
    print(f"\n{title}")
    for row in cells:
        print("  " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths)))


def _text(cell: object) -> str:
    return f"{cell:.3g}" if isinstance(cell, float) else str(cell)


def save_json(name: str, data: dict) -> None:
    """Write benchmarks/results/<name>.json under a temporary name, then rename it."""
    RESULTS.mkdir(exist_ok=True)
    temporary = RESULTS / f".{name}.json.tmp"
    temporary.write_text(json.dumps(_plain(data), indent=1, allow_nan=False) + "\n")
    temporary.replace(RESULTS / f"{name}.json")


def save_part(name: str, part: str, found: dict, order: Sequence[str]) -> None:
    """Write one part of benchmarks/results/<name>.json beside the others, in an order of all."""
    path = RESULTS / f"{name}.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    parts = {key: found if key == part else kept.get(key) for key in order}
    save_json(name, {key: value for key, value in parts.items() if value})


def _plain(data):
    """Return data for JSON, with null in place of infinities and NaN."""
    if isinstance(data, dict):
        return {key: _plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_plain(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


@contextmanager
def figure(name: str, columns: int = 1, rows: int = 1):
    """Yield axes to draw on; then write benchmarks/results/<name>.png."""
    RESULTS.mkdir(exist_ok=True)
    drawn, axes = plt.subplots(
        rows, columns, figsize=(5.2 * columns, 3.9 * rows), layout="constrained", squeeze=False
    )
    yield axes.ravel() if columns * rows > 1 else axes[0, 0]
    temporary = RESULTS / f".{name}.tmp.png"
    drawn.savefig(temporary, dpi=130)
    plt.close(drawn)
    temporary.replace(RESULTS / f"{name}.png")
