"""The ONNX operations that can be read, each turned into a torch module."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@dataclass(frozen=True)
class Node:
    """One ONNX operation.

    inputs: names of its inputs, "" where left out. constants: the values among them that the file
    fixes. attributes: by name, as Python values.
    """

    kind: str
    name: str
    inputs: list[str]
    output: str
    constants: dict[str, np.ndarray]
    attributes: dict[str, Any]

    def constant(self, k: int) -> np.ndarray | None:
        """Return the constant at input k, or None when that input is left out."""
        return self.required(k) if k < len(self.inputs) and self.inputs[k] else None

    def required(self, k: int) -> np.ndarray:
        """Return the constant at input k, which must be there."""
        name = self.inputs[k] if k < len(self.inputs) else ""
        if name not in self.constants:
            raise ValueError(f"{self.label}: input {k} must be a constant of the file")
        if not self.constants[name].size:
            raise self.refuse(f"a constant {name!r} without elements")
        return self.constants[name]

    @property
    def label(self) -> str:
        """How messages call this operation."""
        return f"ONNX operation {self.kind} {self.name!r}"

    def refuse(self, what: str) -> ValueError:
        """Return the error for an operation that is known, but not in this form."""
        return ValueError(f"{self.label}: {what} is not supported; simplify the exported model")


class Call(nn.Module):
    """An operation without weights."""

    def __init__(self, function: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *x: torch.Tensor) -> torch.Tensor:
        return self.function(*x)


class BatchNorm(_BatchNorm):
    """Batch norm for inputs of any number of dimensions: an ONNX file does not tell it."""

    def _check_input_dim(self, input: torch.Tensor) -> None:
        pass


def _linear(weight: np.ndarray, bias: np.ndarray | None) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    _fill(layer, weight, None if bias is None else np.broadcast_to(bias, weight.shape[:1]))
    return layer


def _fill(module: Any, weight: np.ndarray, bias: np.ndarray | None) -> None:
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(np.array(weight)))
        if bias is not None:
            module.bias.copy_(torch.from_numpy(np.array(bias)))


def _gemm(node: Node) -> tuple[nn.Module, int]:
    weight, bias = node.required(1), node.constant(2)
    if node.attributes.get("transA"):
        raise node.refuse("transA")
    weight = weight if node.attributes.get("transB") else weight.T
    scaled = None if bias is None else bias.reshape(-1) * node.attributes.get("beta", 1.0)
    return _linear(weight * node.attributes.get("alpha", 1.0), scaled), 1


def _matmul(node: Node) -> tuple[nn.Module, int]:
    weight = node.required(1)
    if weight.ndim != 2:
        raise node.refuse("a right-hand side that is not a matrix")
    return _linear(weight.T, None), 1


def _conv(node: Node) -> tuple[nn.Module, int]:
    weight, bias = node.required(1), node.constant(2)
    if weight.ndim not in (3, 4):
        raise node.refuse("a convolution that is neither 1-D nor 2-D")
    n_axis, groups = weight.ndim - 2, node.attributes.get("group", 1)
    kind = nn.Conv1d if n_axis == 1 else nn.Conv2d
    layer = kind(
        weight.shape[1] * groups,
        weight.shape[0],
        weight.shape[2:],  # pyright: ignore[reportArgumentType]
        stride=tuple(node.attributes.get("strides", [1] * n_axis)),
        padding=_padding(node, n_axis),  # pyright: ignore[reportArgumentType]
        dilation=tuple(node.attributes.get("dilations", [1] * n_axis)),
        groups=groups,
        bias=bias is not None,
    )
    _fill(layer, weight, bias)
    return layer, 1


def _padding(node: Node, n_axis: int) -> tuple[int, ...]:
    if node.attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise node.refuse("auto_pad")
    pads = node.attributes.get("pads", [0] * (2 * n_axis))
    if pads[:n_axis] != pads[n_axis:]:
        raise node.refuse(f"uneven padding {list(pads)}")
    return tuple(pads[:n_axis])


def _pool(node: Node) -> tuple[nn.Module, int]:
    kernel = tuple(node.attributes["kernel_shape"])
    n_axis = len(kernel)
    if n_axis not in (1, 2) or set(node.attributes.get("dilations", [1])) != {1}:
        raise node.refuse("a pool that is neither 1-D nor 2-D, or dilated,")
    options: dict[str, Any] = {
        "stride": tuple(node.attributes.get("strides", [1] * n_axis)),
        "padding": _padding(node, n_axis),
        "ceil_mode": bool(node.attributes.get("ceil_mode", 0)),
    }
    if node.kind == "MaxPool":
        return (nn.MaxPool1d if n_axis == 1 else nn.MaxPool2d)(kernel, **options), 1  # pyright: ignore
    options["count_include_pad"] = bool(node.attributes.get("count_include_pad", 0))
    return (nn.AvgPool1d if n_axis == 1 else nn.AvgPool2d)(kernel, **options), 1  # pyright: ignore


def _batch_norm(node: Node) -> tuple[nn.Module, int]:
    scale, bias, mean, variance = (node.required(k) for k in range(1, 5))
    norm = BatchNorm(len(scale), eps=node.attributes.get("epsilon", 1e-5))
    _fill(norm, scale, bias)
    norm.running_mean = torch.from_numpy(np.array(mean))
    norm.running_var = torch.from_numpy(np.array(variance))
    return norm, 1


def _reshape(node: Node) -> tuple[nn.Module, int]:
    shape = node.required(1)
    if len(shape) < 2 or (node.attributes.get("allowzero") and 0 in shape):
        raise node.refuse("a shape that drops the batch or has no elements")
    # The first dimension is the batch, whatever number the export wrote there. Zero copies one.
    rest = [int(n) for n in shape[1:]]

    def reshape(x: torch.Tensor) -> torch.Tensor:
        sizes = [x.shape[k] if n == 0 else n for k, n in enumerate(rest, 1)]
        return x.reshape(x.shape[0], *sizes)

    return Call(reshape), 1


def _flatten(node: Node) -> tuple[nn.Module, int]:
    if node.attributes.get("axis", 1) != 1:
        raise node.refuse("an axis other than 1")
    return nn.Flatten(), 1


def _clip(node: Node) -> tuple[nn.Module, int]:
    low, high = node.constant(1), node.constant(2)
    ends = (None if low is None else float(low)), (None if high is None else float(high))
    return Call(lambda x: x.clamp(*ends)), 1


def _reduce_mean(node: Node) -> tuple[nn.Module, int]:
    axes = node.constant(1) if len(node.inputs) > 1 else node.attributes.get("axes")
    if axes is None:
        raise node.refuse("a mean over everything")
    dims, keep = tuple(int(axis) for axis in axes), bool(node.attributes.get("keepdims", 1))
    return Call(lambda x: x.mean(dims, keepdim=keep)), 1


def _transpose(node: Node) -> tuple[nn.Module, int]:
    order = tuple(node.attributes["perm"])
    return Call(lambda x: x.permute(order)), 1


def _concat(node: Node) -> tuple[nn.Module, None]:
    axis = node.attributes["axis"]
    return Call(lambda *x: torch.cat(x, axis)), None


def _global_average(_node: Node) -> tuple[nn.Module, int]:
    return Call(lambda x: x.mean(tuple(range(2, x.ndim)), keepdim=True)), 1


#: By ONNX name: makes the module, and says how many inputs it reads (None: all of them).
OPERATORS: dict[str, Callable[[Node], tuple[nn.Module, int | None]]] = {
    "Add": lambda _: (Call(torch.add), None),
    "AveragePool": _pool,
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "Dropout": lambda _: (nn.Identity(), 1),
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average,
    "Identity": lambda _: (nn.Identity(), 1),
    "LeakyRelu": lambda node: (nn.LeakyReLU(node.attributes.get("alpha", 0.01)), 1),
    "MatMul": _matmul,
    "MaxPool": _pool,
    "Mul": lambda _: (Call(torch.mul), None),
    "ReduceMean": _reduce_mean,
    "Relu": lambda _: (nn.ReLU(), 1),
    "Reshape": _reshape,
    "Sigmoid": lambda _: (nn.Sigmoid(), 1),
    "Softmax": lambda node: (nn.Softmax(node.attributes.get("axis", -1)), 1),
    "Sub": lambda _: (Call(torch.sub), None),
    "Tanh": lambda _: (nn.Tanh(), 1),
    "Transpose": _transpose,
}
