"""A sentence encoder on the die: all-MiniLM-L6-v2, 10.6 million weights in 36 layers.

`python -m benchmarks.networks.minilm FOLDER` takes a folder with model.safetensors and
tokenizer.json of the model, writes sentences.npz and the configurations there, and runs the
commands `map`, `netlist`, `verify` and `study` on them. It compares the mapped die with the digital
network, layer by layer, and writes `benchmarks/results/minilm.json`.
Needs the package tokenizers; with transformers it also compares with that package's BERT.
"""

import argparse
import ast
import csv
import json
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from benchmarks.common import ROOT, machine, print_table, save_json
from benchmarks.networks.command_costs import cpu_seconds, timed
from benchmarks.networks.minilm_net import make
from crossbar_sim.config import RunConfig, load_config
from crossbar_sim.config.study import with_values
from crossbar_sim.findings.run_score import compared
from crossbar_sim.jobs.source import read_source
from crossbar_sim.pipeline.deployment import Deployment
from crossbar_sim.pipeline.kept import Kept
from crossbar_sim.pipeline.steps import single_thread
from mapping.network.mapped_network import MappedNetwork

#: Sentences for calibration and for tests, and the tokens of one at most.
N_TRAIN, N_TEST, N_TOKEN = 200, 100, 32
#: The configuration of a run on the default die, without the power of its 10,368 tiles.
CONFIG = """name = "minilm"
[network]
source = "model.safetensors"
python = "{net}:make"
leave_digital = ["pooler"]
[data]
source = "sentences.npz"
[measure]
metric = "cosine"
[simulation]
n_power = 0
"""
IDEAL: dict[str, Any] = {
    "wires.source": "given",
    **{f"wires.{key}": 0.0 for key in ("r_word", "r_bit", "c_word", "c_bit")},
}
EXACT = {"periphery.dac_bits": None, "periphery.adc_bits": None}
KINDS = {"drawn": {}, "ideal wires": IDEAL, "ideal wires and converters": IDEAL | EXACT}
#: Metrics of the study.
METRICS = ("score", "output_error", "mvm_error")


def sentences() -> list[str]:
    """Return the first line of every docstring of the packages, each once, longest first."""
    found: set[str] = set()
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    for package in ("crossbar_sim", "mapping", "netlists", "tinynets"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, kinds) and (text := ast.get_docstring(node)):
                    found.add(text.splitlines()[0])
    return sorted(found, key=lambda text: (-len(text), text))[: N_TRAIN + N_TEST]


def write_tokens(folder: Path) -> dict[str, np.ndarray]:
    """Write and return sentences.npz: token numbers and masks, every third sentence for tests."""
    from tokenizers import Tokenizer  # pyright: ignore[reportMissingImports]

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(N_TOKEN)
    tokenizer.enable_padding(length=N_TOKEN)
    rows = tokenizer.encode_batch(sentences())
    is_test = np.arange(len(rows)) % 3 == 2
    inputs = {
        "input_ids": np.array([row.ids for row in rows]),
        "attention_mask": np.array([row.attention_mask for row in rows]),
    }
    parts = {"train": ~is_test, "test": is_test}
    arrays: dict[str, Any] = {
        f"{n}_{p}": a[rows] for n, a in inputs.items() for p, rows in parts.items()
    }
    np.savez(folder / "sentences.npz", **arrays)
    return arrays


def gap_to_transformers(folder: Path, arrays: dict[str, np.ndarray]) -> float:
    """Return the largest difference of a vector's element from the BERT of transformers."""
    from transformers import (  # pyright: ignore[reportMissingImports]
        BertConfig,
        BertModel,
    )

    weights = load_file(folder / "model.safetensors")
    ours = make().eval()
    ours.load_state_dict(weights)
    theirs = BertModel(
        BertConfig(
            hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536
        )
    ).eval()
    theirs.load_state_dict(weights, strict=False)
    tokens, mask = (torch.from_numpy(arrays[f"{n}_test"]) for n in ("input_ids", "attention_mask"))
    with torch.no_grad():
        states = theirs(input_ids=tokens, attention_mask=mask).last_hidden_state
        mean = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        wanted = torch.nn.functional.normalize(mean)
        return float((ours(tokens, mask) - wanted).abs().max())


