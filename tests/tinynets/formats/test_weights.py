"""Weights and networks from files and other libraries; no file is ever executed."""

import os
import pickle
import re
import warnings
import zipfile

import numpy as np
import pytest
import torch
from sklearn.neural_network import MLPClassifier
from torch import nn

import tinynets
from approx import approx
from tinynets.data import digits
from tinynets.formats.linear_stack import linear_stack
from tinynets.formats.weights import from_sklearn, load_weights, read_weights
from tinynets.networks.batch_norm import foldable
from tinynets.networks.masks import apply_masks, masks_of
from tinynets.networks.models import digits_cnn, mlp
from tinynets.networks.training import predict, train

pytestmark = pytest.mark.training


def test_both_file_formats_bring_the_weights_back(tmp_path, data, trained):
    import safetensors.torch as safetensors

    safetensors.save_file(trained.state_dict(), tmp_path / "m.safetensors")
    torch.save(trained.state_dict(), tmp_path / "m.pt")
    torch.save({"epoch": 3, "state_dict": trained.state_dict()}, tmp_path / "m.pth")
    for name in ("m.safetensors", "m.pt", "m.pth"):
        model = load_weights(mlp((64, 32, 10)), tmp_path / name)
        np.testing.assert_array_equal(predict(model, data.x_test), predict(trained, data.x_test))


def test_masks_in_a_file_come_into_force(tmp_path, data, trained):
    small = tinynets.prune(trained, data, sparsity=0.8, rounds=1, epochs=1)
    torch.save(small.state_dict(), tmp_path / "m.pt")
    model = load_weights(mlp((64, 32, 10)), tmp_path / "m.pt")
    assert all(torch.equal(mask, masks_of(small)[path]) for path, mask in masks_of(model).items())
    assert tinynets.extract(model, torch.zeros(1, 64)).sparsity == approx(0.8, abs=1e-3)


