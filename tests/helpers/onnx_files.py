"""ONNX files as an exporter would write them, for tests."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

RNG = np.random.default_rng(0)


def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> Any:
    """Return one operation, named after its kind and output."""
    return helper.make_node(kind, inputs, [output], name=f"{kind}_{output}", **attributes)


def save(
    path: Path,
    nodes: list[Any],
    constants: dict[str, Any],
    *,
    inputs: tuple[str, ...] = ("x",),
    outputs: tuple[str, ...] = ("y",),
) -> Path:
    """Write a file of these operations; return its path."""

    def tensors(names: tuple[str, ...]) -> list[Any]:
        return [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in names]

    arrays = [numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items()]
    graph = helper.make_graph(nodes, "g", tensors(inputs), tensors(outputs), arrays)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, path)
    return path


def normal(*shape: int) -> np.ndarray:
    """Return normal random numbers, others at every call."""
    return RNG.normal(size=shape).astype(np.float32)


def shared_and_scaled(tmp_path: Path) -> str:
    """Write every operation that holds weights, each in its most awkward form; return the path."""
    constants = {
        "conv.weight": normal(4, 1, 3, 3),
        "bn.scale": np.abs(normal(4)),
        "bn.bias": normal(4),
        "bn.mean": normal(4),
        "bn.var": np.abs(normal(4)) + 0.5,
        "shape": np.array([1, 144]),
        "m.weight": normal(144, 5),
        "m.bias": normal(1, 5),
        "g.weight": normal(5, 10),
        "g.bias": normal(1),
    }
    norm = [f"bn.{part}" for part in ("scale", "bias", "mean", "var")]
    nodes = [
        node("Conv", ["x", "conv.weight"], "a"),
        node("BatchNormalization", ["a", *norm], "b"),
        node("Reshape", ["b", "shape"], "c"),
        node("MatMul", ["c", "m.weight"], "d"),
        node("Add", ["m.bias", "d"], "e"),
        node("Relu", ["e"], "f"),
        node("Gemm", ["f", "g.weight", "g.bias"], "y", alpha=0.5, beta=2.0),
    ]
    return str(save(tmp_path / "m.onnx", nodes, constants))
