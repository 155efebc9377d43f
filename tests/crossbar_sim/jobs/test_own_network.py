"""The user's own network goes from its file onto a die, and on to every other command."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from crossbar_sim.cli.commands import app
from crossbar_sim.config import ConfigError
from crossbar_sim.jobs.own_network import read_own
from crossbar_sim.jobs.source import read_source
from tinynets.formats.readers import read_network
from tinynets.formats.weights import save_weights
from tinynets.networks.extraction import extract
from tinynets.networks.models import mlp

CONFIG = """
name = "mine"
[bank]
n = 4
[tile]
n_word = 16
n_bit = 8
[wires]
source = "given"
r_word = 1.5
r_bit = 2.5
"""


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_weights(mlp((12, 9, 4)), tmp_path / "own.safetensors")
    return tmp_path / "own.safetensors"


def call(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})


def test_weights_are_mapped_and_go_through_the_other_commands(weights, tmp_path):
    (tmp_path / "run.toml").write_text(CONFIG)
    done = call("map", weights, "--output", tmp_path / "m", "--config", tmp_path / "run.toml")
    assert done.exit_code == 0, done.output
    assert "stays digital: no layer with weights" in done.stderr
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert [(row["weights"], row["tiles"]) for row in rows] == [("108", "2"), ("36", "1")]
    assert [row["branches"] for row in rows] == ["864", "288"]
    source = read_source(tmp_path / "m")
    assert (source.mapped.die.bank.n, source.mapped.tile.n_bit) == (4, 8)
    assert source.hardware.wires.r_word == 1.5
    stored = [layer.source.weight for layer in source.mapped.layers]
    wanted = extract(read_network(weights), torch.zeros(1, 12)).layers
    assert len(stored) == 2
    for weight, layer in zip(stored, wanted, strict=True):
        np.testing.assert_array_equal(weight, layer.weight)
    assert call("verify", tmp_path / "m", "--vectors", 2).exit_code == 0
    done = call("verify", tmp_path / "m", "--vectors", 2, "--layers", "fc1")
    assert [line.split(",")[0] for line in done.stdout.splitlines()[1:]] == ["fc1_0_0", "fc1_1_0"]
    with pytest.raises(ValueError, match="expected a layer of fc1, fc2; got 'fc3'"):
        raise call("verify", tmp_path / "m", "--layers", "fc3").exception
    again = call("map", weights, "--output", tmp_path / "m")
    assert isinstance(again.exception, FileExistsError)


def test_masks_of_the_tiles_of_a_layer(weights, tmp_path):
    pytest.importorskip("klayout.db")
    (tmp_path / "run.toml").write_text(CONFIG)
    call("map", weights, "--output", tmp_path / "m", "--config", tmp_path / "run.toml")
    done = call("layout", tmp_path / "m", "--output", tmp_path / "masks", "--layers", "fc2")
    assert {Path(line).stem for line in done.stdout.splitlines()} == {"fc2_0_0_switch"}, done.output


def convolution(path: Path, sizes: list[int | str]) -> Path:
    """Write a convolution and a dense layer as ONNX, with an input of these sizes."""
    onnx = pytest.importorskip("onnx")
    from onnx_files import node, normal, save

    shape = np.array([-1, 108])
    constants = {"c": normal(3, 2, 3, 3), "s": shape, "w": normal(108, 5)}
    nodes = [node("Conv", ["x", "c"], "a"), node("Relu", ["a"], "b")]
    nodes += [node("Reshape", ["b", "s"], "d"), node("MatMul", ["d", "w"], "y")]
    model = onnx.load(save(path, nodes, constants))
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, sizes)
    model.graph.input[0].CopyFrom(value)
    onnx.save(model, path)
    return path


def test_an_onnx_file_says_its_shape_or_is_asked_for(tmp_path):
    own = read_own(convolution(tmp_path / "a.onnx", ["n", 2, 8, 8]))
    assert [layer.weight.shape for layer in own.network.layers] == [(3, 18), (5, 108)]
    assert own.network.layers[0].n_mvm == 36
    convolution(tmp_path / "b.onnx", ["n", 2, "height", 8])
    with pytest.raises(ConfigError, match="does not fix the size of its input 'x'; pass --shape"):
        read_own(tmp_path / "b.onnx")
    own = read_own(tmp_path / "b.onnx", shape=(2, 8, 8))
    assert own.network.layers[0].n_mvm == 36
    with pytest.raises(ConfigError, match=r"input of shape \(3, 8, 8\): .*--shape"):
        read_own(tmp_path / "b.onnx", shape=(3, 8, 8))
    done = call("map", tmp_path / "b.onnx", "--output", tmp_path / "m", "--shape", "2,8,8")
    assert done.exit_code == 0, done.output
    names = [row["layer"] for row in csv.DictReader(done.stdout.splitlines())]
    done = call("map", tmp_path / "b.onnx", "--output", tmp_path / "n", "--shape", "2,x")
    assert done.exit_code == 2
    assert "sizes such as 3,32,32; got '2,x'" in done.output
    assert json.loads((tmp_path / "m" / "hardware.json").read_text())["version"] == 1
    assert len(names) == 2


def test_the_architecture_of_weights_is_the_models(tmp_path):
    from crossbar_sim.config import load_config
    from crossbar_sim.pipeline.steps import build_model

    path = tmp_path / "run.toml"
    path.write_text(CONFIG + '[model]\nkind = "cnn"\nchannels = [3, 4]\n')
    save_weights(build_model(load_config(path)), tmp_path / "cnn.pt")
    own = read_own(tmp_path / "cnn.pt", path)
    assert own.network.layers[0].weight.shape == (3, 9)
    with pytest.raises(ConfigError, match="pass --config"):
        read_own(tmp_path / "cnn.pt")


def test_the_architecture_may_be_trusted_python(weights, tmp_path):
    (tmp_path / "net.py").write_text(
        "from tinynets.networks.models import mlp\ndef make():\n    return mlp((12, 9, 4))\n"
    )
    np.savez(tmp_path / "data.npz", x=np.random.default_rng(0).random((10, 12)))
    path = tmp_path / "run.toml"
    tables = '[network]\nsource = "own.safetensors"\npython = "net.py:make"\n'
    path.write_text(CONFIG + tables + '[data]\nsource = "data.npz"\n')
    words = ("map", weights, "--output", tmp_path / "m", "--config", path)
    with pytest.raises(ConfigError, match=r"net.py:make' would run Python code; .* --trust"):
        raise call(*words).exception
    done = call(*words, "--trust")
    assert done.exit_code == 0, done.output
    assert [layer.source.module for layer in read_source(tmp_path / "m").mapped.layers] == [
        "fc1",
        "fc2",
    ]


def test_a_file_of_several_inputs_is_refused_by_their_names(tmp_path):
    pytest.importorskip("onnx")
    from onnx_files import node, normal, save

    nodes = [node("MatMul", ["a", "w"], "h"), node("Add", ["h", "b"], "y")]
    save(tmp_path / "two.onnx", nodes, {"w": normal(3, 2)}, inputs=("a", "b"))
    done = call("map", tmp_path / "two.onnx", "--output", tmp_path / "m")
    message = r"two.onnx has inputs \['a', 'b'\]; pass --config with a file whose \[data\] holds "
    with pytest.raises(ConfigError, match=message + "arrays of these names, such as a_train"):
        raise done.exception
    assert not (tmp_path / "m").exists()


def test_what_cannot_be_mapped_is_one_line(weights, tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(CONFIG + '[select]\nobjective = "aware"\n')
    with pytest.raises(ConfigError, match="needs data, which `map` does not take"):
        read_own(weights, path).mapped()
    with pytest.raises(ConfigError, match="does not exist"):
        read_own(tmp_path / "absent.onnx")
    with pytest.raises(ConfigError, match=r"expected a file of \.onnx"):
        read_own(path)
