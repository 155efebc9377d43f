"""Weights as sums of random values, and the tail of their errors: weights out of reach.

A weight is out of reach if all values of its sign together are less than it. With n values whose
signs are random, that has a probability of about 2^-n and an error of the weight's own size, while
the usual error is about 2^-n. So the mean square error falls half as fast in its logarithm.
"""

from dataclasses import dataclass
from math import comb, factorial

import numpy as np
from numpy.typing import NDArray

from tinynets.lottery.gadgets import subset

#: Bits of the grid of the values "integers".
GRID_BITS = 6


def draw_values(kind: str, shape: tuple[int, int], n: int, rng: np.random.Generator) -> NDArray:
    """Return the random values (n_out, n_in, n) of which each weight is to be a sum.

    kind: "products" of a first layer's weight, shared by all outputs, and one of the second, both
        uniform (Pensia et al.); "singles", uniform in -1 … 1 (Burkholz); "balanced products", as
        many of either sign; "integers", uniform multiples of 2^-GRID_BITS in -1 … 1.

    Raises ValueError for another kind.
    """
    if kind == "integers":
        steps = 2**GRID_BITS
        return rng.integers(-steps, steps, (*shape, n), endpoint=True) / steps
    second = rng.uniform(-1, 1, (*shape, n))
    if kind == "singles":
        return second
    if kind == "balanced products":
        second = np.abs(second) * np.where(np.arange(n) % 2, -1, 1)
    elif kind != "products":
        raise ValueError(
            f"kind must be 'products', 'singles', 'balanced products' or 'integers'; got {kind!r}"
        )
    return second * rng.uniform(0, 1, (shape[1], n))


@dataclass(frozen=True)
class Made:
    """Weights made as subset sums, each array in the shape of the weights.

    error: sum - target.
    short: how far |target| is beyond the sum of all values of its sign; 0 if it is in reach.
    kept: number of values in the sum.
    """

    error: NDArray
    short: NDArray
    kept: NDArray


def make(targets: NDArray, values: NDArray) -> Made:
    """Return the weights made by the nearest subset sums.

    targets: (n_out, n_in).
    values: (n_out, n_in, n).
    """
    chosen = subset(values, targets)
    sign = np.where(targets < 0, -1.0, 1.0)[..., None]
    most = np.maximum(values * sign, 0).sum(axis=-1)
    short = np.maximum(np.abs(targets) - most, 0)
    return Made((values * chosen).sum(axis=-1) - targets, short, chosen.sum(axis=-1))


def out_of_reach(weight: float, n: int) -> float:
    """Return the probability that no subset of n values, uniform in -1 … 1, reaches a weight.

    weight: in 0 … 1.

    It is 2^-n L_n(-weight), of Laguerre's polynomial, since j positive values add up to less than
    the weight with probability weight^j / j!.
    """
    return sum(comb(n, j) * weight**j / factorial(j) for j in range(n + 1)) / 2.0**n


def least_rms(weights: NDArray, n: int) -> float:
    """Return the rms error that weights out of reach of n such values leave, with no other error.

    weights: any shape, in -1 … 1.

    It is the root of the mean of (w - S)^2 where S < w, S being the sum of all values of the
    weight's sign: for j of them, 2 w^(j + 2) / (j + 2)!.
    """
    size = np.abs(weights)
    terms = [comb(n, j) * 2 * size ** (j + 2) / factorial(j + 2) for j in range(n + 1)]
    return float(np.sqrt(np.sum(terms, axis=0).mean() / 2.0**n))