class Bomb:
    """What an attacker pickles: loading it creates a directory."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_malicious_file_does_nothing_but_fail(tmp_path):
    trap = tmp_path / "executed"
    torch.save({"fc1.weight": Bomb(trap)}, tmp_path / "zip.pt")
    (tmp_path / "old.pt").write_bytes(pickle.dumps(Bomb(trap), protocol=2))
    with zipfile.ZipFile(tmp_path / "zip.pt") as archive:
        inner = next(n for n in archive.namelist() if n.endswith("data.pkl"))
        assert b"mkdir" in archive.read(inner), "the trap is armed"
    for name in ("zip.pt", "old.pt"):
        with pytest.raises(ValueError, match="could execute code"):
            read_weights(tmp_path / name)
    assert not trap.exists()


def test_a_pickled_model_is_refused(tmp_path, trained):
    torch.save(trained, tmp_path / "model.pt")
    with pytest.raises(ValueError, match=r"state_dict"):
        read_weights(tmp_path / "model.pt")


def test_damaged_and_foreign_files(tmp_path, trained):
    torch.save(trained.state_dict(), tmp_path / "m.pt")
    whole = (tmp_path / "m.pt").read_bytes()
    for n_byte in (0, 1, 10, len(whole) // 3, len(whole) // 2, len(whole) - 1):
        (tmp_path / "part.pt").write_bytes(whole[:n_byte])
        with pytest.raises(ValueError, match=r"truncated|damaged"):
            read_weights(tmp_path / "part.pt")
    torch.save([torch.zeros(1)], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="no state dict"):
        read_weights(tmp_path / "list.pt")
    with pytest.raises(ValueError, match=r"expected a \.safetensors"):
        read_weights(tmp_path / "m.h5")
    with pytest.raises(FileNotFoundError):
        read_weights(tmp_path / "none.pt")
    (tmp_path / "half.safetensors").write_bytes(b"\x10\x00\x00")
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        read_weights(tmp_path / "half.safetensors")


def test_a_tensor_of_an_old_file_that_is_stored_nowhere_is_refused(tmp_path):
    """Torch would take what happens to stand in memory for weights."""
    path, values = tmp_path / "m.pt", torch.arange(14.0)
    torch.save({"a": values[:7], "b": values[7:]}, path, _use_new_zipfile_serialization=False)
    assert read_weights(path)["b"].tolist() == values[7:].tolist()
    content = bytearray(path.read_bytes())
    # The name of the storage stands with each tensor, then in the list of storages.
    _, of_b, _ = re.finditer(rb"\d{6,}", content)
    content[of_b.start()] = ord("x")
    path.write_bytes(content)
    assert torch.load(path, weights_only=True)["b"].shape == (7,)
    with pytest.raises(ValueError, match=r"its tensors take 112 bytes, of which 48 are stored"):
        read_weights(path)


def test_bytes_among_the_weights_of_an_old_file_are_noticed(tmp_path, trained):
    """Its format has no checksums: all weights after them would be other numbers."""
    path = tmp_path / "old.pt"
    torch.save(trained.state_dict(), path, _use_new_zipfile_serialization=False)
    assert read_weights(path).keys() == trained.state_dict().keys()
    content = path.read_bytes()
    path.write_bytes(content[:-4] + bytes(4) + content[-4:])
    assert torch.load(path, weights_only=True)
    with pytest.raises(ValueError, match=r"old\.pt is damaged: it is longer than its tensors"):
        read_weights(path)


def test_a_weight_that_is_not_what_was_saved_is_noticed(tmp_path, trained):
    """Torch reads over the checksums of its own files."""
    torch.save(trained.state_dict(), tmp_path / "m.pt")
    content = bytearray((tmp_path / "m.pt").read_bytes())
    with zipfile.ZipFile(tmp_path / "m.pt") as archive:
        entry = max(archive.infolist(), key=lambda entry: entry.file_size)
    content[entry.header_offset + 200] ^= 0x10
    (tmp_path / "flipped.pt").write_bytes(content)
    assert torch.load(tmp_path / "flipped.pt", weights_only=True)
    with pytest.raises(ValueError, match=r"flipped\.pt is damaged: the checksum of .* again"):
        read_weights(tmp_path / "flipped.pt")
    end = bytearray((tmp_path / "m.pt").read_bytes())
    end[end.rindex(b"PK\x06\x07") + 16] = (
        7  # of several disks, which Python's own test of a ZIP file does not survive
    )
    (tmp_path / "disks.pt").write_bytes(end)
    with pytest.raises(ValueError, match=r"disks\.pt is (truncated|damaged)"):
        read_weights(tmp_path / "disks.pt")


def test_weights_that_do_not_fit(trained):
    with pytest.raises(ValueError, match="do not fit Sequential"):
        load_weights(mlp((64, 33, 10)), trained.state_dict())
    state = trained.state_dict() | {"fc1.bias": torch.full((32,), torch.nan)}
    with pytest.raises(ValueError, match=r"\['fc1.bias'\] hold NaN"):
        load_weights(mlp((64, 32, 10)), state)


def started(start, model):
    return {f"{start}{name}": value for name, value in model.state_dict().items()}


@pytest.mark.parametrize(
    ("wrapped", "content"),
    [
        ("DataParallel", lambda m: started("module.", m)),
        ("torch.compile", lambda m: started("_orig_mod.", m)),
        ("both", lambda m: {"epoch": 1, "net": started("module._orig_mod.", m)}),
        ("Lightning", lambda m: {"state_dict": started("net.", m), "hyper_parameters": {}}),
        (
            "a checkpoint of a training",
            lambda m: {"model_state_dict": m.state_dict(), "optim": {"state": {}, "groups": []}},
        ),
    ],
)
def test_names_and_checkpoints_as_others_write_them(wrapped, content, tmp_path):
    torch.manual_seed(0)
    model, x = mlp((6, 5, 3)), torch.randn(4, 6)
    apply_masks(model, {"fc1": torch.eye(5, 6) != 0})
    torch.save(content(model), tmp_path / "m.pt")
    for target in (mlp((6, 5, 3)), nn.DataParallel(mlp((6, 5, 3)))):
        found = load_weights(target, tmp_path / "m.pt")
        assert torch.equal(getattr(found, "module", found)(x), model(x)), wrapped


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_short_floats_are_read_exactly(dtype, tmp_path):
    state = {name: value.to(dtype) for name, value in mlp((6, 5, 3)).state_dict().items()}
    torch.save(state, tmp_path / "m.pt")
    for found in (load_weights(mlp((6, 5, 3)), tmp_path / "m.pt"), linear_stack(state)):
        assert found.state_dict().keys() == state.keys()
        for name, value in found.state_dict().items():
            assert value.dtype == torch.float32
            assert torch.equal(value, state[name].float())


def test_what_of_a_checkpoint_is_meant_must_be_clear(tmp_path):
    model = mlp((6, 5, 3))
    torch.save({"model": model.state_dict(), "ema": model.state_dict()}, tmp_path / "m.pt")
    with pytest.raises(ValueError, match=r"several state dicts, \['model', 'ema'\]; pass one"):
        load_weights(model, tmp_path / "m.pt")
    with pytest.raises(ValueError, match=r"under \['net\.'\], beside others; pass {k.removeprefix"):
        load_weights(model, started("net.", model) | {"loss.weight": torch.ones(3)})
    with pytest.raises(ValueError, match=r"under \['student\.', 'teacher\.'\], beside others"):
        load_weights(model, started("teacher.", model) | started("student.", model))
    with pytest.raises(ValueError, match=r"Missing key.*fc1.*Unexpected key.*fc3"):
        load_weights(
            model, {name.replace("fc1", "fc3"): v for name, v in started("", model).items()}
        )
    whole = {name: (value * 99).to(torch.int8) for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=r"int8.*save the network before it was quantised"):
        load_weights(model, whole)


@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
@pytest.mark.parametrize("n_class", [10, 2])
def test_scikit_learn_gives_the_same_probabilities(data, activation, n_class):
    few = data.y_train < n_class
    classifier = MLPClassifier((12,), activation=activation, max_iter=3, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # three iterations do not converge
        classifier.fit(data.x_train[few], data.y_train[few])
    logits = predict(from_sklearn(classifier), data.x_test)
    found = torch.softmax(torch.from_numpy(logits), 1).numpy()
    np.testing.assert_allclose(found, classifier.predict_proba(data.x_test), atol=1e-5)


def test_what_scikit_learn_models_are_refused(data):
    with pytest.raises(ValueError, match="after fit"):
        from_sklearn(MLPClassifier())
    labels = np.stack([data.y_train % 2, data.y_train % 3 == 0], 1).astype(int)
    several = MLPClassifier((4,), max_iter=500, tol=1.0, random_state=0)
    several.fit(data.x_train, labels)
    with pytest.raises(ValueError, match="several labels"):
        from_sklearn(several)


class Normed(nn.Module):
    """Batch norms after grouped, dilated, 1-D and dense layers; one that cannot be folded."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=4, bias=False)
        self.bn2, self.bn3 = nn.BatchNorm2d(8), nn.BatchNorm2d(8)
        self.conv4, self.bn4 = nn.Conv1d(8, 6, 3), nn.BatchNorm1d(6)
        self.fc, self.bn5 = nn.Linear(6 * 62, 10), nn.BatchNorm1d(10)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        y = self.conv2(x)
        x = self.bn3(x + y + self.bn2(y))  # bn2 is not alone in reading conv2
        x = self.bn4(self.conv4(x.flatten(2)))
        return self.bn5(self.fc(x.flatten(1)))


