"""`crossbar-sim new`: from two files to a configuration that runs, and what cannot be one."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from approx import approx
from commands import command
from crossbar_sim.config import ConfigError, load_config
from crossbar_sim.jobs.new_run import SIDES, new_run
from onnx_files import node, save
from tinynets.formats.weights import save_weights
from tinynets.networks.models import mlp


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A network of 6 inputs and 4 outputs, as ONNX and as weights, with data for it."""
    rng = np.random.default_rng(0)
    weights = {
        "w1": rng.normal(size=(6, 40)).astype(np.float32),
        "w2": rng.normal(size=(40, 4)).astype(np.float32),
    }
    nodes = [
        node("MatMul", ["x", "w1"], "a"),
        node("Relu", ["a"], "b"),
        node("MatMul", ["b", "w2"], "y"),
    ]
    declared = {"x": (np.float32, ("n", 6))}
    save(tmp_path / "net one.onnx", nodes, weights, declared=declared)
    torch.manual_seed(0)
    save_weights(mlp([6, 5, 4]), tmp_path / "net.safetensors")
    x = rng.random((50, 6), dtype=np.float32)
    np.savez(tmp_path / "data.npz", x=x, y=np.arange(50) % 4)
    np.savez(tmp_path / "bare.npz", x=x)
    return tmp_path


def test_what_it_writes_runs_from_end_to_end(files):
    output = files / "runs" / "mine.toml"
    source, data = files / "net one.onnx", files / "data.npz"
    made = command("new", "--network", source, "--data", data, "--output", output)
    assert made.returncode == 0, made.stderr
    assert made.stdout.strip() == str(output)
    assert "40 samples for training and calibration, 10 for tests; each 6; 4 classes" in made.stderr
    text = output.read_text(encoding="utf-8")
    assert 'source = "../net one.onnx"' in text
    assert "240 weights, 0 % of them zero" in text
    config = load_config(output)
    assert config.name == "net_one"
    assert config.tile.n_word == config.tile.n_bit == 16
    assert config.prune is None
    done = command("run", output, "--quick", "--results", files / "results", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["measure"]["metric"] == "accuracy"
    assert report == json.loads((files / "results" / "net_one" / "report.json").read_bytes())


def test_tiles_are_suggested_by_how_full_they_are(files):
    made = new_run(str(files / "net one.onnx"), str(files / "data.npz"), files / "a.toml")
    assert [fit.side for fit in made.fits] == list(SIDES)
    assert [fit.tiles for fit in made.fits] == [6, 4, 2, 2]
    assert made.fits[0].filled == approx(400 / (6 * 256), rel=1e-12)
    assert made.side == SIDES[0]


def test_weights_without_labels_are_compared_with_the_digital_network(files):
    made = new_run(str(files / "net.safetensors"), str(files / "bare.npz"), files / "b.toml")
    assert made.metric == "agreement"
    assert not made.needs_trust
    assert load_config(files / "b.toml").measure.metric == "agreement"


def test_python_runs_only_when_trusted_and_is_named_relative_to_the_file(files):
    (files / "code.py").write_text("from torch import nn\ndef make(): return nn.Linear(6, 4)\n")
    asked = {"network": f"{files / 'code.py'}:make", "data": str(files / "data.npz")}
    with pytest.raises(ConfigError, match=r"would run Python code; if you trust it"):
        new_run(**asked, output=files / "c.toml")
    made = new_run(**asked, output=files / "c.toml", trust=True)
    assert made.network == "code.py:make"
    text = (files / "c.toml").read_text(encoding="utf-8")
    assert re.search(r"crossbar-sim run .*c\.toml --trust ", text)


def test_what_does_not_fit_is_said_before_a_file_is_written(files):
    output, data = files / "d.toml", str(files / "data.npz")
    with pytest.raises(ConfigError, match=r"--network must be a file of yours; got 'mlp'"):
        new_run("mlp", data, output)
    with pytest.raises(ValueError, match=r"does not take the samples of data .digits."):
        new_run(str(files / "net one.onnx"), "digits", output)
    assert not output.exists()
    output.write_text("mine")
    with pytest.raises(FileExistsError, match=r"d\.toml exists; choose another file"):
        new_run(str(files / "net one.onnx"), data, output)
    assert output.read_text() == "mine"


def test_a_name_cannot_end_a_comment(files):
    source = files / "net\n[bank]\nn = 1\x7f.onnx"
    source.write_bytes((files / "net one.onnx").read_bytes())
    new_run(str(source), str(files / "data.npz"), files / "run.toml")
    config = load_config(files / "run.toml")
    assert config.network.source == str(source.resolve())
    assert config.bank.n == 6
