"""ONNX files: read, refused and written back; the operations have a file of their own."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import tinynets
from approx import approx
from tinynets.data import digits
from tinynets.formats.onnx.network import from_onnx
from tinynets.modules.unpacking import unpacked
from tinynets.networks.masks import apply_masks
from tinynets.networks.models import digits_cnn, mlp
from tinynets.networks.training import predict, train

onnx = pytest.importorskip("onnx")
helper, numpy_helper = onnx.helper, onnx.numpy_helper

from onnx_files import RNG, node, normal, save, shared_and_scaled  # noqa: E402

ADD = node("Add", ["a", "b"], "y")
#: An input of any batch.
X = np.float32, ("n", 3, 4)
TRANSFORMATION = "coordinate_transformation_mode"


def compare(path: Any, x: np.ndarray, *, atol: float = 0.0001) -> nn.Module:
    """Return our module after checking its output against ONNX's evaluator."""
    from onnx.reference import ReferenceEvaluator

    module = from_onnx(path)
    with torch.no_grad():
        found = module(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, ReferenceEvaluator(path).run(None, {"x": x})[0], atol=atol)
    return module


def test_a_residual_network_with_batch_norm_groups_and_dilation(tmp_path):
    constants = {
        "stem.weight": normal(8, 1, 3, 3),
        "stem.bias": normal(8),
        "bn.scale": np.abs(normal(8)),
        "bn.bias": normal(8),
        "bn.mean": normal(8),
        "bn.var": np.abs(normal(8)) + 0.5,
        "body.weight": normal(8, 2, 3, 3),
        "fc.weight": normal(10, 16),
        "fc.bias": normal(10),
        "shape": np.array([1, 16]),
    }
    norm = [f"bn.{part}" for part in ("scale", "bias", "mean", "var")]
    nodes = [
        node("Conv", ["x", "stem.weight", "stem.bias"], "a", pads=[1] * 4, strides=[2, 2]),
        node("BatchNormalization", ["a", *norm], "b", epsilon=1e-3),
        node("Relu", ["b"], "c"),
        node("Conv", ["c", "body.weight"], "d", pads=[2] * 4, dilations=[2, 2], group=4),
        node("Add", ["c", "d"], "e"),
        node("Concat", ["e", "c"], "f", axis=1),
        node("GlobalAveragePool", ["f"], "g"),
        node("Reshape", ["g", "shape"], "h"),
        node("Gemm", ["h", "fc.weight", "fc.bias"], "y", transB=1),
    ]
    path = str(save(tmp_path / "m.onnx", nodes, constants))
    module = compare(path, normal(1, 1, 8, 8))
    network = tinynets.extract(module, torch.zeros(3, 1, 8, 8))  # another batch size
    assert [layer.name for layer in network.layers] == ["stem", "body", "fc"]
    assert network.digital == ("bn_scale",)
    folded = tinynets.fold_batch_norm(module)
    assert tinynets.extract(folded, torch.zeros(1, 1, 8, 8)).digital == ()
    x = torch.from_numpy(normal(4, 1, 8, 8))
    torch.testing.assert_close(folded(x), module(x), atol=1e-4, rtol=1e-4)


