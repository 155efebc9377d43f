"""Small faults are put into the physics one at a time: how many of them do the tests notice?

Run: python -m benchmarks.checks.mutation --count 12   (an hour and a half on a busy core; earlier
     verdicts are kept; the kept output is of this count)
     python -m benchmarks.checks.mutation --module crossbar_sim/periphery/noise.py

Each mutant is tested with the test files of its module, in a copy of the tree in a temporary
directory. A verdict stays valid until the module or those test files change. The same seed samples
the same mutants of the same source.

`mutants.py` makes the faults, because no existing tool fits. mutmut moves each function's versions
behind a trampoline, which numba cannot compile, and skips functions with decorators (properties,
kernels). cosmic-ray has one test command and one time limit for all modules of a session. Neither
samples by a seed.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Lock

from benchmarks.checks.mutants import Source, change
from benchmarks.common import RESULTS, ROOT, machine, print_table, save_json

COPIED = ("tinynets", "mapping", "netlists", "crossbar_sim", "tests", "examples", "benchmarks")

#: The test files of each module (tests/NAME.py), in order of how soon they fail.
MODULES = {
    "crossbar_sim/energy/power.py": ("crossbar_sim/energy/test_energy",),
    "crossbar_sim/energy/inference.py": ("crossbar_sim/energy/test_energy",),
    "crossbar_sim/energy/digital.py": ("crossbar_sim/energy/test_energy",),
    "crossbar_sim/findings/yardstick.py": ("crossbar_sim/energy/test_energy",),
    "crossbar_sim/periphery/noise.py": ("crossbar_sim/periphery/test_noise",),
    "crossbar_sim/periphery/settling.py": ("crossbar_sim/periphery/test_settling",),
    "crossbar_sim/periphery/converters.py": (
        "crossbar_sim/periphery/test_converters",
        "crossbar_sim/on_die/test_analog",
    ),
    "crossbar_sim/periphery/conversion.py": (
        "crossbar_sim/periphery/test_converters",
        "crossbar_sim/on_die/test_analog",
    ),
    "crossbar_sim/on_die/readout.py": (
        "crossbar_sim/on_die/test_analog",
        "crossbar_sim/on_die/test_saved_network",
    ),
    "crossbar_sim/solvers/solution.py": (
        "crossbar_sim/energy/test_energy",
        "crossbar_sim/solvers/test_solvers_agree",
        "crossbar_sim/on_die/test_analog",
    ),
    "crossbar_sim/certificates/certify.py": ("crossbar_sim/certificates/test_certificates",),
    "crossbar_sim/solvers/balance.py": ("crossbar_sim/solvers/test_balance",),
    "mapping/selection/certificate.py": ("crossbar_sim/certificates/test_selection_checker",),
    "mapping/network/certified.py": ("crossbar_sim/certificates/test_selection_checker",),
    "crossbar_sim/gradients/solve_torch.py": ("crossbar_sim/gradients/test_solve_torch",),
    "crossbar_sim/calibration/through_wires.py": ("crossbar_sim/calibration/test_through_wires",),
    "crossbar_sim/gradients/part_costs.py": ("crossbar_sim/findings/test_sensitivity",),
    "crossbar_sim/ngspice/verification.py": ("crossbar_sim/ngspice/test_verification",),
    "netlists/circuit/build.py": (
        "netlists/circuit/test_build",
        "project/test_conventions",
        "netlists/spice/test_decks",
        "crossbar_sim/solvers/test_solvers_agree",
    ),
    "netlists/circuit/array_topology.py": (
        "netlists/circuit/test_build",
        "project/test_conventions",
        "netlists/spice/test_decks",
        "crossbar_sim/solvers/test_solvers_agree",
    ),
    "netlists/circuit/elements.py": (
        "netlists/circuit/test_build",
        "project/test_conventions",
        "netlists/spice/test_decks",
        "crossbar_sim/solvers/test_solvers_agree",
    ),
    "netlists/circuit/circuit.py": (
        "netlists/circuit/test_build",
        "project/test_conventions",
        "netlists/spice/test_decks",
        "crossbar_sim/on_die/test_analog",
        "crossbar_sim/periphery/test_noise",
    ),
    "netlists/circuit/wires.py": (
        "netlists/circuit/test_build",
        "crossbar_sim/solvers/test_solvers_agree",
        "crossbar_sim/config/test_config",
    ),
    "netlists/circuit/wire_geometry.py": ("netlists/circuit/test_wire_geometry",),
    "mapping/network/map_network.py": (
        "mapping/network/test_map_network",
        "mapping/network/test_mapped_network",
        "mapping/wafer/test_metrology",
    ),
    "mapping/network/mapped_layer.py": (
        "mapping/network/test_map_network",
        "mapping/network/test_mapped_network",
        "mapping/network/test_repair",
    ),
    "mapping/selection/select.py": (
        "mapping/selection/test_select",
        "mapping/selection/test_encode",
    ),
    "mapping/bank/die.py": ("mapping/bank/test_stuck", "mapping/bank/test_bank"),
    "mapping/bank/resistor_bank.py": ("mapping/bank/test_bank", "mapping/selection/test_encode"),
    "mapping/selection/activation_aware.py": ("mapping/selection/test_select",),
}

#: Survivors that no test can or need kill: "module: the changed line" and the reason.
EXPLAINED = {
    "mapping/bank/die.py: "
    "stuck: Mapping[str, np.ndarray] | None = field(default=None, repr=True)": (
        "what is printed of a die"
    ),
    "mapping/bank/die.py: if not bank.tc1_sigma and not kelvin:": (
        "equivalent: a shortcut, for the spread is zero where either is"
    ),
    "crossbar_sim/periphery/settling.py: _INSTANT = 2e-06": (
        "a mode a million times faster than the slowest is left out or not: no answer changes"
    ),
    "mapping/selection/activation_aware.py: "
    "masks, misses = np.full(len(targets), -2, np.int64), np.zeros((n_line, n_in))": (
        "equivalent: every cell is chosen in the first sweep, before its mask is read"
    ),
    "mapping/network/mapped_layer.py: return sum("
    "a.n_different(b) for a, b in zip(other.tiles, self.tiles, strict=True))": (
        "equivalent: as many switches differ either way"
    ),
    "mapping/selection/select.py: for start in range(0, max(len(rows), 2), _CHUNK):": (
        "equivalent: there is one chunk at least, for a chunk holds more than two cells"
    ),
    "crossbar_sim/periphery/noise.py: "
    "size = max(_MAX_TRANSFERS // len(circuit.elements.branch_ohm), 1)": (
        "equivalent: the larger of two, in either order"
    ),
    "crossbar_sim/on_die/readout.py: volts, rest = self._pairs(volts, -1), self._pairs(rest, -2)": (
        "equivalent: any axis but 1 takes the last one"
    ),
    "crossbar_sim/on_die/readout.py: "
    "volts, rest = self._pairs(volts, (1)), self._pairs(rest, -1)": (
        "equivalent: axis 1 of a matrix is its last"
    ),
    "crossbar_sim/solvers/solution.py: return int("
    "(np.abs(self.v_out) >= self.circuit.periphery.v_swing * (1 - 2e-12)).sum())": (
        "either is far above the rounding of a double, which it allows for, and far below what "
        "any other output is short of the swing"
    ),
    "crossbar_sim/findings/yardstick.py: "
    'layer = PrunedLayer("yardstick", weight, np.ones(weight.shape, ))': (
        "equivalent: ones of any type stand for a mask of all"
    ),
    "crossbar_sim/periphery/converters.py: "
    'if self.inputs == "bit-serial" and (self.dac_bits or 1) < 2:': (
        "equivalent: one bit is refused as none is"
    ),
    "crossbar_sim/on_die/readout.py: volts, rest = self._pairs(volts, -2), self._pairs(rest, -1)": (
        "equivalent: any axis but 1 takes the last one"
    ),
    "crossbar_sim/solvers/solution.py: return int("
    "(np.abs(self.v_out) > self.circuit.periphery.v_swing * (1 - 1e-12)).sum())": (
        "no output stands at that very double"
    ),
    "crossbar_sim/ngspice/verification.py: return float(np.maximum(self.v_error, self.i_error))": (
        "equivalent: the larger of two, in either order"
    ),
    "crossbar_sim/ngspice/verification.py: time_limit: float = 600.0": (
        "how long ngspice may take: no answer changes"
    ),
    "netlists/circuit/array_topology.py: "
    "terminals = np.concatenate([[1], grid.inputs, grid.tia.ravel()])": (
        "equivalent: nothing is shorted to ground, and node 1 is an input"
    ),
    "netlists/circuit/circuit.py: "
    "if low < 1 * MAX_OHM and ((self.g > 0) & (self.g < 1 / MAX_OHM)).any():": (
        "equivalent: a shortcut, and the second half decides"
    ),
    "mapping/network/mapped_layer.py: return (self.weight - self.source.weight)"
    "[self.source.mask] / (self.largest or 2.0)": (
        "equivalent: where the largest weight is zero none remains, and there is nothing to divide"
    ),
    "mapping/network/mapped_layer.py: far = np.abs(predicted / scale - weight) >= limit": (
        "no miss is that very double"
    ),
    "mapping/selection/select.py: for start in range(0, max(1, len(cells)), _CHUNK):": (
        "equivalent: the larger of two, in either order"
    ),
    "mapping/bank/die.py: "
    "table: Mapping[str, np.ndarray] | None = field(default=None, repr=True)": (
        "what is printed of a die"
    ),
    "mapping/selection/activation_aware.py: "
    "masks, misses = np.full(len(targets), (1), np.int64), np.zeros((n_line, n_in))": (
        "equivalent: every cell is chosen in the first sweep, before its mask is read"
    ),
    "mapping/selection/activation_aware.py: masks[cell] = (1)": (
        "equivalent: the solver writes the mask before it is read"
    ),
    "crossbar_sim/periphery/noise.py: "
    "size = max(2, _MAX_TRANSFERS // len(circuit.elements.branch_ohm))": (
        "equivalent: how many transfers are computed at a time"
    ),
    "crossbar_sim/periphery/conversion.py: u = np.linspace(0.0, 1.0, 502)": (
        "the height of a smooth curve, to 1e-5 of it by either grid"
    ),
    "crossbar_sim/solvers/solution.py: part: (np.maximum(np.abs(volts), v_dd) * np.abs(amps) "
    "- volts * amps).sum(axis=1)": "equivalent: the larger of two, in either order",
    "crossbar_sim/certificates/certify.py: _TERM = 9": (
        "a margin: the checker has its own, and accepts a wider interval"
    ),
    "crossbar_sim/certificates/certify.py: "
    "least = np.maximum(least, max(1e-290, 1e-6 * least.max()))": (
        "equivalent: the larger of two, in either order"
    ),
    "crossbar_sim/certificates/certify.py: bound[free] = factor.solve(2.002 * least)": (
        "a margin: a bound twice as wide is a proof as well"
    ),
    "crossbar_sim/certificates/certify.py: "
    "return _Sums(value, 1.01 * _U * (n_term + _TERM) * size - 1e-300)": (
        "1e-300 is far below the rounding of any current"
    ),
    "crossbar_sim/certificates/certify.py: "
    "return _Sums(value, 1.01 * _U * (n_term + _TERM) * size + 2e-300)": (
        "1e-300 is far below the rounding of any current"
    ),
    "mapping/network/certified.py: _ROUNDING = 2e-09": (
        "between the rounding of processors and the least change that is another network"
    ),
    "crossbar_sim/calibration/through_wires.py: total = total.index_put("
    "(rows, columns), matrices, accumulate=False)": ("equivalent: a weight is on one tile alone"),
    "crossbar_sim/ngspice/verification.py: _ROOM = 2**26": "how much memory is taken",
    "mapping/network/mapped_layer.py: limit = tolerance * (self.largest or 2.0)": (
        "equivalent: where the largest weight is zero none remains to be missed"
    ),
    "mapping/selection/activation_aware.py: "
    "_LARGEST_BLOCK = 1025  # inputs; their part of H stays in the cache": (
        "how much memory is taken at a time"
    ),
    "mapping/selection/activation_aware.py: "
    "n_line, n_in = lines.max() + 1, second_moment.shape[-2]": (
        "equivalent: second moments are square"
    ),
}


def sampled(path: str, count: int, seed: int) -> list[dict]:
    """Return mutants of a module, sampled by seed, with what `Bench` and the report need."""
    source = Source((ROOT / path).read_bytes())
    texts = source.mutants()
    drawn = random.Random(f"{seed} {path}").sample(texts, min(count, len(texts)))
    rows = []
    for text in drawn:
        line, before, after = change(source.text, text)
        rows.append({"module": path, "line": line, "before": before, "after": after, "text": text})
    return sorted(rows, key=lambda row: row["line"])


def digest(path: str, text: bytes) -> str:
    """Return a digest of what a verdict depends on: a mutant's text and its test files."""
    hasher = hashlib.sha256(text)
    for test in tests_of(path):
        hasher.update((ROOT / test).read_bytes())
    return hasher.hexdigest()[:16]


