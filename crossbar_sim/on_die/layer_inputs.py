"""The inputs of a network's layers: their ranges on real images, and a convolution's rows."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import nn

from tinynets.modules.unpacking import unpacked
from tinynets.networks.layers import ConvGeometry
from tinynets.networks.passes import Inputs, call, evaluation, split, watching

#: Number of inputs that run at a time, which bounds the memory.
BATCH = 500


@dataclass(frozen=True)
class InputRange:
    """The range of a layer's inputs.

    limit: largest magnitude, above zero.
    signed: whether any input is negative.
    """

    limit: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    signed: bool


def input_ranges(
    network: nn.Module, paths: list[str], calibration: Inputs
) -> dict[str, InputRange]:
    """Return the input ranges of the modules at some paths, by path, over all their passes."""
    low, high = dict.fromkeys(paths, 0.0), dict.fromkeys(paths, 0.0)
    for inputs in split(calibration, BATCH):
        for path, seen in capture_inputs(network, paths, inputs).items():
            for x in seen:
                least, most = (float(end) for end in torch.aminmax(x))
                if not np.isfinite(least + most):
                    raise ValueError(
                        f"the input of layer {path!r} must be finite; got NaN or inf on the "
                        "calibration images"
                    )
                low[path], high[path] = min(low[path], least), max(high[path], most)
    return {path: InputRange(max(-low[path], high[path]) or 1.0, low[path] < 0) for path in paths}


def capture_inputs(
    model: nn.Module, paths: Collection[str], inputs: Inputs
) -> dict[str, list[torch.Tensor]]:
    """Run a model and return the inputs of the modules at some paths, pass by pass."""
    captured: dict[str, list[torch.Tensor]] = {}

    def see(path: str, _module: nn.Module, x: torch.Tensor, _output: object) -> None:
        captured.setdefault(path, []).append(x.detach())

    model = unpacked(model, only=paths)
    modules = {path: model.get_submodule(path) for path in paths}
    with watching(modules, see), evaluation(model), torch.no_grad():
        call(model, inputs)
    if idle := [path for path in modules if path not in captured]:
        raise ValueError(f"layers {idle} did not run on the inputs; leave them digital")
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
