"""A sentence encoder on the die: all-MiniLM-L6-v2, 10.6 million weights in 36 layers.

`python -m benchmarks.networks.minilm FOLDER` takes a folder with model.safetensors and
tokenizer.json of the model, writes sentences.npz and the configurations there, runs the commands
`map`, `netlist`, `verify` and `study` on them, and writes `benchmarks/results/minilm.json`.
Needs the package tokenizers; with transformers it also compares with that package's BERT.
"""

import argparse
import ast
import csv
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from benchmarks.common import ROOT, machine, print_table, save_json
from benchmarks.networks.minilm_net import make

#: Sentences for calibration and for tests, and the tokens of one at most.
N_TRAIN, N_TEST, N_TOKEN = 200, 100, 32
#: The configuration of a run; the die is the default one, with and without wires.
CONFIG = """name = "minilm"
[network]
source = "model.safetensors"
python = "{net}:make"
leave_digital = ["pooler"]
[data]
source = "sentences.npz"
[measure]
metric = "cosine"
"""
NO_WIRES = '[wires]\nsource = "given"\nr_word = 0.0\nr_bit = 0.0\nc_word = 0.0\nc_bit = 0.0\n'
STUDY = 'name = "minilm"\nbase = "{base}"\ndies = {dies}\n'


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
    from tokenizers import Tokenizer

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
    arrays = {f"{n}_{p}": a[rows] for n, a in inputs.items() for p, rows in parts.items()}
    np.savez(folder / "sentences.npz", **arrays)
    return arrays


def gap_to_transformers(folder: Path, arrays: dict[str, np.ndarray]) -> float:
    """Return the largest difference of a vector's element from the BERT of transformers."""
    from transformers import BertConfig, BertModel

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


def timed(*words: object) -> tuple[dict[str, float], str]:
    """Run a command of crossbar-sim; return its time [s] and peak memory [bytes], and its output.

    The peak is that of the largest command so far, since the system counts them together.
    """
    code = "from crossbar_sim.cli.entry import main; main()"
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], stdout=subprocess.PIPE, text=True
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"crossbar-sim {words[0]} failed: {done.stdout}")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return {"seconds": seconds, "peak_bytes": peak}, done.stdout


def configurations(folder: Path, dies: int) -> dict[str, Path]:
    """Write the configurations of the run and of the studies, with and without wires."""
    net = ROOT / "benchmarks" / "networks" / "minilm_net.py"
    paths = {}
    for name, more in {"wires": "", "no_wires": NO_WIRES}.items():
        (folder / f"{name}.toml").write_text(CONFIG.format(net=net) + more)
        paths[name] = folder / f"study_{name}.toml"
        paths[name].write_text(STUDY.format(base=f"{name}.toml", dies=dies))
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dies", type=int, default=3)
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    arrays = write_tokens(folder)
    studies = configurations(folder, arguments.dies)
    costs, weights, mapping = {}, folder / "model.safetensors", folder / "mapping"
    base = folder / "wires.toml"
    costs["map"], table = timed("map", weights, "--config", base, "--trust", "--output", mapping)
    costs["netlist"], _ = timed("netlist", mapping, "--sample", 5, "--output", folder / "decks")
    costs["verify"], checked = timed("verify", mapping, "--sample", 20)
    found = {}
    for name, path in studies.items():
        costs[f"study, {name}"], text = timed(
            "study", path, "--trust", "--store", folder / f"{name}.sqlite"
        )
        found[name] = list(csv.DictReader(text.splitlines()))
    rows = list(csv.DictReader(table.splitlines()))
    result: dict[str, Any] = {
        "machine": machine(),
        "gap_to_transformers": gap_to_transformers(folder, arrays),
        "n_sentence": {"calibration": N_TRAIN, "test": N_TEST, "tokens": N_TOKEN},
        "n_layer": len(rows),
        "n_weight": sum(int(row["weights"]) for row in rows),
        "n_tile": sum(int(row["tiles"]) for row in rows),
        "costs": costs,
        "verify": checked,
        "dies": found,
    }
    print_table(
        "MiniLM",
        ("command", "s", "GB"),
        [(k, c["seconds"], c["peak_bytes"] / 1e9) for k, c in costs.items()],
    )
    save_json("minilm", json.loads(json.dumps(result)))


if __name__ == "__main__":
    main()
