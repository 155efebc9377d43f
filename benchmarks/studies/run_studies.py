"""The studies of the examples, run one after the other, with their tables and plots.

Each is the study of `crossbar-sim study examples/studies/NAME.toml`, or of examples/foundry, which
needs the models: scripts/foundry.sh. In every trial ngspice also
solves one of the tiles. Trials are kept in results/studies.sqlite, so a second run is quick.

Run: python -m benchmarks.studies.run_studies [NAME ...]  (all: half an hour on two cores)
"""

import argparse
import time
from typing import Any

import torch

from benchmarks.common import RESULTS, ROOT, machine, print_table, save_json
from crossbar_sim.config import RunConfig
from crossbar_sim.config.study import load_study, with_values
from crossbar_sim.energy.digital import energies
from crossbar_sim.energy.inference import sum_counts
from crossbar_sim.pipeline.steps import build_model, load_data
from crossbar_sim.report.modelled import modelled
from crossbar_sim.study.runner import PointSummary, Study
from crossbar_sim.study.search import optimise
from crossbar_sim.study.store import Store
from crossbar_sim.study.tables import covered
from crossbar_sim.study.trial import trained_path
from crossbar_sim.study_report.files import save_study
from tinynets.networks.extraction import extract
from tinynets.networks.training import accuracy

EXAMPLES = ROOT / "examples"
STORE = ROOT / "results" / "studies.sqlite"
#: By study, the metrics that are drawn; the JSON has all metrics of KEPT.
METRICS = {
    "branches": ["accuracy"],
    "scatter": ["accuracy", "weight_error"],
    "wires": ["accuracy", "mvm_error"],
    "converters": ["accuracy", "energy"],
    "joules": ["accuracy", "energy"],
    "life": ["accuracy", "n_changed"],
    "failures": ["accuracy", "n_changed"],
    "corners": ["accuracy", "n_changed"],
    "foundry_corners": ["accuracy", "mvm_error"],
    "foundry_corners_ihp": ["accuracy", "mvm_error"],
    "foundry_curves": ["accuracy", "output_error"],
}
KEPT = [
    "accuracy",
    "accuracy_validation",
    "loss",
    "output_error",
    "n_test",
    "mvm_error",
    "effective_bits",
    "weight_error",
    "energy",
    "power",
]
KEPT += ["n_resistor", "n_changed", "n_tile", "area", "ngspice_error"]


def run_study(name: str) -> dict[str, Any]:
    """Run one study, save its plots, return its table."""
    folder = EXAMPLES / ("foundry" if name.startswith("foundry") else "studies")
    config, base = load_study(folder / f"{name}.toml")
    start = time.perf_counter()
    study = Study(config, base, Store(STORE))
    study.run(progress=lambda _, done, total: print(f"{name}: {done} of {total}", end="\r"))
    seconds = time.perf_counter() - start
    for failure in study.failures:
        print(failure)
    stem = ROOT / "results" / name
    for path in save_study(study, stem, METRICS[name]):
        if path.suffix == ".png":
            (RESULTS / f"study_{path.name}").write_bytes(path.read_bytes())
    points = study.summary()
    rows = [
        [*(str(v) for v in p.point.values()), *(text(p.metrics[m]) for m in METRICS[name])]
        for p in points
    ]
    print_table(name, [*points[0].point, *METRICS[name]], rows)
    result = {"machine": machine(), "seconds": seconds, "intervals": covered(points)}
    result["modelled"] = modelled(base)
    records = study.records()
    result["n_trial"] = len(records)
    checked = [r.metrics["ngspice_error"] for r in records if "ngspice_error" in r.metrics]
    result["ngspice_worst"] = max(checked, default=None)
    result["failures"] = [vars(failure) for failure in study.failures]
    # The time of the trials on all cores, without the training of the networks.
    result["trial_seconds"] = sum(record.seconds for record in records)
    result["points"] = [described(point) for point in points]
    if name == "joules":
        result |= joules(study, points)
    return result


