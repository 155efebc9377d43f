"""True error of selections from composite readings, compared with as many single readings.

Banks of 7 and 15 branches, with 8 and 16 readings per bank.

- "alone": each branch by itself; the leakage of open switches is known without a reading.
- "one at a time": the leakage is read too.
- "weighing": about half of the switches are closed in each reading.
- "minded": the subset of least expected squared error among the nearest 32.

Errors are rms of g_pos - g_neg over all cells of the dies, as a fraction of a bank's full scale.

Run: python -m benchmarks.fabrication.measurement_plan
"""

import numpy as np

from benchmarks.common import machine, print_table, save_json
from mapping import Branches, Die, ResistorBank
from mapping.bank import Cells
from mapping.bank.switches import realise
from mapping.selection.select import select
from mapping.wafer.meter import Meter
from mapping.wafer.reading_plan import one_at_a_time, weighing_plan
from mapping.wafer.survey import Survey, select_surveyed

N_DIE, N_CELL = 5, 1000
METERS = {
    "absolute, 1e-4": (0.0, 1e-4),
    "absolute, 1e-3": (0.0, 1e-3),
    "relative, 1e-3": (1e-3, 0.0),
    "relative, 1e-2": (1e-2, 0.0),
    "both, 1e-3 and 1e-4": (1e-3, 1e-4),
}
PLANS = {"one at a time": one_at_a_time, "weighing": weighing_plan}


def main() -> None:
    """Measure, print and keep."""
    rows = []
    for n, ratio in ((7, 1.75), (15, 1.3)):
        bank = ResistorBank(n=n, ratio=ratio, sigma_local=0.05, r_on=1e3, r_off=1e9)
        for name, (relative, part) in METERS.items():
            errors = measure(bank, Meter(relative, part * bank.g_full))
            rows += [{"n": n, "meter": name, "rule": k, "rms": e} for k, e in errors.items()]
            print_table(f"n = {n}, meter: {name} of full scale", ("rule", "rms"), errors.items())
    save_json(
        "measurement_plan",
        {"machine": machine(), "n_die": N_DIE, "n_cell": N_CELL, "rows": rows},
    )


def measure(bank: ResistorBank, meter: Meter) -> dict[str, float]:
    """Return the rms error of each rule, as a fraction of full scale."""
    cells = Cells("fc", np.arange(N_CELL), np.zeros(N_CELL, int))
    squares: dict[str, list[float]] = {}
    for seed in range(N_DIE):
        die = Die(bank, seed=seed)
        target = np.random.default_rng(seed).uniform(-0.9, 0.9, N_CELL) * bank.g_full
        true = cells.branches(die, measured=False)
        noise = np.random.default_rng([seed, 1]).normal(size=true.g_closed.shape)
        noise *= meter.sigma(true.g_closed)
        chosen = {"alone": select(Branches(true.g_closed + noise, true.g_open), target)}
        for name, plan in PLANS.items():
            for suffix, n_candidate in (("", 1), (", minded", 32)):
                survey = Survey(plan(bank.n), meter, n_candidate)
                selection = select_surveyed(die, cells, target, survey)
                chosen[name + suffix] = selection
        for name, selection in chosen.items():
            g_pos, g_neg = realise(true, selection.chosen_pos, selection.chosen_neg)
            squares.setdefault(name, []).append(float(np.mean((g_pos - g_neg - target) ** 2)))
    return {name: float(np.sqrt(np.mean(v))) / bank.g_full for name, v in squares.items()}


if __name__ == "__main__":
    main()
