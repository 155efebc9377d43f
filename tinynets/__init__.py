"""Prune a trained network, and the subset-sum theory that tells how well resistors can hold it.

The names below are loaded on first use, so that the numerical modules (`subset_sum`, `layers`)
can be imported without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinynets.extraction import extract
    from tinynets.layers import ConvGeometry, PrunedLayer, PrunedNetwork
    from tinynets.pruning import prune

_HOME = {
    "ConvGeometry": "tinynets.layers",
    "PrunedLayer": "tinynets.layers",
    "PrunedNetwork": "tinynets.layers",
    "extract": "tinynets.extraction",
    "prune": "tinynets.pruning",
}

__all__ = ["ConvGeometry", "PrunedLayer", "PrunedNetwork", "extract", "prune"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'tinynets' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