def configurations(folder: Path, dies: int) -> tuple[Path, Path]:
    """Write the configurations of the run and of the study."""
    run, study = folder / "minilm.toml", folder / "study.toml"
    run.write_text(CONFIG.format(net=ROOT / "benchmarks" / "networks" / "minilm_net.py"))
    study.write_text(f'name = "minilm"\nbase = "{run.name}"\ndies = {dies}\n')
    return run, study


class SavedDie(Deployment):
    """The path of a configuration from a mapping that is saved already."""

    def __init__(self, config: RunConfig, mapped: MappedNetwork) -> None:
        super().__init__(config, Kept())
        self.saved = mapped

    @property
    def mapped(self) -> MappedNetwork:
        """The network as it was saved."""
        return self.saved


def fidelity_of(run: Path, mapping: Path) -> dict[str, Any]:
    """Return how near the mapped die comes to the digital network, part by part ideal."""
    config, mapped = load_config(run, trust=True).ready(), read_source(mapping).mapped
    found = {}
    with single_thread():
        for kind, values in KINDS.items():
            way = SavedDie(with_values(config, values), mapped)
            on_die = way.on_die(way.config.hardware)
            (outputs, fidelity), digital = compared(way, on_die), way.digital_outputs
            size = np.linalg.norm(outputs, axis=1) * np.linalg.norm(digital, axis=1)
            cosines = (outputs * digital).sum(axis=1) / size
            found[kind] = {
                "cosine": {"mean": float(cosines.mean()), "worst": float(cosines.min())},
                **fidelity,
            }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dies", type=int, default=3)
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    result: dict[str, Any] = {"machine": machine()}
    arrays = write_tokens(folder)
    run, study = configurations(folder, arguments.dies)
    costs, weights, mapping = {}, folder / "model.safetensors", folder / "mapping"
    costs["map"], table = timed("map", weights, "--config", run, "--trust", "--output", mapping)
    costs["netlist --sample 5"], _ = timed(
        "netlist", mapping, "--sample", 5, "--output", folder / "decks"
    )
    costs["verify --sample 20"], checked = timed("verify", mapping, "--sample", 20)
    options = [word for metric in METRICS for word in ("--metric", metric)]
    costs["study"], dies = timed(
        "study", study, "--trust", "--store", folder / "study.sqlite", *options
    )
    start, before = time.perf_counter(), cpu_seconds(resource.RUSAGE_SELF)
    fidelity = fidelity_of(run, mapping)
    costs["fidelity of each layer"] = {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": cpu_seconds(resource.RUSAGE_SELF) - before,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    rows = list(csv.DictReader(table.splitlines()))
    result |= {
        "gap_to_transformers": gap_to_transformers(folder, arrays),
        "n_sentence": {"calibration": N_TRAIN, "test": N_TEST, "tokens": N_TOKEN},
        "n_layer": len(rows),
        "n_weight": sum(int(row["weights"]) for row in rows),
        "n_tile": sum(int(row["tiles"]) for row in rows),
        "n_resistor": sum(int(row["branches"]) for row in rows),
        "mapping_bytes": (mapping / "mapped.npz").stat().st_size,
        "costs": costs,
        "verify": checked,
        "fidelity": fidelity,
        "n_die": arguments.dies,
        "study": next(csv.DictReader(dies.splitlines())),
    }
    print_table(
        "MiniLM",
        ("command", "s", "CPU s", "GB"),
        [(k, c["seconds"], c["cpu_seconds"], c["peak_bytes"] / 1e9) for k, c in costs.items()],
    )
    save_json("minilm", json.loads(json.dumps(result)))


if __name__ == "__main__":
    main()
