"""Prune by the error of a layer's output, and let the weights that stay compensate for it."""

from collections.abc import Mapping

import torch
from torch import nn

from tinynets.networks.extraction import dense_weight
from tinynets.networks.passes import Inputs
from tinynets.pruning.scores import Layers, by_group, input_statistics, unfolded


def inverse_factors(
    model: nn.Module, layers: Layers, x: Inputs, *, damping: float = 0.01
) -> dict[str, torch.Tensor]:
    """Return the upper Cholesky factor of each layer's inverse Hessian: (groups, n_in, n_in).

    The Hessian of a layer's squared output error is X.T @ X over its inputs; `damping` times its
    mean diagonal is added. Cost: n_in³ a layer.
    """
    moments = input_statistics(model, layers, x, lambda r: r.double().mT @ r.double())
    factors = {}
    for path, moment in moments.items():
        mean = moment.diagonal(dim1=1, dim2=2).mean(1).clamp_min(1e-12)
        damped = moment + damping * torch.diag_embed(mean[:, None].expand(moment.shape[:2]))
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
        factors[path] = torch.linalg.cholesky(inverse, upper=True)
    return factors


def saliency(layers: Layers, factors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return weight² / factor_jj², the error left when weight j goes and later inputs compensate.

    Source: Hassibi, Stork, Optimal Brain Surgeon, NIPS 1992; in this order of elimination:
    Frantar, Alistarh, SparseGPT, ICML 2023, arXiv 2301.00774.
    """
    scores = {}
    for path, module in layers.items():
        diagonal = factors[path].diagonal(dim1=1, dim2=2)[:, None]
        score = (by_group(module).double() / diagonal).square()
        scores[path] = unfolded(module, score.view_as(dense_weight(module)).float(), power=2)
    return scores


def compensate(module: nn.Module, mask: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Return a layer's weight, zero outside its mask and changed inside to keep the output.

    Input by input, the error of the weights removed is passed to the inputs that follow.

    mask: bool in the shape of the weight.

    Source: Frantar, Alistarh, arXiv 2301.00774.
    Cost: n_out * n_in² a layer.
    """
    weight = by_group(module).double().clone()
    gone = ~mask.reshape(weight.shape)
    for j in range(weight.shape[2]):
        error = weight[:, :, j] * gone[:, :, j] / factor[:, j, j, None]
        weight[:, :, j:] -= error[:, :, None] * factor[:, None, j, j:]
    weight[gone] = 0.0
    return weight.view(mask.shape).to(dense_weight(module).dtype)
