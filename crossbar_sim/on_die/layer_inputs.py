"""The inputs of a network's layers: their ranges on real images, and a convolution's rows."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from tinynets.networks.extraction import evaluation
from tinynets.networks.layers import ConvGeometry

#: Number of inputs that run at a time, which bounds the memory.
BATCH = 500


@dataclass(frozen=True)
class InputRange:
    """The range of a layer's inputs.

    limit: largest magnitude.
    signed: whether any input is negative.
    """

    limit: float
    signed: bool


def check_inputs(images: torch.Tensor) -> None:
    """Raise ValueError unless a network can run on these images."""
    if not isinstance(images, torch.Tensor):
        raise ValueError(
            f"inputs must be a tensor; got {type(images).__name__}; use torch.from_numpy"
        )
    if not images.is_floating_point() or not len(images):
        raise ValueError(
            "inputs must be at least one, of a floating-point type; got shape "
            f"{tuple(images.shape)} of {images.dtype}"
        )


def input_ranges(
    network: nn.Module, paths: list[str], range_images: torch.Tensor
) -> dict[str, InputRange]:
    """Return the input ranges of the modules at some paths, by path."""
    low, high = dict.fromkeys(paths, 0.0), dict.fromkeys(paths, 0.0)
    for images in range_images.split(BATCH):
        for path, x in capture_inputs(network, paths, images).items():
            least, most = (float(end) for end in torch.aminmax(x))
            if not np.isfinite(least + most):
                raise ValueError(
                    f"the input of layer {path!r} must be finite; got NaN or inf on the "
                    "calibration images"
                )
            low[path], high[path] = min(low[path], least), max(high[path], most)
    return {path: InputRange(max(-low[path], high[path]) or 1.0, low[path] < 0) for path in paths}


def capture_inputs(
    model: nn.Module, paths: Iterable[str] | Mapping[str, object], x: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Run a model and return the inputs of the modules at the given paths."""
    captured: dict[str, torch.Tensor] = {}

    def hook(path: str):
        def keep(_module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            captured[path] = inputs[0].detach()

        return keep

    handles = [model.get_submodule(p).register_forward_pre_hook(hook(p)) for p in paths]
    try:
        with evaluation(model), torch.no_grad():
            model(x)
    finally:
        for handle in handles:
            handle.remove()
    return captured


def patches(x: torch.Tensor, conv: ConvGeometry) -> torch.Tensor:
    """Return the im2col rows (n_batch, n_position, n_in) of an image batch."""
    x = x if x.ndim == 4 else x.unsqueeze(2)
    columns = nn.functional.unfold(x, conv.kernel, conv.dilation, conv.padding, conv.stride)
    return columns.transpose(1, 2)


def output_size(x: torch.Tensor, conv: ConvGeometry) -> tuple[int, int]:
    """Return the height and width of a convolution's output (height 1 for a 1-D one)."""
    size = x.shape[2:] if x.ndim == 4 else (1, x.shape[2])
    height, width = (
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(size, conv.kernel, conv.stride, conv.padding, conv.dilation)
    )
    return height, width
