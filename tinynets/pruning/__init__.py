"""Which weights go: scores, schedules, masks for tiles, whole filters, and what is saved by it."""

from tinynets.pruning.methods import METHODS, prune

__all__ = ["METHODS", "prune"]
