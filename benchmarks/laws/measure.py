"""Measure the laws of docs/results/laws.md at full effort, each in about ten minutes on one core.

Run: python -m benchmarks.laws.measure [NAME ...]     (all laws without a name)

Parts of the longest laws are kept under results/laws until the law is measured, so that a run that
was stopped goes on. Remove that directory after a change of what is measured.
"""

import shutil
import sys
from functools import partial

from benchmarks.common import RESULTS, ROOT, machine, timed
from crossbar_sim.laws.law import LAWS, Effort, law_named, save_measured
from crossbar_sim.system.terminal import messages, progress_bars

SEED = 0
PARTS = ROOT / "results" / "laws"
#: The effort of each kept figure; 4 for laws that are not named.
EFFORT = {
    "fixed-size": 2.0,
    "meter": 1.0,
    "transition": 3.0,
    "failure": 5.0,
    "ladders": 5.0,
    "shared-banks": 4.0,
    "residual-banks": 5.0,
    "refinement": 8.0,
    "tickets": 4.0,
}


def main(names: list[str]) -> None:
    """Measure these laws, or all of them, and keep what was found with its figure."""
    for law in [law_named(name) for name in names or LAWS]:
        with progress_bars() as tell:
            effort = Effort(EFFORT.get(law.name, 4.0), tell, PARTS / law.name)
            measured, wall, _ = timed(partial(law.measure, effort, SEED))
        kept = {**measured, "seconds": round(wall, 1), "machine": machine()}
        for path in save_measured(law, kept, RESULTS):
            messages.print(f"wrote {path}", markup=False, soft_wrap=True)
        shutil.rmtree(PARTS / law.name, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1:])
