"""The ONNX operations that pad, pool and resize, as functions of torch tensors."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from tinynets.formats.onnx.graph import Node

Tensor = torch.Tensor


def pad(x: Tensor, ends: list[tuple[int, int]], mode: str = "constant", value: Any = 0) -> Tensor:
    """Return x with (before, after) values more on each of its last axes; negative ones cut off.

    mode: "constant", or "edge", "reflect" or "wrap", as NumPy has them.
    """
    if mode == "constant":
        return F.pad(x, [n for pair in reversed(ends) for n in pair], value=value)
    for axis, (before, after) in enumerate(ends, x.ndim - len(ends)):
        n = x.shape[axis]
        places = np.pad(np.arange(n), (max(before, 0), max(after, 0)), mode=mode)  # pyright: ignore
        places = places[max(-before, 0) : len(places) - max(-after, 0)]
        x = x.index_select(axis, torch.from_numpy(places).to(x.device))
    return x


def _pad(
    node: Node,
    x: Tensor,
    pads: Tensor | None = None,
    value: Tensor | None = None,
    axes: Tensor | None = None,
) -> Tensor:
    sizes = node.needs("pads") if pads is None else pads.tolist()
    fill = node.get("value", 0.0) if value is None else value.item()
    n = len(sizes) // 2
    ends = [(0, 0)] * x.ndim
    dims = range(x.ndim) if axes is None else axes.tolist()
    for dim, before, after in zip(dims, sizes[:n], sizes[n:]):
        ends[dim] = before, after
    return pad(x, ends, node.get("mode", "constant"), fill)


def window_ends(
    node: Node, sizes: tuple[int, ...], kernel: tuple[int, ...]
) -> list[tuple[int, int]]:
    """Return how many values a sliding window wants (before, after) each axis, by the attributes.

    sizes: of the axes that it slides over.
    """
    n_axis, how = len(kernel), node.get("auto_pad", "NOTSET")
    if how == "VALID":
        return [(0, 0)] * n_axis
    if how == "NOTSET":
        pads = node.get("pads", [0] * (2 * n_axis))
        return list(zip(pads[:n_axis], pads[n_axis:]))
    strides, reach = node.get("strides", [1] * n_axis), _reach(node, kernel)
    totals = [max((-(-n // s) - 1) * s + r - n, 0) for n, s, r in zip(sizes, strides, reach)]
    halves = [(total // 2, total - total // 2) for total in totals]
    return halves if how == "SAME_UPPER" else [(b, a) for a, b in halves]


def _reach(node: Node, kernel: tuple[int, ...]) -> list[int]:
    dilations = node.get("dilations", [1] * len(kernel))
    return [d * (k - 1) + 1 for d, k in zip(dilations, kernel)]


def _pool(node: Node, x: Tensor) -> Tensor:
    kernel = tuple(node.needs("kernel_shape"))
    n_axis = len(kernel)
    strides = node.get("strides", [1] * n_axis)
    ends = window_ends(node, x.shape[2:], kernel)
    beyond = [
        _beyond(n, pair, (reach, stride), bool(node.get("ceil_mode")))
        for n, pair, reach, stride in zip(x.shape[2:], ends, _reach(node, kernel), strides)
    ]
    whole = [(before, after + more) for (before, after), more in zip(ends, beyond)]
    padded = any(n for pair in whole for n in pair)
    if node.kind == "MaxPool":
        pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[n_axis - 1]
        x = pad(x, whole, value=-torch.inf) if padded else x
        return pool(x, kernel, strides, dilation=tuple(node.get("dilations", [1] * n_axis)))
    if set(node.get("dilations", [1])) != {1}:
        raise node.refuse("a dilated average")
    pool: Any = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[n_axis - 1]
    if not padded:
        return pool(x, kernel, strides)
    ones = pad(x.new_ones(1, 1, *x.shape[2:]), ends, value=float(node.get("count_include_pad", 0)))
    share = pool(pad(ones, [(0, more) for more in beyond]), kernel, strides)
    return pool(pad(x, whole), kernel, strides) / share


def _beyond(n: int, ends: tuple[int, int], window: tuple[int, int], ceil: bool) -> int:
    """Return how far the last window reaches beyond the padding; negative where it falls short."""
    if not ceil:
        return 0
    reach, stride = window
    room = n + sum(ends) - reach
    count = -(-room // stride) + 1
    if (count - 1) * stride >= n + ends[0]:  # it would see nothing but padding
        count -= 1
    return (count - 1) * stride - room


def _over_all(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda _node, x: function(x, tuple(range(2, x.ndim)), keepdim=True)


def _resize(
    node: Node,
    x: Tensor,
    roi: Tensor | None = None,
    scales: Tensor | None = None,
    sizes: Tensor | None = None,
) -> Tensor:
    if node.opset < 11:  # the scales came second; before opset 9, as an attribute
        scales, roi = roi, None
    dims = node.get("axes", range(x.ndim))
    shape = [x.shape[dim] for dim in dims]
    if sizes is not None and sizes.numel():
        if node.get("keep_aspect_ratio_policy", "stretch") != "stretch":
            raise node.refuse("keep_aspect_ratio_policy")
        wanted = [int(n) for n in sizes.tolist()]
        factors = [m / n for m, n in zip(wanted, shape)]
    else:
        factors = node.needs("scales") if scales is None else scales.tolist()
        wanted = [int(np.floor(n * f)) for n, f in zip(shape, factors)]
    for dim, n_out, factor in zip(dims, wanted, factors):
        if factor != 1 or n_out != x.shape[dim]:
            x = _along(node, x, dim, n_out, factor)
    return x


def _along(node: Node, x: Tensor, dim: int, n_out: int, scale: float) -> Tensor:
    """Return x resized along one axis."""
    n, mode = x.shape[dim], node.get("mode", "nearest")
    places = _coordinates(node, n, n_out, scale)
    if mode == "nearest":
        how = node.get("nearest_mode", "round_prefer_floor") if node.opset >= 11 else "floor"
        rounded = {
            "round_prefer_floor": np.ceil(places - 0.5),
            "round_prefer_ceil": np.floor(places + 0.5),
            "floor": np.floor(places),
            "ceil": np.ceil(places),
        }[how]
        index = torch.from_numpy(np.clip(rounded, 0, n - 1).astype(np.int64))
        return x.index_select(dim, index.to(x.device))
    weights = torch.from_numpy(_weights(node, places, n, scale)).to(x)
    return (x.movedim(dim, -1) @ weights.T).movedim(-1, dim)


def _coordinates(node: Node, n: int, n_out: int, scale: Any) -> np.ndarray:
    """Return where each output lies on the axis of the input."""
    how = node.get("coordinate_transformation_mode", "half_pixel")
    how = how if node.opset >= 11 else "asymmetric"
    # In float32, as runtimes do: which of two equally near neighbours is taken hangs on it.
    k, scale = np.arange(n_out, dtype=np.float32), np.float32(scale)
    if how == "align_corners":
        return k * (n - 1) / max(n_out - 1, 1)
    if how == "asymmetric":
        return k / scale
    if how == "tf_half_pixel_for_nn":
        return (k + 0.5) / scale
    if how == "half_pixel_symmetric":
        return n / 2 * (1 - n_out / (scale * n)) + (k + 0.5) / scale - 0.5
    if how == "pytorch_half_pixel" and n_out == 1:
        return k
    if how not in ("half_pixel", "pytorch_half_pixel"):
        raise node.refuse(f"coordinate_transformation_mode {how!r}")
    return (k + 0.5) / scale - 0.5


def _weights(node: Node, places: np.ndarray, n: int, scale: float) -> np.ndarray:
    """Return (n_out, n): what each output takes of each input."""
    cubic, smooth = node.get("mode") == "cubic", bool(node.get("antialias"))
    stretch = min(scale, 1.0) if smooth else 1.0
    radius = int(np.ceil((2 if cubic else 1) / stretch))
    taps = np.floor(places)[:, None] + np.arange(1 - radius, radius + 1)
    distance = np.abs(places[:, None] - taps) * stretch
    share = _cubic(distance, node.get("cubic_coeff_a", -0.75)) if cubic else 1 - distance
    share = np.maximum(share, 0) if not cubic else share
    if node.get("exclude_outside"):
        share = np.where((taps >= 0) & (taps < n), share, 0)
    share = share / share.sum(1, keepdims=True)
    weights = np.zeros((len(places), n))
    rows = np.broadcast_to(np.arange(len(places))[:, None], taps.shape)
    np.add.at(weights, (rows, np.clip(taps, 0, n - 1).astype(int)), share)
    return weights


def _cubic(d: np.ndarray, a: float) -> np.ndarray:
    """Return the cubic convolution kernel (Keys, IEEE Trans. ASSP 29, 1981)."""
    near = ((a + 2) * d - (a + 3)) * d**2 + 1
    far = a * (((d - 5) * d + 8) * d - 4)
    return np.where(d <= 1, near, np.where(d < 2, far, 0))


def _grid_sample(node: Node, x: Tensor, grid: Tensor) -> Tensor:
    names = {"linear": "bilinear", "cubic": "bicubic"}
    mode = node.get("mode", "bilinear")
    edges, corners = node.get("padding_mode", "zeros"), bool(node.get("align_corners", 0))
    return F.grid_sample(x, grid, str(names.get(mode, mode)), edges, corners)


WINDOWS: dict[str, Callable[..., Any]] = {
    "AveragePool": _pool,
    "GlobalAveragePool": _over_all(torch.mean),
    "GlobalMaxPool": _over_all(torch.amax),
    "GridSample": _grid_sample,
    "MaxPool": _pool,
    "Pad": _pad,
    "Resize": _resize,
    "Upsample": _resize,
}
