"""Remove whole channels, so that tensors and crossbars really become smaller."""

import warnings

import torch
from torch import nn

from tinynets.files.extras import optional
from tinynets.modules.replacing import copied
from tinynets.networks.extraction import extract
from tinynets.networks.masks import make_permanent, weight_layers
from tinynets.networks.passes import Inputs, call


def prune_filters(
    model: nn.Module,
    example: Inputs,
    *,
    sparsity: float,
    scope: str = "layer",
    round_to: int = 1,
    exclude: tuple[str, ...] = (),
) -> nn.Module:
    """Return a copy without the channels whose coupled weights have the smallest l2 norm.

    model: any graph that torch can differentiate. Layers that share channels (residuals,
        concatenations) lose them together.
    example: one input batch.
    sparsity: fraction of the channels to remove, in [0, 1).
    scope: "layer", or "global" for channels that compete across layers.
    round_to: each layer keeps the nearest multiple of this many channels ("global": the next one
        below), at least one multiple. The side of a tile leaves no tile half filled.
    exclude: modules that keep their outputs; the last weight layer always does.

    Fine-tune the result with `train`. Warns of layers that keep all channels although they should
    lose some ("layer"), as before a convolution with one output, which is taken for depthwise.
    Raises ValueError for a sparsity outside [0, 1), an unknown scope, or outputs whose shape
    changed; ImportError without Torch-Pruning.
    Source: Fang et al., DepGraph, CVPR 2023, arXiv 2301.12900. Cost: one pass and one trace.
    """
    if not 0.0 <= sparsity < 1.0:
        raise ValueError(f"sparsity must be in [0, 1); got {sparsity}")
    if scope not in ("layer", "global") or round_to < 1:
        raise ValueError(
            f"scope must be 'layer' or 'global' and round_to at least 1; got {scope!r}, {round_to}"
        )
    tp = optional("torch_pruning", extra="prune")
    model = make_permanent(copied(model)).eval()
    frozen = [name for name, value in model.named_parameters() if not value.requires_grad]
    model.requires_grad_(True)  # Torch-Pruning follows gradients and prunes nothing without them
    layers = weight_layers(model, exclude)
    known = weight_layers(model)
    last = [one.module for one in extract(model, example).layers if one.module in known][-1]
    fractions = {module: _fraction(module, sparsity, round_to) for module in layers.values()}
    wide = {path: m.get_parameter("weight").shape[0] for path, m in layers.items() if fractions[m]}
    pruner = tp.pruner.BasePruner(
        model,
        example,
        importance=tp.importance.GroupMagnitudeImportance(p=2),
        global_pruning=scope == "global",
        pruning_ratio=sparsity,
        pruning_ratio_dict=fractions if scope == "layer" else None,
        ignored_layers=[model.get_submodule(path) for path in (*exclude, last)],
        round_to=round_to,
    )
    before = _shapes(model, example)
    pruner.step()
    if (after := _shapes(model, example)) != before:
        raise ValueError(
            f"the outputs must keep their shapes {before}; got {after}; exclude the layers that "
            "make them"
        )
    still = [path for path, n in wide.items() if len(layers[path].get_parameter("weight")) == n]
    if scope == "layer":
        _warn_of_whole([path for path in still if path != last])
    for name in frozen:
        model.get_parameter(name).requires_grad_(False)
    return model


def _warn_of_whole(layers: list[str]) -> None:
    """Warn of layers that keep all channels although they should lose some."""
    if layers:
        warnings.warn(
            f"layers {layers} keep all their channels, since a layer that they are coupled to "
            "does; only the others became smaller",
            stacklevel=3,
        )


def _fraction(module: nn.Module, sparsity: float, round_to: int) -> float:
    """Return the fraction of a layer's channels to remove that leaves a multiple of `round_to`."""
    n = len(module.get_parameter("weight"))
    left = max(round(n * (1.0 - sparsity) / round_to), 1) * round_to
    # Keep half a channel more, because Torch-Pruning rounds the number of channels left down.
    return 1.0 - (left + 0.5) / n if left < n else 0.0


def _shapes(model: nn.Module, example: Inputs) -> list[tuple[int, ...]]:
    with torch.no_grad():
        y = call(model, example)
    return [tuple(part.shape) for part in (y if isinstance(y, tuple | list) else (y,))]
