"""The self-test for some minutes: random cases through everything that must agree.

Run: python -m benchmarks.checks.selftest [--minutes N] [--seed S]
"""

import argparse
import time
from pathlib import Path

from benchmarks.common import machine, save_json
from crossbar_sim.selftest.session import run_session, tools, write_test


def main() -> None:
    """Run the self-test; keep its counts, and the smallest case of each failure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0, help="number of the first case")
    given, about, start = parser.parse_args(), machine(), time.perf_counter()
    with tools() as used:
        found = run_session(used, seed=given.seed, seconds=60 * given.minutes)
    failures = {
        seed: {"check": f.check, "message": f.message, "case": f.case.as_code()}
        for seed, f in found.failures.items()
    }
    for seed, failed in found.failures.items():
        print(write_test(failed, seed, Path("selftest")))
    counts = {"seed": given.seed, "cases": found.cases, "checks": found.rows()}
    seconds = time.perf_counter() - start
    save_json("selftest", {"machine": about, "seconds": seconds, **counts, "failures": failures})
    print(found.cases, found.rows(), failures)


if __name__ == "__main__":
    main()
