"""How much each weight matters: the larger its score, the later it is pruned.

Every function returns a tensor in the shape of the weight for each layer path. `layers` is what
`weight_layers` returns; inputs `x` are (n_sample, ...) and labels `y` (n_sample,). A score is
offered to users by its entry in `methods.REGISTRY`, and gets what its parameters are named after.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from tinynets.networks.extraction import conv_geometry, dense_weight
from tinynets.networks.masks import FOLDED_GAIN
from tinynets.networks.passes import Inputs, call, evaluation, split, watching

Layers = Mapping[str, nn.Module]


def magnitude(layers: Layers) -> dict[str, torch.Tensor]:
    """Return |weight|, as it was before a batch norm was folded into it.

    Source: Han et al., NeurIPS 2015, arXiv 1506.02626. Cost: one pass.
    """
    return {path: unfolded(module, dense_weight(module).abs()) for path, module in layers.items()}


def unfolded(module: nn.Module, score: torch.Tensor, power: int = 1) -> torch.Tensor:
    """Return a score (n_out, ...) without the gain of a batch norm that was folded into a layer.

    power: of the weight, to which the score is proportional. Batch norm makes the scale of a layer
    arbitrary, so scores with it could not be compared with those of other layers.
    """
    gain = getattr(module, FOLDED_GAIN, None)
    if gain is None or len(gain) != len(score):  # None, or channels have been removed since
        return score
    gain = gain.abs().pow(power).view(-1, *[1] * (score.ndim - 1))
    return torch.where(gain > 0, score / gain, score)


def random(layers: Layers, seed: int) -> dict[str, torch.Tensor]:
    """Return uniform random scores: the control that any other score must beat."""
    generator = torch.Generator().manual_seed(seed)
    weights = {path: dense_weight(module) for path, module in layers.items()}
    return {path: torch.rand(w.shape, generator=generator) for path, w in weights.items()}


def gradient(
    model: nn.Module, layers: Layers, x: Inputs, y: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Return |gradient × weight|: the first-order change of the loss when a weight goes.

    Source: MagGrad of Blalock et al., arXiv 2003.03033; Molchanov et al., arXiv 1611.06440.
    Cost: one forward and backward pass over the samples.
    """
    names = ["weight_orig" if hasattr(m, "weight_orig") else "weight" for m in layers.values()]
    held = [m.get_parameter(name) for m, name in zip(layers.values(), names)]
    frozen = [parameter for parameter in held if not parameter.requires_grad]
    try:
        for parameter in frozen:
            parameter.requires_grad_(True)
        with evaluation(model):
            loss = nn.functional.cross_entropy(call(model, x), y)
            gradients = torch.autograd.grad(loss, held)
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)
    return {
        path: (gradient * dense_weight(module)).abs()
        for gradient, (path, module) in zip(gradients, layers.items())
    }


def activation(model: nn.Module, layers: Layers, x: Inputs) -> dict[str, torch.Tensor]:
    """Return |weight| times the norm of the input it multiplies.

    Source: Sun et al., Wanda, ICLR 2024, arXiv 2306.11695. Cost: one forward pass. It is meant
    for the "output" scope, where the weights of a row compete only with each other.
    """
    squares = input_statistics(model, layers, x, lambda rows: rows.square().sum(1, keepdim=True))
    return {
        path: unfolded(
            module, by_group(module).abs().mul(squares[path].sqrt()).view_as(dense_weight(module))
        )
        for path, module in layers.items()
    }


def by_group(module: Any) -> torch.Tensor:
    """Return a layer's weight as (groups, n_out / groups, n_in); a dense layer has one group."""
    weight = dense_weight(module)
    groups = getattr(module, "groups", 1)
    return weight.reshape(groups, len(weight) // groups, -1)


def input_rows(module: Any, x: torch.Tensor) -> torch.Tensor:
    """Return the vectors a layer multiplies by its weight rows: (groups, n_vector, n_in)."""
    if isinstance(module, nn.Linear):
        return x.reshape(1, -1, x.shape[-1])
    conv = conv_geometry(module)
    x = x if x.ndim == 4 else x.unsqueeze(-2)
    (height, width), zeros = conv.padding, module.padding_mode == "zeros"
    pads = (width, width, height, height)
    x = nn.functional.pad(x, pads, mode="constant" if zeros else module.padding_mode)
    columns = nn.functional.unfold(x, conv.kernel, conv.dilation, 0, conv.stride)
    parts = columns.unflatten(1, (conv.groups, -1)).permute(1, 0, 3, 2)
    return parts.reshape(conv.groups, -1, parts.shape[-1])


def input_statistics(
    model: nn.Module,
    layers: Layers,
    x: Inputs,
    reduce: Callable[[torch.Tensor], torch.Tensor],
    *,
    batch_size: int = 64,
) -> dict[str, torch.Tensor]:
    """Return the sum over all samples of `reduce(input rows)` for each layer.

    Raises ValueError naming the layers that do not run on these inputs.
    """
    totals: dict[str, torch.Tensor] = {}

    def see(path: str, module: nn.Module, x: torch.Tensor, _output: Any) -> None:
        totals[path] = totals.get(path, 0) + reduce(input_rows(module, x.detach()))

    with watching(layers, see), evaluation(model), torch.no_grad():
        for rows in split(x, batch_size):
            call(model, rows)
    if idle := [path for path in layers if path not in totals]:
        raise ValueError(f"layers {idle} did not run on the calibration inputs; exclude them")
    return totals
