"""Every ONNX operation that is read, against onnxruntime."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinynets.formats.onnx.layers import LAYERS
from tinynets.formats.onnx.operators import FUNCTIONS, GROUPS

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from onnx_files import agrees, normal, save  # noqa: E402

ROOT = Path(__file__).parents[4]
RNG = np.random.default_rng(1)
I64 = np.int64


def one(kind: str, *inputs: Any, opset: int = 18, **attributes: Any) -> Any:
    """Return a case: an operation of a random input of a shape, or of given values.

    A tuple is the shape of a computed input, an array a constant, None an input left out.
    """
    return pytest.param(kind, inputs, opset, attributes, id=f"{kind}-{opset}-{len(inputs)}")


def array(*values: Any, dtype: type = I64) -> np.ndarray:
    """Return a constant of these values."""
    return np.array(values, dtype)


def whole(*shape: int) -> np.ndarray:
    """Return whole numbers 0 … 2."""
    return RNG.integers(0, 3, shape)


S, A = (2, 3, 4), normal(2, 3, 4)
PICTURE = (2, 4, 6, 7)
P = normal(*PICTURE)
YES = A > 0
HALF = np.abs(A) / (np.abs(A).max() + 1)
EMPTY = array(dtype=np.float32)
SAME = {"coordinate_transformation_mode": "half_pixel"}
SIMPLE = [
    "Abs",
    "Asinh",
    "Atan",
    "Ceil",
    "Cos",
    "Cosh",
    "Elu",
    "Erf",
    "Exp",
    "Floor",
    "HardSigmoid",
]
SIMPLE += ["Neg", "Reciprocal", "Round", "Selu", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus"]
SIMPLE += ["Softsign", "Tan", "Tanh", "Relu", "LeakyRelu", "ThresholdedRelu", "Celu", "Mish"]
SIMPLE += ["HardSwish", "Identity", "Shape", "Size", "Dropout", "LpNormalization", "Flatten"]
SIMPLE += ["NonZero", "IsNaN", "Hardmax", "Softmax", "LogSoftmax", "Transpose"]
REDUCE = ["L1", "L2", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare"]
BINARY = ["Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean"]
COMPARE = ["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"]

OPERATIONS = [
    *(one(kind, A) for kind in SIMPLE),
    *(one(kind, HALF) for kind in ("Acos", "Asin", "Atanh", "Log", "Sqrt")),
    one("Acosh", HALF + 1),
    *(one(kind, A, opset=o) for o in (7, 11, 13) for kind in ("Softmax", "LogSoftmax", "Hardmax")),
    one("Softmax", A, axis=1, opset=7),
    one("Softmax", A, axis=1, opset=13),
    one("Elu", A, alpha=0.3),
    one("Selu", A, alpha=0.3, gamma=2.0),
    one("HardSigmoid", A, alpha=0.5, beta=0.1),
    one("Gelu", A, opset=20),
    one("Gelu", A, opset=20, approximate="tanh"),
    one("Swish", A, opset=24, alpha=0.5),
    one("PRelu", A, normal(3, 1), opset=9),
    one("PRelu", A, normal(1), opset=7),
    one("Clip", A, opset=7),
    one("Clip", A, opset=7, min=-0.5),
    one("Clip", A, opset=10, min=-0.5, max=0.25),
    one("Clip", A, np.float32(-0.5), opset=11),
    one("Clip", A, None, np.float32(0.5), opset=13),
    one("Clip", A, np.float32(-0.5), np.float32(0.5), opset=13),
    one("Clip", whole(4), array(1)[0], opset=13),
    one("Clip", A, opset=13),
    *(one(kind, A, normal(3, 1)) for kind in BINARY),
    *(one(kind, A, normal(3, 1), opset=8) for kind in BINARY),
    one("Max", A, normal(3, 1), normal(2, 1, 4)),
    one("Div", array(-7, 7, 5), array(2, -2, 5)),
    one("Mod", array(-7, 7, 5), array(2, -3, 5)),
    one("Mod", A, np.abs(A) + 1, fmod=1),
    one("Pow", np.abs(A), np.float32(1.5)),
    one("Pow", A, array(2)[0]),
    one("Pow", array(2, 3), np.float32(2), opset=13),
    *(one(kind, whole(3, 4), whole(3, 4)) for kind in COMPARE),
    *(one(kind, YES, ~YES) for kind in ("And", "Or", "Xor")),
    one("Not", YES),
    one("Where", YES, A, normal(1)),
    *(one(f"Reduce{kind}", A, opset=11) for kind in REDUCE),
    *(one(f"Reduce{kind}", A, opset=11, axes=[0, -1], keepdims=0) for kind in REDUCE),
    *(one(f"Reduce{kind}", A, array(1), opset=18) for kind in REDUCE),
    one("ReduceLogSum", HALF, array(1, 2), keepdims=0),
    one("ReduceSum", A, array(1), opset=13, keepdims=0),
    one("ReduceSum", A, opset=13, noop_with_empty_axes=1),
    one("ReduceMean", A, array(), opset=18),
    one("ReduceSum", whole(3, 4), array(1)),
    one("ArgMax", A, axis=1),
    one("ArgMax", whole(3, 9), axis=-1, keepdims=0, select_last_index=1),
    one("ArgMin", A, keepdims=0),
    one("CumSum", A, array(1)[0]),
    one("CumSum", A, array(2)[0], exclusive=1, reverse=1),
    one("TopK", A, array(2), n_output=2),
    one("TopK", A, k=2, axis=1, opset=9, n_output=2),
    one("TopK", A, array(2), largest=0, axis=0, n_output=2),
    one("Einsum", A, normal(2, 4, 5), equation="bij,bjk->bik"),
    one("MatMul", A, normal(2, 4, 5)),
    one("MatMul", (2, 3, 4), (2, 4, 5)),
    one("Gemm", (4, 3), (5, 4), (5,), transA=1, transB=1, alpha=0.5, beta=2.0),
    one("Gemm", (4, 3), normal(4, 5), normal(3, 1), transA=1, opset=7),
    one("Gemm", (3, 4), normal(4, 5), normal(3, 1), beta=0.5),
    one("Gemm", (3, 4), normal(4, 5), (5,)),
    one("LayerNormalization", A, normal(4), normal(4), epsilon=1e-3),
    one("LayerNormalization", A, normal(3, 4), axis=1),
    one("RMSNormalization", A, normal(4), opset=23),
    one("InstanceNormalization", A, normal(3), normal(3), opset=7),
    one("GroupNormalization", P, normal(2), normal(2), num_groups=2, opset=18),
    one("GroupNormalization", P, normal(4), normal(4), num_groups=2, opset=21),
    one("LRN", P, size=3, alpha=0.1, beta=0.6, bias=2.0),
    one("LpNormalization", A, p=1, axis=1),
    one("Attention", normal(2, 3, 5, 4), normal(2, 3, 6, 4), normal(2, 3, 6, 4), opset=23),
    one("Attention", *[normal(2, 5, 12)] * 3, q_num_heads=3, kv_num_heads=3, is_causal=1, opset=23),
    one("Attention", *[normal(2, 3, 5, 4)] * 3, normal(5, 5), scale=0.7, opset=23),
    one("Attention", *[normal(2, 3, 5, 4)] * 3, normal(5, 5) > -2, opset=23),
    one("AveragePool", P, kernel_shape=[2, 3], pads=[1, 1, 0, 2], strides=[2, 2], opset=7),
    one("AveragePool", P, kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1),
    one("AveragePool", P, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1, opset=10),
    one("AveragePool", P, kernel_shape=[3, 3], pads=[1] * 4, strides=[3, 3], ceil_mode=1, opset=19),
    one("AveragePool", P, kernel_shape=[3, 2], auto_pad="SAME_UPPER", strides=[2, 2]),
    one("AveragePool", P, kernel_shape=[3, 2], auto_pad="VALID"),
    one("AveragePool", A, kernel_shape=[2]),
    one("MaxPool", P, kernel_shape=[2, 3], pads=[1, 1, 0, 2], strides=[2, 2], opset=8),
    one("MaxPool", P, kernel_shape=[2, 2], dilations=[2, 3], ceil_mode=1, strides=[2, 2]),
    one("MaxPool", P, kernel_shape=[3, 2], auto_pad="SAME_LOWER", strides=[2, 2]),
    one("MaxPool", normal(1, 2, 4, 5, 6), kernel_shape=[2, 2, 2], strides=[2, 2, 2]),
    one("GlobalAveragePool", P),
    one("GlobalMaxPool", P),
    one("GridSample", P, RNG.uniform(-1.2, 1.2, (2, 3, 5, 2)).astype(np.float32), opset=16),
    one("GridSample", P, normal(2, 3, 5, 2), mode="nearest", padding_mode="border", opset=16),
    one("Pad", A, opset=7, pads=[0, 1, 2, 0, 0, 1], value=3.0),
    one("Pad", A, array(0, 1, -1, 0, 0, 2), np.float32(1.5), opset=11),
    one("Pad", A, array(1, 2), np.float32(0), array(-1), opset=18),
    one("Pad", A, array(0, 0, 1, 0, 0, 2), opset=13, mode="reflect"),
    one("Pad", A, array(1, 0, 1, 0, 2, 2), opset=13, mode="edge"),
    one("Pad", A, array(0, 0, 1, 0, 0, 2), opset=19, mode="wrap"),
    one("Pad", array(1, 2), array(1, 1), opset=13),
    one("Upsample", P, opset=7, scales=[1.0, 1.0, 2.0, 1.5], mode="nearest"),
    one("Upsample", P, array(1, 1, 2, 2, dtype=np.float32), opset=9, mode="linear"),
    one("Resize", P, array(1, 1, 2.5, 2, dtype=np.float32), opset=10),
    *(
        one("Resize", P, None, array(1, 1, 1.7, 0.6, dtype=np.float32), **options)
        for options in (
            {"mode": "nearest", "nearest_mode": "floor", **SAME},
            {"mode": "nearest", "nearest_mode": "ceil", **SAME},
            {"mode": "nearest", "nearest_mode": "round_prefer_ceil", **SAME},
            {"mode": "nearest", "coordinate_transformation_mode": "asymmetric"},
            {"mode": "linear", **SAME},
            {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
            {"mode": "linear", "coordinate_transformation_mode": "asymmetric"},
            {"mode": "linear", "antialias": 1},
            {"mode": "cubic", "cubic_coeff_a": -0.5, **SAME},
            {"mode": "cubic", "exclude_outside": 1},
            {"mode": "cubic", "antialias": 1, **SAME},
        )
    ),
    one("Resize", P, EMPTY, EMPTY, array(2, 4, 12, 3), mode="linear", opset=11),
    one("Resize", P, None, None, array(9, 1), mode="linear", axes=[2, 3], **SAME),
    one(
        "Resize",
        P,
        None,
        None,
        array(2, 4, 1, 5),
        mode="linear",
        coordinate_transformation_mode="pytorch_half_pixel",
    ),
    one(
        "Resize",
        P,
        None,
        array(1, 1, 1.7, 2, dtype=np.float32),
        mode="linear",
        opset=19,
        coordinate_transformation_mode="half_pixel_symmetric",
    ),
    one(
        "Resize",
        P,
        EMPTY,
        array(1, 1, 3, 2, dtype=np.float32),
        opset=11,
        coordinate_transformation_mode="tf_half_pixel_for_nn",
    ),
    *(one("Cast", A * 3, to=to) for to in (1, 6, 7, 9)),
    one("CastLike", A * 3, array(1)),
    one("Concat", A, normal(2, 5, 4), axis=1),
    one("ConstantOfShape", array(2, 3)),
    one("DepthToSpace", P, blocksize=2, opset=7),
    one("DepthToSpace", P, blocksize=2, mode="CRD", opset=13),
    one("SpaceToDepth", normal(2, 3, 4, 6), blocksize=2),
    one("Expand", normal(3, 1), array(2, 1, 4)),
    one("Flatten", A, axis=0),
    one("Flatten", A, axis=-1, opset=11),
    one("Gather", A, array(1, -1, 0), axis=1),
    one("Gather", A, array(-1)[0], axis=2),
    one("Gather", A, whole(2, 2).astype(np.int32) % 2),
    one("GatherElements", A, whole(2, 3, 2), axis=2),
    one("GatherND", A, array([0, 1], [1, -1])),
    one("OneHot", array(0, 2, -1), array(3)[0], array(5, 7), axis=0),
    one("Range", array(1)[0], array(9)[0], array(3)[0]),
    one("Range", np.float32(0), np.float32(1), np.float32(0.25)),
    one("Reshape", A, array(-1, 0, 2)[[0, 1]], opset=7),
    one("Reshape", A, array(4, 6), opset=14),
    one("Reshape", A, array(24), opset=14),
    one("ScatterElements", A, whole(2, 2, 2) % 2, normal(2, 2, 2), axis=1),
    one("ScatterElements", A, whole(2, 2, 2) % 2, normal(2, 2, 2), reduction="add"),
    one("ScatterND", A, array([0, 1], [1, -1]), normal(2, 4)),
    one("ScatterND", A, array([0, 1], [0, 1]), normal(2, 4), reduction="add"),
    one("Shape", A, start=1, end=-1, opset=15),
    one("Slice", A, opset=7, starts=[0, 1], ends=[1, 99], axes=[0, 2]),
    one("Slice", A, opset=9, starts=[0, -2], ends=[1, -1]),
    one("Slice", A, array(3, 0), array(-99, 3), array(2, 1), array(-2, 2), opset=10),
    one("Slice", A, array(-3), array(2**63 - 1), array(-1), opset=13),
    one("Slice", A, array(5), array(2), array(1), opset=13),
    one("Split", A, axis=1, split=[1, 2], opset=11, n_output=2),
    one("Split", A, array(1, 3), axis=-1, opset=13, n_output=2),
    one("Split", A, axis=2, opset=13, n_output=2),
    one("Split", A, axis=1, num_outputs=2, opset=18, n_output=2),
    one("Squeeze", normal(1, 3, 1), opset=11),
    one("Squeeze", normal(1, 3, 1), axes=[-1], opset=11),
    one("Squeeze", normal(1, 3, 1), array(0), opset=13),
    one("Tile", A, array(1, 2, 3)),
    one("Transpose", A, perm=[2, 0, 1]),
    one("Trilu", A, array(1)[0]),
    one("Trilu", A, upper=0),
    one("Unsqueeze", A, axes=[0, 2], opset=11),
    one("Unsqueeze", A, array(-1, 1), opset=13),
    # With weights
    one("BatchNormalization", P, *[np.abs(normal(4)) + 0.1 for _ in range(4)], opset=7),
    one(
        "BatchNormalization", P, *[np.abs(normal(4)) + 0.1 for _ in range(4)], epsilon=0.1, opset=15
    ),
    one("Conv", P, normal(3, 4, 3, 2), normal(3), pads=[1, 0, 0, 2], strides=[2, 1]),
    one("Conv", P, normal(4, 2, 3, 3), group=2, dilations=[2, 1], pads=[2, 1, 2, 1], opset=7),
    one("Conv", P, normal(3, 4, 3, 2), auto_pad="SAME_UPPER"),
    one("Conv", P, normal(3, 4, 3, 2), auto_pad="SAME_UPPER", strides=[2, 3]),
    one("Conv", P, normal(3, 4, 4, 3), auto_pad="SAME_LOWER"),
    one("Conv", P, normal(3, 4, 3, 2), auto_pad="VALID"),
    one("Conv", A, normal(3, 3, 2), pads=[0, 1]),
    one("Conv", normal(1, 2, 4, 5, 6), normal(3, 2, 2, 2, 2)),
    one("ConvTranspose", P, normal(4, 2, 3, 2), normal(2), strides=[2, 3], pads=[1, 0, 1, 0]),
    one("ConvTranspose", P, normal(4, 2, 3, 3), strides=[2, 2], pads=[1, 0, 0, 1]),
    one("ConvTranspose", P, normal(4, 2, 3, 3), strides=[2, 2], output_padding=[1, 1], group=2),
    one("ConvTranspose", P, normal(4, 2, 3, 3), strides=[2, 2], auto_pad="SAME_UPPER"),
    one("ConvTranspose", A, normal(3, 2, 4), strides=[2], auto_pad="SAME_LOWER"),
    *(
        one(kind, normal(6, 2, 3), normal(d, g * 4, 3), normal(d, g * 4, 4), bias, **o)
        for kind, g in (("LSTM", 4), ("GRU", 3), ("RNN", 1))
        for d, bias, o in (
            (1, normal(1, g * 8), {"direction": "forward"}),
            (1, None, {"direction": "reverse"}),
            (2, normal(2, g * 8), {"direction": "bidirectional"}),
        )
        for o in [{"hidden_size": 4, "opset": 14, "n_output": 3 if g == 4 else 2, **o}]
    ),
    one(
        "GRU",
        *(normal(6, 2, 3), normal(1, 12, 3), normal(1, 12, 4), normal(1, 24), None),
        normal(1, 2, 4),
        hidden_size=4,
        linear_before_reset=1,
        opset=7,
    ),
    one("RNN", A, normal(1, 2, 4), normal(1, 2, 2), hidden_size=2, activations=["Relu"]),
]


@pytest.mark.parametrize(("kind", "inputs", "opset", "attributes"), OPERATIONS)
def test_operations_do_what_onnxruntime_does(tmp_path, kind, inputs, opset, attributes):
    """The first input is computed, and also a constant where the operation has no weights."""
    attributes = dict(attributes)
    outputs = tuple(f"y{k}" for k in range(attributes.pop("n_output", 1)))
    names = ["" if value is None else f"x{k}" for k, value in enumerate(inputs)]
    computed, fixed = {}, {}
    for k, (name, value) in enumerate(zip(names, inputs)):
        if isinstance(value, tuple):
            computed[name] = normal(*value)
        elif name:
            (fixed if k else computed)[name] = np.asarray(value)
    made = onnx.helper.make_node(kind, names, outputs, **attributes)
    declared = {name: (value.dtype.type, [None] * value.ndim) for name, value in computed.items()}
    options = {"outputs": outputs, "opset": opset, "declared": declared}
    path = save(tmp_path / "m.onnx", [made], fixed, inputs=tuple(computed), **options)
    agrees(path, computed)
    agrees(path, computed, fixed=computed)


def test_every_operation_that_is_read_is_compared():
    compared = {case.values[0] for case in OPERATIONS}
    assert compared == {*FUNCTIONS, *LAYERS}


def test_the_page_lists_what_is_read():
    page = (ROOT / "docs" / "how_to" / "pruning.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| ([a-z ]+) \| ([A-Z].*) \|$", page, re.MULTILINE))
    wanted = {"layers with weights": LAYERS, **GROUPS, "structure": ["Constant", "If"]}
    wanted = {title: ", ".join(sorted(names)) for title, names in wanted.items()}
    assert {title: listed.get(title) for title in wanted} == wanted
