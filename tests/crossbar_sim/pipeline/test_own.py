"""The user's own network and data: from files, from trusted Python, and as objects."""

import hashlib
import json
import re
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from typer.testing import CliRunner

from approx import approx
from crossbar_sim import simulate
from crossbar_sim.cli.commands import app
from crossbar_sim.config import ConfigError, RunConfig, load_config
from crossbar_sim.config.python_files import neighbours, python_sha256
from crossbar_sim.config.study import StudyConfig, with_values
from crossbar_sim.findings.run_score import measured
from crossbar_sim.jobs.run import run
from crossbar_sim.pipeline.own import as_data, given
from crossbar_sim.pipeline.steps import (
    build_model,
    layers_of,
    load_data,
    load_validation,
    train_and_prune,
)
from crossbar_sim.study.runner import Study
from crossbar_sim.study.store import Store
from tinynets.data import Data, from_arrays
from tinynets.networks.training import predict

NET = """
import torch
from torch import nn
import neighbour

def make():
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.BatchNorm1d(5), nn.Linear(5, 3))

def broken():
    return 1 / 0

def nothing():
    return 3

def arrays():
    return neighbour.x, neighbour.y

def metric(outputs, digital, labels):
    return float(abs(outputs - digital).max()) if labels is not None else -1.0
"""
TABLES = """
name = "own"
[network]
source = "weights.safetensors"
python = "net.py:make"
[data]
source = "data.npz"
[simulation]
n_image = 2
"""


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.BatchNorm1d(5), nn.Linear(5, 3)).eval()


