"""Prune so that whole word lines, bit lines and tiles of a crossbar vanish, not just weights.

A tile holds n_word inputs times n_bit outputs of a layer. Weights that share a line or a tile are
scored together, so that they stay or go together. Nothing here needs a crossbar.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from tinynets.data import Data, inputs
from tinynets.modules.replacing import copied
from tinynets.modules.unpacking import unpacked
from tinynets.networks.extraction import extract
from tinynets.networks.masks import (
    apply_masks,
    choose,
    mask_of,
    n_to_keep,
    weight_layers,
)
from tinynets.progress import Progress, silent
from tinynets.pruning import scores
from tinynets.pruning.methods import PruneOptions
from tinynets.pruning.rounds import in_rounds

#: Which weights go together: each alone; one input to the n_bit outputs of a tile; one output from
#: the n_word inputs of a tile; all of a tile.
GRAINS = ("weight", "word line", "bit line", "tile")
#: ADCs use most of the energy, and a bit line that goes takes its conversion with it.
DEFAULT_SHARES = MappingProxyType({"bit line": 1.0})


def crossbar_scores(
    weight_scores: Mapping[str, torch.Tensor],
    n_word: int,
    n_bit: int,
    shares: Mapping[str, float] = DEFAULT_SHARES,
) -> dict[str, torch.Tensor]:
    """Return scores in which the weights of a group share the mean of their scores.

    weight_scores: the score (n_out, ...) of each weight, by layer path.
    n_word, n_bit: size of a tile.
    shares: weight of each grain (one of GRAINS) in the result, not negative, at least one positive.

    Raises ValueError for sizes below 1, an unknown grain, or shares that are negative or all zero.
    Source: Liang et al., arXiv 1807.10816, prune at the grain of a crossbar and of its columns.
    Cost: one pass for each grain.
    """
    if min(n_word, n_bit) < 1:
        raise ValueError(f"a tile needs n_word, n_bit >= 1; got {n_word} and {n_bit}")
    if unknown := [grain for grain in shares if grain not in GRAINS]:
        raise ValueError(f"shares name {unknown}; a grain is one of {GRAINS}")
    if not shares or min(shares.values()) < 0 or max(shares.values()) <= 0:
        raise ValueError(f"shares must be >= 0 and one of them positive; got {dict(shares)}")
    size = {"weight": (1, 1), "word line": (n_bit, 1), "bit line": (1, n_word)}
    size["tile"] = n_bit, n_word
    mixed = {}
    for path, score in weight_scores.items():
        matrix = score.reshape(len(score), -1)
        parts = [share * _mean_of_groups(matrix, *size[grain]) for grain, share in shares.items()]
        mixed[path] = torch.stack(parts).sum(0).view_as(score)
    return mixed


@dataclass(frozen=True, kw_only=True)
class TileOptions(PruneOptions):
    """How a network is pruned for tiles: iteratively, by magnitude.

    n_word, n_bit: word lines and bit lines of a tile.
    shares: weight of each grain in the score, as in `crossbar_scores`.
    by_reads: power of the number of times that an inference reads a layer's lines (once for each
        output position of a convolution) by which its scores are divided. With 1/4 a convolutional
        network loses most of its conversions (benchmarks/pruning/baselines.py); too much empties a
        layer, which is an error.

    Raises ValueError for a scope other than "global" and "layer", or a negative power.
    """

    method: str = field(default="iterative_magnitude", init=False)
    schedule: str = field(default="iterative", init=False)
    n_word: int
    n_bit: int
    shares: Mapping[str, float] = field(default_factory=lambda: DEFAULT_SHARES)
    by_reads: float = 0.0

    def __post_init__(self) -> None:
        if self.scope not in ("global", "layer") or self.by_reads < 0:
            raise ValueError(
                "scope must be 'global' or 'layer' and by_reads >= 0; got "
                f"{self.scope!r} and {self.by_reads}"
            )


def prune_for_tiles(
    model: nn.Module, data: Data, *, progress: Progress = silent, **options: Any
) -> nn.Module:
    """Return a pruned and fine-tuned copy of a trained model that takes few tiles.

    This is the iterative magnitude pruning of `tinynets.prune`, by `crossbar_scores`.

    progress: told of the step "prune", round by round.
    options: the fields of `TileOptions`; n_word, n_bit and sparsity at least.

    Raises ValueError as `TileOptions`, `crossbar_scores` and `masks.choose` do, and for a grouped
    convolution, whose groups would not line up with tiles.
    """
    rule = TileOptions(**options)
    model = unpacked(copied(model), leave=rule.exclude)
    n_to_keep(rule.sparsity, rule.scope)
    layers = weight_layers(model, rule.exclude)
    if grouped := [path for path, m in layers.items() if getattr(m, "groups", 1) > 1]:
        raise ValueError(f"layers {grouped} are grouped convolutions; exclude them")
    read = extract(model, inputs(data.x_train[:1]), leave_digital=rule.exclude)
    cost = {layer.module: layer.n_mvm**rule.by_reads for layer in read.layers}

    def step(sparsity: float) -> None:
        magnitudes = {path: s / cost[path] for path, s in scores.magnitude(layers).items()}
        grouped = crossbar_scores(magnitudes, rule.n_word, rule.n_bit, rule.shares)
        before = {path: mask_of(module) for path, module in layers.items()}
        apply_masks(model, choose(grouped, sparsity, rule.scope, among=before))

    return in_rounds(model, data, rule, step, progress)


def _mean_of_groups(matrix: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Replace each entry by the mean of its group of height × width; edge groups are smaller."""
    n_row, n_column = matrix.shape
    rows, columns = torch.arange(n_row) // height, torch.arange(n_column) // width
    shape = int(rows[-1]) + 1, int(columns[-1]) + 1
    group = rows[:, None] * shape[1] + columns
    sums = torch.zeros(shape[0] * shape[1], dtype=matrix.dtype)
    sums.index_add_(0, group.flatten(), matrix.flatten())
    return (sums / torch.bincount(group.flatten()))[group]
