"""An ONNX file as plain Python: operations, constants and the shapes of its inputs."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tinynets.files.checks import check_file
from tinynets.files.extras import optional

#: Sizes of an input; None for a size that the file leaves open.
Shape = tuple[int | None, ...]
#: The opsets whose meaning the operations follow.
OPSETS = range(7, 29)


@dataclass(frozen=True)
class Node:
    """One ONNX operation.

    kind: ONNX name, with the domain in front unless it is ONNX's own.
    inputs: names of its inputs, "" where left out; outputs alike.
    attributes: by name, as Python values.
    opset: the version of ONNX's operations that the file was written for.
    branches: the graphs inside it.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    opset: int
    branches: dict[str, "Graph"] = field(default_factory=dict)

    def get(self, name: str, default: Any = None) -> Any:
        """Return an attribute, or the default where it is left out."""
        return self.attributes.get(name, default)

    def needs(self, name: str) -> Any:
        """Return an attribute that must be there."""
        if name not in self.attributes:
            raise ValueError(f"{self.label} lacks its attribute {name!r}; the file is damaged")
        return self.attributes[name]

    @property
    def reads(self) -> set[str]:
        """Names of the values that it reads, inside its branches too."""
        inner = (name for branch in self.branches.values() for name in branch.reads)
        return {*filter(None, self.inputs), *inner}

    @property
    def label(self) -> str:
        """How messages call this operation."""
        return f"ONNX operation {self.kind} {self.name!r}"

    def refuse(self, what: str) -> ValueError:
        """Return the error for an operation that is known, but not in this form."""
        return ValueError(
            f"{self.label}: {what} is not supported; export it in another form, or build the "
            "network as a torch module and extract that"
        )

    def alike(self, kind: str, inputs: Iterable[str], output: str, **attributes: Any) -> "Node":
        """Return another operation of the same opset, as part of this one."""
        return Node(kind, self.name, tuple(inputs), (output,), attributes, self.opset)


@dataclass(frozen=True)
class Graph:
    """Operations in the order in which they run.

    inputs: shape by name, None where the file does not say; without the constants.
    integers: names of the inputs that hold whole numbers or truth values.
    """

    inputs: dict[str, Shape | None]
    integers: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    constants: dict[str, torch.Tensor]

    @property
    def reads(self) -> set[str]:
        """Names that it takes from the graph around it."""
        made = {name for node in self.nodes for name in node.outputs}
        read = {name for node in self.nodes for name in node.reads}
        return (read | set(self.outputs)) - made - set(self.constants) - set(self.inputs)

    def renamed(self, names: dict[str, str]) -> "Graph":
        """Return the graph with other names of values, inside branches too."""

        def new(old: Iterable[str]) -> tuple[str, ...]:
            return tuple(names.get(name, name) for name in old)

        nodes = (
            replace(
                node,
                inputs=new(node.inputs),
                outputs=new(node.outputs),
                branches={k: branch.renamed(names) for k, branch in node.branches.items()},
            )
            for node in self.nodes
        )
        constants = {names.get(name, name): value for name, value in self.constants.items()}
        return replace(self, nodes=tuple(nodes), outputs=new(self.outputs), constants=constants)


def read_graph(path: str | Path) -> Graph:
    """Return the graph of a file. Raises ValueError for a damaged file; ImportError without onnx.

    Nothing in the file is executed.
    """
    onnx = optional("onnx", extra="onnx")
    decode_error = optional("google.protobuf.message", extra="onnx").DecodeError
    check_file(path)
    try:
        model = onnx.load(str(path))
    except decode_error as error:
        raise ValueError(f"{path} is truncated or not an ONNX file ({error})") from error
    except (onnx.checker.ValidationError, FileNotFoundError) as error:
        if isinstance(error, FileNotFoundError) and not Path(path).exists():
            raise
        raise ValueError(
            f"{path} keeps its weights in another file, which is missing or damaged ({error}); "
            "put both into one directory"
        ) from error
    if not model.graph.node:
        raise ValueError(f"{path} holds no ONNX operation; it is empty or damaged")
    names = [value.name for value in model.graph.output]
    if not names or "" in names:  # "" stands for a value that is left out
        raise ValueError(f"{path} names no output of its network; it is damaged")
    own = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if not own or own[0] not in OPSETS:
        raise ValueError(
            f"{path} has opset {own[0] if own else 'none'}; expected {OPSETS[0]} … {OPSETS[-1]}; "
            "export it again for one of these"
        )
    if model.functions:
        inliner = optional("onnx.inliner", extra="onnx")
        model = inliner.inline_local_functions(model)
    return _graph(model.graph, own[0], onnx)


def to_tensor(value: Any) -> torch.Tensor:
    """Return a constant as a tensor, numbers of any precision as float32."""
    array = np.asarray(value)
    if np.issubdtype(array.dtype, np.floating) or "float" in array.dtype.name:
        array = array.astype(np.float32)
    elif array.dtype.name in ("int4", "uint4", "int2", "uint2"):
        array = array.astype(np.int8)
    return torch.from_numpy(np.array(array))


def _graph(proto: Any, opset: int, onnx: Any) -> Graph:
    constants = {t.name: to_tensor(onnx.numpy_helper.to_array(t)) for t in proto.initializer}
    if proto.sparse_initializer:
        raise ValueError("sparse constants are not supported; export them dense")
    inputs = [value for value in proto.input if value.name not in constants]
    whole = {
        value.name
        for value in inputs
        if value.type.tensor_type.elem_type not in (0, 1, 10, 11, 16)  # undefined, or floating
    }
    return Graph(
        {value.name: _shape(value) for value in inputs},
        tuple(sorted(whole)),
        tuple(value.name for value in proto.output),
        tuple(_node(k, node, opset, onnx) for k, node in enumerate(proto.node)),
        constants,
    )


def _shape(value: Any) -> Shape | None:
    if not value.type.tensor_type.HasField("shape"):
        return None
    sizes = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    return tuple(size if size > 0 else None for size in sizes)


def _node(k: int, proto: Any, opset: int, onnx: Any) -> Node:
    if not proto.output:
        raise ValueError(f"ONNX operation {proto.op_type} {proto.name!r} has no output")
    attributes, branches = {}, {}
    for attribute in proto.attribute:
        value = onnx.helper.get_attribute_value(attribute)
        if isinstance(value, onnx.GraphProto):
            branches[attribute.name] = _graph(value, opset, onnx)
        else:
            attributes[attribute.name] = _plain(value, onnx)
    own = proto.domain in ("", "ai.onnx")
    return Node(
        kind=proto.op_type if own else f"{proto.domain}.{proto.op_type}",
        name=proto.name or f"{proto.op_type}_{k}",
        inputs=tuple(proto.input),
        outputs=tuple(proto.output),
        attributes=attributes,
        opset=opset,
        branches=branches,
    )


def _plain(value: Any, onnx: Any) -> Any:
    if isinstance(value, onnx.TensorProto):
        return to_tensor(onnx.numpy_helper.to_array(value))
    if isinstance(value, bytes):
        return value.decode()
    return [_plain(part, onnx) for part in value] if isinstance(value, list) else value
