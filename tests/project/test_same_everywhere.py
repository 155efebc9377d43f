"""The examples' dies, switches, circuits and figures are those that were kept, on any machine."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from approx import approx
from crossbar_sim.config import RunConfig, load_config
from crossbar_sim.pipeline.steps import load_data, map_on_die, train_and_prune
from mapping import MappedNetwork
from netlists import tile_circuit, to_spice

pytestmark = pytest.mark.anywhere

ROOT = Path(__file__).parents[2]
KEPT = json.loads((ROOT / "tests" / "golden" / "same_everywhere.json").read_text())
DEMO = json.loads((ROOT / "benchmarks" / "results" / "demo.json").read_text())


def mapped_example(name: str) -> tuple[RunConfig, MappedNetwork]:
    config = load_config(ROOT / "examples" / "runs" / f"{name}.toml")
    data = load_data(config)
    return config, map_on_die(config, train_and_prune(config, data)[1], data)


def fingerprint(config: RunConfig, mapped: MappedNetwork) -> dict[str, Any]:
    """Digests of all switches and of one tile's netlist, and a few resistors.

    Numbers of the netlist are rounded to nine digits: the resistors come from logarithms and
    cosines, whose last bits are the C library's.
    """
    switches = hashlib.sha256()
    for tile in mapped.tiles:
        for part in (tile.rows, tile.columns, tile.chosen_pos, tile.chosen_neg):
            switches.update(np.ascontiguousarray(part, dtype="<i8").tobytes())
    tile = mapped.tiles[-1]
    circuit = tile_circuit(tile, config.hardware.wires, config.hardware.periphery)
    words = to_spice(circuit, np.full((1, tile.n_word), 0.1)).split()
    return {
        "n_closed": sum(layer.n_closed for layer in mapped.layers),
        "switches": switches.hexdigest(),
        "netlist": hashlib.sha256(" ".join(map(rounded, words)).encode()).hexdigest(),
        "g": [float(f"{g:.9e}") for g in mapped.tiles[0].g_pos[mapped.tiles[0].present][:5]],
    }


def rounded(word: str) -> str:
    try:
        return f"{float(word):.9g}"
    except ValueError:
        return word


@pytest.mark.parametrize("name", KEPT)
def test_the_same_die_switches_and_circuit(name):
    assert fingerprint(*mapped_example(name)) == KEPT[name]


@pytest.mark.parametrize("name", KEPT)
def test_the_figures_of_the_demo(name, tmp_path):
    """The whole run, as `make demo` does it, gives the digits that the README shows."""
    from crossbar_sim.jobs.run import run

    config = load_config(ROOT / "examples" / "runs" / f"{name}.toml")
    told = []
    done = run(config, tmp_path, progress=lambda *step: told.append(step))
    numbers = json.loads((done / "report.json").read_text())
    kept = DEMO["examples"][name]["shipped"]
    found = {row["network"]: row["accuracy"] for row in numbers["accuracy"]}
    assert found == kept["accuracy"]
    assert numbers["network"].startswith(f"read from {name}.safetensors, trained and pruned on ")
    assert numbers["sparsity"] == kept["sparsity"]
    assert numbers["energy"]["analog_total"] == approx(kept["energy_J"], rel=1e-3)
    worst = min(layer["bits"]["worst"] for layer in numbers["layers"])
    assert worst == approx(kept["worst_bits"], rel=1e-6)
    assert numbers["verification"]["worst"]["error"] < 1e-10
    first = {step: n for step, n, _ in reversed(told)}
    assert {"kernels", "select", "ngspice", "accuracy"} <= first.keys()
    assert set(first.values()) == {0}, "a bar is there when its step begins"
