"""Speed of the exact subset-sum solver: alone, against OR-Tools CP-SAT, on Pensia's problem.

Run: python -m benchmarks.selection.subset_sum_speed  (about a minute; needs ortools)

Per-problem figures are the processor time of all threads over the number of problems: the time
per problem on one core, which other load hardly disturbs. The fastest of three runs counts. CP-SAT
gets one worker and integer data: values and targets times 2^30, rounded. Our solver gets the same
integers, and the two objectives must be equal. The ratio counts only CP-SAT's solving time; the
time including the building of the model in Python is given separately.
"""

import time

import numpy as np

from benchmarks.common import figure, machine, print_table, save_json, timed
from tinynets.subset_sum import solve

PENSIA = {
    "problems": 397_000,
    "values": 21,
    "seconds": 77_266,
    "cores": 36,
    "solver": "Gurobi, MIPGap 1 %",
    "kept": 3_725_871,
}
CAVEATS = (
    "different hardware; published time includes building each model in Python, at a 1 % MIP gap",
    "the published run shares 21 values between the weights of a row, ours draws them per weight",
    "weights here are synthetic, N(0, 0.03), values uniform on [-0.4642, 0.5407] as published",
)


def differential(n: int, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return differential pairs: n/2 positive, n - n/2 negative uniform values; targets in +-1."""
    random = np.random.default_rng([seed, n])
    values = random.uniform(0, 1, (count, n))
    values[:, n // 2 :] *= -1
    return values, random.uniform(-1, 1, count)


def best_of_three(call):
    """Return the result of `timed` for the run of least wall time."""
    return min((timed(call) for _ in range(3)), key=lambda run: run[1])


def speed(n: int, count: int) -> dict:
    values, targets = differential(n, count, 0)
    _, wall, cpu = best_of_three(lambda: solve(values, targets))
    return {"n": n, "problems": count, "wall_s": wall, "us_per_problem_core": cpu / count * 1e6}


def shared_speed(n: int, count: int) -> dict:
    values, targets = differential(n, count, 0)
    _, wall, cpu = best_of_three(lambda: solve(values[0], targets))
    return {"n": n, "problems": count, "wall_s": wall, "us_per_problem_core": cpu / count * 1e6}


def cp_sat(values: np.ndarray, target: int) -> tuple[int, float, float]:
    """Return the proven minimum of |sum - target|, and seconds without and with building."""
    from ortools.sat.python import cp_model

    start = time.perf_counter()
    model = cp_model.CpModel()
    chosen = [model.new_bool_var(f"x{k}") for k in range(len(values))]
    miss = model.new_int_var(0, int(np.abs(values).sum()) + abs(target), "miss")
    total = sum(int(v) * x for v, x in zip(values, chosen))
    model.add(miss >= total - target)
    model.add(miss >= target - total)
    model.minimize(miss)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    if solver.solve(model) != cp_model.OPTIMAL:
        raise RuntimeError("CP-SAT did not prove an optimum")
    return int(solver.objective_value), solver.wall_time, time.perf_counter() - start


def against_cp_sat(n: int, count: int) -> dict:
    values, targets = differential(n, count, 1)
    values, targets = np.rint(values * 2.0**30), np.rint(targets * 2.0**30)
    ours = np.abs(solve(values, targets).error)
    theirs = [cp_sat(v, int(t)) for v, t in zip(values, targets)]
    if ours.tolist() != [miss for miss, _, _ in theirs]:
        raise RuntimeError(f"the optima differ at n = {n}")
    repeat = max(1, 20_000 // count)
    many = np.tile(values, (repeat, 1)), np.tile(targets, repeat)
    _, _, cpu = timed(lambda: solve(*many))
    mine = cpu / len(many[1])
    _, solving, building = (float(np.mean(column)) for column in zip(*theirs))
    return {
        "n": n,
        "problems": count,
        "ours_s": mine,
        "cp_sat_s": solving,
        "ratio": solving / mine,
        "cp_sat_with_building_s": building,
    }


def pensia() -> dict:
    random = np.random.default_rng(0)
    count, n = PENSIA["problems"], PENSIA["values"]
    targets = random.normal(0, 0.03, count)
    values = random.uniform(-0.4642, 0.5407, (count, n))
    sums, wall, cpu = best_of_three(lambda: solve(values, targets))
    error = np.abs(sums.error)
    return {
        "wall_s": wall,
        "cpu_s": cpu,
        "kept": int(np.bitwise_count(sums.mask).sum()),
        "mean_error": float(error.mean()),
        "max_error": float(error.max()),
        "above_0.01": int((error > 0.01).sum()),
        "published": PENSIA,
        "wall_ratio": PENSIA["seconds"] / wall,
        "core_second_ratio": PENSIA["seconds"] * PENSIA["cores"] / cpu,
        "caveats": CAVEATS,
    }


def plot(speeds: list[dict], rivals: list[dict]) -> None:
    n = np.array([row["n"] for row in speeds])
    ours = np.array([row["us_per_problem_core"] for row in speeds])
    with figure("subset_sum_speed") as axes:
        axes.semilogy(n, ours, "o-", label="this solver")
        axes.semilogy(n, ours[-1] * 2.0 ** ((n - n[-1]) / 2), "k:", label=r"$\propto 2^{n/2}$")
        axes.semilogy(
            [row["n"] for row in rivals],
            [row["cp_sat_s"] * 1e6 for row in rivals],
            "s-",
            label="OR-Tools CP-SAT, same optimum",
        )
        axes.set(xlabel="values per problem", ylabel="µs per problem on one core")
        axes.set_title("Exact subset sum")
        axes.grid(alpha=0.3)
        axes.legend()


def main() -> None:
    about = machine()
    speed(8, 10), shared_speed(8, 10)  # load the compiled code
    counts = {4: 200_000, 8: 200_000, 12: 100_000, 16: 100_000, 20: 20_000, 21: 20_000, 24: 4000}
    speeds = [speed(n, count) for n, count in (counts | {28: 1000, 32: 200, 36: 40, 40: 8}).items()]
    shared = [shared_speed(n, 100_000) for n in (8, 12, 16, 20)]
    million = speed(16, 1_000_000)
    header = ("n", "problems", "wall s", "us/problem/core")
    print_table("one bank per problem", header, [list(row.values()) for row in speeds])
    print_table("one bank for all", header, [list(row.values()) for row in shared])
    print_table("a million 8 + 8 differential pairs", header, [list(million.values())])

    run = pensia()
    rows = [
        ("wall s", run["wall_s"], PENSIA["seconds"]),
        ("core seconds", run["cpu_s"], PENSIA["seconds"] * PENSIA["cores"]),
        ("kept of 8,337,000", run["kept"], PENSIA["kept"]),
        ("mean error", run["mean_error"], "-"),
        ("max error", run["max_error"], "<= 0.01"),
        ("weights above 0.01", run["above_0.01"], 0),
    ]
    print_table("Pensia et al., experiment 1: 397,000 x 21", ("", "ours", "published"), rows)
    print(f"  {run['wall_ratio']:,.0f} x wall, {run['core_second_ratio']:,.0f} x core seconds; but")
    print("\n".join(f"  - {caveat}" for caveat in CAVEATS))

    rivals = [against_cp_sat(n, count) for n, count in ((8, 2000), (12, 1000), (16, 200), (20, 20))]
    rows = [list(row.values()) for row in rivals]
    header = ("n", "problems", "ours s", "CP-SAT s", "ratio", "CP-SAT with building s")
    print_table("OR-Tools CP-SAT, same optimum", header, rows)
    plot(speeds, rivals)
    results = {"machine": about, "own_bank": speeds, "shared_bank": shared, "million": million}
    save_json("subset_sum_speed", results | {"pensia": run, "cp_sat": rivals})


if __name__ == "__main__":
    main()
