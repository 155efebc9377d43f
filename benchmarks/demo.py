"""Run both examples and keep their headline figures: the numbers of the README's first table.

Run: python benchmarks/demo.py  (about 2 minutes on two cores)
"""

import json
import tempfile
import time
from pathlib import Path

from crossbar_sim.config import load_config
from crossbar_sim.run import run

ROOT = Path(__file__).parent.parent
OUTPUT = ROOT / "benchmarks" / "results" / "demo.json"


def headline(name: str, directory: Path) -> dict:
    """Run one example and return what the README quotes of it."""
    start = time.perf_counter()
    result = run(load_config(ROOT / "examples" / f"{name}.toml"), directory)
    numbers = json.loads((result / "report.json").read_text())
    energy = numbers["energy"]
    return {
        "seconds": round(time.perf_counter() - start, 1),
        "accuracy": {row["network"]: row["accuracy"] for row in numbers["accuracy"]},
        "sparsity": numbers["sparsity"],
        "n_tile": len(numbers["verification"]["tiles"]),
        "worst_bits": min(layer["bits"]["worst"] for layer in numbers["layers"]),
        "median_bits": min(layer["bits"]["median"] for layer in numbers["layers"]),
        "engine_against_ngspice": numbers["verification"]["worst"]["error"],
        "mvm_error_rms": numbers["mvm_error"]["rms"],
        "energy_J": energy["analog_total"],
        "digital_over_analog": {
            row["node"]: {key: row[key] for key in row if key.endswith("_ratio")}
            for row in energy["digital"]
        },
        "versions": numbers["versions"],
    }


def main() -> None:
    """Run, print and keep."""
    with tempfile.TemporaryDirectory() as directory:
        found = {name: headline(name, Path(directory)) for name in ("digits", "digits_cnn")}
    text = json.dumps(found, indent=1)
    print(text)
    draft = OUTPUT.with_suffix(".tmp")
    draft.write_text(text + "\n")
    draft.replace(OUTPUT)


if __name__ == "__main__":
    main()