def test_batch_norm_is_folded_where_that_is_exact():
    images = digits(seed=0, flat=False)
    torch.manual_seed(0)
    model = train(Normed(), images, epochs=1, learning_rate=0.01)
    folded = tinynets.fold_batch_norm(model)
    assert foldable(model) == [("conv1", "bn1"), ("conv4", "bn4"), ("fc", "bn5")]
    np.testing.assert_allclose(
        predict(folded, images.x_test), predict(model, images.x_test), atol=1e-4
    )
    network = tinynets.extract(folded, torch.zeros(1, 1, 8, 8))
    assert network.digital == ("bn2", "bn3")
    assert isinstance(model.bn1, nn.BatchNorm2d), "the model given is not changed"


def test_folding_keeps_pruned_weights_at_zero(data):
    model = nn.Sequential(nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 10))
    small = tinynets.prune(model, data, sparsity=0.75, rounds=1, epochs=1)
    folded = tinynets.fold_batch_norm(small)
    np.testing.assert_allclose(predict(folded, data.x_test), predict(small, data.x_test), atol=1e-5)
    assert tinynets.extract(folded, torch.zeros(1, 64)).sparsity == approx(0.75, abs=1e-3)


def test_batch_norms_without_statistics_or_used_twice_stay():
    no_statistics = nn.BatchNorm1d(4, track_running_stats=False)
    assert foldable(nn.Sequential(nn.Linear(4, 4), no_statistics)) == []
    layer, norm = nn.Linear(4, 4), nn.BatchNorm1d(4)
    assert foldable(nn.Sequential(layer, norm, nn.ReLU(), layer, norm)) == []
    assert foldable(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(4))) == []


