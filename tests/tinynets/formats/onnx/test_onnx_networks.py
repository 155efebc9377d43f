"""Whole ONNX networks: what torch's exporters write, branches, several inputs and outputs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import tinynets
from tinynets.formats.onnx.network import Choice, from_onnx

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
from onnx import helper  # noqa: E402

from onnx_files import agrees, node, normal, save  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
]


class Attention(nn.Module):
    """Tokens, positions, and a block of attention written out."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(20, 16), nn.Embedding(9, 16)
        self.qkv, self.out = nn.Linear(16, 48), nn.Linear(16, 16)
        self.norm = nn.LayerNorm(16)
        self.up, self.down = nn.Linear(16, 32), nn.Linear(32, 16)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.tokens(ids) + self.places(torch.arange(ids.shape[1]))
        n, t, _ = x.shape
        q, k, v = self.qkv(self.norm(x)).view(n, t, 3, 4, 4).permute(2, 0, 3, 1, 4)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(x)))


class Classes(nn.Module):
    """A vision transformer's start: patches, and a token for the class before them."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.token = nn.Conv2d(1, 8, 4, 4), nn.Parameter(torch.randn(1, 1, 8))
        self.mix, self.head = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1)
        return self.head((x + self.mix(x, x, x, need_weights=False)[0])[:, 0])


class Recurrent(nn.Module):
    """A recurrent network with a layer for the last moment."""

    def __init__(self, kind: type, **options: Any) -> None:
        super().__init__()
        self.inner, self.head = kind(4, 6, batch_first=True, **options), nn.LazyLinear(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.inner(x)[0][:, -1])


class Odds(nn.Module):
    """What networks do between layers."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b = F.pad(x, (0, 1, 2, 1), value=0.5).chunk(2, 1)
        y = torch.where(a > b, a.clamp(max=0.5), b.abs().sqrt())
        y = F.interpolate(y, scale_factor=2, mode="bilinear")
        y = F.pixel_shuffle(torch.cat([y, y.exp(), y.log1p(), y.neg()], 1), 2)
        y = y / y.norm(dim=1, keepdim=True).clamp(min=1e-3) + y.std(dim=(2, 3), keepdim=True)
        return torch.stack([y.amax((2, 3)), y.mean((2, 3))], -1).roll(1, 1)[:, ::2]


class Parallel(nn.Module):
    """Layers that all read the same, and their outputs in a row."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([layer(x).flatten(1) for layer in self.layers], 1)


PICTURE = (1, 4, 8, 8)
ACTIVATIONS = (
    *(nn.PReLU(4), nn.Hardswish(), nn.Hardsigmoid(), nn.GELU(), nn.GELU("tanh"), nn.ELU()),
    *(nn.SELU(), nn.SiLU(), nn.Mish(), nn.Softplus(), nn.LeakyReLU(0.2), nn.ReLU6()),
    *(nn.CELU(), nn.LogSoftmax(1), nn.Softsign(), nn.Tanh(), nn.Hardtanh()),
)
LAYERS = (
    *(nn.GroupNorm(2, 4), nn.InstanceNorm2d(4, affine=True), nn.LayerNorm([4, 8, 8])),
    *(nn.BatchNorm2d(4), nn.Upsample(scale_factor=2), nn.AdaptiveAvgPool2d(2)),
    *(nn.ConvTranspose2d(4, 2, 3, 2, output_padding=1), nn.PixelShuffle(2), nn.Flatten()),
    *(nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(3, 2, 1), nn.ReflectionPad2d(1)),
    *(nn.Conv2d(4, 2, 4, padding="same"), nn.ZeroPad2d((0, 1, 0, 1)), nn.Softmax2d()),
    nn.LocalResponseNorm(3),
)
#: What torch's exporters (the new one, the old one) write for the example's batch alone.
FOR_ONE_BATCH = {True: {"classes", "encoder", "lstm", "gru"}, False: {"classes", "encoder"}}
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "activations": (lambda: nn.Sequential(nn.Conv2d(4, 8, 3), nn.GLU(1), *ACTIVATIONS), PICTURE),
    "layers": (lambda: Parallel(*LAYERS), PICTURE),
    "attention": (Attention, (1, 6)),
    "classes": (Classes, (1, 1, 8, 8)),
    "odds": (Odds, PICTURE),
    "encoder": (
        lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu"),
        (1, 5, 8),
    ),
    "lstm": (lambda: Recurrent(nn.LSTM, bidirectional=True, num_layers=2), (1, 5, 4)),
    "gru": (lambda: Recurrent(nn.GRU), (1, 5, 4)),
    "rnn": (lambda: Recurrent(nn.RNN), (1, 5, 4)),
    "one dimension": (
        lambda: nn.Sequential(nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4), nn.AvgPool1d(2)),
        (1, 3, 9),
    ),
}


def exported(name: str, path: Path, **options: Any) -> tuple[nn.Module, torch.Tensor]:
    """Export a network; return it and a batch of one."""
    make, shape = NETWORKS[name]
    torch.manual_seed(0)
    example = torch.randint(20, shape) if name == "attention" else torch.rand(shape)
    model = make().eval()
    model(example)
    for part in model.modules():  # as after training: not the ones and zeros of the start
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(part.running_mean)  # pyright: ignore[reportArgumentType]
    torch.onnx.export(model, (example,), path, verbose=False, **options)
    return model, example


@pytest.mark.parametrize(
    ("name", "options"),
    [  # the new exporter takes many times as long; the old one cannot export torch's encoder
        *((name, {"dynamo": False, "opset_version": 17}) for name in NETWORKS if name != "encoder"),
        *((name, {"dynamo": True}) for name in ("odds", "attention", "encoder", "gru")),
    ],
)
def test_what_torch_exports_for_one_sample_takes_any_batch(tmp_path, name, options):
    model, example = exported(name, tmp_path / "m.onnx", **options)
    network = agrees(tmp_path / "m.onnx", {first_input(tmp_path / "m.onnx"): example.numpy()})
    more = torch.cat([example, example.flip(-1), example])
    if name in FOR_ONE_BATCH[options["dynamo"]]:
        with pytest.raises(ValueError, match="takes shape"):
            network(more)
        return
    with torch.no_grad():
        torch.testing.assert_close(network(more), model(more), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "opset"),
    [
        *(("layers", opset) for opset in (9, 11, 13, 16)),
        *(("odds", opset) for opset in (11, 13)),
        *(("attention", opset) for opset in (16, 23)),
        *(("lstm", opset) for opset in (9, 16)),
        ("classes", 16),
    ],
)
def test_exports_of_every_opset(tmp_path, name, opset):
    new = opset >= 18
    path = tmp_path / "m.onnx"
    shapes = {"dynamic_shapes": ({0: "n"},)} if new else {"dynamic_axes": {"x": {0: "n"}}}
    options = {"dynamo": new, "opset_version": opset, "input_names": ["x"], **shapes}
    _, example = exported(name, path, **options)
    agrees(path, {"x": example.numpy()})


def first_input(path: Path) -> str:
    """Return the name of a file's first input."""
    return onnx.load(path, load_external_data=False).graph.input[0].name


