"""The ONNX operations that move, choose and make values, as functions of torch tensors."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from tinynets.formats.onnx.graph import Node

Tensor = torch.Tensor

#: By the number of ONNX's element type; floating numbers of any precision are float32.
_TYPES = {
    **dict.fromkeys((1, 10, 11, 16), torch.float32),
    2: torch.uint8,
    3: torch.int8,
    5: torch.int16,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    4: torch.int32,
    12: torch.int64,
    13: torch.int64,
}


def _dtype(node: Node, number: int) -> torch.dtype:
    if number not in _TYPES:
        raise node.refuse(f"element type {number}")
    return _TYPES[number]


def _cast(node: Node, x: Tensor) -> Tensor:
    return x.to(_dtype(node, node.needs("to")))


def _shape(node: Node, x: Tensor) -> Tensor:
    sizes = x.shape[node.get("start", 0) : node.get("end")]
    return torch.tensor(sizes, dtype=torch.int64, device=x.device)


def _size(_node: Node, x: Tensor) -> Tensor:
    return torch.tensor(x.numel(), device=x.device)


def _reshape(node: Node, x: Tensor, shape: Tensor) -> Tensor:
    sizes = shape.tolist()
    if not node.get("allowzero"):
        sizes = [x.shape[k] if n == 0 else n for k, n in enumerate(sizes)]
    return x.reshape(sizes)


def _flatten(node: Node, x: Tensor) -> Tensor:
    axis = node.get("axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    return x.reshape(int(np.prod(x.shape[:axis])), -1)


def _axes(node: Node, axes: Tensor | None) -> list[int] | None:
    """Return axes, which used to be an attribute and became an input."""
    return node.get("axes") if axes is None else axes.reshape(-1).tolist()


def _squeeze(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    dims = _axes(node, axes)
    if dims is None:
        return x.squeeze()
    if any(x.shape[dim] != 1 for dim in dims):
        raise ValueError(f"cannot squeeze axes {dims} of shape {tuple(x.shape)}")
    return x.squeeze(tuple(dims))


def _unsqueeze(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    dims = _axes(node, axes) or []
    rank = x.ndim + len(dims)
    for dim in sorted(d % rank for d in dims):
        x = x.unsqueeze(dim)
    return x


def _transpose(node: Node, x: Tensor) -> Tensor:
    return x.permute(tuple(node.get("perm", range(x.ndim)[::-1])))


def _concat(node: Node, *x: Tensor) -> Tensor:
    axis = node.needs("axis")
    if axis % x[0].ndim and len({tensor.shape[0] for tensor in x} - {1}) == 1:
        # A constant that was exported for one sample serves every sample.
        n = max(tensor.shape[0] for tensor in x)
        x = tuple(tensor.expand(n, *tensor.shape[1:]) for tensor in x)
    return torch.cat(x, axis)


def _split(node: Node, x: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
    axis = node.get("axis", 0)
    given = node.get("split") if sizes is None else sizes.tolist()
    if given is None:
        n = node.get("num_outputs", len(node.outputs))
        whole = -(-x.shape[axis] // n)
        given = [whole] * (n - 1) + [x.shape[axis] - whole * (n - 1)]
    return torch.split(x, given, axis)


def _slice(
    node: Node,
    x: Tensor,
    starts: Tensor | None = None,
    ends: Tensor | None = None,
    axes: Tensor | None = None,
    steps: Tensor | None = None,
) -> Tensor:
    first = node.needs("starts") if starts is None else starts.tolist()
    last = node.needs("ends") if ends is None else ends.tolist()
    dims = _axes(node, axes) or range(len(first))
    by = [1] * len(first) if steps is None else steps.tolist()
    for dim, start, end, step in zip(dims, first, last, by):
        places = range(x.shape[dim])[start:end:step]
        if step > 0:
            cut = [slice(None)] * x.ndim
            cut[dim] = slice(places.start, places.stop, step)
            x = x[tuple(cut)]
        else:
            x = x.index_select(dim, torch.tensor(places, dtype=torch.int64, device=x.device))
    return x


def _positive(index: Tensor, n: int) -> Tensor:
    return torch.where(index < 0, index + n, index).long()


def _gather(node: Node, x: Tensor, index: Tensor) -> Tensor:
    axis = node.get("axis", 0) % x.ndim
    found = x.index_select(axis, _positive(index, x.shape[axis]).reshape(-1))
    return found.reshape((*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]))


def _gather_elements(node: Node, x: Tensor, index: Tensor) -> Tensor:
    axis = node.get("axis", 0)
    return x.gather(axis, _positive(index, x.shape[axis]))


def _gather_nd(node: Node, x: Tensor, index: Tensor) -> Tensor:
    if node.get("batch_dims"):
        raise node.refuse("batch_dims")
    return x[index.long().unbind(-1)]


def _scatter_nd(node: Node, x: Tensor, index: Tensor, values: Tensor) -> Tensor:
    if node.get("reduction", "none") not in ("none", "add"):
        raise node.refuse(f"reduction {node.get('reduction')!r}")
    add = node.get("reduction", "none") == "add"
    return x.clone().index_put(index.long().unbind(-1), values, accumulate=add)


def _scatter_elements(node: Node, x: Tensor, index: Tensor, values: Tensor) -> Tensor:
    axis, how = node.get("axis", 0), node.get("reduction", "none")
    places = _positive(index, x.shape[axis])
    if how == "none":
        return x.scatter(axis, places, values)
    names = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}
    return x.scatter_reduce(axis, places, values, names[how])


def _expand(_node: Node, x: Tensor, shape: Tensor) -> Tensor:
    return x.expand(torch.broadcast_shapes(x.shape, tuple(shape.tolist())))


def _filled(node: Node, shape: Tensor) -> Tensor:
    value = node.get("value", torch.zeros(1))
    return torch.full(shape.tolist(), value.item(), dtype=value.dtype, device=shape.device)


def _range(_node: Node, start: Tensor, limit: Tensor, step: Tensor) -> Tensor:
    ends = start.item(), limit.item(), step.item()
    return torch.arange(*ends, dtype=start.dtype, device=start.device)


def _one_hot(node: Node, index: Tensor, depth: Tensor, values: Tensor) -> Tensor:
    n, axis = int(depth), node.get("axis", -1)
    hot = index.unsqueeze(-1) == torch.arange(n, device=index.device)
    hot = hot | (index.unsqueeze(-1) + n == torch.arange(n, device=index.device))
    return torch.where(hot, values[1], values[0]).movedim(-1, axis)


def _depth_to_space(node: Node, x: Tensor) -> Tensor:
    b = node.needs("blocksize")
    n, c, h, w = x.shape
    if node.get("mode", "DCR") == "DCR":
        x = x.reshape(n, b, b, c // b**2, h, w).permute(0, 3, 4, 1, 5, 2)
    else:
        x = x.reshape(n, c // b**2, b, b, h, w).permute(0, 1, 4, 2, 5, 3)
    return x.reshape(n, c // b**2, h * b, w * b)


def _space_to_depth(node: Node, x: Tensor) -> Tensor:
    b = node.needs("blocksize")
    n, c, h, w = x.shape
    x = x.reshape(n, c, h // b, b, w // b, b).permute(0, 3, 5, 1, 2, 4)
    return x.reshape(n, c * b**2, h // b, w // b)


def _triangle(node: Node, x: Tensor, k: Tensor | None = None) -> Tensor:
    return (torch.triu if node.get("upper", 1) else torch.tril)(x, 0 if k is None else int(k))


def _dropout(_node: Node, x: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return x, torch.ones_like(x, dtype=torch.bool)


SHAPES: dict[str, Callable[..., Any]] = {
    "Cast": _cast,
    "CastLike": lambda _node, x, like: x.to(like.dtype),
    "Concat": _concat,
    "ConstantOfShape": _filled,
    "DepthToSpace": _depth_to_space,
    "Dropout": _dropout,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "Identity": lambda _node, x: x,
    "NonZero": lambda _node, x: x.nonzero().T,
    "OneHot": _one_hot,
    "Range": _range,
    "Reshape": _reshape,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
    "Shape": _shape,
    "Size": _size,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": lambda _node, x, repeats: x.repeat(repeats.tolist()),
    "Transpose": _transpose,
    "Trilu": _triangle,
    "Unsqueeze": _unsqueeze,
}
