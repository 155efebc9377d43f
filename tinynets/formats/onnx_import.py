"""Turn an ONNX file into a torch module whose weight layers can be pruned and extracted."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from tinynets.files.extras import optional
from tinynets.formats.onnx_operators import OPERATORS, Node
from tinynets.networks.extraction import safe_name

#: (module name, input names, output name)
Step = tuple[str, list[str], str]
#: An operation with weights, and by tensor of its module the constant that it came from.
Origin = tuple[Node, dict[str, str]]

_TENSORS = {
    "Gemm": ("weight", "bias"),
    "MatMul": ("weight",),
    "Conv": ("weight", "bias"),
    "BatchNormalization": ("weight", "bias", "running_mean", "running_var"),
}


class OnnxNetwork(nn.Module):
    """Runs modules one after the other, in the order of the file.

    origins: by module name the operation that it was made from, and the names of the constants that
    hold its tensors.
    """

    def __init__(
        self,
        modules: dict[str, nn.Module],
        steps: list[Step],
        ends: tuple[str, str],
        constants: dict[str, np.ndarray],
        origins: dict[str, Origin],
    ) -> None:
        super().__init__()
        self.steps, self.ends, self.origins = steps, ends, origins
        for name, module in modules.items():
            self.add_module(name, module)
        used = {name for _, names, _ in steps for name in names} & set(constants)
        self.buffer_of = {name: f"constant_{k}" for k, name in enumerate(sorted(used))}
        for name, buffer in self.buffer_of.items():
            self.register_buffer(buffer, torch.from_numpy(np.array(constants[name])))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        source, sink = self.ends
        values = {name: self.get_buffer(buffer) for name, buffer in self.buffer_of.items()}
        values[source] = x
        for module, names, output in self.steps:
            values[output] = getattr(self, module)(*(values[name] for name in names))
        return values[sink]


def from_onnx(path: str | Path) -> OnnxNetwork:
    """Return the network of an ONNX file as a torch module in evaluation mode.

    Gemm and MatMul become Linear, Conv becomes Conv1d or Conv2d, named after their weights. The
    first dimension of the input is the batch, whatever size the file was exported with.
    Raises ValueError naming an operation that is not known or not in a form that is, or for a
    damaged file; ImportError without onnx.
    """
    onnx = optional("onnx", extra="onnx")
    decode_error = optional("google.protobuf.message", extra="onnx").DecodeError
    try:
        graph = onnx.load(str(path)).graph
    except (decode_error, onnx.checker.ValidationError) as error:
        raise ValueError(f"{path} is truncated or not an ONNX file ({error})") from error
    if not graph.node:
        raise ValueError(f"{path} holds no ONNX operation; it is empty or damaged")
    try:
        return _network(path, graph, onnx)
    except ValueError:
        raise
    except Exception as error:
        # What a graph may hold is not to be foreseen; nothing in it is executed.
        raise ValueError(f"{path} is damaged: {type(error).__name__}: {error}") from error


def _network(path: str | Path, graph: Any, onnx: Any) -> OnnxNetwork:
    nodes, constants = _read(graph, onnx)
    sources = [i.name for i in graph.input if i.name not in constants]
    sinks = [o.name for o in graph.output]
    if len(sources) != 1 or len(sinks) != 1:
        raise ValueError(f"{path} has inputs {sources} and outputs {sinks}; expected one of each")
    modules, steps, origins = _plan(nodes)
    return OnnxNetwork(modules, steps, (sources[0], sinks[0]), constants, origins).eval()


def _read(graph: Any, onnx: Any) -> tuple[list[Node], dict[str, np.ndarray]]:
    """Return the operations and constants of an ONNX graph as plain Python."""
    constants = {t.name: _array(t, onnx) for t in graph.initializer}
    nodes = []
    for k, proto in enumerate(graph.node):
        if not proto.output:
            raise ValueError(f"ONNX operation {proto.op_type} {proto.name!r} has no output")
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in proto.attribute}
        if proto.op_type == "Constant":
            constants[proto.output[0]] = _constant_value(attributes, onnx)
            continue
        names = list(proto.input)
        own = {name: constants[name] for name in names if name in constants}
        name = proto.name or f"{proto.op_type}_{k}"
        nodes.append(Node(proto.op_type, name, names, proto.output[0], own, attributes))
    return nodes, constants


def _constant_value(attributes: dict[str, Any], onnx: Any) -> np.ndarray:
    value = next(iter(attributes.values()))
    return _array(value, onnx) if "value" in attributes else np.asarray(value)


def _array(tensor: Any, onnx: Any) -> np.ndarray:
    """Return a constant, numbers of any precision as float32: so computes the torch module."""
    array = onnx.numpy_helper.to_array(tensor)
    return array.astype(np.float32) if np.issubdtype(array.dtype, np.floating) else array


def _plan(nodes: list[Node]) -> tuple[dict[str, nn.Module], list[Step], dict[str, Origin]]:
    """Return the modules by name, the order in which they run, and where their tensors are from."""
    modules: dict[str, nn.Module] = {}
    steps: list[Step] = []
    origins: dict[str, Origin] = {}
    for node in nodes:
        if node.kind not in OPERATORS:
            raise ValueError(f"{node.label} is not known; known are {', '.join(sorted(OPERATORS))}")
        if _is_bias(node, modules, steps, nodes):
            name, names, _ = steps.pop()
            bias = torch.from_numpy(np.array(next(iter(node.constants.values()))).reshape(-1))
            modules[name].register_parameter("bias", nn.Parameter(bias))
            origins[name][1]["bias"] = next(iter(node.constants))
            steps.append((name, names, node.output))
            continue
        module, n_input = OPERATORS[node.kind](node)
        name = _unused(_module_name(node), modules)
        modules[name] = module
        steps.append((name, node.inputs[:n_input], node.output))
        if node.kind in _TENSORS:
            tensors = zip(_TENSORS[node.kind], node.inputs[1:])
            origins[name] = node, {tensor: constant for tensor, constant in tensors if constant}
    return modules, steps, origins


def _is_bias(
    node: Node, modules: dict[str, nn.Module], steps: list[Step], nodes: list[Node]
) -> bool:
    """Tell whether an Add is the bias of the MatMul just before it, which nothing else reads."""
    if node.kind != "Add" or len(node.constants) != 1 or not steps:
        return False
    name, _, before = steps[-1]
    layer, bias = modules[name], next(iter(node.constants.values()))
    alone = sum(other.inputs.count(before) for other in nodes) == 1 and before in node.inputs
    fits = isinstance(layer, nn.Linear) and layer.bias is None
    return alone and fits and bias.size == bias.shape[-1] == layer.out_features


def _module_name(node: Node) -> str:
    weights = [name for name in node.inputs[1:] if name in node.constants]
    if node.kind in _TENSORS and weights:
        return safe_name(weights[0].removesuffix(".weight"))
    return safe_name(f"{node.kind.lower()}_{node.name}")


def _unused(name: str, modules: dict[str, nn.Module]) -> str:
    """Return a name that neither a module nor anything else of the network has."""
    tries = [name, *(f"{name}_{k}" for k in range(2, len(modules) + 3))]
    return next(t for t in tries if t not in modules and not _is_taken(t))


def _is_taken(name: str) -> bool:
    own = {*dir(nn.Module()), "steps", "ends", "origins", "buffer_of"}
    return name in own or re.fullmatch(r"constant_\d+", name) is not None
