"""Give a pruned network back in the ONNX file that it came in."""

from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from tinynets.files.drafts import new_file
from tinynets.files.extras import optional
from tinynets.formats.onnx_import import OnnxNetwork
from tinynets.formats.onnx_operators import Node
from tinynets.networks.masks import copied, make_permanent


def save_onnx(model: nn.Module, source: str | Path, path: str | Path) -> Path:
    """Write the ONNX file that a network came from, with the weights it has now; return the path.

    model: what `from_onnx` made of the source, pruned or trained since; pruned weights are zeros.
    Operations, names and types of the file stay.
    Raises ValueError for another model, a tensor that changed its shape (prune single weights, or
    use `save_weights`), or weights that operations of the file share and no longer agree on.
    """
    onnx = optional("onnx", extra="onnx")
    if not isinstance(model, OnnxNetwork):
        raise ValueError(f"expected a network from from_onnx; got {type(model).__name__}")
    fresh = _constants(model)
    file = onnx.load(str(source))
    holders = {tensor.name: tensor for tensor in file.graph.initializer}
    for node in file.graph.node:
        if node.op_type == "Constant":
            value = next((a.t for a in node.attribute if a.name == "value"), None)
            holders |= {} if value is None else {node.output[0]: value}
    if missing := [name for name in fresh if name not in holders]:
        raise ValueError(f"{source} has no constants {missing}; pass the file that was read")
    for name, value in fresh.items():
        old = onnx.numpy_helper.to_array(holders[name])
        if old.size not in (1, value.size):
            raise ValueError(
                f"constant {name!r} has shape {old.shape} in {source} and now {value.shape}; the "
                "file keeps its shapes, so save the weights alone"
            )
        value = value.reshape(old.shape) if old.size == value.size else value
        holders[name].CopyFrom(
            onnx.numpy_helper.from_array(np.ascontiguousarray(value, old.dtype), holders[name].name)
        )
    path = Path(path)
    with new_file(path) as draft:
        draft.write_bytes(file.SerializeToString())
    return path


def _constants(model: OnnxNetwork) -> dict[str, np.ndarray]:
    """Return by name what the constants of the file must be for the weights that are there."""
    plain: Any = make_permanent(copied(model))
    found: dict[str, np.ndarray] = {}
    for name, (node, tensors) in plain.origins.items():
        for tensor, constant in tensors.items():
            value = getattr(plain.get_submodule(name), tensor, None)
            if value is None:
                raise ValueError(f"module {name!r} was replaced; save the weights alone")
            stored = _as_stored(node, tensor, value.detach().cpu().numpy())
            if constant in found and not np.array_equal(found[constant], stored):
                raise ValueError(
                    f"operations share constant {constant!r}, but after pruning no longer its "
                    "values; save the weights alone"
                )
            found[constant] = stored
    return found


def _as_stored(node: Node, tensor: str, value: np.ndarray) -> np.ndarray:
    """Undo what reading did to a tensor."""
    if node.kind == "MatMul" and tensor == "weight":
        return value.T
    if node.kind == "Gemm":
        value = value / node.attributes.get("alpha" if tensor == "weight" else "beta", 1.0)
        if tensor == "weight" and not node.attributes.get("transB"):
            value = value.T
    return value
