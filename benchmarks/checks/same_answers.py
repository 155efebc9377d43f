"""Do the commands still give the same answers, to the last digit, after a change of the code?

Runs both examples, a small study, a fabrication pack, a re-selection and a verification. It uses
only the command line, so it does not depend on the places of modules. It compares digests of every
file and of every part of report.json with the kept ones. Times, the machine and the version are
left out.

Run: python -m benchmarks.checks.same_answers          (compares; exit code 1 if any digest differs)
     python -m benchmarks.checks.same_answers --keep   (keeps the new digests; lists the changes)
"""

import argparse
import csv
import hashlib
import io
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import RESULTS, ROOT, machine, save_json

#: Parts of keys or columns whose values may differ between two runs of the same code.
TIMED = ("second", "time_", "machine", "version", "directory", "path", "created", "code")
STUDY = """
name = "same"
base = "{base}"
dies = 2

[grid]
"bank.n" = [2, 4]
"select.objective" = ["error", "aware"]
"""


def crossbar_sim(*words: str | Path) -> str:
    """Run a command and return its output; raise if it fails."""
    code = "import sys; from crossbar_sim.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], cwd=ROOT, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"crossbar-sim {' '.join(map(str, words))}\n{done.stdout}{done.stderr}")
    return done.stdout


def digest(content: Any) -> str:
    raw = content if isinstance(content, bytes) else json.dumps(content, sort_keys=True).encode()
    return hashlib.sha256(raw).hexdigest()[:16]


def timeless(value: Any) -> Any:
    """Return JSON data without the keys for time and machine."""
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if not any(t in k.lower() for t in TIMED)}
        return {k: timeless(v) for k, v in kept.items()}
    return [timeless(v) for v in value] if isinstance(value, list) else value


def digests_of(path: Path) -> dict[str, str]:
    """Return a digest of a file, or one for each part if it has named parts."""
    if path.suffix == ".json":
        parts = timeless(json.loads(path.read_text()))
        parts = parts if isinstance(parts, dict) else {"list": parts}
        return {key: digest(part) for key, part in parts.items()}
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return {k: digest(arrays[k].tobytes()) for k in arrays.files if k != "header"}
    if path.suffix == ".csv":
        rows = list(csv.DictReader(io.StringIO(path.read_text())))
        return {"rows": digest(timeless(rows))}
    return {"text": digest(path.read_bytes())}


def digests_below(directory: Path, suffixes: tuple[str, ...]) -> dict[str, str]:
    """Return the digests of all files with these suffixes in a directory, by name and part."""
    return {
        f"{path.relative_to(directory)}: {part}": value
        for path in sorted(directory.rglob("*"))
        if path.suffix in suffixes
        for part, value in digests_of(path).items()
    }


def answers(directory: Path) -> dict[str, dict[str, str]]:
    """Run everything in a directory; return digests by run, file and part."""
    digests = {}
    for name in ("digits", "digits_cnn"):
        crossbar_sim("run", f"examples/runs/{name}.toml", "--results", directory)
        digests[name] = digests_below(directory / name, (".json", ".csv", ".npz", ".cir", ".txt"))
        print(f"{name}: {len(digests[name])} digests", flush=True)
    crossbar_sim("export", directory / "digits", "--output", directory / "pack")
    digests["pack"] = digests_below(directory / "pack", (".csv", ".bin", ".cir", ".json"))
    digests["reselect"] = reselected(directory)
    table = crossbar_sim("verify", directory / "digits", "--sample", "3")
    digests["verify"] = {"lines": str(len(table.splitlines()))}
    study = directory / "same.toml"
    study.write_text(STUDY.format(base=ROOT / "examples" / "runs" / "digits.toml"))
    metrics = ("accuracy", "mvm_error", "energy", "weight_error", "n_changed", "area", "power")
    asked = [word for name in metrics for word in ("--metric", name)]
    where = ("--store", directory / "same.sqlite", "--jobs", "1", "--output", directory / "same")
    text = crossbar_sim("study", study, *where, *asked)
    digests["study"] = {f"line {k}": digest(t.encode()) for k, t in enumerate(text.splitlines())}
    return digests


def reselected(directory: Path) -> dict[str, str]:
    """Re-select a run for branches that are each 3 % off; return digests of the written files."""
    columns = ("layer", "input", "output", "side", "branch")
    wafer = directory / "wafer.csv"
    with (directory / "pack" / "branches.csv").open() as source, wafer.open("w") as target:
        out = csv.writer(target)
        out.writerow((*columns, "ohm"))
        for k, row in enumerate(csv.DictReader(source)):
            ohm = float(row["measured_ohm"]) * (1.03 if k % 2 else 0.97)
            out.writerow((*(row[c] for c in columns), ohm))
    crossbar_sim("reselect", directory / "digits", wafer, "--output", directory / "again")
    return digests_below(directory / "again", (".csv", ".npz"))


def differences(old: dict, new: dict) -> list[str]:
    """Return the name of each digest that is missing, new or different."""
    was, now = (
        {f"{run}: {name}": value for run, part in runs.items() for name, value in part.items()}
        for runs in (old, new)
    )
    return [name for name in sorted(was.keys() | now.keys()) if was.get(name) != now.get(name)]


def main() -> None:
    """Compare with the kept digests; with --keep, replace them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", action="store_true", help="replace the kept digests")
    given = parser.parse_args()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as directory:
        digests = answers(Path(directory))
    path = RESULTS / "same_answers.json"
    kept = json.loads(path.read_text())["answers"] if path.exists() else {}
    moved = differences(kept, digests)
    print(*moved, sep="\n")
    print(f"{len(moved)} of {sum(map(len, digests.values()))} differ from the kept ones")
    if given.keep:
        seconds = time.perf_counter() - start
        save_json("same_answers", {"machine": machine(), "seconds": seconds, "answers": digests})
    elif moved:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
