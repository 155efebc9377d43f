"""Find a good sub-network of a random network by training scores, never weights."""

import math
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from tinynets.data import Data
from tinynets.modules.replacing import copied
from tinynets.modules.unpacking import unpacked
from tinynets.networks.extraction import dense_weight
from tinynets.networks.masks import (
    apply_masks,
    check_finite,
    choose,
    keep_largest,
    make_permanent,
    weight_layers,
)
from tinynets.networks.training import Training, train
from tinynets.progress import Progress, silent

INITS = ("signed_constant", "kaiming_normal", "kaiming_uniform", "as_is")


class Popup(nn.Module):
    """A weight multiplied by the mask of its `n_keep` largest |scores|.

    The gradient passes to the scores as if the mask were the scores (straight-through estimator).
    """

    def __init__(self, weight: torch.Tensor, n_keep: int) -> None:
        super().__init__()
        self.n_keep = n_keep
        self.scores = nn.Parameter(torch.empty_like(weight))

    def mask(self) -> torch.Tensor:
        """Return the bool mask in force."""
        rows = self.scores.detach().abs().reshape(1, -1)
        return keep_largest(rows, self.n_keep).view_as(self.scores)

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        # The factor equals the mask, and its derivative with respect to |scores| is one.
        magnitude = self.scores.abs()
        return weight * (self.mask() + magnitude - magnitude.detach())


def edge_popup(
    model: nn.Module,
    data: Data,
    *,
    sparsity: float,
    init: str = "signed_constant",
    exclude: tuple[str, ...] = (),
    progress: Progress = silent,
    **training: Any,
) -> nn.Module:
    """Return a copy of a network with random weights, masked so that it classifies.

    sparsity: fraction of each layer's weights that is masked, in [0, 1).
    init: "signed_constant" (± the standard deviation of Kaiming's normal), "kaiming_normal" or
        "kaiming_uniform", all scaled up by sqrt(1 / (1 - sparsity)); or "as_is" for the weights of
        the model.
    exclude: modules that stay as they are.
    training: the fields of `Training`, by default 30 epochs at a learning rate of 0.01. Its seed
        also fixes the random weights.

    No weight is trained, and biases are zero.
    Raises ValueError as `prune` does, for an unknown init, and for NaN weights with "as_is".
    Source: Ramanujan et al., CVPR 2020, arXiv 1911.13299. Cost: that of training, and a selection
    of the largest scores for each layer and step.
    """
    how = Training(**({"epochs": 30, "learning_rate": 0.01} | training))
    if init not in INITS:
        raise ValueError(f"init must be one of {INITS}; got {init!r}")
    model = make_permanent(unpacked(copied(model), leave=exclude))
    model.requires_grad_(False)
    layers = weight_layers(model, exclude)
    if init == "as_is":
        check_finite(layers)
    generator = torch.Generator().manual_seed(how.seed)
    ones = {path: torch.ones_like(dense_weight(module)) for path, module in layers.items()}
    kept = choose(ones, sparsity, "layer")
    popups = {path: Popup(one, int(kept[path].sum())) for path, one in ones.items()}
    for path, module in layers.items():
        _initialise(module, init, sparsity, generator)
        _uniform(popups[path].scores, generator)
        parametrize.register_parametrization(module, "weight", popups[path])
    train(model, data, **vars(how), progress=progress)
    for module in layers.values():
        parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)
    apply_masks(model, {path: popup.mask() for path, popup in popups.items()})
    return model


def _initialise(module: nn.Module, init: str, sparsity: float, generator: torch.Generator) -> None:
    weight = module.get_parameter("weight")
    deviation = math.sqrt(2.0 / (weight[0].numel() * (1.0 - sparsity)))
    with torch.no_grad():
        if init == "signed_constant":
            weight.copy_(deviation * torch.randn(weight.shape, generator=generator).sign())
        elif init == "kaiming_normal":
            weight.normal_(0.0, deviation, generator=generator)
        elif init == "kaiming_uniform":
            limit = math.sqrt(3.0) * deviation
            weight.uniform_(-limit, limit, generator=generator)
        if module.bias is not None:
            module.get_parameter("bias").zero_()


def _uniform(scores: torch.Tensor, generator: torch.Generator) -> None:
    limit = 1.0 / math.sqrt(scores[0].numel())
    with torch.no_grad():
        scores.uniform_(-limit, limit, generator=generator)