def used(model: nn.Module, n_in: int = 6) -> tuple[nn.Module, torch.Tensor]:
    """Give a model's batch norms statistics and other parameters; return it and inputs."""
    torch.manual_seed(0)
    for _ in range(20):
        model(torch.randn(32, n_in) * 2 + 1)
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm1d) and norm.affine:
            nn.init.uniform_(norm.weight, 0.5, 2.0)
            nn.init.normal_(norm.bias)
    return model.eval(), torch.randn(16, n_in)


NORMS = {
    "weight norm by a hook": nn.utils.weight_norm,
    "spectral norm by a hook": nn.utils.spectral_norm,
    "weight norm": nn.utils.parametrizations.weight_norm,
    "spectral norm": nn.utils.parametrizations.spectral_norm,
    "none": lambda layer: layer,
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated")
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("name", NORMS)
def test_folding_into_a_weight_that_is_computed(name, affine):
    norm = nn.BatchNorm1d(5, affine=affine)
    model, x = used(nn.Sequential(NORMS[name](nn.Linear(6, 5)), norm, nn.ReLU(), nn.Linear(5, 3)))
    folded = tinynets.fold_batch_norm(model)
    assert set(folded.state_dict()) == {"0.weight", "0.bias", "3.weight", "3.bias"}
    torch.testing.assert_close(folded(x), model(x), rtol=1e-5, atol=1e-5)


class Doubled(nn.Module):
    def forward(self, x):
        return 2 * x


def test_a_weight_that_is_computed_in_another_way_is_named():
    layer = nn.Linear(6, 5)
    weight = nn.Parameter(torch.randn(5, 6))
    del layer.weight
    layer.register_parameter("twice", weight)
    layer.weight = weight.detach() / 2
    with pytest.raises(ValueError, match="weight of layer '0' is computed"):
        tinynets.fold_batch_norm(nn.Sequential(layer, nn.BatchNorm1d(5)))
    plain = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5))
    nn.utils.parametrize.register_parametrization(plain[0], "weight", Doubled())
    model, x = used(plain)
    torch.testing.assert_close(tinynets.fold_batch_norm(model)(x), model(x), rtol=1e-5, atol=1e-5)


class TwoReaders(nn.Module):
    """What reads a layer's weight besides its own pass: "a module", "a tensor" or "a path"."""

    def __init__(self, reader: str) -> None:
        super().__init__()
        self.reader, self.fc, self.norm = reader, nn.Linear(6, 6), nn.BatchNorm1d(6)
        self.other = self.fc if reader == "a path" else nn.Linear(6, 6)
        self.again = self.norm if reader == "a path" else nn.Identity()
        self.other.weight = self.fc.weight

    def forward(self, x):
        y = self.norm(self.fc(x))
        if self.reader == "a tensor":
            return nn.functional.linear(y, self.fc.weight)
        return y if self.reader == "a path" else self.other(y)


