"""The ONNX operations without weights of their own, each as a function of torch tensors.

A function takes the operation and its inputs, None where one is left out. What depends on the opset
is told apart by `node.opset`.
"""

import math
from collections.abc import Callable
from functools import reduce
from typing import Any

import torch
from torch.nn import functional as F

from tinynets.formats.onnx.graph import Node
from tinynets.formats.onnx.shapes import SHAPES
from tinynets.formats.onnx.windows import WINDOWS

Tensor = torch.Tensor
Function = Callable[..., Any]


def _each(function: Function) -> Function:
    """Return an operation that is one function of torch."""
    return lambda _node, *x: function(*x)


def _scaled(function: Function, **defaults: float) -> Function:
    """Return an operation with attributes that are numbers."""
    return lambda node, x: function(x, **{k: node.get(k, v) for k, v in defaults.items()})


def _all(function: Function) -> Function:
    """Return an operation of any number of inputs, two at a time."""
    return lambda _node, *x: reduce(function, x)


def _divide(_node: Node, a: Tensor, b: Tensor) -> Tensor:
    whole = not a.is_floating_point() and not b.is_floating_point()
    return torch.div(a, b, rounding_mode="trunc" if whole else None)


def _power(_node: Node, a: Tensor, b: Tensor) -> Tensor:
    return a.pow(b).to(a.dtype)


def _modulo(node: Node, a: Tensor, b: Tensor) -> Tensor:
    return torch.fmod(a, b) if node.get("fmod") else torch.remainder(a, b)


