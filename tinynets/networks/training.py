"""Train and score a classifier; the same seed gives the same weights."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from tinynets.data import Data, inputs
from tinynets.networks.masks import plain_weights
from tinynets.networks.passes import call, chosen, evaluation, split
from tinynets.progress import Progress, silent


@dataclass(frozen=True)
class Training:
    """How a network is trained.

    epochs: passes over the training samples; 0 leaves a model as it is.
    learning_rate: of the first step; it falls to zero along a cosine.
    batch_size: samples of one step.
    seed: of the order of the samples.

    Raises ValueError for a negative number of epochs or a batch without samples.
    """

    epochs: int
    learning_rate: float = 1e-3
    batch_size: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 0 or self.batch_size < 1:
            raise ValueError(
                f"epochs must be >= 0 and batch_size >= 1; got {self.epochs}, {self.batch_size}"
            )


def train(
    model: nn.Module,
    data: Data,
    *,
    progress: Progress = silent,
    on_step: Callable[[int], None] | None = None,
    **training: Any,
) -> nn.Module:
    """Train a model in place with Adam and cross-entropy; return it.

    Masks of `torch.nn.utils.prune` stay in force. Parameters without `requires_grad` do not change.

    progress: told of the step "train", epoch by epoch.
    on_step: called before each step with the number of steps done.
    training: the fields of `Training`, epochs at least.

    Raises ValueError as `Training` does, and if nothing can be trained, the model has fewer outputs
    than there are classes, or the loss is NaN or infinite at the end of an epoch.
    Source: Kingma, Ba, arXiv 1412.6980.
    """
    how = Training(**training)
    if how.epochs == 0:
        return model.eval()
    if not any(p.requires_grad for p in model.parameters()):
        raise ValueError("no parameter of the model can be trained; set requires_grad, or epochs=0")
    data.require_labels("training")
    x, y = inputs(data.x_train), torch.from_numpy(data.y_train)
    order = torch.Generator().manual_seed(how.seed)
    n_batch = -(-len(y) // how.batch_size)
    progress("train", 0, how.epochs)
    model.train()
    with plain_weights(model) as masked:
        trained = [p for p in model.parameters() if p.requires_grad]
        optimiser = torch.optim.Adam(trained, lr=how.learning_rate, fused=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, how.epochs * n_batch)
        loss = torch.tensor(0.0)
        for epoch in range(how.epochs):
            batches = torch.randperm(len(y), generator=order).split(how.batch_size)
            for k, rows in enumerate(batches):
                if on_step:
                    on_step(epoch * n_batch + k)
                optimiser.zero_grad()
                loss = _loss(call(model, chosen(x, rows)), y[rows], data)
                loss.backward()
                optimiser.step()
                schedule.step()
                _mask(masked)
            if not torch.isfinite(loss):
                raise ValueError(
                    f"the loss is {loss.item()} after epoch {epoch + 1}; lower learning_rate "
                    f"{how.learning_rate}, or check weights and samples"
                )
            progress("train", epoch + 1, how.epochs)
    return model.eval()


def _loss(logits: torch.Tensor, labels: torch.Tensor, data: Data) -> torch.Tensor:
    if logits.ndim != 2 or logits.shape[1] < data.n_class:
        raise ValueError(
            f"the model's outputs have shape {tuple(logits.shape)}; data {data.name!r} has labels "
            f"0 … {data.n_class - 1}, so expected (n_sample, {data.n_class}) or wider"
        )
    return nn.functional.cross_entropy(logits, labels)


def _mask(masked: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    with torch.no_grad():
        for weight, mask in masked:
            weight.mul_(mask)


def predict(model: nn.Module, x: np.ndarray, *, batch_size: int = 512) -> np.ndarray:
    """Return the logits (n_sample, n_class) of a model in evaluation mode, as float64.

    The mode of each module is restored afterwards.
    """
    with evaluation(model), torch.no_grad():
        parts = [call(model, rows).double() for rows in split(inputs(x), batch_size)]
    return torch.cat(parts).numpy()


def accuracy(model: nn.Module, x: np.ndarray, y: np.ndarray) -> float:
    """Return the fraction of samples whose largest logit is the label."""
    return float((predict(model, x).argmax(1) == y).mean())