def samples(n: int = 40) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {"x": rng.normal(size=(n, 6)), "y": np.arange(n) % 3}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a network, its weights, data, and a configuration that names them."""
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "neighbour.py").write_text(
        "import numpy as np\nx = np.random.default_rng(0).random((40, 6))\ny = np.arange(40) % 3\n"
    )
    safetensors.torch.save_file(network().state_dict(), tmp_path / "weights.safetensors")
    np.savez(tmp_path / "data.npz", **samples())
    (tmp_path / "own.toml").write_text(TABLES)
    return tmp_path


def written(folder: Path, text: str) -> Path:
    path = folder / "other.toml"
    path.write_text(text)
    return path


def test_weights_fill_the_network_of_a_function_as_they_are(folder):
    config = load_config(folder / "own.toml", trust=True)
    data = load_data(config)
    dense, pruned = train_and_prune(config, data)
    wanted = network()(torch.from_numpy(data.x_test)).detach().numpy()
    assert predict(dense, data.x_test) == approx(wanted, rel=1e-6)
    assert predict(pruned, data.x_test) == approx(wanted, rel=1e-6)
    assert len(config.network.source_sha256 or "") == len(config.data.source_sha256 or "") == 64


def test_an_onnx_network_and_a_stack_of_linear_layers_need_no_python(folder):
    stack = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3)).eval()
    torch.save(stack.state_dict(), folder / "stack.pt")
    path = written(
        folder, 'name = "a"\n[network]\nsource = "stack.pt"\n[data]\nsource = "data.npz"'
    )
    config = load_config(path)
    assert load_data(config).x_test.shape == (8, 6)
    assert config.prune is None
    pytest.importorskip("onnx")
    file = folder / "stack.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(stack, (torch.zeros(1, 6),), str(file), dynamo=False)
    config = load_config(written(folder, path.read_text().replace("stack.pt", "stack.onnx")))
    data = load_data(config)
    found = predict(train_and_prune(config, data)[1], data.x_test)
    assert found == approx(predict(stack, data.x_test), rel=1e-5)


def test_two_inputs_of_an_onnx_file_are_arrays_of_their_names(folder):
    """The file takes "wide" first, the data "narrow": they go by name, not by place."""
    pytest.importorskip("onnx")
    from onnx_files import node, save

    rng = np.random.default_rng(5)
    weights = {"w": rng.normal(size=(5, 3)), "v": rng.normal(size=(2, 3))}
    nodes = [
        node("MatMul", ["wide", "w"], "a"),
        node("MatMul", ["narrow", "v"], "b"),
        node("Add", ["a", "b"], "y"),
    ]
    constants = {name: array.astype(np.float32) for name, array in weights.items()}
    save(folder / "two.onnx", nodes, constants, inputs=("wide", "narrow"))
    x = {"wide": rng.normal(size=(40, 5)), "narrow": rng.normal(size=(40, 2))}
    np.savez(folder / "two.npz", **x, y=np.arange(40) % 3)
    text = TABLES.replace("data.npz", "two.npz").replace("weights.safetensors", "two.onnx")
    path = written(folder, text.replace('python = "net.py:make"\n', ""))
    config = load_config(path)
    data = load_data(config)
    wanted = sum(data.x_test[name] @ weights[of] for name, of in (("wide", "w"), ("narrow", "v")))
    _, pruned = train_and_prune(config, data)
    assert predict(pruned, data.x_test) == approx(wanted, rel=1e-5)
    layers = layers_of(config, pruned, data).layers
    found = [
        next(w for w in weights.values() if w.T.shape == layer.weight.shape) for layer in layers
    ]
    assert all(layer.weight == approx(w.T, rel=1e-6) for layer, w in zip(layers, found))
    assert len(layers) == 2
    np.savez(folder / "two.npz", wide=x["wide"], other=x["narrow"], y=np.arange(40) % 3)
    with pytest.raises(ConfigError, match=r"the network has inputs \['wide', 'narrow'\]; got"):
        load_data(load_config(path))


def test_a_network_of_your_own_is_pruned_only_if_a_table_says_so(folder):
    text = TABLES + "[prune]\nsparsity = 0.5\nrounds = 1\nepochs_per_round = 1\n"
    config = load_config(written(folder, text), trust=True)
    data = load_data(config)
    weights = [
        layer.weight for layer in layers_of(config, *train_and_prune(config, data)[1:], data).layers
    ]
    zeros = sum(int((w == 0).sum()) for w in weights)
    assert zeros == approx(0.5 * sum(w.size for w in weights), abs=1)


def test_what_stays_digital_is_left_out_of_die_and_pruning(folder):
    text = TABLES.replace("[data]", 'leave_digital = ["3"]\nfold_batch_norm = true\n[data]')
    config = load_config(
        written(folder, text + "[prune]\nrounds = 1\nepochs_per_round = 1"), trust=True
    )
    data = load_data(config)
    _, pruned = train_and_prune(config, data)
    assert [layer.module for layer in layers_of(config, pruned, data).layers] == ["0"]
    assert bool((pruned[3].weight != 0).all())
    wrong = with_values(config, {"network.leave_digital": ["9"]})
    with pytest.raises(ValueError, match=r"network.leave_digital names \['9'\]"):
        train_and_prune(wrong, data)


def test_folding_changes_no_output(folder):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))
    model[1].running_mean.fill_(0.5)
    config = given(model.eval(), samples(), settings={"network": {"fold_batch_norm": True}})
    data = load_data(config)
    _, pruned = train_and_prune(config, data)
    assert isinstance(pruned[1], nn.Identity)
    assert predict(pruned, data.x_test) == approx(predict(model, data.x_test), rel=1e-5)


def scored(config: RunConfig) -> float:
    ones = np.ones((8, 3))
    return measured(config, from_arrays("d", samples()), ones, ones)


@pytest.mark.parametrize(
    ("text", "message", "use"),
    [
        ('[network]\nsource = "net.py:make"', r"network.source = '.*net.py:make'", build_model),
        ('[data]\nsource = "net.py:arrays"', r"data.source = '.*net.py:arrays'", load_data),
        ('[measure]\nmetric = "net.py:metric"', r"measure.metric = '.*net.py:metric'", scored),
    ],
)
def test_no_python_runs_without_trust(folder, text, message, use):
    """Neither at the start of a command, nor where it is used."""
    (folder / "net.py").write_text("raise SystemExit('it ran')\n" + NET)
    path = written(folder, f'name = "a"\n{text}')
    config = load_config(path)
    with pytest.raises(ConfigError, match=message + " would run Python code; .* --trust"):
        use(config)
    with pytest.raises(ConfigError, match=message):
        run(config, folder)
    store = ["--store", str(folder / "s.sqlite")]
    for command in (["run", str(path)], ["study", str(study_of(path)), *store]):
        assert "would run Python" in str(CliRunner().invoke(app, command).exception)


def study_of(path: Path) -> Path:
    study = path.with_name("study.toml")
    study.write_text(f'name = "s"\nbase = "{path.name}"\ndies = 1\n')
    return study


def test_a_study_cannot_bring_python_that_its_run_lacks(folder):
    path = written(folder, 'name = "a"\n[data]\nsource = "data.npz"')
    study = StudyConfig(name="s", base=path, grid={"network.source": ["net.py:make"]}, dies=1)
    with pytest.raises(ConfigError, match="would run Python"):
        Study(study, load_config(path), Store(folder / "s.sqlite")).run(n_jobs=1)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("broken", r"failed: ZeroDivisionError: division by zero \(net.py, line 10\)"),
        ("nothing", "returned a int; expected a torch.nn.Module"),
        ("absent", "has no function 'absent'"),
    ],
)
def test_python_that_fails_says_where(folder, function, message):
    path = written(folder, f'name = "a"\n[network]\nsource = "net.py:{function}"')
    with pytest.raises(ConfigError, match=message):
        build_model(load_config(path, trust=True))


def test_a_file_counts_by_its_content(folder):
    before = load_config(folder / "own.toml", trust=True)
    np.savez(folder / "data.npz", **samples(60))
    after = load_config(folder / "own.toml", trust=True)
    assert before.digest != after.digest
    stated = TABLES.replace(
        "[simulation]", f'source_sha256 = "{before.data.source_sha256}"\n[simulation]'
    )
    with pytest.raises(ConfigError, match=r"data.npz has changed: its SHA-256 is"):
        load_config(written(folder, stated))
    (folder / "net.py").write_text(NET + "\n")
    with pytest.raises(ConfigError, match=r"net.py, or a file beside it .* has changed since"):
        build_model(after)


def test_files_that_python_imports_from_its_folder_count_too(folder):
    """Directly, in a function, through another, and relatively within a package."""
    (folder / "pack" / "deep").mkdir(parents=True)
    files = {
        "net.py": NET + "\ndef late():\n    from pack.deep import inner\n    import numpy\n",
        "pack/__init__.py": "",
        "pack/deep/inner.py": "from ..other import x\nfrom . import beside",
        "pack/deep/beside.py": "",
        "pack/other.py": "x = 1",
        "pack/stranger.py": "",
        "numpy.txt": "",
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    assert [str(f.relative_to(folder)) for f in neighbours(folder / "net.py").values()] == [
        "neighbour.py",
        "pack/__init__.py",
        "pack/deep/beside.py",
        "pack/deep/inner.py",
        "pack/other.py",
    ]
    seen = [load_config(folder / "own.toml").network.python_sha256]
    for name in ("neighbour.py", "pack/other.py", "pack/__init__.py", "net.py"):
        (folder / name).write_text((folder / name).read_text() + "\n")
        seen.append(load_config(folder / "own.toml").network.python_sha256)
    (folder / "pack" / "stranger.py").write_text("y = 2")
    (folder / "pack" / "deep" / "beside.py").write_text("not Python (")
    assert load_config(folder / "own.toml").network.python_sha256 not in seen
    assert len(set(seen)) == 5
    bare = folder / "bare.py"
    bare.write_text("import numpy\nfrom torch import nn\n")
    assert python_sha256(bare) == hashlib.sha256(bare.read_bytes()).hexdigest()


def test_a_neighbour_is_that_of_the_folder_and_of_now(folder, tmp_path_factory):
    path = written(folder, 'name = "a"\n[data]\nsource = "net.py:arrays"\n')
    before = load_config(path, trust=True)
    wanted = load_data(before).x_test
    other = tmp_path_factory.mktemp("other")
    for name in ("net.py", "other.toml"):
        (other / name).write_text((folder / name).read_text())
    text = (folder / "neighbour.py").read_text()
    (other / "neighbour.py").write_text(text.replace("default_rng(0)", "default_rng(100)"))
    assert not np.array_equal(
        load_data(load_config(other / "other.toml", trust=True)).x_test, wanted
    )
    (folder / "neighbour.py").write_text(text.replace("default_rng(0)", "default_rng(10)"))
    assert not np.array_equal(load_data(load_config(path, trust=True)).x_test, wanted)
    message = "net.py, or a file beside it that it imports, has changed"
    for name in ("neighbour.py", "net.py"):
        for _ in range(2):
            config = load_config(path, trust=True)
            (folder / name).write_text((folder / name).read_text() + "\n")
        with pytest.raises(ConfigError, match=message):
            load_data(config)


def test_a_study_may_vary_files(folder):
    base = load_config(folder / "own.toml", trust=True)
    np.savez(folder / "more.npz", **samples(60))
    other = with_values(base, {"data.source": "more.npz"})
    assert Path(other.data.source) == folder / "more.npz"
    assert other.data.source_sha256 != base.data.source_sha256
    assert load_data(other).x_test.shape == (12, 6)
    assert with_values(base, {"prune.sparsity": 0.5}).prune.sparsity == 0.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[data]\nsource = "none.npz"',
            "data.source = 'none.npz': must be 'digits'.* is not there",
        ),
        (
            '[data]\nsource = "net.py"',
            r"a file \(.npz, .safetensors\), a folder of images.* is another file",
        ),
        ('[data]\nsource = "."', r"a folder of images needs size = \[height, width\]"),
        ('[data]\nsource = "data.npz"\nsize = [8, 8]', "size is for folders of images"),
        ('[network]\nsource = "none.onnx"', "network.source: .*none.onnx cannot be read"),
        ('[network]\nsource = "net.py"', "network.source = 'net.py': must be 'mlp', 'cnn' or"),
        ('[network]\nsource = "weights.pt"\npython = "make"', 'must be a function such as "net.py'),
        ('[network]\npython = "net.py:make"', "python builds the network of a file of weights"),
        ('[network]\nsource = "a.onnx"\nweights = "b.pt"', "weights are for 'mlp', 'cnn' and"),
        ('[network]\nsource = "mlp"\ntrain = false', "'mlp' has no weights; give weights"),
        ('[network]\nweights = "b.pt"\ntrain = true', "but weights are trained already"),
        ('[measure]\nmetric = "f1"', "measure.metric = 'f1': must be 'accuracy', 'top-5'"),
        (
            '[network]\nsource = "cnn"\n[data]\nsource = "data.npz"',
            "'cnn' takes digits, mnist or mnist5000",
        ),
        ('[network]\nsource = "given in Python"', "given in Python, which is not here"),
    ],
)
def test_mistakes(folder, text, message):
    with pytest.raises(ConfigError, match=message):
        build_model(load_config(written(folder, f'name = "a"\n{text}')))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "net.onnx",
            r"an ONNX network; expected a .toml; name it in one, under \[network\]: source",
        ),
        ("data.npz", r"a file of arrays; expected a .toml; name it in one, under \[data\]"),
        ("net.py", r'Python code; .*source = "net.py:make"'),
        (".", "is a directory; expected a .toml"),
    ],
)
def test_another_file_is_named_for_what_it_is(folder, name, message):
    (folder / "net.onnx").write_bytes(b"\x8e")
    with pytest.raises(ConfigError, match=message):
        load_config(folder / name)


TENSORS = tuple(torch.from_numpy(a) for a in samples().values())


@pytest.mark.parametrize(
    "found",
    [
        samples(),
        TENSORS,
        TensorDataset(*TENSORS),
        DataLoader(TensorDataset(*TENSORS), batch_size=7, shuffle=True),
        from_arrays("d", samples(), seed=2),
    ],
    ids=lambda found: type(found).__name__,
)
def test_data_of_every_kind_are_the_same(found):
    one, other = as_data(found, "d", seed=2), from_arrays("d", samples(), seed=2)
    assert vars(one).keys() == vars(other).keys()
    assert len(one.x_train) > 0
    for name, array in vars(other).items():
        assert np.array_equal(getattr(one, name), array), name


def test_given_parts_stay_apart_and_labels_may_be_missing():
    x = torch.arange(60.0).reshape(10, 6)
    pair = (TensorDataset(x[:7]), DataLoader(TensorDataset(x[7:]), batch_size=2))
    data = as_data((pair[0], pair[1]), "d", seed=0)
    assert np.array_equal(data.x_train, x[:7])
    assert np.array_equal(data.x_test, x[7:])
    assert not data.has_labels
    alone = as_data(x, "d", seed=0)
    assert len(alone.x_test) == 2
    rows = np.concatenate([alone.x_train, alone.x_test])
    assert np.array_equal(rows[np.argsort(rows[:, 0])], x)
    for wrong in (3, (x,)):
        with pytest.raises(ConfigError, match="expected a Data, arrays or tensors"):
            as_data(wrong, "d", seed=0)
    with pytest.raises(ValueError, match="7 train samples and 0 labels"):
        as_data({"x_train": x[:7], "x_test": x[7:], "y_test": [0, 1, 2]}, "d", seed=0)


def test_validation_samples_may_come_with_the_data(folder):
    part, whole = samples(9), samples()
    arrays = {f"{name}_{p}": a for p in ("train", "test") for name, a in whole.items()}
    arrays |= {"x_validation": part["x"], "y_validation": part["y"]}
    config = given(network(), arrays)
    x, y = load_validation(config)
    assert np.array_equal(x, part["x"].astype(np.float32))
    assert list(y) == list(part["y"])
    with pytest.raises(ConfigError, match=r"bring x_validation, so validation must be 0; got 0\.2"):
        load_validation(given(network(), arrays, settings={"validation": 0.2}))


def test_what_a_network_cannot_take_is_said():
    with pytest.raises(
        ConfigError, match=r"does not take the samples of data 'data', of shape \(5,\)"
    ):
        load_data(given(network(), {"x": samples()["x"][:, :5]}))
    many = samples() | {"y": np.arange(40) % 5}
    with pytest.raises(ConfigError, match="have 5 classes, but the network has 3 outputs"):
        load_data(given(network(), many))


def test_metrics_are_what_they_are_by_hand():
    data = from_arrays("d", samples(), seed=0)
    rng = np.random.default_rng(1)
    digital = rng.normal(size=(8, 7))
    outputs = digital + 0.3 * rng.normal(size=(8, 7))
    five = [
        label in sorted(range(7), key=lambda k: -row[k])[:5]
        for label, row in zip(data.y_test, outputs)
    ]
    wanted = {
        "accuracy": np.mean([row.argmax() == label for row, label in zip(outputs, data.y_test)]),
        "top-5": np.mean(five),
        "agreement": np.mean([a.argmax() == b.argmax() for a, b in zip(outputs, digital)]),
        "relative error": np.sqrt(((outputs - digital) ** 2).sum() / (digital**2).sum()),
        "mse": ((outputs - digital) ** 2).mean(),
        "cosine": np.corrcoef(outputs.ravel(), digital.ravel())[0, 1],
    }
    for metric, value in wanted.items():
        config = RunConfig.model_validate({"name": "a", "measure": {"metric": metric}})
        rel = 0.2 if metric == "cosine" else 1e-12  # the correlation has the means removed
        assert measured(config, data, outputs, digital) == approx(value, rel=rel), metric
    bare = replace(data, y_train=data.y_train[:0], y_test=data.y_test[:0])
    with pytest.raises(ConfigError, match="'top-5' needs labels"):
        measured(
            RunConfig.model_validate({"name": "a", "measure": {"metric": "top-5"}}),
            bare,
            outputs,
            digital,
        )
    assert measured(RunConfig(name="a"), bare, outputs, digital) == wanted["agreement"]


def test_a_run_without_labels_from_one_file_and_the_same_from_objects(folder):
    """The command with weights, Python and NPZ, against `simulate` with the module itself."""
    np.savez(folder / "data.npz", x=samples(400)["x"])
    text = TABLES.replace("[simulation]", '[measure]\nmetric = "net.py:metric"\n[simulation]')
    path = written(folder, text)
    words = ["run", str(path), "--results", str(folder / "runs"), "--trust"]
    said = CliRunner().invoke(app, words)
    assert said.exit_code == 0, said.output + str(said.exception)
    numbers = json.loads((folder / "runs" / "own" / "report.json").read_text())
    assert [row["network"] for row in numbers["accuracy"]][:1] == ["digital"]
    assert {row["accuracy"] for row in numbers["accuracy"]} == {None}
    assert {row["score"] for row in numbers["measure"]["scores"]} == {-1.0}
    fidelity = numbers["fidelity"]
    assert 0 < fidelity["relative_error"] < 0.2
    assert [row["name"] for row in fidelity["layers"]] == [row["name"] for row in numbers["layers"]]
    assert all(0 < row["relative_error"] < 0.2 for row in fidelity["layers"])
    norm = {"module": "2", "weights": 10 / 55, "products": 0.0}
    assert numbers["digital_fractions"] == [norm]
    html = (folder / "runs" / "own" / "report.html").read_text()
    assert re.search(r">2</th><td[^>]*>18.2 %</td><td[^>]*>0.0 %</td>", html)
    assert "is no share of the samples" in html

    settings = {"simulation": {"n_image": 2}, "measure": {"metric": "agreement"}}
    arrays = np.load(folder / "data.npz")
    done = simulate(network(), dict(arrays), name="obj", root=folder / "runs", settings=settings)
    again = json.loads((done / "report.json").read_text())
    assert again["fidelity"] == fidelity
    first, *others = again["measure"]["scores"]
    assert (first["network"], first["score"], first["low"]) == ("digital", 1.0, None)
    assert all(row["low"] < row["score"] <= row["high"] for row in others)
    assert others


def test_a_study_over_a_module_in_other_processes(folder):
    base = given(network(), samples(), settings={"bank": {"n": 4}}, name="own")
    config = StudyConfig(name="s", base=Path(), dies=2, grid={"bank.n": [3, 4]})
    study = Study(config, base, Store(folder / "s.sqlite")).run(n_jobs=2)
    assert study.failures == []
    assert len(study.records()) == 4
    few, more = study.summary()
    assert more.metric("output_error").value < few.metric("output_error").value
    assert few.metric("accuracy").value <= 1
    files = list((folder / "s.networks").glob("*.pickle"))
    assert len(files) == 2
    other = network()
    with torch.no_grad():
        other[0].weight[0, 0] += 1
    keys = [{t.key for t in Study(config, b, None).trials} for b in (base, given(other, samples()))]
    assert not keys[0] & keys[1]


def test_an_object_is_never_read_from_a_file_that_a_configuration_names(folder):
    """The words of an object in a TOML file do not make a pickle run."""
    base = given(network(), samples())
    sha = base.network.source_sha256
    text = f'name = "a"\n[network]\nsource = "given in Python"\nsource_sha256 = "{sha}"'
    config = load_config(written(folder, text))
    del base
    with pytest.raises(ConfigError, match="given in Python, which is not here"):
        build_model(config)


def test_data_may_have_no_labels_but_not_some():
    x = np.zeros((3, 2), np.float32)
    none = np.zeros(0, np.int64)
    data = Data("d", x, none, x, none)
    for what in (lambda: data.n_class, lambda: data.require_labels("training")):
        with pytest.raises(ValueError, match="have no labels"):
            what()
    with pytest.raises(ValueError, match="give x_validation and y_validation, or none"):
        Data("d", x, none, x, none, x_validation=x)
