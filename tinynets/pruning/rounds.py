"""Score weights, keep the largest, train what is left, repeat."""

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from inspect import signature
from typing import Any

import torch
from torch import nn

from tinynets.data import Data, inputs
from tinynets.modules.replacing import copied
from tinynets.modules.unpacking import unpacked
from tinynets.networks.masks import (
    Masks,
    apply_masks,
    choose,
    make_permanent,
    mask_of,
    n_to_keep,
    warn_of_few,
    weight_layers,
)
from tinynets.networks.passes import Inputs, chosen
from tinynets.networks.training import train
from tinynets.progress import Progress, silent
from tinynets.pruning import second_order
from tinynets.pruning.methods import PruneOptions, check_method
from tinynets.pruning.schedules import sparsities

__all__ = ["make_permanent", "prune", "prune_once"]

#: Training samples that the scores which need data look at.
N_CALIBRATION = 512


def prune(
    model: nn.Module, data: Data, *, progress: Progress = silent, **options: Any
) -> nn.Module:
    """Return a pruned and fine-tuned copy of a trained model; the model given does not change.

    progress: told of the step "prune", round by round.
    options: the fields of `PruneOptions`. Biases are kept.

    Raises ValueError for options that make no sense, a model without weight layers, NaN weights,
    or a layer that would lose its last weight.
    Source: Han et al., NeurIPS 2015, arXiv 1506.02626; global scope as in Blalock et al.,
    MLSys 2020, arXiv 2003.03033; the scores name theirs. Cost: that of the training in its
    rounds, and one score a round.
    """
    rule = PruneOptions(**options)
    schedule = rule.schedule or check_method(rule.method).schedule
    if n_of_m := n_to_keep(rule.sparsity, rule.scope):
        if schedule != "one_shot":
            raise ValueError(
                f"scope {rule.scope!r} is reached in one step; pass schedule='one_shot'"
            )
        rule = replace(rule, sparsity=1 - n_of_m[0] / n_of_m[1])
    rule, model = replace(rule, schedule=schedule), unpacked(copied(model), leave=rule.exclude)

    def step(sparsity: float) -> None:
        prune_once(model, data, replace(rule, sparsity=sparsity))

    return in_rounds(model, data, rule, step, progress)


def in_rounds(
    model: nn.Module,
    data: Data,
    rule: PruneOptions,
    step: Callable[[float], None],
    progress: Progress,
) -> nn.Module:
    """Prune a model in place by `step(sparsity)` and train it, round after round; return it."""
    assert rule.schedule is not None
    assert rule.sparsity is not None  # the callers have checked both
    targets = sparsities(rule.schedule, rule.sparsity, rule.rounds)
    training = {"epochs": rule.epochs, "learning_rate": rule.learning_rate}
    progress("prune", 0, len(targets))
    for k, target in enumerate(targets, 1):
        step(target)
        train(model, data, **training, seed=rule.seed + k)
        progress("prune", k, len(targets))
    warn_of_few(weight_layers(model, rule.exclude))
    return model


def prune_once(model: nn.Module, data: Data, rule: PruneOptions) -> Masks:
    """Prune a model in place in one step, without training; return the masks put into force.

    What an earlier mask removed stays removed.
    """
    method, layers = check_method(rule.method), weight_layers(model, rule.exclude)
    x, y = _calibration(data, rule.seed)
    factors = second_order.inverse_factors(model, layers, x) if method.compensates else {}
    given = {"model": model, "layers": layers, "x": x, "y": y, "seed": rule.seed}
    given["factors"] = factors
    module, _, name = str(method.score).partition(".")
    score = getattr(import_module(f"tinynets.pruning.{module}"), name)
    # A score names as its parameters what it reads.
    ranked = score(**{name: given[name] for name in signature(score).parameters})
    before = {path: mask_of(module) for path, module in layers.items()}
    masks = choose(ranked, rule.sparsity, rule.scope, among=before)
    repaired = {
        path: second_order.compensate(layers[path], masks[path], factor)
        for path, factor in factors.items()
    }
    apply_masks(model, masks)
    with torch.no_grad():
        for path, weight in repaired.items():
            layers[path].get_parameter("weight_orig").copy_(weight)
    return masks


def _calibration(data: Data, seed: int) -> tuple[Inputs, torch.Tensor]:
    """Return random training samples and their labels."""
    order = torch.randperm(len(data.x_train), generator=torch.Generator().manual_seed(seed))
    rows = order[:N_CALIBRATION]
    return chosen(inputs(data.x_train), rows), torch.from_numpy(data.y_train)[rows]
