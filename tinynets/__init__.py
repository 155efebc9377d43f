"""Prune a trained network, and the subset-sum theory that tells how well resistors can hold it.

The names below are loaded on first use, so that the numerical modules (`subset_sum`,
`networks.layers`) can be imported without torch.
"""

from typing import TYPE_CHECKING

from tinynets import moved
from tinynets.lazily import lazily

if TYPE_CHECKING:
    from tinynets.flyhash import FlyHash
    from tinynets.formats.linear_stack import linear_stack
    from tinynets.formats.onnx.export import save_onnx
    from tinynets.formats.onnx.network import from_onnx
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

_HOMES = {
    "flyhash": ("FlyHash",),
    "formats.linear_stack": ("linear_stack",),
    "formats.onnx.export": ("save_onnx",),
    "formats.onnx.network": ("from_onnx",),
    "formats.weights": ("from_sklearn", "load_weights", "save_weights"),
    "lottery.strong": ("strong_ticket",),
    "lottery.winning_tickets": ("tickets",),
    "networks.batch_norm": ("fold_batch_norm",),
    "networks.extraction": ("extract",),
    "networks.layers": ("ConvGeometry", "PrunedLayer", "PrunedNetwork"),
    "pruning.compression": ("low_rank", "quantise"),
    "pruning.edge_popup": ("edge_popup",),
    "pruning.filters": ("prune_filters",),
    "pruning.for_tiles": ("prune_for_tiles",),
    "pruning.rounds": ("prune",),
    "pruning.metrics": ("compare", "measure"),
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
__getattr__ = lazily(__name__, _HOMES)
