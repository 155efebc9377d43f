"""Train and score a classifier; the same seed gives the same weights."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from tinynets.networks.data import Data
from tinynets.networks.extraction import evaluation
from tinynets.networks.masks import plain_weights

#: Called with the number of finished epochs after each of them.
Progress = Callable[[int], None]


def train(
    model: nn.Module,
    data: Data,
    *,
    epochs: int,
    learning_rate: float = 1e-3,
    batch_size: int = 64,
    seed: int = 0,
    progress: Progress | None = None,
    on_step: Progress | None = None,
) -> nn.Module:
    """Train a model in place with Adam and cross-entropy; return it.

    learning_rate is lowered to zero along a cosine. seed orders the samples. Pruning masks of
    `torch.nn.utils.prune` stay in force; parameters without `requires_grad` stay as they are.
    on_step: called before each step with the number of steps done.
    Raises ValueError for a negative number of epochs, nothing to train, fewer outputs than
    classes, or a loss that is NaN or infinite at the end of an epoch.
    Source: Kingma, Ba, arXiv 1412.6980.
    """
    if epochs < 0 or batch_size < 1:
        raise ValueError(f"epochs must be >= 0 and batch_size >= 1; got {epochs}, {batch_size}")
    if epochs == 0:
        return model.eval()
    if not any(p.requires_grad for p in model.parameters()):
        raise ValueError(
            "no parameter of the model is to be trained; set requires_grad, or epochs=0"
        )
    x, y = torch.from_numpy(data.x_train), torch.from_numpy(data.y_train)
    order = torch.Generator().manual_seed(seed)
    n_batch = -(-len(x) // batch_size)
    model.train()
    with plain_weights(model) as masked:
        trained = [p for p in model.parameters() if p.requires_grad]
        optimiser = torch.optim.Adam(trained, lr=learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * n_batch)
        for epoch in range(epochs):
            batches = torch.randperm(len(x), generator=order).split(batch_size)
            for k, rows in enumerate(batches):
                if on_step:
                    on_step(epoch * n_batch + k)
                optimiser.zero_grad()
                loss = _loss(model(x[rows]), y[rows], data)
                loss.backward()
                optimiser.step()
                schedule.step()
                _mask(masked)
            if not torch.isfinite(loss):
                raise ValueError(
                    f"the loss is {loss.item()} after epoch {epoch + 1}; lower learning_rate "
                    f"{learning_rate}, or check weights and samples"
                )
            if progress:
                progress(epoch + 1)
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

    The mode of each module comes back after.
    """
    with evaluation(model), torch.no_grad():
        parts = [model(rows).double() for rows in torch.from_numpy(x).split(batch_size)]
    return torch.cat(parts).numpy()


def accuracy(model: nn.Module, x: np.ndarray, y: np.ndarray) -> float:
    """Return the share of samples whose largest logit is the label."""
    return float((predict(model, x).argmax(1) == y).mean())
