"""Prune a trained network, and the subset-sum theory that tells how well resistors can hold it.

The names below are loaded on first use, so that the numerical modules (`subset_sum`,
`networks.layers`) can be imported without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tinynets import moved

if TYPE_CHECKING:
    from tinynets.flyhash import FlyHash
    from tinynets.formats.linear_stack import linear_stack
    from tinynets.formats.onnx_export import save_onnx
    from tinynets.formats.onnx_import import from_onnx
    from tinynets.formats.weights import from_sklearn, load_weights, save_weights
    from tinynets.lottery import tickets
    from tinynets.lottery.strong import strong_ticket
    from tinynets.networks.batch_norm import fold_batch_norm
    from tinynets.networks.extraction import extract
    from tinynets.networks.layers import ConvGeometry, PrunedLayer, PrunedNetwork
    from tinynets.pruning import prune
    from tinynets.pruning.compression import low_rank, quantise
    from tinynets.pruning.edge_popup import edge_popup
    from tinynets.pruning.filters import prune_filters
    from tinynets.pruning.for_tiles import prune_for_tiles
    from tinynets.pruning.metrics import compare, measure

_HOME = {
    "ConvGeometry": "tinynets.networks.layers",
    "FlyHash": "tinynets.flyhash",
    "PrunedLayer": "tinynets.networks.layers",
    "PrunedNetwork": "tinynets.networks.layers",
    "compare": "tinynets.pruning.metrics",
    "edge_popup": "tinynets.pruning.edge_popup",
    "extract": "tinynets.networks.extraction",
    "fold_batch_norm": "tinynets.networks.batch_norm",
    "from_onnx": "tinynets.formats.onnx_import",
    "from_sklearn": "tinynets.formats.weights",
    "linear_stack": "tinynets.formats.linear_stack",
    "load_weights": "tinynets.formats.weights",
    "low_rank": "tinynets.pruning.compression",
    "measure": "tinynets.pruning.metrics",
    "prune": "tinynets.pruning.methods",
    "prune_filters": "tinynets.pruning.filters",
    "prune_for_tiles": "tinynets.pruning.for_tiles",
    "quantise": "tinynets.pruning.compression",
    "save_onnx": "tinynets.formats.onnx_export",
    "save_weights": "tinynets.formats.weights",
    "strong_ticket": "tinynets.lottery.strong",
    "tickets": "tinynets.lottery.winning_tickets",
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

moved.install()


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'tinynets' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