def _clip(node: Node, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    if node.opset < 11:
        low, high = node.get("min"), node.get("max")
    if low is None and high is None:
        return x
    return torch.clamp(x, low, high)  # pyright: ignore[reportArgumentType]


def _gelu(node: Node, x: Tensor) -> Tensor:
    return F.gelu(x, approximate=node.get("approximate", "none"))


def _softmax(node: Node, x: Tensor, function: Function = torch.softmax) -> Tensor:
    if node.opset >= 13:
        return function(x, node.get("axis", -1))
    # Before, all axes from this one on counted as one.
    axis = node.get("axis", 1) % max(x.ndim, 1)
    return function(x.flatten(axis), -1).reshape(x.shape)


def _hardmax(node: Node, x: Tensor) -> Tensor:
    def first(x: Tensor, axis: int) -> Tensor:
        return torch.zeros_like(x).scatter(axis, x.argmax(axis, keepdim=True), 1.0)

    return _softmax(node, x, first)


_REDUCTIONS: dict[str, Function] = {
    "ReduceL1": lambda x, dims, keep: x.abs().sum(dims, keep),
    "ReduceL2": lambda x, dims, keep: x.square().sum(dims, keep).sqrt(),
    "ReduceLogSum": lambda x, dims, keep: x.sum(dims, keep).log(),
    "ReduceLogSumExp": lambda x, dims, keep: torch.logsumexp(x, dims, keep),
    "ReduceMax": lambda x, dims, keep: x.amax(dims, keep),
    "ReduceMean": lambda x, dims, keep: x.mean(dims, keep),
    "ReduceMin": lambda x, dims, keep: x.amin(dims, keep),
    "ReduceProd": lambda x, dims, keep: _product(x, dims, keep),
    "ReduceSum": lambda x, dims, keep: x.sum(dims, keep, dtype=x.dtype),
    "ReduceSumSquare": lambda x, dims, keep: x.square().sum(dims, keep, dtype=x.dtype),
}


def _product(x: Tensor, dims: tuple[int, ...], keep: bool) -> Tensor:
    for dim in sorted((d % x.ndim for d in dims), reverse=True):
        x = x.prod(dim, keep, dtype=x.dtype)
    return x


def _reduction(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    given = node.get("axes") if axes is None else axes.tolist()
    if not given and node.get("noop_with_empty_axes"):
        return x
    dims = tuple(given or range(x.ndim))
    if not dims:
        return x
    return _REDUCTIONS[node.kind](x, dims, bool(node.get("keepdims", 1)))


def _arg(node: Node, x: Tensor) -> Tensor:
    axis, keep = node.get("axis", 0), bool(node.get("keepdims", 1))
    function = torch.argmax if node.kind == "ArgMax" else torch.argmin
    if not node.get("select_last_index"):
        return function(x, axis, keep)
    return x.shape[axis] - 1 - function(x.flip(axis), axis, keep)


def _top(node: Node, x: Tensor, k: Tensor | None = None) -> tuple[Tensor, Tensor]:
    n, largest = (int(k) if k is not None else node.needs("k")), bool(node.get("largest", 1))
    values, places = torch.topk(x, n, node.get("axis", -1), largest, bool(node.get("sorted", 1)))
    return values, places


def _running_sum(node: Node, x: Tensor, axis: Tensor) -> Tensor:
    dim, back = int(axis), bool(node.get("reverse"))
    x = x.flip(dim) if back else x
    total = x.cumsum(dim, dtype=x.dtype)
    total = total - x if node.get("exclusive") else total
    return total.flip(dim) if back else total


def _gemm(node: Node, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    a, b = a.T if node.get("transA") else a, b.T if node.get("transB") else b
    product = node.get("alpha", 1.0) * (a @ b)
    return product if c is None else product + node.get("beta", 1.0) * c


def _einsum(node: Node, *x: Tensor) -> Tensor:
    return torch.einsum(node.needs("equation"), *x)


def _layer_norm(
    node: Node, x: Tensor, scale: Tensor, shift: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    dims = tuple(range(node.get("axis", -1) % x.ndim, x.ndim))
    mean = x.mean(dims, keepdim=True)
    variance = (x - mean).square().mean(dims, keepdim=True)
    inverse = (variance + node.get("epsilon", 1e-5)).rsqrt()
    y = (x - mean) * inverse * scale
    return (y if shift is None else y + shift), mean, inverse


def _rms_norm(node: Node, x: Tensor, scale: Tensor) -> Tensor:
    dims = tuple(range(node.get("axis", -1) % x.ndim, x.ndim))
    return x * (x.square().mean(dims, keepdim=True) + node.get("epsilon", 1e-5)).rsqrt() * scale


def _instance_norm(node: Node, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    return _by_channel(F.group_norm(x, x.shape[1], eps=node.get("epsilon", 1e-5)), scale, shift)


def _group_norm(node: Node, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    groups = node.needs("num_groups")
    y = F.group_norm(x, groups, eps=node.get("epsilon", 1e-5))
    if node.opset < 21:  # one number a group then, one a channel since
        scale, shift = (v.repeat_interleave(x.shape[1] // groups) for v in (scale, shift))
    return _by_channel(y, scale, shift)


def _by_channel(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    shape = (1, -1, *[1] * (x.ndim - 2))
    return x * scale.reshape(shape) + shift.reshape(shape)


def _response_norm(node: Node, x: Tensor) -> Tensor:
    size = node.needs("size")
    if size % 2 == 0:
        raise node.refuse("an even size")
    options = node.get("alpha", 1e-4), node.get("beta", 0.75), node.get("bias", 1.0)
    return F.local_response_norm(x, size, *options)


def _unit(node: Node, x: Tensor) -> Tensor:
    return x / x.norm(node.get("p", 2), node.get("axis", -1), keepdim=True)


def _attention(node: Node, q: Tensor, k: Tensor, v: Tensor, *more: Tensor | None) -> Tensor:
    """Return scaled dot-product attention, over heads that the file may give as one axis."""
    mask = more[0] if more else None
    if any(x is not None for x in more[1:]) or node.get("softcap") or len(node.outputs) > 1:
        raise node.refuse("attention with a cache or a soft cap")
    flat = q.ndim == 3
    if flat:
        n_q, n_kv = node.needs("q_num_heads"), node.needs("kv_num_heads")
        heads = (q, n_q), (k, n_kv), (v, n_kv)
        q, k, v = (x.unflatten(-1, (n, -1)).transpose(1, 2) for x, n in heads)
    k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (k, v))
    scores = q @ k.mT * node.get("scale", 1 / math.sqrt(q.shape[-1]))
    if mask is not None and mask.dtype == torch.bool:
        scores = scores.masked_fill(~mask, -math.inf)
    elif mask is not None:
        scores = scores + mask
    if node.get("is_causal"):
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
        scores = scores.masked_fill(later, -math.inf)
    y = scores.softmax(-1) @ v
    return y.transpose(1, 2).flatten(2) if flat else y


_ARITHMETIC: dict[str, Function] = {
    "Add": _each(torch.add),
    "And": _each(torch.logical_and),
    "Div": _divide,
    "Equal": _each(torch.eq),
    "Greater": _each(torch.gt),
    "GreaterOrEqual": _each(torch.ge),
    "Less": _each(torch.lt),
    "LessOrEqual": _each(torch.le),
    "Max": _all(torch.maximum),
    "Mean": lambda _node, *x: reduce(torch.add, x) / len(x),
    "Min": _all(torch.minimum),
    "Mod": _modulo,
    "Mul": _each(torch.mul),
    "Not": _each(torch.logical_not),
    "Or": _each(torch.logical_or),
    "Pow": _power,
    "Sub": _each(torch.sub),
    "Sum": _all(torch.add),
    "Where": _each(torch.where),
    "Xor": _each(torch.logical_xor),
}
_FUNCTIONS: dict[str, Function] = {
    **{
        name: _each(getattr(torch, name.lower()))
        for name in (
            *("Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Cos", "Cosh"),
            *("Erf", "Exp", "Floor", "Log", "Neg", "Reciprocal", "Round", "Sigmoid", "Sign", "Sin"),
            *("Sinh", "Sqrt", "Tan", "Tanh", "IsNaN", "Relu"),
        )
    },
    "Celu": _scaled(F.celu, alpha=1.0),
    "Clip": _clip,
    "Elu": _scaled(F.elu, alpha=1.0),
    "Gelu": _gelu,
    "HardSigmoid": _scaled(
        lambda x, alpha, beta: (alpha * x + beta).clamp(0, 1), alpha=0.2, beta=0.5
    ),
    "HardSwish": _each(F.hardswish),
    "Hardmax": _hardmax,
    "LeakyRelu": _scaled(lambda x, alpha: F.leaky_relu(x, alpha), alpha=0.01),
    "LogSoftmax": lambda node, x: _softmax(node, x, torch.log_softmax),
    "Mish": _each(F.mish),
    "PRelu": _each(lambda x, slope: torch.where(x < 0, slope * x, x)),
    "Selu": _scaled(
        lambda x, alpha, gamma: gamma * torch.where(x > 0, x, alpha * torch.expm1(x)),
        alpha=1.6732632423543772,
        gamma=1.0507009873554805,
    ),
    "Softmax": _softmax,
    "Softplus": _each(F.softplus),
    "Softsign": _each(F.softsign),
    "Swish": _scaled(lambda x, alpha: x * torch.sigmoid(alpha * x), alpha=1.0),
    "ThresholdedRelu": _scaled(lambda x, alpha: torch.where(x > alpha, x, 0.0), alpha=1.0),
}
_REDUCING: dict[str, Function] = {
    **dict.fromkeys(_REDUCTIONS, _reduction),
    "ArgMax": _arg,
    "ArgMin": _arg,
    "CumSum": _running_sum,
    "TopK": _top,
}
_PRODUCTS: dict[str, Function] = {
    "Attention": _attention,
    "Einsum": _einsum,
    "Gemm": _gemm,
    "MatMul": _each(torch.matmul),
}
_NORMS: dict[str, Function] = {
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _instance_norm,
    "LRN": _response_norm,
    "LayerNormalization": _layer_norm,
    "LpNormalization": _unit,
    "RMSNormalization": _rms_norm,
}

#: What is known, in groups, as the documentation lists it.
GROUPS: dict[str, dict[str, Function]] = {
    "arithmetic": _ARITHMETIC,
    "functions": _FUNCTIONS,
    "sums and extremes": _REDUCING,
    "products of computed tensors": _PRODUCTS,
    "norms": _NORMS,
    "pools and resizing": WINDOWS,
    "shapes and places": SHAPES,
}
#: By ONNX name, all of them.
FUNCTIONS: dict[str, Function] = {
    name: function for group in GROUPS.values() for name, function in group.items()
}
#: The functions that return a tuple when the file reads more than their first output.
SEVERAL = {"Dropout", "LayerNormalization", "Split", "TopK"}
