"""Strong lottery tickets by construction: prune a random network until it computes a trained one.

A mask alone makes the network: no random weight changes. Every layer of the target becomes a pair
of random layers with a ReLU between them (`tinynets.lottery.gadgets`). For a convolution, the first
of the pair is 1 × 1 and the second has the target's kernel. With "one_extra_layer", neighbouring
pairs share a layer.
"""

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from tinynets.lottery.gadgets import one_weight, quarter, subset, whole_units
from tinynets.lottery.random_layers import PASSIVE, LayerError, build_copies, build_pair
from tinynets.modules.replacing import copied

_CHOICES = {
    "one_weight": one_weight,
    "subset_sum": subset,
    "quarter": quarter,
    "filters": whole_units,
}
METHODS = (*_CHOICES, "one_extra_layer")


class Ticket(nn.Module):
    """A random network and the mask that makes it compute what a trained one does, in float64.

    network: a sequence of Linear, Conv2d and passive modules. The weights are random, uniform in
        -1 … 1. Their masks are those of `torch.nn.utils.prune`, which `tinynets.extract` reads.
    errors: one LayerError for each weight layer of the target.
    """

    def __init__(self, modules: list[nn.Module], errors: list[LayerError]) -> None:
        super().__init__()
        self.network = nn.Sequential(*modules).requires_grad_(False).eval()
        self.errors = errors

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits (n_batch, n_class) in float64."""
        return self.network(x.double())

    @property
    def n_random(self) -> int:
        """Number of random parameters before pruning."""
        return sum(p.numel() for p in self.network.parameters())

    @property
    def n_kept(self) -> int:
        """Number of parameters that the masks keep."""
        return sum(int(mask.sum()) for mask in self.network.buffers())

    @property
    def depth(self) -> int:
        """Number of layers with weights."""
        return sum(hasattr(module, "weight_mask") for module in self.network)


def strong_ticket(
    model: nn.Sequential, n: int, *, method: str = "subset_sum", seed: int = 0
) -> Ticket:
    """Return a random network pruned so that it approximates a trained one.

    model: a Sequential, nested or not, of Linear, Conv2d, ReLU, pooling and Flatten; it does not
        change.
    n: random units for each weight and each sign of its input.
    method: "one_weight" (Malach et al.) keeps the nearest unit, and "subset_sum" (Pensia et al.;
        for convolutions da Cunha, Natale, Viennot) the nearest subset of units; "quarter" (the
        setting of Natale et al.) that of exactly a quarter of them. These make the network twice
        as deep as the model. "filters" (the setting of da Cunha, d'Amore, Natale)
        keeps or drops whole units. "one_extra_layer" (Burkholz) takes Linear layers with a ReLU
        between them, and has n copies of each unit.
    seed: random seed of the network.

    Raises ValueError for another method, n < 1, or a module that cannot be built.
    Source: see `tinynets.lottery.gadgets` for each method. Cost: "subset_sum" takes 2^(n/2) steps
    for each weight; the first layer of a pair has about 2 n + 4 sqrt(n) units for each input.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {METHODS}; got {method!r}")
    if n < 1:
        raise ValueError(f"n must be at least 1; got {n}")
    rng = np.random.default_rng(seed)
    modules = list(_flat(model))
    weighted = [(name, module) for name, module in modules if not isinstance(module, PASSIVE)]
    if method == "one_extra_layer":
        _check_linear(weighted)
        parts = build_copies(weighted, n, rng)
    else:
        parts = [build_pair(*named, n, _CHOICES[method], rng) for named in weighted]
    made = iter(parts)
    network: list[nn.Module] = []
    for _, module in modules:
        network += [copy.deepcopy(module)] if isinstance(module, PASSIVE) else next(made)[0]
    return Ticket(network, [error for _, error in parts])


def _check_linear(weighted: list[tuple[str, nn.Module]]) -> None:
    if other := [name for name, module in weighted if not isinstance(module, nn.Linear)]:
        raise ValueError(
            f"method 'one_extra_layer' takes Linear layers only; got other layers {other}; use "
            "'subset_sum'"
        )


def error_bound(model: nn.Sequential, ticket: Ticket, x: torch.Tensor) -> torch.Tensor:
    """Return a bound (n_batch, n_out) of the difference between the ticket's and model's outputs.

    The bound follows the proofs' induction over layers, with the errors of this ticket's weights in
    place of the epsilon of the theorems. If the input x of a layer is off by at most d, its output
    is off by at most gain d + error |x|; ReLU and pooling do not increase the error. Exact
    arithmetic is assumed.
    """
    x, errors = x.double(), iter(ticket.errors)
    off = torch.zeros_like(x)
    with torch.no_grad():
        for _, module in _flat(copied(model).double().eval()):
            if isinstance(module, PASSIVE):
                off = off if isinstance(module, nn.ReLU) else module(off)
            else:
                error = next(errors)
                off = _apply(module, error.gain, off) + _apply(module, error.weight, x.abs())
                off += error.bias[:, None, None] if isinstance(module, nn.Conv2d) else error.bias
            x = module(x)
    return off


def _apply(module: Any, weight: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Multiply as the module does, but by another weight and without a bias."""
    if isinstance(module, nn.Conv2d):
        around: Any = module.stride, module.padding, module.dilation
        return nn.functional.conv2d(x, weight, None, *around)
    return nn.functional.linear(x, weight)


def _flat(model: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules of nested Sequentials in the order in which they run."""
    if not isinstance(model, nn.Sequential):
        yield path or "model", model
        return
    for name, module in model.named_children():
        yield from _flat(module, f"{path}.{name}" if path else name)
