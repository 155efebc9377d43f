"""Prune a trained network, and the subset-sum theory that tells how well resistors can hold it.

The names below are loaded on first use, so that the numerical modules (`subset_sum`, `layers`)
can be imported without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinynets.compress import low_rank, quantise
    from tinynets.crossbar_masks import prune_for_tiles
    from tinynets.extraction import extract
    from tinynets.filters import prune_filters
    from tinynets.flyhash import FlyHash
    from tinynets.folding import fold_batch_norm
    from tinynets.layers import ConvGeometry, PrunedLayer, PrunedNetwork
    from tinynets.loading import from_sklearn, load_weights, save_weights
    from tinynets.lottery import tickets
    from tinynets.metrics import compare, measure
    from tinynets.onnx_export import save_onnx
    from tinynets.onnx_import import from_onnx
    from tinynets.popup import edge_popup
    from tinynets.pruning import prune
    from tinynets.stacks import linear_stack
    from tinynets.strong_lottery import strong_ticket

_HOME = {
    "ConvGeometry": "layers",
    "FlyHash": "flyhash",
    "PrunedLayer": "layers",
    "PrunedNetwork": "layers",
    "compare": "metrics",
    "edge_popup": "popup",
    "extract": "extraction",
    "fold_batch_norm": "folding",
    "from_onnx": "onnx_import",
    "from_sklearn": "loading",
    "linear_stack": "stacks",
    "load_weights": "loading",
    "low_rank": "compress",
    "measure": "metrics",
    "prune": "pruning",
    "prune_filters": "filters",
    "prune_for_tiles": "crossbar_masks",
    "quantise": "compress",
    "save_onnx": "onnx_export",
    "save_weights": "loading",
    "strong_ticket": "strong_lottery",
    "tickets": "lottery",
}

__all__ = [
    "ConvGeometry",
    "FlyHash",
    "PrunedLayer",
    "PrunedNetwork",
    "compare",
    "edge_popup",
    "extract",
    "fold_batch_norm",
    "from_onnx",
    "from_sklearn",
    "linear_stack",
    "load_weights",
    "low_rank",
    "measure",
    "prune",
    "prune_filters",
    "prune_for_tiles",
    "quantise",
    "save_onnx",
    "save_weights",
    "strong_ticket",
    "tickets",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'tinynets' has no attribute {name!r}")
    return getattr(import_module(f"tinynets.{_HOME[name]}"), name)
