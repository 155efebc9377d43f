"""Run both examples and keep their headline figures, the numbers of the README's first table.

Each example runs once with its shipped network, which gives the same figures on every machine. It
also runs with networks trained here from several seeds (of split, weights and order), each on its
own die.
Run: python -m benchmarks.studies.demo  (about 6 minutes on two cores)
"""

import json
import tempfile
import time
from typing import Any

from benchmarks.common import ROOT, machine, print_table, save_json
from crossbar_sim.config import RunConfig, load_config
from crossbar_sim.config.study import with_values
from crossbar_sim.jobs.run import run

EXAMPLES = ("digits", "digits_cnn")
SEEDS = range(1, 7)


def headline(config: RunConfig) -> dict[str, Any]:
    """Run an example and return the figures that the README quotes."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as directory:
        numbers = json.loads((run(config, directory) / "report.json").read_text())
    energy = numbers["energy"]
    return {
        "seed": config.seed,
        "seconds": round(time.perf_counter() - start, 1),
        "accuracy": {row["network"]: row["accuracy"] for row in numbers["accuracy"]},
        "n_image": numbers["accuracy"][0]["n_image"],
        "sparsity": numbers["sparsity"],
        "n_weight": energy["counts"]["n_remaining"],
        "n_tile": len(numbers["verification"]["tiles"]),
        "worst_bits": min(layer["bits"]["worst"] for layer in numbers["layers"]),
        "median_bits": min(layer["bits"]["median"] for layer in numbers["layers"]),
        "engine_against_ngspice": numbers["verification"]["worst"]["error"],
        "mvm_error_rms": numbers["mvm_error"]["rms"],
        "t_read": numbers["physics"]["t_read"],
        "energy_J": energy["analog_total"],
        "energy_parts_J": energy["analog"],
        "adc_case": energy["adc_case"],
        "digital_over_analog": {
            row["node"]: {key: row[key] for key in row if key.endswith("_ratio")}
            for row in energy["digital"]
        },
        "versions": numbers["versions"],
    }


def example(name: str) -> dict[str, Any]:
    """Return the figures of an example with its shipped network and with networks trained here."""
    config = load_config(ROOT / "examples" / "runs" / f"{name}.toml")
    trained_here = [
        headline(with_values(config.with_weights(None), {"seed": seed, "die.seed": seed}))
        for seed in SEEDS
    ]
    return {"shipped": headline(config), "trainings": trained_here}


def main() -> None:
    """Run, print and keep."""
    record = machine()
    examples = {name: example(name) for name in EXAMPLES}
    for name, figures in examples.items():
        labels = list(figures["shipped"]["accuracy"])
        rows = [
            [r["seed"], *(f"{r['accuracy'][k]:.2%}" for k in labels), r["energy_J"] * 1e9]
            for r in (figures["shipped"], *figures["trainings"])
        ]
        print_table(f"{name}, its own network first", ["seed", *labels, "nJ"], rows)
    save_json("demo", {"machine": record, "examples": examples})


if __name__ == "__main__":
    main()
