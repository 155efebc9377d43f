"""Trials of dies by whatever code is on the path: seconds of each step, and the metrics.

Run: python benchmarks/studies/die_trials.py NETWORK SEED  (by `study_speed`, of either commit)
"""

import functools
import json
import resource
import sys
import time
from pathlib import Path

import psutil

from crossbar_sim.config.study import load_study, with_values
from crossbar_sim.findings import run_score
from crossbar_sim.pipeline import deployment, tiles
from crossbar_sim.study import metrics, trial

N_WARM, N_DIE = 1, 1
#: Module, name and what it is called; a step inside another counts by itself alone.
STEPS = (
    (deployment, "select_on_die", "selection"),
    (deployment, "respond_all", "circuits and transfer matrices"),
    (deployment.Deployment, "on_die", "network on the die, ranges of converters"),
    (trial, "predict", "inference, test images"),
    (metrics, "accuracy", "inference, held-out images"),
    (tiles, "solve_ngspice", "ngspice, one tile"),
    (trial, "simulate", "energy: solution of all tiles"),
    (trial, "found_metrics", "metrics"),
    (run_score, "fidelity", "metrics"),
)


class Clock:
    """Processor time of this process and its children, each step without the ones inside it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._inside: list[float] = []

    @staticmethod
    def now() -> float:
        """Return the processor time so far [s]."""
        own = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        total = sum(usage.ru_utime + usage.ru_stime for usage in own)
        for child in psutil.Process().children(recursive=True):
            times = child.cpu_times()
            total += times.user + times.system
        return total

    def around(self, function, name: str):
        """Return a function that counts its time."""

        @functools.wraps(function)
        def timed(*words, **options):
            start = self.now()
            self._inside.append(0.0)
            try:
                return function(*words, **options)
            finally:
                whole, inside = self.now() - start, self._inside.pop()
                self.seconds[name] = self.seconds.get(name, 0.0) + whole - inside
                if self._inside:
                    self._inside[-1] += whole

        return timed


def main() -> None:
    """Run some trials to warm up, then time some, and print one line of JSON."""
    network, seed, clock = Path(sys.argv[1]), int(sys.argv[2]), Clock()
    for owner, name, step in STEPS:
        setattr(owner, name, clock.around(getattr(owner, name), step))
    _, base = load_study(Path("examples/studies/wires.toml"))
    base, found = with_values(base, {"model.kind": "lenet5"}), {}
    for k in range(N_WARM + N_DIE):
        if k == N_WARM:
            clock.seconds.clear()
            start, wall = clock.now(), time.perf_counter()
        found = trial.run_trial(with_values(base, {"die.seed": 100 * seed + k}), network)
    whole = (clock.now() - start) / N_DIE
    steps = {name: seconds / N_DIE for name, seconds in clock.seconds.items()}
    steps["the rest"] = whole - sum(steps.values())
    wall = (time.perf_counter() - wall) / N_DIE
    print(json.dumps({"seconds": whole, "wall": wall, "steps": steps, "metrics": found}))


if __name__ == "__main__":
    main()