def tests_of(path: str) -> list[str]:
    return [f"tests/{name}.py" for name in MODULES[path]]


class Bench:
    """A copy of the tree in which mutants are tested one after the other."""

    def __init__(self, directory: Path) -> None:
        self.root = directory
        for name in COPIED:
            shutil.copytree(ROOT / name, directory / name)
        shutil.copy(ROOT / "pyproject.toml", directory)

    def try_one(self, path: str, text: bytes, limit: float) -> str:
        """Return the verdict of `test` with the mutated text in place of a module."""
        target = self.root / path
        target.write_bytes(text)  # its new time stamp makes any compiled copy stale
        try:
            return self.test(path, limit)
        finally:
            shutil.copy2(ROOT / path, target)

    def test(self, path: str, limit: float) -> str:
        """Return "killed", "killed by time" after a limit [s], or "survived"."""
        options = ["-x", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0"]
        own = {"PYTHONPATH": str(self.root), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
        run = subprocess.Popen(
            [sys.executable, "-m", "pytest", *options, *tests_of(path)],
            cwd=self.root,
            env=os.environ | own,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            code = run.wait(limit)
        except subprocess.TimeoutExpired:
            return "killed by time"
        finally:
            _end(run)
        return "killed" if code else "survived"  # an import error kills too


def _end(run: subprocess.Popen) -> None:
    """End a test run and everything that it started, including ngspice."""
    with suppress(ProcessLookupError):
        os.killpg(run.pid, signal.SIGKILL)
    run.wait()


def try_module(rows: list[dict], path: str, benches: list[Bench], keep) -> None:
    """Find the verdict of each mutant of a module; call `keep` after each."""
    start = time.perf_counter()
    if benches[0].test(path, 3600.0) != "survived":
        raise SystemExit(f"the tests of {path} fail without a mutant; repair them first")
    limit = 60.0 + 4.0 * (time.perf_counter() - start)
    free: SimpleQueue[Bench] = SimpleQueue()
    for bench in benches:
        free.put(bench)

    def judge(row: dict) -> None:
        bench = free.get()
        try:
            row["verdict"] = bench.try_one(path, row["text"], limit)
        finally:
            free.put(bench)
        keep(row)

    with ThreadPoolExecutor(len(benches)) as pool:
        list(pool.map(judge, rows))


def report(rows: list[dict], seed: int) -> dict:
    """Return the kept output: the counts, every survivor, and each verdict by its digest."""
    judged = [row for row in rows if "verdict" in row]
    survivors = [
        {key: row[key] for key in ("module", "line", "before", "after")}
        | {"why": EXPLAINED.get(f"{row['module']}: {row['after']}", "")}
        for row in judged
        if row["verdict"] == "survived"
    ]
    killed = len(judged) - len(survivors)
    return {
        "machine": machine(),
        "seed": seed,
        "mutants": len(judged),
        "killed": killed,
        "killed_percent": round(100 * killed / max(len(judged), 1), 1),
        "unexplained": sum(not row["why"] for row in survivors),
        "survivors": survivors,
        "verdicts": {row["digest"]: row["verdict"] for row in judged},
    }


def main() -> None:
    """Test every mutant without a verdict, print the survivors and keep everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--module", action="append", help="module whose mutants are tested; default: all"
    )
    parser.add_argument("--count", type=int, default=20, help="number of mutants per module")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    given = parser.parse_args()
    path = RESULTS / "mutation.json"
    known = json.loads(path.read_text())["verdicts"] if path.exists() else {}
    rows = [row for name in MODULES for row in sampled(name, given.count, given.seed)]
    for row in rows:
        row["digest"] = digest(row["module"], row["text"])
        if row["digest"] in known:
            row["verdict"] = known[row["digest"]]
    lock = Lock()

    def keep(row: dict) -> None:
        with lock:
            save_json("mutation", report(rows, given.seed))
        print(f"{row['verdict']}: {row['module']}:{row['line']}: {row['after']}", flush=True)

    with tempfile.TemporaryDirectory() as directory:
        benches = [Bench(Path(directory) / str(k)) for k in range(given.jobs)]
        for name in given.module or MODULES:
            todo = [row for row in rows if row["module"] == name and "verdict" not in row]
            if todo:
                try_module(todo, name, benches, keep)
    summary = report(rows, given.seed)
    save_json("mutation", summary)
    print_table(
        f"{summary['killed']} of {summary['mutants']} killed, {summary['killed_percent']} %",
        ["module", "line", "now", "why"],
        [[row["module"], row["line"], row["after"], row["why"]] for row in summary["survivors"]],
    )


if __name__ == "__main__":
    main()