def described(point: PointSummary) -> dict[str, Any]:
    """Return a point for JSON: each metric as mean, low, high."""
    kept = {m: point.metrics[m] for m in KEPT if m in point.metrics}
    return {
        "point": point.point,
        "n_training": point.n_training,
        "n_die": point.n_die,
        "metrics": {
            m: [interval.value, interval.low, interval.high] for m, interval in kept.items()
        },
        "yield": [point.yield_.value, point.yield_.low, point.yield_.high],
    }


def joules(study: Study, points: list[PointSummary]) -> dict[str, Any]:
    """Return the digital energies of the first network of each point, and operations per joule.

    Networks of a point differ in their remaining weights, but hardly in their number of operations.
    """
    rows = []
    for summary in points:
        config = with_values(study.base, study.config.values(summary.point))
        model, data = trained(config), load_data(config)
        layers = extract(model, torch.from_numpy(data.x_test[:1])).layers
        counts = sum_counts(list(layers))
        energy = summary.metrics["energy"].value
        rows.append(
            {
                "point": summary.point,
                "digital_accuracy": accuracy(model, data.x_test, data.y_test),
                "energy": energy,
                "n_mac": counts.n_mac,
                "n_mac_nonzero": counts.n_mac_nonzero,
                "per_joule_dense": 2 * counts.n_mac / energy,
                "per_joule_nonzero": 2 * counts.n_mac_nonzero / energy,
                "digital": energies(counts),
            }
        )
    table = [[str(r["point"]), r["digital_accuracy"], r["energy"] * 1e9] for r in rows]
    for cells, row in zip(table, rows):
        cells += [(d["nonzero_with_fetch"] or d["nonzero"]) * 1e9 for d in row["digital"]]
    names = [node["node"] for node in rows[0]["digital"]]
    print_table(
        "nJ per inference; digital with fetch where known",
        ["point", "accuracy", "die", *names],
        table,
    )
    return {"energies": rows}


def trained(config: RunConfig) -> torch.nn.Module:
    """Return the pruned digital network of a configuration, kept beside the store."""
    model = build_model(config)
    kept = trained_path(config, STORE.with_name(f"{STORE.stem}.networks"))
    model.load_state_dict(torch.load(kept, weights_only=True))
    return model


def run_search() -> dict[str, Any]:
    """Run the search under a budget, which chooses by validation images."""
    config, base = load_study(EXAMPLES / "studies" / "design.toml")
    start = time.perf_counter()
    search = optimise(
        config,
        base,
        Store(STORE),
        progress=lambda _, done, total: print(f"design: {done} of {total}", end="\r"),
    )
    seconds = time.perf_counter() - start
    for path in search.save(ROOT / "results" / "design"):
        if path.suffix == ".png":
            (RESULTS / f"study_{path.name}").write_bytes(path.read_bytes())
    best = [tried.summary for tried in search.tried if tried.best]
    best.sort(key=lambda summary: summary.metrics["energy"].value)
    rows = [[str(s.point), *(text(s.metrics[m]) for m in search.aims.names)] for s in best]
    print_table("best within budget", ["point", *search.aims.names], rows)
    return {
        "machine": machine(),
        "seconds": seconds,
        "intervals": covered(best),
        "n_point": len(search.tried),
        "budget": config.optimise.budget if config.optimise else {},
        "best": [described(summary) for summary in best],
    }


def text(interval: Any) -> str:
    """Return a mean and its interval as text."""
    return f"{interval.value:.4g} ({interval.low:.4g} … {interval.high:.4g})"


def main() -> None:
    """Run the requested studies."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", default=[*METRICS, "design"])
    for name in parser.parse_args().names:
        result = run_search() if name == "design" else run_study(name)
        save_json(f"study_{name}", result)


if __name__ == "__main__":
    main()
