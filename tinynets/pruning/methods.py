"""Score weights, keep the largest, train what is left, repeat."""

from collections.abc import Callable

import torch
from torch import nn

from tinynets.networks.data import Data
from tinynets.networks.masks import (
    Masks,
    apply_masks,
    choose,
    copied,
    make_permanent,
    mask_of,
    masks_of,
    n_to_keep,
    weight_layers,
)
from tinynets.networks.training import train
from tinynets.pruning import scores, second_order
from tinynets.pruning.schedules import sparsities

__all__ = [
    "METHODS",
    "apply_masks",
    "magnitude_masks",
    "make_permanent",
    "masks_of",
    "prune",
    "prune_once",
    "weight_layers",
]

METHODS = (
    "iterative_magnitude",
    "magnitude",
    "gradient",
    "activation",
    "second_order",
    "random",
)
#: Training samples that the scores which need data look at.
N_CALIBRATION = 512

#: Called with the finished round, of how many, and the sparsity reached.
RoundProgress = Callable[[int, int, float], None]


def prune(
    model: nn.Module,
    data: Data,
    *,
    method: str = "iterative_magnitude",
    sparsity: float | None = None,
    scope: str = "global",
    schedule: str | None = None,
    rounds: int = 5,
    epochs: int = 10,
    learning_rate: float = 1e-3,
    exclude: tuple[str, ...] = (),
    seed: int = 0,
    progress: RoundProgress | None = None,
) -> nn.Module:
    """Return a pruned and fine-tuned copy of a trained model; the model given is not changed.

    method: the score, one of METHODS; "second_order" also changes the weights that stay.
    sparsity: share of the weights that ends as zero, in [0, 1); None with an N:M scope. Biases
    are kept. scope: "global", "layer", "output" or "N:M", see `masks.choose`.
    schedule: "one_shot", "iterative" or "cubic" over `rounds` of pruning, with `epochs` of
    training after each; None is "iterative" for "iterative_magnitude", else "one_shot".
    exclude: module paths to leave as they are; they do not count for the sparsity.

    Raises ValueError for options that make no sense, a model without weight layers, NaN weights,
    or a layer that would lose its last weight.
    Source: Han et al., NeurIPS 2015, arXiv 1506.02626; global scope as in Blalock et al.,
    MLSys 2020, arXiv 2003.03033; the scores name theirs. Cost: that of the training in its
    rounds, and one score a round.
    """
    schedule = schedule or ("iterative" if method == "iterative_magnitude" else "one_shot")
    n_of_m = n_to_keep(sparsity, scope)
    if n_of_m and schedule != "one_shot":
        raise ValueError(f"scope {scope!r} is reached in one step; pass schedule='one_shot'")
    sparsity = 1 - n_of_m[0] / n_of_m[1] if n_of_m else sparsity
    assert sparsity is not None  # n_to_keep has checked
    targets = sparsities(schedule, sparsity, rounds)
    model = copied(model)
    for k, reached in enumerate(targets, 1):
        prune_once(
            model, data, method=method, sparsity=reached, scope=scope, exclude=exclude, seed=seed
        )
        train(model, data, epochs=epochs, learning_rate=learning_rate, seed=seed + k)
        if progress:
            progress(k, len(targets), reached)
    return model


def prune_once(
    model: nn.Module,
    data: Data,
    *,
    method: str = "magnitude",
    sparsity: float | None = None,
    scope: str = "global",
    exclude: tuple[str, ...] = (),
    seed: int = 0,
) -> Masks:
    """Prune a model in place in one step, without training; return the masks put into force.

    The arguments are those of `prune`. What an earlier mask removed stays removed.
    """
    layers = weight_layers(model, exclude)
    x, y = _calibration(data, seed)
    factors = {}
    if method == "second_order":
        factors = second_order.inverse_factors(model, layers, x)
        found = second_order.saliency(layers, factors)
    else:
        found = _score(method, model, layers, x, y, seed)
    gone = {path: ~mask_of(module) for path, module in layers.items()}
    masks = choose({p: s.masked_fill(gone[p], -1.0) for p, s in found.items()}, sparsity, scope)
    updated = {
        path: second_order.compensate(layers[path], masks[path], factor)
        for path, factor in factors.items()
    }
    apply_masks(model, masks)
    with torch.no_grad():
        for path, weight in updated.items():
            layers[path].get_parameter("weight_orig").copy_(weight)
    return masks


def magnitude_masks(model: nn.Module, sparsity: float) -> Masks:
    """Return for each layer the bool mask that keeps the largest |weight| of the whole network."""
    return choose(scores.magnitude(weight_layers(model)), sparsity)


def _score(
    method: str,
    model: nn.Module,
    layers: scores.Layers,
    x: torch.Tensor,
    y: torch.Tensor,
    seed: int,
) -> dict[str, torch.Tensor]:
    match method:
        case "magnitude" | "iterative_magnitude":
            return scores.magnitude(layers)
        case "gradient":
            return scores.gradient(model, layers, x, y)
        case "activation":
            return scores.activation(model, layers, x)
        case "random":
            return scores.random(layers, seed)
    raise ValueError(f"method must be one of {METHODS}; got {method!r}")


def _calibration(data: Data, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a random part of the training samples and their labels."""
    order = torch.randperm(len(data.x_train), generator=torch.Generator().manual_seed(seed))
    rows = order[:N_CALIBRATION]
    return torch.from_numpy(data.x_train)[rows], torch.from_numpy(data.y_train)[rows]
