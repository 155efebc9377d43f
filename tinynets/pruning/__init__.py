"""Which weights go: scores, schedules, masks for tiles, whole filters, and what is saved by it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tinynets.pruning.methods import METHODS

if TYPE_CHECKING:
    from tinynets.pruning.rounds import prune

__all__ = ["METHODS", "prune"]


def __getattr__(name: str) -> Any:
    """Load torch only for `prune`."""
    if name != "prune":
        raise AttributeError(f"module 'tinynets.pruning' has no attribute {name!r}")
    return import_module("tinynets.pruning.rounds").prune
