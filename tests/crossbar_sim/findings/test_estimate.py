"""What a run takes is known before its slow steps."""

import errno
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from torch import nn

from approx import approx
from crossbar_sim import estimate, simulate
from crossbar_sim.config import RunConfig
from crossbar_sim.findings.estimate import run_amount
from tinynets.networks.layers import PrunedLayer, PrunedNetwork

SETTINGS: dict[str, Any] = {
    "bank": {"n": 5},
    "tile": {"n_word": 24, "n_bit": 16},
    "simulation": {"n_image": 8},
}


def network() -> tuple[nn.Module, dict[str, np.ndarray]]:
    model = nn.Sequential(nn.Linear(30, 40), nn.ReLU(), nn.Linear(40, 6)).eval()
    return model, {"x": np.random.default_rng(0).random((60, 30))}


def run(root: Path, **more: Any) -> Path:
    return simulate(*network(), name="own", root=root, settings=SETTINGS, **more)


def test_tiles_and_bytes_are_those_of_the_run(tmp_path):
    told: list[Any] = []
    directory = run(tmp_path, announce=told.append)
    layers = json.loads((directory / "report.json").read_text())["layers"]
    (amount,) = told
    assert amount.n_tile == sum(layer["n_tile"] for layer in layers) == 8
    written = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    assert 0.7 < amount.files.n_byte / written < 1.4
    assert str(amount).startswith("8 tiles: selection 0 s, circuits 2 s, files 0 s, ")


def test_python_is_told_the_same_before_a_run():
    amount = estimate(*network(), settings=SETTINGS)
    assert str(amount).startswith("8 tiles: selection 0 s, circuits 2 s, files 0 s, ")
    less = estimate(*network(), settings=SETTINGS, leave_digital=("2",))
    assert (less.n_tile, less.circuits) == (6, approx(amount.circuits * 1200 / 1440, rel=1e-9))


def test_a_run_that_no_disk_holds_is_refused_before_its_slow_steps(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=1e6))
    with pytest.raises(OSError, match=r"free; free some, or take fewer weights") as caught:
        run(tmp_path)
    assert caught.value.errno == errno.ENOSPC
    assert not list(tmp_path.rglob("mapped.npz"))


def test_the_estimate_grows_with_branches_vectors_and_weights():
    def amount(n_out: int = 20, n_image: int = 4, n: int = 5, **select: Any) -> Any:
        weight = np.random.default_rng(0).normal(size=(n_out, 30))
        network = PrunedNetwork((PrunedLayer("fc", weight, weight != 0),))
        raw = SETTINGS | {"bank": {"n": n}, "simulation": {"n_image": n_image}, "select": select}
        return run_amount(RunConfig.model_validate(raw | {"name": "a"}), network, 64)

    base = amount()
    assert amount(n_out=40).circuits == 2 * base.circuits
    assert amount(n_image=400).circuits > 3 * base.circuits
    assert amount(n=12).selection > 10 * base.selection
    assert amount(n=12).files.n_byte > base.files.n_byte
    assert amount(objective="power").selection > base.selection
    assert amount(objective="aware").selection is None
    assert "selection" not in str(amount(objective="aware"))
