"""The two other ways to make a network smaller: fewer bits a weight, and factors of low rank."""

from typing import Any

import torch
from torch import nn

from tinynets.modules.replacing import copied
from tinynets.modules.unpacking import unpacked
from tinynets.networks.masks import check_finite, make_permanent, weight_layers


def quantise(model: nn.Module, bits: int, *, exclude: tuple[str, ...] = ()) -> nn.Module:
    """Return a copy with each weight at the nearest of 2^bits - 1 levels, symmetric about zero.

    bits: 2 … 16. The step of each output channel is its largest |weight| over 2^(bits - 1) - 1;
    zero stays zero, so masks hold (they become permanent). Biases stay in full.
    Raises ValueError for other bits, or NaN weights.
    Source: Jacob et al., CVPR 2018, arXiv 1712.05877.
    """
    check_bits(bits)
    model = make_permanent(unpacked(copied(model), leave=exclude))
    layers, top = weight_layers(model, exclude), 2 ** (bits - 1) - 1
    check_finite(layers)
    for module in layers.values():
        weight = module.get_parameter("weight")
        with torch.no_grad():
            rows = weight.flatten(1)
            step = (rows.abs().amax(1, keepdim=True) / top).clamp_min(1e-30)
            weight.copy_(((rows / step).round() * step).view_as(weight))
    return model


def check_bits(bits: int) -> None:
    """Raise the ValueError of `quantise`."""
    if not 2 <= bits <= 16:
        raise ValueError(f"bits must be 2 … 16; got {bits}")


def low_rank(model: nn.Module, energy: float, *, exclude: tuple[str, ...] = ()) -> nn.Module:
    """Return a copy in which each layer is two thinner layers, where that saves weights.

    energy: fraction of the sum of squared singular values that the rank must keep, in (0, 1].

    A layer of rank r becomes a `Sequential` of a layer with r outputs and no bias, and one with all
    outputs, which is 1 × 1 for a convolution. Grouped convolutions stay. Masks become permanent,
    then dense.
    Raises ValueError for an energy outside (0, 1], or NaN weights.
    Source: Denton et al., NIPS 2014, arXiv 1404.0736. Cost: one SVD a layer.
    """
    if not 0.0 < energy <= 1.0:
        raise ValueError(f"energy must be in (0, 1]; got {energy}")
    model = make_permanent(unpacked(copied(model), leave=exclude))
    layers = weight_layers(model, exclude)
    check_finite(layers)
    for path, module in layers.items():
        if getattr(module, "groups", 1) == 1 and (pair := _factors(module, energy)):
            if not path:
                return pair
            model.set_submodule(path, pair)
    return model


def rank_of(singular: torch.Tensor, energy: float) -> int:
    """Return the least rank whose singular values hold that fraction of their squared sum."""
    fraction = singular.square().cumsum(0) / singular.square().sum().clamp_min(1e-300)
    return min(int((fraction < energy - 1e-12).sum()) + 1, len(singular))


def _factors(module: Any, energy: float) -> nn.Sequential | None:
    """Return the two thin layers, or None when they hold no fewer weights."""
    matrix = module.weight.detach().flatten(1)
    u, s, v = torch.linalg.svd(matrix.double(), full_matrices=False)
    r = rank_of(s, energy)
    if r * sum(matrix.shape) >= matrix.numel():
        return None
    first, second = _thin_layers(module, r)
    root = s[:r].sqrt()
    with torch.no_grad():
        first.weight.copy_((root[:, None] * v[:r]).reshape(first.weight.shape))
        second.weight.copy_((u[:, :r] * root).reshape(second.weight.shape))
        if module.bias is not None:
            second.bias.copy_(module.bias)
    return nn.Sequential(first, second).train(module.training)


def _thin_layers(module: Any, r: int) -> tuple[Any, Any]:
    has_bias = module.bias is not None
    if isinstance(module, nn.Linear):
        first = nn.Linear(module.in_features, r, bias=False)
        return first, nn.Linear(r, module.out_features, bias=has_bias)
    kind = type(module)
    first = kind(
        module.in_channels,
        r,
        module.kernel_size,
        stride=module.stride,
        padding=module.padding,
        dilation=module.dilation,
        padding_mode=module.padding_mode,
        bias=False,
    )
    return first, kind(r, module.out_channels, 1, bias=has_bias)
