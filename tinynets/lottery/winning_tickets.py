"""Lottery tickets: sparse networks that train well from their own initial weights."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from tinynets.data import Data
from tinynets.modules.replacing import copied
from tinynets.modules.unpacking import unpacked
from tinynets.networks.extraction import dense_weight
from tinynets.networks.masks import (
    Masks,
    apply_masks,
    choose,
    make_permanent,
    weight_layers,
)
from tinynets.networks.training import train
from tinynets.pruning import scores

#: Trains a model in place; called with the model, a seed and what to call before each step.
Trainer = Callable[[nn.Module, int, Callable[[int], None] | None], object]


@dataclass(frozen=True)
class Ticket:
    """A ticket and the network trained from it.

    masks: the weights kept, by module path.
    start: parameters and buffers at the rewinding point, unmasked.
    model: the network trained from them under the masks.
    """

    masks: Masks
    start: Mapping[str, torch.Tensor]
    model: nn.Module

    @property
    def remaining(self) -> float:
        """Fraction of the weights that are left."""
        n_kept = sum(int(mask.sum()) for mask in self.masks.values())
        return n_kept / sum(mask.numel() for mask in self.masks.values())


def trainer(
    data: Data, *, epochs: int, learning_rate: float = 1.2e-3, batch_size: int = 60
) -> Trainer:
    """Return a training procedure; the defaults are those of the paper for LeNet-300-100."""
    how = {"epochs": epochs, "learning_rate": learning_rate, "batch_size": batch_size}

    def run(model: nn.Module, seed: int, on_step: Callable[[int], None] | None) -> None:
        train(model, data, **how, seed=seed, on_step=on_step)

    return run


@dataclass(frozen=True)
class TicketOptions:
    """How tickets are drawn.

    rounds: number of tickets after the dense network.
    rate: fraction of each layer's remaining weights that a round removes, in (0, 1).
    output_rate: the same for the last layer; None for half of it.
    rewind_step: 0 to go back to the initial weights, k to those before step k of the dense run.
    exclude: paths of modules that stay whole.
    seed: of every training.

    Raises ValueError for a rate outside (0, 1).
    """

    rounds: int
    rate: float = 0.2
    output_rate: float | None = None
    rewind_step: int = 0
    exclude: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if not (0 < self.rate < 1 and 0 < self.last_rate < 1):
            raise ValueError(f"rates must be in (0, 1); got {self.rate} and {self.last_rate}")

    @property
    def last_rate(self) -> float:
        """Fraction of the last layer's remaining weights that a round removes."""
        return self.rate / 2 if self.output_rate is None else self.output_rate


def tickets(model: nn.Module, fit: Trainer, **options: Any) -> Iterator[Ticket]:
    """Yield the dense network, then one ticket for each round of iterative magnitude pruning.

    model: at its initial weights; it does not change.
    options: the fields of `TicketOptions`, rounds at least.

    Raises ValueError as `TicketOptions` does, for a step that the training does not reach, or a
    layer that would lose its last weight.
    Source: Frankle, Carbin, ICLR 2019, arXiv 1803.03635; rewinding to an early step: Frankle et
    al., ICML 2020, arXiv 1912.05671. Cost: one training a round.
    """
    rule = TicketOptions(**options)
    model = unpacked(model, leave=rule.exclude)
    layers = weight_layers(model, rule.exclude)
    rates = dict.fromkeys(layers, rule.rate) | {list(layers)[-1]: rule.last_rate}
    masks = {p: torch.ones_like(dense_weight(m), dtype=torch.bool) for p, m in layers.items()}
    trained, start = _first_run(model, masks, fit, rule.rewind_step, rule.seed)
    yield Ticket(masks, start, trained)
    for k in range(1, rule.rounds + 1):
        left = {path: (1 - rate) ** k for path, rate in rates.items()}
        masks = _smaller(trained, masks, left)
        trained = train_from(model, start, masks, fit, seed=rule.seed)
        yield Ticket(masks, start, trained)


def train_from(
    model: nn.Module, start: Mapping[str, torch.Tensor], masks: Masks, fit: Trainer, *, seed: int
) -> nn.Module:
    """Return a copy of the model, trained under the masks from the given weights."""
    model = make_permanent(unpacked(copied(model), only=masks))
    model.load_state_dict(dict(start))
    apply_masks(model, masks)
    fit(model, seed, None)
    return model


def reinitialised(model: nn.Module, *, seed: int) -> dict[str, torch.Tensor]:
    """Return fresh random initial weights of the model: the first control of a ticket.

    Every module that can reset its parameters does. The global random state is left alone.
    """
    model = make_permanent(copied(model))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in model.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
    return model.state_dict()


def shuffled(masks: Masks, *, seed: int) -> Masks:
    """Return random masks with as many weights in each layer: the second control of a ticket."""
    generator = torch.Generator().manual_seed(seed)
    return {
        path: mask.flatten()[torch.randperm(mask.numel(), generator=generator)].view_as(mask)
        for path, mask in masks.items()
    }


def _first_run(
    model: nn.Module, masks: Masks, fit: Trainer, rewind_step: int, seed: int
) -> tuple[nn.Module, Mapping[str, torch.Tensor]]:
    """Train the dense network; return it and its weights before the rewinding step."""
    trained = make_permanent(copied(model))
    kept: dict[str, torch.Tensor] = {}

    def on_step(step: int) -> None:
        if step == rewind_step:
            kept.update({name: value.clone() for name, value in trained.state_dict().items()})

    fit(trained, seed, on_step)
    if not kept:
        raise ValueError(f"training ended before rewind_step {rewind_step}; lower it")
    apply_masks(trained, masks)
    return trained, kept


def _smaller(trained: nn.Module, masks: Masks, left: Mapping[str, float]) -> Masks:
    """Return masks with the given fraction of each layer, chosen among what the old ones kept."""
    magnitudes = scores.magnitude({path: trained.get_submodule(path) for path in masks})
    smaller = {}
    for path, score in magnitudes.items():
        smaller |= choose({path: score}, 1 - left[path], "layer", among=masks)
    return smaller
