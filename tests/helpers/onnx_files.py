"""ONNX files as an exporter would write them, for tests."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper

from tinynets.formats.onnx.network import OnnxNetwork, from_onnx

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
    opset: int = 18,
    declared: dict[str, tuple[type, tuple[Any, ...]]] | None = None,
) -> Path:
    """Write a file of these operations; return its path.

    declared: type and shape of inputs, by name; others are float32 of any shape.
    """

    kinds = [(declared or {}).get(name, (np.float32, None)) for name in inputs]
    numbers = [helper.np_dtype_to_tensor_dtype(np.dtype(kind)) for kind, _ in kinds]
    taken = list(map(helper.make_tensor_value_info, inputs, numbers, [s for _, s in kinds]))
    given = [onnx.ValueInfoProto(name=name) for name in outputs]
    arrays = [numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items()]
    graph = helper.make_graph(nodes, "g", taken, given, arrays)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    onnx.save(model, path)
    return path


def by_onnxruntime(path: Path | str, given: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Return what onnxruntime makes of inputs."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, given)


def agrees(path: Path, given: dict[str, np.ndarray], **options: Any) -> OnnxNetwork:
    """Return our network after comparing all its outputs with onnxruntime's."""
    network = from_onnx(path, **options)
    with torch.no_grad():
        found = network(*(torch.from_numpy(given[name]) for name in network.shapes))
    found = found if isinstance(found, tuple) else (found,)
    wanted = by_onnxruntime(path, given)
    assert len(found) == len(wanted)
    for ours, right in zip(found, wanted):
        assert ours.shape == right.shape
        scale = np.abs(right[np.isfinite(right)]).max(initial=0) if right.size else 0
        np.testing.assert_allclose(ours.numpy(), right, rtol=0, atol=1e-5 * scale)
        if right.dtype != np.float32:
            assert ours.numpy().dtype == right.dtype
    return network


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
