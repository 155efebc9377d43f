"""The exact solver: which of a bank's values add up to a target, and how near they come.

Ordered: order, sorted_lists, kernels, in_torch, solver; by_count, near_by_count.
What users call is exported here.
"""

from tinynets.subset_sum.by_count import CountedSelection, nearest_by_count, solve_by_count
from tinynets.subset_sum.near_by_count import near_by_count
from tinynets.subset_sum.solver import (
    LARGEST_BANK,
    Selection,
    VectorSelection,
    band_error,
    largest_gap,
    solve,
    solve_top,
    solve_vectors,
)

__all__ = [
    "LARGEST_BANK",
    "CountedSelection",
    "Selection",
    "VectorSelection",
    "band_error",
    "largest_gap",
    "near_by_count",
    "nearest_by_count",
    "solve",
    "solve_by_count",
    "solve_top",
    "solve_vectors",
]