#: Name: operations from x to y, constants, shape of x.
CASES = {
    "pools": (
        [
            node("MaxPool", ["x"], "a", kernel_shape=[2, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
            node("AveragePool", ["a"], "b", kernel_shape=[2, 2], pads=[1, 1, 1, 1]),
            node("LeakyRelu", ["b"], "c", alpha=0.2),
            node("Flatten", ["c"], "y"),
        ],
        {},
        (2, 3, 8, 9),
    ),
    "one dimension": (
        [
            node("Conv", ["x", "w"], "a", strides=[2]),
            node("AveragePool", ["a"], "b", kernel_shape=[2], strides=[2]),
            node("MaxPool", ["b"], "c", kernel_shape=[2], ceil_mode=1, strides=[2]),
            node("ReduceMean", ["c", "axes"], "y", keepdims=0),
        ],
        {"w": normal(4, 3, 3), "axes": np.array([2])},
        (2, 3, 20),
    ),
    "matrix and bias": (
        [
            node("MatMul", ["x", "w"], "a"),
            node("Add", ["b", "a"], "c"),
            node("Tanh", ["c"], "d"),
            node("MatMul", ["d", "w2"], "e"),
            node("Softmax", ["e"], "y"),
        ],
        {"w": normal(5, 4), "b": normal(4), "w2": normal(4, 3)},
        (2, 5),
    ),
    "arithmetic": (
        [
            helper.make_node("Constant", [], ["two"], value_float=2.0),
            node("Mul", ["x", "two"], "a"),
            node("Sub", ["a", "shift"], "b"),
            node("Clip", ["b", "low", ""], "c"),
            node("Clip", ["c", "", "high"], "d"),
            node("Identity", ["d"], "e"),
            node("Dropout", ["e"], "f"),
            node("Transpose", ["f"], "g", perm=[0, 2, 1]),
            node("Sigmoid", ["g"], "y"),
        ],
        {"shift": normal(4), "low": np.float32(-1), "high": np.float32(1)},
        (2, 3, 4),
    ),
    "scaled gemm": (
        [node("Gemm", ["x", "w", "b"], "y", alpha=0.5, beta=2.0)],
        {"w": normal(5, 4), "b": normal(4)},
        (3, 5),
    ),
    "copied dimension": (
        [node("Reshape", ["x", "shape"], "y")],
        {"shape": np.array([-1, 0, 6])},
        (2, 3, 2, 3),
    ),
    "one weight twice": (
        [node("MatMul", ["x", "w"], "a"), node("MatMul", ["a", "w"], "y")],
        {"w": normal(4, 4)},
        (2, 4),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_operations(tmp_path, name):
    nodes, constants, shape = CASES[name]
    compare(str(save(tmp_path / "m.onnx", nodes, constants)), normal(*shape), atol=1e-5)


def test_a_bias_is_part_of_the_layer(tmp_path):
    nodes, constants, _ = CASES["matrix and bias"]
    module = from_onnx(save(tmp_path / "m.onnx", nodes, constants))
    network = tinynets.extract(module, torch.zeros(1, 5))
    np.testing.assert_allclose(network.layer("w").bias, constants["b"])
    assert network.layer("w2").bias is None


@pytest.mark.parametrize(
    ("nodes", "constants", "message"),
    [
        ([node("Conv", ["x", "x"], "y")], {}, r"Conv 'Conv_y': input 1 \('x'\).* not a constant"),
        ([node("Conv", ["x"], "y")], {}, "lacks its input 1; the file is damaged"),
        ([node("Conv", ["x", "w"], "y")], {"w": normal(2, 3)}, "not 1-D, 2-D or 3-D"),
        ([node("ConvTranspose", ["x", "w"], "y")], {"w": normal(2, 3)}, "output_shape, or"),
        ([node("BatchNormalization", ["x"] * 5, "y", training_mode=1)], {}, "training mode"),
        ([node("LSTM", ["x", "w", "w", "", "n"], "y")], {"w": normal(1, 4, 1)}, "sequence lengths"),
        (
            [node("GRU", ["x", "w", "w"], "y", activations=["Relu", "Tanh"])],
            {"w": normal(1, 3, 1)},
            r"activations \['Relu', 'Tanh'\]",
        ),
        (
            [helper.make_node("MaxPool", ["x"], ["a", "b"], kernel_shape=[2]), ADD],
            {},
            "what it returns besides 'a'",
        ),
        ([node("Relu", ["z"], "y")], {}, r"nothing computes \['z'\]"),
        (
            [node("Add", ["x", "r"], "c"), node("Relu", ["c"], "r"), node("Relu", ["r"], "y")],
            {},
            r"nothing computes \['r'\] before operations read it",
        ),
        ([node("Flatten", ["s"], "z"), node("Tile", ["z", "s"], "y")], {"s": 1.0}, "Tile_y"),
    ],
)
def test_what_is_not_supported_is_named(tmp_path, nodes, constants, message):
    with pytest.raises(ValueError, match=message):
        from_onnx(save(tmp_path / "m.onnx", nodes, constants))


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (node("LRN", ["x"], "y", size=2), "an even size"),
        (node("AveragePool", ["x"], "y", kernel_shape=[2], dilations=[2]), "a dilated average"),
        (node("Cast", ["x"], "y", to=8), "element type 8"),
        (node("GatherND", ["x", "x"], "y", batch_dims=1), "batch_dims"),
        (node("ScatterND", ["x", "x", "x"], "y", reduction="max"), "reduction 'max'"),
        (node("Attention", ["x", "x", "x"], "y", softcap=1.0), "a cache or a soft cap"),
        (node("DepthToSpace", ["x"], "y"), "lacks its attribute 'blocksize'"),
        (node("Squeeze", ["x", "s"], "y"), r"cannot squeeze axes \[1\] of shape \(2, 3, 4\)"),
        (node("Reshape", ["x", "s"], "y"), r"'Reshape_y' cannot take inputs of shapes \[\(2, 3, 4"),
        (
            node("Resize", ["x", "", "", "s3"], "y", keep_aspect_ratio_policy="not_larger"),
            "keep_aspect_ratio_policy",
        ),
        (
            node("Resize", ["x", "", "", "s3"], "y", **{TRANSFORMATION: "tf_crop_and_resize"}),
            "tf_crop_and_resize",
        ),
    ],
)
def test_what_an_operation_cannot_take_is_named(tmp_path, made, message):
    """Some forms show only where the operation runs."""
    constants = {"s": np.array([1]), "s3": np.array([2, 3, 8])}
    network = from_onnx(save(tmp_path / "m.onnx", [made], constants, declared={"x": X}))
    with pytest.raises(ValueError, match=message):
        network(torch.zeros(2, 3, 4))


def test_all_unknown_operations_are_named_at_once(tmp_path):
    nodes = [
        helper.make_node("MaxUnpool", ["x", "x"], ["a"], kernel_shape=[2]),
        node("Bernoulli", ["a"], "b"),
        node("Bernoulli", ["b"], "c"),
        helper.make_node("Fused", ["c"], ["y"], domain="com.maker"),
        node("Det", ["x"], "unused"),
    ]
    wanted = r"m.onnx: .*: Bernoulli \(2\), MaxUnpool \(1\), com.maker.Fused \(1\); build"
    with pytest.raises(ValueError, match=wanted):
        from_onnx(save(tmp_path / "m.onnx", nodes, {}))


@pytest.mark.parametrize("opset", [6, 99])
def test_opsets_of_another_meaning_are_refused(tmp_path, opset):
    path = save(tmp_path / "m.onnx", [node("Relu", ["x"], "y")], {}, opset=opset)
    with pytest.raises(ValueError, match=f"opset {opset}; expected 7 … 28"):
        from_onnx(path)


def test_damaged_files_and_several_inputs(tmp_path):
    nodes, constants, _ = CASES["scaled gemm"]
    whole = save(tmp_path / "m.onnx", nodes, constants).read_bytes()
    (tmp_path / "half.onnx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="truncated or not an ONNX file"):
        from_onnx(tmp_path / "half.onnx")
    (tmp_path / "empty.onnx").write_bytes(b"")
    with pytest.raises(ValueError, match="empty or damaged"):
        from_onnx(tmp_path / "empty.onnx")
    two = save(tmp_path / "two.onnx", [node("Add", ["x", "z"], "y")], {}, inputs=("x", "z"))
    with pytest.raises(ValueError, match=r"expected the inputs \['x', 'z'\]; got 1 tensors"):
        from_onnx(two)(torch.zeros(1))


@pytest.mark.training
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("flat", [True, False])
def test_what_torch_exports_comes_back(tmp_path, flat):
    pytest.importorskip("onnxscript")
    data = digits(seed=0, flat=flat)
    torch.manual_seed(0)
    model = mlp((64, 16, 10)) if flat else digits_cnn()
    train(model, data, epochs=1, learning_rate=0.01)
    example = torch.from_numpy(data.x_test[:1])
    torch.onnx.export(model, (example,), tmp_path / "m.onnx", dynamo=True, verbose=False)
    found = from_onnx(tmp_path / "m.onnx")
    np.testing.assert_allclose(predict(found, data.x_test), predict(model, data.x_test), atol=1e-4)
    small = tinynets.prune(found, data, sparsity=0.5, rounds=1, epochs=1)
    assert tinynets.extract(small, example).sparsity == approx(0.5, abs=1e-3)
    assert isinstance(small, nn.Module)


def test_a_pruned_network_goes_back_into_its_file(tmp_path):
    path = shared_and_scaled(tmp_path)
    data = digits(seed=0, flat=False)
    model = from_onnx(path)
    same = tinynets.save_onnx(model, path, tmp_path / "same.onnx")
    x = data.x_test[:1]  # ONNX's own evaluator keeps to the batch of the file
    small = tinynets.prune(model, data, sparsity=0.7, scope="layer", rounds=1, epochs=1)
    out = tinynets.save_onnx(small, path, tmp_path / "small.onnx")
    assert {p.name for p in tmp_path.iterdir()} == {"m.onnx", "same.onnx", "small.onnx"}
    for file, wanted in ((same, model), (out, small)):
        back = compare(str(file), x)
        with torch.no_grad():
            ours, again = wanted(torch.from_numpy(x)), back(torch.from_numpy(x))
        torch.testing.assert_close(again, ours, rtol=1e-5, atol=1e-5)
    before, after = (tinynets.extract(m, torch.zeros(1, 1, 8, 8)) for m in (small, from_onnx(out)))
    assert len(before.layers) == len(after.layers) > 0
    for old, new in zip(before.layers, after.layers):
        np.testing.assert_array_equal(new.mask, old.mask)


def test_a_pruned_transposed_convolution_goes_back_too(tmp_path):
    how = {"strides": [2, 2], "pads": [1, 0, 0, 1], "output_padding": [1, 1]}
    nodes = [
        node("ConvTranspose", ["x", "w"], "h", **how),
        node("Flatten", ["h"], "f"),
        node("MatMul", ["f", "v"], "y"),
    ]
    tensors = {"w": normal(2, 3, 3, 3), "v": normal(243, 5)}
    path = save(tmp_path / "m.onnx", nodes, tensors)
    model, x = from_onnx(path), torch.from_numpy(normal(1, 2, 4, 4))
    network = tinynets.extract(model, x)
    assert [layer.module for layer in network.layers] == ["w.matrix", "v"]
    assert network.left == ()
    small = unpacked(model)
    apply_masks(small, {"w.matrix": torch.rand(3, 2, 3, 3) > 0.5})
    again = from_onnx(tinynets.save_onnx(small, path, tmp_path / "small.onnx"))
    with torch.no_grad():
        assert (again.w.weight == 0).any()
        torch.testing.assert_close(again(x), small(x), rtol=1e-5, atol=1e-5)


def test_weights_in_constant_operations_go_back_too(tmp_path):
    weight = numpy_helper.from_array(normal(4, 3))
    nodes = [
        helper.make_node("Constant", [], ["w"], value=weight),
        node("Gemm", ["x", "w"], "y", transB=1),
    ]
    path = str(save(tmp_path / "m.onnx", nodes, {}))
    model = from_onnx(path)
    with torch.no_grad():
        model.w.weight[0] = 0.0
    tinynets.save_onnx(model, path, tmp_path / "s.onnx")
    assert not from_onnx(tmp_path / "s.onnx").w.weight[0].any()


def test_what_cannot_go_back_into_a_file(tmp_path):
    path = shared_and_scaled(tmp_path)
    model, out = from_onnx(path), tmp_path / "s.onnx"
    with pytest.raises(ValueError, match="expected a network from from_onnx; got Linear"):
        tinynets.save_onnx(nn.Linear(2, 2), path, out)
    with pytest.raises(ValueError, match="module 'bn_scale' was replaced"):
        tinynets.save_onnx(tinynets.fold_batch_norm(model), path, out)
    other = save(tmp_path / "other.onnx", [node("Relu", ["x"], "y")], {})
    with pytest.raises(ValueError, match="pass the file that was read"):
        tinynets.save_onnx(model, other, out)
    smaller = from_onnx(path)
    smaller.conv.weight = nn.Parameter(smaller.conv.weight[:2])
    with pytest.raises(ValueError, match=r"'conv.weight' has shape \(4, 1, 3, 3\)"):
        tinynets.save_onnx(smaller, path, out)
    twice = [node("MatMul", ["x", "w"], "a"), node("MatMul", ["a", "w"], "y")]
    path = str(save(tmp_path / "twice.onnx", twice, {"w": normal(3, 3)}))
    model = from_onnx(path)
    tinynets.save_onnx(model, path, tmp_path / "ok.onnx")
    with torch.no_grad():
        model.w.weight[0] = 0.0
    with pytest.raises(ValueError, match="operations that share constant 'w'"):
        tinynets.save_onnx(model, path, out)
    assert not out.exists()


def test_float64_files_and_lost_external_data(tmp_path):
    weight, shift = RNG.normal(size=(4, 3)), RNG.normal(size=4)
    nodes = [node("Gemm", ["x", "w"], "a", transB=1), node("Add", ["a", "b"], "y")]
    path = save(tmp_path / "m.onnx", nodes, {"w": weight, "b": shift})
    model, x = from_onnx(path), normal(2, 3)
    found = model(torch.from_numpy(x))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.detach(), x @ weight.T + shift, rtol=1e-5)
    tinynets.save_onnx(model, path, tmp_path / "s.onnx")
    (same, *_) = onnx.load(tmp_path / "s.onnx").graph.initializer
    assert numpy_helper.to_array(same).dtype == np.float64
    big = onnx.load(path)
    onnx.save(
        big, tmp_path / "big.onnx", save_as_external_data=True, location="data", size_threshold=0
    )
    from_onnx(tmp_path / "big.onnx")
    (tmp_path / "data").unlink()
    with pytest.raises(ValueError, match=r"keeps its weights in another file.*/data"):
        from_onnx(tmp_path / "big.onnx")


@pytest.mark.parametrize("name", ["training", "forward", "steps", "constant_0", "weight"])
def test_a_weight_may_have_any_name(tmp_path, name):
    """Some are names of what every torch module has."""
    nodes = [node("MatMul", ["x", name], "h"), node("Add", ["h", "shift"], "y")]
    constants = {name: normal(4, 3), "shift": normal(2, 3)}
    found = compare(save(str(tmp_path / "n.onnx"), nodes, constants), normal(2, 4))
    assert not found.training
    assert len(tinynets.extract(found, torch.zeros(2, 4)).layers) == 1


@pytest.mark.parametrize("kind", ["Gemm", "MatMul", "Conv"])
def test_a_weight_without_elements_is_refused(tmp_path, kind):
    shape = (0, 4, 1, 1) if kind == "Conv" else (4, 0)
    path = save(tmp_path / "n.onnx", [node(kind, ["x", "w"], "y")], {"w": normal(*shape)})
    with pytest.raises(ValueError, match=f"{kind}.*a constant 'w' without elements"):
        from_onnx(path)


@pytest.mark.parametrize("names", [[], [""]])
def test_a_network_without_an_output_is_refused(tmp_path, names):
    """ "" stands for a value that is left out, so there would be no output at all."""
    import onnx

    path = save(tmp_path / "m.onnx", [node("Relu", ["x"], "y")], {})
    model = onnx.load(path)
    del model.graph.output[len(names) :]
    for value, name in zip(model.graph.output, names):
        value.name = name
    onnx.save(model, path)
    with pytest.raises(ValueError, match=r"m\.onnx names no output of its network"):
        from_onnx(path)


def test_damaged_graphs_are_value_errors(tmp_path):
    """Files with one byte changed, as they may come, and two graphs that took other errors."""
    nodes = [node("Gemm", ["x", "w", "b"], "h", transB=1), node("Relu", ["h"], "y")]
    path = save(tmp_path / "n.onnx", nodes, {"w": normal(3, 4), "b": normal(3)})
    model = onnx.load(path)
    model.graph.initializer[0].data_type = 99
    onnx.save(model, tmp_path / "type.onnx")
    model = onnx.load(path)
    del model.graph.node[0].output[:]
    onnx.save(model, tmp_path / "output.onnx")
    for name, message in (("type", "damaged"), ("output", "has no output")):
        with pytest.raises(ValueError, match=message):
            from_onnx(tmp_path / f"{name}.onnx")
    rng, content, n_refused = np.random.default_rng(0), path.read_bytes(), 0
    for _ in range(200):
        damaged = bytearray(content)
        damaged[rng.integers(len(content))] = rng.integers(256)
        (tmp_path / "d.onnx").write_bytes(damaged)
        try:
            from_onnx(tmp_path / "d.onnx")
        except ValueError:
            n_refused += 1
    assert 0 < n_refused < 200
