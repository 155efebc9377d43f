"""Train and score a classifier; the same seed gives the same weights."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from tinynets.data import Data
from tinynets.masks import plain_weights

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
    Source: Kingma, Ba, arXiv 1412.6980.
    """
    x, y = torch.from_numpy(data.x_train), torch.from_numpy(data.y_train)
    order = torch.Generator().manual_seed(seed)
    n_batch = -(-len(x) // batch_size)
    model.train()
    with plain_weights(model) as masked:
        trained = [p for p in model.parameters() if p.requires_grad]
        optimiser = torch.optim.Adam(trained, lr=learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(epochs * n_batch, 1))
        for epoch in range(epochs):
            batches = torch.randperm(len(x), generator=order).split(batch_size)
            for k, rows in enumerate(batches):
                if on_step:
                    on_step(epoch * n_batch + k)
                optimiser.zero_grad()
                nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
                optimiser.step()
                schedule.step()
                _mask(masked)
            if progress:
                progress(epoch + 1)
    return model.eval()


def _mask(masked: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    with torch.no_grad():
        for weight, mask in masked:
            weight.mul_(mask)


def predict(model: nn.Module, x: np.ndarray, *, batch_size: int = 512) -> np.ndarray:
    """Return the logits (n_sample, n_class) of a model in evaluation mode, as float64."""
    model.eval()
    with torch.no_grad():
        parts = [model(rows).double() for rows in torch.from_numpy(x).split(batch_size)]
    return torch.cat(parts).numpy()


def accuracy(model: nn.Module, x: np.ndarray, y: np.ndarray) -> float:
    """Return the share of samples whose largest logit is the label."""
    return float((predict(model, x).argmax(1) == y).mean())
