"""Write a pruned network back to the ONNX file that it came from."""

from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from tinynets.files.drafts import new_file
from tinynets.files.extras import optional
from tinynets.formats.onnx.network import OnnxNetwork
from tinynets.formats.onnx.operators import Node
from tinynets.modules.replacing import copied
from tinynets.networks.masks import make_permanent


def save_onnx(model: nn.Module, source: str | Path, path: str | Path) -> Path:
    """Write the ONNX file that a network came from with its weights of now; return the path.

    model: the network that `from_onnx` made of the source, since pruned or trained.
    source: the file that was read.
    path: the file to write.

    Operations, names and types of the file stay; pruned weights are zeros.
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
                f"constant {name!r} has shape {old.shape} in {source}; got {value.shape}; the "
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
    """Return the constants of the file, by name, that hold the weights of now."""
    plain: Any = make_permanent(copied(model))
    constants: dict[str, np.ndarray] = {}
    for name, (node, tensors) in plain.origins.items():
        held = plain.get_submodule(name).state_dict()
        for tensor, constant in tensors.items():
            if (value := held.get(tensor)) is None:
                raise ValueError(f"module {name!r} was replaced; save the weights alone")
            right = constant == node.inputs[1]
            stored = _as_stored(node, tensor, value.cpu().numpy(), right)
            if constant in constants and not np.array_equal(constants[constant], stored):
                raise ValueError(
                    f"operations that share constant {constant!r} no longer agree on its values "
                    "after pruning; save the weights alone"
                )
            constants[constant] = stored
    return constants


def _as_stored(node: Node, tensor: str, value: np.ndarray, right: bool) -> np.ndarray:
    """Undo what reading did to a tensor; right: it is the right-hand side of a product."""
    if node.kind == "MatMul" and tensor == "weight" and right:
        return value.T
    if node.kind == "Gemm":
        value = value / node.attributes.get("alpha" if tensor == "weight" else "beta", 1.0)
        if tensor == "weight" and not node.attributes.get("transB"):
            value = value.T
    return value