@pytest.mark.parametrize("reader", ["a module", "a tensor", "a path"])
def test_folding_where_a_weight_has_a_second_reader(reader):
    model, x = used(TwoReaders(reader))
    assert foldable(model) == ([] if reader == "a tensor" else foldable(model))
    torch.testing.assert_close(tinynets.fold_batch_norm(model)(x), model(x), rtol=1e-5, atol=1e-5)


class Standardised(nn.Linear):
    def forward(self, x):
        return nn.functional.linear(x, self.weight / self.weight.std(1, keepdim=True), self.bias)


class Activated(nn.BatchNorm1d):
    def forward(self, x):
        return torch.relu(super().forward(x))


def test_what_computes_something_else_is_not_folded():
    hooked = nn.Linear(6, 5)
    hooked.register_forward_hook(lambda _module, _inputs, y: y.square())
    for layer, norm in (
        (Standardised(6, 5), nn.BatchNorm1d(5)),
        (nn.Linear(6, 5), Activated(5)),
        (hooked, nn.BatchNorm1d(5)),
    ):
        model, x = used(nn.Sequential(layer, norm))
        assert foldable(model) == []
        torch.testing.assert_close(tinynets.fold_batch_norm(model)(x), model(x), rtol=0, atol=0)


class Hidden(nn.Module):
    """Calls a batch norm by a list that torch does not see."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.norm = nn.Linear(6, 6), nn.BatchNorm1d(6)
        self.steps = [self.fc, self.norm]

    def forward(self, x):
        for step in self.steps:
            x = step(x)
        return x


def test_a_batch_norm_that_torch_does_not_see_is_named():
    with pytest.raises(ValueError, match=r"cannot trace Hidden .*not installed as a submodule"):
        tinynets.fold_batch_norm(Hidden())


@pytest.mark.parametrize("bias", [True, False])
def test_folding_with_mixed_dtypes(bias):
    model, x = used(nn.Sequential(nn.Linear(6, 5, bias=bias), nn.BatchNorm1d(5)))
    whole = model(x)
    model[0].bfloat16()
    folded = tinynets.fold_batch_norm(model)
    assert folded[0].weight.dtype == folded[0].bias.dtype == torch.bfloat16
    torch.testing.assert_close(folded(x.bfloat16()).float(), whole, rtol=0.05, atol=0.05)


def test_a_model_that_cannot_be_traced_is_named():
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(2, 2)

        def forward(self, x):
            return self.fc(x) if x.sum() > 0 else x

    with pytest.raises(ValueError, match="cannot trace Branching"):
        tinynets.fold_batch_norm(Branching())


def test_torchs_own_pruning_goes_straight_through(data):
    from torch.nn.utils import prune as torch_prune

    model = mlp((64, 16, 10))
    torch_prune.l1_unstructured(model.fc1, "weight", amount=0.5)
    torch_prune.ln_structured(model.fc2, "weight", amount=0.5, n=2, dim=1)
    network = tinynets.extract(model, torch.zeros(1, 64))
    assert network.layer("fc1").n_remaining == 512
    assert network.layer("fc2").n_remaining == 80
    more = tinynets.prune(model, data, sparsity=0.8, rounds=1, epochs=1)
    assert not (masks_of(more)["fc1"] & ~masks_of(model)["fc1"]).any()


def test_a_network_pruned_by_torch_pruning_goes_straight_through():
    tp = pytest.importorskip("torch_pruning")
    model, example = digits_cnn(), torch.zeros(1, 1, 8, 8)
    graph = tp.DependencyGraph().build_dependency(model, example_inputs=example)
    graph.get_pruning_group(model.conv1, tp.prune_conv_out_channels, idxs=[0, 3]).prune()
    network = tinynets.extract(model, example)
    assert network.layer("conv1").n_out == 6
    assert network.layer("conv2").weight.shape == (16, 54)
