"""Scores of simulators on the golden set.

Run: python -m benchmarks.golden.peers [--crosssim CHECKOUT] [NAME ...]

NAME: some of the simulators; all by default, which takes an hour or more. Scores of the others
stay as they were kept, since hardly any Python has all of these packages. CHECKOUT is one of
github.com/sandialabs/cross-sim (3.2), which is not packaged; badcrossbar comes with the extra
`bench`; aihwkit is installed by pip. Times are wall time of one process with one thread, without
the imports of the first call.
"""

import argparse
import json
import sys
import time
import warnings
from collections import Counter
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from benchmarks.common import RESULTS, machine, save_json
from benchmarks.golden import adapters
from crossbar_sim import golden_arrays, golden_score
from crossbar_sim.golden.arrays import SHA256, GoldenArray
from crossbar_sim.golden.scoring import Score, Simulator
from crossbar_sim.golden.simulators import simulator
from crossbar_sim.golden.table import failures, table
from crossbar_sim.ngspice.worker import NgspiceWorker, solve_ngspice

#: Most time for an array [s].
SECONDS = 60.0
_PACKAGES = {"badcrossbar": "badcrossbar", "aihwkit": "aihwkit"}


def simulators() -> dict[str, Simulator]:
    """Return all simulators by the name of their row."""
    return {
        "engine": simulator("fast"),
        "ngspice": _ngspice(),
        "badcrossbar": adapters.badcrossbar,
        "CrossSim": adapters.cross_sim,
        "CrossSim, tolerance 1e-9": adapters.cross_sim_tight,
        "aihwkit": adapters.aihwkit,
        "v @ g": adapters.product,
    }


def _ngspice() -> Simulator:
    """Return ngspice by the deck of this package; its one worker starts with the first array."""
    workers: list[NgspiceWorker] = []

    def currents(array: GoldenArray) -> np.ndarray:
        if not workers:
            workers.append(NgspiceWorker(time_limit=0.8 * SECONDS))
        return solve_ngspice(array.circuit(), array.v_in, worker=workers[0]).i_out

    return currents


def scored(name: str, tested: Simulator, arrays: list[GoldenArray]) -> dict[str, Any]:
    """Score one simulator, print its table and return what is kept."""
    begun = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        golden_score(tested, arrays[:1])  # what is imported or compiled first is not counted
        found = golden_score(tested, arrays, seconds=SECONDS)
    print(f"\n{name}\n{table(found)}\n{failures(found, 5)}", flush=True)
    report = found.report()
    return {
        "version": _version(name),
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "cpu_s": time.process_time() - begun,
        "kinds": report["kinds"],
        "within": report["within"],
        "reasons": _reasons(found),
    }


def _reasons(found: Score) -> dict[str, int]:
    """Return how many arrays failed for each reason, without its numbers."""
    texts = ("".join("#" if c.isdigit() else c for c in each.reason) for each in found.failures)
    return dict(Counter(texts).most_common(10))


def _version(name: str) -> str:
    if name.startswith("CrossSim"):
        return "3.2.0"
    try:
        return version(_PACKAGES[name]) if name in _PACKAGES else ""
    except PackageNotFoundError:
        return ""


def main() -> None:
    """Score the simulators that are named and keep their scores beside those of others."""
    known = simulators()
    parser = argparse.ArgumentParser(description="Score simulators on the golden set.")
    parser.add_argument("name", nargs="*", help=f"simulators: {', '.join(known)}")
    parser.add_argument("--crosssim", help="checkout of CrossSim")
    given = parser.parse_args()
    if given.crosssim:
        sys.path.insert(0, given.crosssim)
    arrays = golden_arrays()
    for name in given.name or known:
        one = scored(name, known[name], arrays)
        path = RESULTS / "golden.json"
        kept = json.loads(path.read_text()) if path.exists() else {}
        rows = {**kept.get("simulators", {}), name: one}
        save_json("golden", {"set": SHA256, "simulators": {k: rows[k] for k in known if k in rows}})


if __name__ == "__main__":
    main()
