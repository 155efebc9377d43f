"""The exact solver: which of a bank's values add up to a target, and how near they come.

Ordered: order, sorted_lists, kernels, solver. What users call is exported here.
"""

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
    "Selection",
    "VectorSelection",
    "band_error",
    "largest_gap",
    "solve",
    "solve_top",
    "solve_vectors",
]