def branch(kind: str, weight: str) -> Any:
    """Return a branch of If: a product with a matrix of its own, and an operation."""
    arrays = [onnx.numpy_helper.from_array(normal(4, 4), weight)]
    nodes = [node("MatMul", ["x", weight], "h"), node(kind, ["h"], f"{weight}_out")]
    return helper.make_graph(
        nodes, weight, [], [onnx.ValueInfoProto(name=nodes[-1].output[0])], arrays
    )


def choosing(path: Path) -> Path:
    """Write a network whose input `rate` chooses between two branches."""
    branches = {"then_branch": branch("Relu", "low"), "else_branch": branch("Tanh", "high")}
    nodes = [
        node("Less", ["rate", "limit"], "is_low"),
        node("If", ["is_low"], "a", **branches),
        node("If", ["is_low"], "b", **branches),
        node("Add", ["a", "b"], "y"),
    ]
    declared = {"x": (np.float32, ("n", 4)), "rate": (np.int64, ())}
    return save(path, nodes, {"limit": np.array(9)}, inputs=("x", "rate"), declared=declared)


@pytest.mark.parametrize("rate", [8, 16])
def test_an_input_that_is_fixed_chooses_the_branch(tmp_path, rate):
    path, x = choosing(tmp_path / "m.onnx"), normal(3, 4)
    network = agrees(path, {"x": x, "rate": np.array(rate)}, fixed={"rate": rate})
    assert list(network.shapes) == ["x"]
    assert not any(isinstance(module, Choice) for module in network.modules())
    layers = tinynets.extract(network, torch.from_numpy(x)).layers
    assert len(layers) == 2
    assert all(("low" if rate < 9 else "high") in layer.name for layer in layers)
    with pytest.raises(ValueError, match=r"fixed names \['pace'\]; the inputs are \['x', 'rate'\]"):
        from_onnx(path, fixed={"pace": 1})


@pytest.mark.parametrize("rate", [8, 16])
def test_a_computed_condition_chooses_at_every_pass(tmp_path, rate):
    path, x = choosing(tmp_path / "m.onnx"), normal(3, 4)
    network = agrees(path, {"x": x, "rate": np.array(rate)})
    assert sum(isinstance(module, Choice) for module in network.modules()) == 2


def test_unknown_operations_in_branches_are_named(tmp_path):
    inner = helper.make_graph([node("Det", ["x"], "z")], "g", [], [onnx.ValueInfoProto(name="z")])
    made = node("If", ["c"], "y", then_branch=inner, else_branch=inner)
    path = save(tmp_path / "m.onnx", [made], {}, inputs=("x", "c"))
    with pytest.raises(ValueError, match=r"not known: Det \(2\)"):
        from_onnx(path)


