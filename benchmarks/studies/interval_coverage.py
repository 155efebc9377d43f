"""How often 95 % intervals cover the mean: a simulation for few dies and few trainings.

Run: python -m benchmarks.studies.interval_coverage     (about two minutes on one core)

Values:

- "normal": independent normal values.
- "skewed": exponential, like losses of an accuracy near its ceiling; skewness 2.
- "heavy": lognormal, s = 1; skewness 6.

Methods: Student's t, which studies here use; the percentile bootstrap and BCa of scipy.stats with
999 resamples.

Then trainings, each with its own dies. The value of a die is a normal value of its training plus a
normal value of its own with a third of that spread.

- "t over trainings": the method of studies here.
- "t over all dies": treats the dies as independent.
- "crossed": t over trainings if all trainings share the same dies, whose values are then common.
"""

import warnings
from collections.abc import Callable

import numpy as np
from scipy import stats

from benchmarks.common import machine, print_table, save_json
from crossbar_sim.study.intervals import mean_interval, nested_interval

SIZES = (3, 5, 10, 30)
N_SIMULATION = 4000
CHUNK = 250
KINDS: dict[str, tuple[Callable, float]] = {
    "normal": (lambda rng, shape: rng.normal(size=shape), 0.0),
    "skewed": (lambda rng, shape: rng.exponential(size=shape), 1.0),
    "heavy": (lambda rng, shape: rng.lognormal(0, 1, shape), float(np.exp(0.5))),
}
#: Number of trainings, dies per training.
NESTED = ((2, 5), (3, 3), (3, 5), (5, 5))
DIE_SPREAD = 1 / 3  # of the trainings' spread


def share_holding(low: np.ndarray, high: np.ndarray, true: float) -> float:
    return float(np.mean((low <= true) & (true <= high)))


def by_t(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the t interval of every row."""
    intervals = [mean_interval(row) for row in table]
    return np.array([f.low for f in intervals]), np.array([f.high for f in intervals])


def by_resampling(table: np.ndarray, method: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the bootstrap interval of every row."""
    ends = []
    for start in range(0, len(table), CHUNK):
        rows = table[start : start + CHUNK]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about resamples with equal values
            bootstrap = stats.bootstrap(
                (rows,), np.mean, axis=-1, n_resamples=999, method=method, rng=start
            )
        ends.append((bootstrap.confidence_interval.low, bootstrap.confidence_interval.high))
    low, high = (np.concatenate(parts) for parts in zip(*ends))
    return low, high


def of_one_training() -> list[dict]:
    rows = []
    for kind, (draw, true) in KINDS.items():
        for n in SIZES:
            table = draw(np.random.default_rng([0, n]), (N_SIMULATION, n))
            ends = {"t": by_t(table)}
            for name, method in (("percentile bootstrap", "percentile"), ("BCa", "BCa")):
                ends[name] = by_resampling(table, method)
            coverage = {name: share_holding(*pair, true) for name, pair in ends.items()}
            rows.append({"values": kind, "n": n, "coverage": coverage})
    return rows


def of_trainings() -> list[dict]:
    rows = []
    for n_training, n_die in NESTED:
        rng = np.random.default_rng([1, n_training, n_die])
        training = rng.normal(size=(N_SIMULATION, n_training, 1))
        own = DIE_SPREAD * rng.normal(size=(N_SIMULATION, n_training, n_die))
        common = DIE_SPREAD * rng.normal(size=(N_SIMULATION, 1, n_die))
        nested, crossed = training + own, training + common
        intervals = {
            "t over trainings": [nested_interval(table) for table in nested],
            "t over all dies": [mean_interval(table.ravel()) for table in nested],
            "crossed": [nested_interval(table) for table in crossed],
        }
        coverage = {
            name: float(np.mean([i.low <= 0 <= i.high for i in several]))
            for name, several in intervals.items()
        }
        rows.append({"trainings": n_training, "dies": n_die, "coverage": coverage})
    return rows


def main() -> None:
    about = machine()
    one, several = of_one_training(), of_trainings()
    for title, rows in (("dies of one training", one), ("trainings", several)):
        *keys, _ = rows[0]
        names = list(rows[0]["coverage"])
        cells = [[*(r[k] for k in keys), *(r["coverage"][m] for m in names)] for r in rows]
        print_table(f"coverage of 95 % intervals, {title}", [*keys, *names], cells)
    save_json(
        "interval_coverage",
        {"machine": about, "n_simulation": N_SIMULATION, "one_training": one, "trainings": several},
    )


if __name__ == "__main__":
    main()
