"""Score weights, keep the largest, train what is left, repeat."""

import copy
from collections.abc import Callable, Mapping

import torch
from torch import nn
from torch.nn.utils import prune as torch_prune

from tinynets.data import Data
from tinynets.extraction import dense_weight
from tinynets.train import train

#: Called with the finished round, of how many, and the sparsity reached.
RoundProgress = Callable[[int, int, float], None]


def prune(
    model: nn.Module,
    data: Data,
    *,
    method: str = "iterative_magnitude",
    sparsity: float,
    rounds: int = 5,
    epochs: int = 10,
    learning_rate: float = 1e-3,
    seed: int = 0,
    progress: RoundProgress | None = None,
) -> nn.Module:
    """Return a pruned and fine-tuned copy of a trained model; the model given is not changed.

    method: "iterative_magnitude" removes the smallest weights of the whole network in `rounds`
    steps that each keep the same share, with `epochs` of training after each; "magnitude" is
    the same in one step.
    sparsity: share of all weights that ends as zero, in [0, 1). Biases are kept.

    Raises ValueError for a sparsity outside [0, 1), an unknown method, a model without weight
    layers, or a layer that would lose its last weight.
    Source: Han et al., NeurIPS 2015, arXiv 1506.02626; global scope as in Blalock et al.,
    MLSys 2020, arXiv 2003.03033.
    """
    if not 0.0 <= sparsity < 1.0:
        raise ValueError(f"sparsity must be in [0, 1); got {sparsity}")
    if method not in ("iterative_magnitude", "magnitude"):
        raise ValueError(f"method must be 'iterative_magnitude' or 'magnitude'; got {method!r}")
    rounds = rounds if method == "iterative_magnitude" else 1
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1; got {rounds}")
    model = copy.deepcopy(model)
    for k in range(1, rounds + 1):
        reached = 1.0 - (1.0 - sparsity) ** (k / rounds)
        apply_masks(model, magnitude_masks(model, reached))
        train(model, data, epochs=epochs, learning_rate=learning_rate, seed=seed + k)
        if progress:
            progress(k, rounds, reached)
    return model


def weight_layers(model: nn.Module) -> Mapping[str, nn.Module]:
    """Return the prunable modules (Linear, Conv1d, Conv2d) by path, in order."""
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d)
    layers = {path: m for path, m in model.named_modules() if isinstance(m, kinds)}
    if not layers:
        raise ValueError("the model has no Linear, Conv1d or Conv2d layer to prune")
    return layers


def magnitude_masks(model: nn.Module, sparsity: float) -> dict[str, torch.Tensor]:
    """Return for each layer the bool mask that keeps the largest |weight| of the whole network.

    Exactly round((1 - sparsity) * n_weight) weights are kept; equal ones in order of position.
    """
    layers = weight_layers(model)
    weights = {path: dense_weight(module) for path, module in layers.items()}
    scores = torch.cat([w.abs().flatten() for w in weights.values()])
    if not torch.isfinite(scores).all():
        bad = [path for path, w in weights.items() if not torch.isfinite(w).all()]
        raise ValueError(f"layers {bad} hold NaN or inf weights and cannot be ranked")
    keep = torch.zeros(len(scores), dtype=torch.bool)
    n_keep = round((1.0 - sparsity) * len(scores))
    keep[torch.sort(scores, descending=True, stable=True).indices[:n_keep]] = True
    parts = keep.split([w.numel() for w in weights.values()])
    masks = {path: part.view_as(w) for part, (path, w) in zip(parts, weights.items())}
    empty = [path for path, mask in masks.items() if not mask.any()]
    if empty:
        raise ValueError(
            f"a sparsity of {sparsity:.4g} would leave no weight in layers {empty}; lower it"
        )
    return masks


def apply_masks(model: nn.Module, masks: dict[str, torch.Tensor]) -> None:
    """Mask the weights of a model in place with `torch.nn.utils.prune`, replacing older masks."""
    layers = weight_layers(model)
    for path, mask in masks.items():
        module = layers[path]
        if mask.shape != dense_weight(module).shape:
            raise ValueError(
                f"mask of layer {path!r} has shape {tuple(mask.shape)}, its weight "
                f"{tuple(dense_weight(module).shape)}"
            )
        if torch_prune.is_pruned(module):
            torch_prune.remove(module, "weight")
        torch_prune.custom_from_mask(module, "weight", mask)


def make_permanent(model: nn.Module) -> nn.Module:
    """Write the masks into the weights, in place, and drop them; return the model."""
    for module in weight_layers(model).values():
        if torch_prune.is_pruned(module):
            torch_prune.remove(module, "weight")
    return model