def test_a_state_with_its_batch_elsewhere_becomes_a_constant(tmp_path):
    nodes = [
        node("Gather", ["state", "first"], "h", axis=0),
        node("MatMul", ["x", "w"], "a"),
        node("Add", ["a", "h"], "y"),
    ]
    constants = {"first": np.int64(1), "w": normal(8, 4)}
    path = save(tmp_path / "state.onnx", nodes, constants, inputs=("x", "state"))
    x, state = torch.randn(3, 8), torch.randn(2, 1, 4)
    message = r"x of shape \(1, 8\), state of shape \(2, 1, 4\); an input with its batch elsewhere"
    with pytest.raises(ValueError, match=message):
        tinynets.extract(from_onnx(path), {"x": x[:1], "state": state})
    model = from_onnx(path, fixed={"state": state.numpy()})
    (layer,) = tinynets.extract(model, x).layers
    wanted = x @ torch.from_numpy(layer.weight).float().T + state[1]
    assert torch.allclose(model(x), wanted, rtol=0, atol=1e-5)


def test_outputs_are_chosen_by_name(tmp_path):
    nodes = [
        node("MatMul", ["x", "w"], "a"),
        node("Relu", ["a"], "b"),
        node("Det", ["b"], "c"),
    ]
    path = save(tmp_path / "m.onnx", nodes, {"w": normal(4, 4)}, outputs=("b", "c"))
    with pytest.raises(ValueError, match=r"Det \(1\)"):
        from_onnx(path)
    x = torch.from_numpy(normal(2, 4))
    (first, second), only = from_onnx(path, outputs=("b", "a"))(x), from_onnx(path, outputs=("b",))
    torch.testing.assert_close(first, second.relu(), rtol=0, atol=0)
    torch.testing.assert_close(only(x), first, rtol=0, atol=0)
    with pytest.raises(ValueError, match=r"outputs names \['d'\]; the outputs are \['b', 'c'\]"):
        from_onnx(path, outputs=("d",))


def test_a_network_that_mixes_samples_keeps_its_batch(tmp_path):
    """A softmax over the batch would be another function of twice as many samples."""
    nodes = [node("Softmax", ["x"], "a", axis=0), node("Reshape", ["a", "s"], "y")]
    declared = {"x": (np.float32, (2, 3))}
    path = save(tmp_path / "m.onnx", nodes, {"s": np.array([2, 3])}, declared=declared)
    network = agrees(path, {"x": normal(2, 3)})
    with pytest.raises(ValueError, match=r"input 'x' takes shape \(2, 3\); got \(4, 3\)"):
        network(torch.zeros(4, 3))


def test_other_inputs_than_declared_are_refused(tmp_path):
    declared = {"x": (np.float32, ("n", 3))}
    path = save(tmp_path / "m.onnx", [node("Relu", ["x"], "y")], {}, declared=declared)
    network = from_onnx(path)
    with pytest.raises(ValueError, match=r"'x' takes shape \(any, 3\); got \(2, 4\)"):
        network(torch.zeros(2, 4))
    with pytest.raises(ValueError, match=r"'x' takes floating-point numbers; got torch.int64"):
        network(torch.zeros(2, 3, dtype=torch.int64))


def test_weights_that_the_file_computes_or_shares(tmp_path):
    """Transposed and repeated constants are weights; what an exporter shares goes back shared."""
    nodes = [
        node("Transpose", ["w"], "turned", perm=[1, 0]),
        node("MatMul", ["x", "turned"], "a"),
        node("Identity", ["v"], "again"),
        node("MatMul", ["a", "again"], "b"),
        node("MatMul", ["left", "b"], "y"),
    ]
    constants = {"w": normal(5, 4), "v": normal(5, 3), "left": normal(6, 2)}
    path = save(tmp_path / "m.onnx", nodes, constants, declared={"x": (np.float32, (2, 4))})
    network = agrees(path, {"x": normal(2, 4)})
    assert [name for name, m in network.named_modules() if isinstance(m, nn.Linear)] == [
        "turned",
        "v",
        "left",
    ]
    with pytest.raises(ValueError, match=r"no constants \['turned'\]"):
        tinynets.save_onnx(network, path, tmp_path / "s.onnx")
    rest = from_onnx(save(tmp_path / "r.onnx", nodes[2:], constants, inputs=("a",)))
    with torch.no_grad():
        rest.left.weight[0] = 0.0
    tinynets.save_onnx(rest, tmp_path / "r.onnx", tmp_path / "s.onnx")
    x = torch.from_numpy(normal(2, 5))
    torch.testing.assert_close(from_onnx(tmp_path / "s.onnx")(x), rest(x), rtol=0, atol=0)
