"""Which random weights to keep so that they do the work of given ones: plain arrays.

A gadget multiplies an input x by a weight w of either sign with two layers of random weights and a
ReLU between them: w x = sum over kept hidden units k of a_k relu(b_k x). Units with b_k > 0 see
positive inputs alone and must sum to w; units with b_k < 0 see negative inputs alone and must sum
to -w. So the split is exact for both signs, and only the two sums are approximate.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np

from tinynets import subset_sum

#: Subsets of `quarter` up to which it takes them one by one.
LISTED = 5000

#: Chooses units, given values (n_output, n_tap, n) of n units and targets (n_output, n_tap);
#: returns which are kept, in the shape of the values.
Choice = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Target:
    """The layer that gadgets make.

    weight: (n_out, n_in, n_tap).
    bias: (n_out,), or None.
    bias_tap: tap of the kernel that never lies on the padding.
    """

    weight: np.ndarray
    bias: np.ndarray | None
    bias_tap: int = 0


@dataclass(frozen=True)
class Gadgets:
    """The units kept for a whole layer, and their errors.

    kept: bool, in the shape of the second layer's weights.
    error: |realised - target| of each weight, the worse sign, (n_out, n_in, n_tap).
    bias_error: the same of each bias, (n_out,).
    """

    kept: np.ndarray
    error: np.ndarray
    bias_error: np.ndarray


def n_hidden(n: int) -> int:
    """Return how many random units one input needs so that, most likely, n have either sign."""
    return 2 * n + 4 * int(np.ceil(np.sqrt(n))) + 4


def one_weight(values: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Keep the single nearest unit of each target, or none for a target nearer to zero.

    Source: Malach et al., ICML 2020, arXiv 2002.00585. Cost: one pass over the values.
    """
    distance = np.abs(values - targets[..., None])
    kept = np.arange(values.shape[-1]) == distance.argmin(axis=-1)[..., None]
    return kept & (distance.min(axis=-1) < np.abs(targets))[..., None]


def subset(values: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Keep the units whose sum is nearest to each target, exactly.

    Source: Pensia et al., NeurIPS 2020, arXiv 2006.07990; for convolutions da Cunha, Natale,
    Viennot, ICLR 2022. Cost: 2^(n/2) for each target.
    """
    n = values.shape[-1]
    mask = subset_sum.solve(values.reshape(-1, n), targets.ravel()).mask
    return (mask[:, None] >> np.arange(n, dtype=np.uint64) & 1 == 1).reshape(values.shape)


def quarter(values: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Keep exactly a quarter of the units, one at least: those whose sum is nearest to each target.

    Source: the setting of Natale et al., NeurIPS 2024, arXiv 2410.14754. Cost: up to LISTED subsets
    one by one, above `subset_sum.solve_by_count`; either is exact.
    """
    n = values.shape[-1]
    k, banks = max(1, n // 4), values.reshape(-1, n)
    kept = np.zeros(banks.shape, bool)
    if comb(n, k) > LISTED:
        for bank, target, row in zip(banks, targets.ravel(), kept):
            row[:] = subset_sum.solve_by_count(bank, [target], k).chosen[0, k]
        return kept.reshape(values.shape)
    subsets = np.array(list(combinations(range(n), k)))
    for bank, target, row in zip(banks, targets.ravel(), kept):
        row[subsets[np.argmin(np.abs(bank[subsets].sum(axis=1) - target))]] = True
    return kept.reshape(values.shape)


def whole_units(values: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Keep or drop each unit for all outputs and taps at once: its filter goes as a whole.

    Source: the setting of da Cunha, d'Amore, Natale, NeurIPS 2023, arXiv 2311.09858; the search is
    `subset_sum.solve_vectors`, exact up to 36 units, and far from the best above.
    """
    vectors = values.reshape(-1, values.shape[-1]).T
    (chosen,) = subset_sum.solve_vectors(vectors, targets.reshape(1, -1)).chosen
    return np.broadcast_to(chosen, values.shape)


def fit_pair(
    target: Target, first: np.ndarray, second: np.ndarray, n: int, choice: Choice
) -> Gadgets:
    """Choose among a random second layer's weights those that, after a first layer, make a layer.

    first: (n_in or n_in + 1, m), random weights of the hidden units of each input; with a bias to
        make, their random biases are the last row.
    second: (n_out, len(first), m, n_tap), random.
    n: units used at most of each sign.
    """
    weight, bias, tap = target.weight, target.bias, target.bias_tap
    n_out, n_in, _ = weight.shape
    kept = np.zeros(second.shape, bool)
    error, bias_error = np.zeros(weight.shape), np.zeros(n_out)
    for sign in (1, -1):
        for i in range(n_in):
            units = np.flatnonzero(sign * first[i] > 0)[:n]
            values = second[:, i, units].transpose(0, 2, 1) * np.abs(first[i, units])
            chosen, miss = _choose(choice, values, sign * weight[:, i])
            kept[:, i, units] = chosen.transpose(0, 2, 1)
            error[:, i] = np.maximum(error[:, i], miss)
    if bias is not None:  # a unit that sees no input is a constant relu(bias)
        units = np.flatnonzero(first[n_in] > 0)[:n]
        values = second[:, n_in, units, tap][:, None] * first[n_in, units]
        chosen, miss = _choose(choice, values, bias[:, None])
        kept[:, n_in, units, tap] = chosen[:, 0]
        bias_error = miss[:, 0]
    return Gadgets(kept, error, bias_error)


def fit_copies(
    weight: np.ndarray, bias: np.ndarray, random: np.ndarray, constants: np.ndarray, n: int
) -> tuple[Gadgets, np.ndarray]:
    """Choose among random weights from copies of each input those that make each copy of a layer.

    weight: (n_out, n_in), the target.
    bias: (n_out,), the target.
    random: (n_out, n_copy, n_in * n + n_constant), weights from the n copies of each input, then
        from the constants.
    constants: (n_constant,), of which the first n above zero are used.

    Returns the gadgets, with the errors of the worst copy, and the gain (n_out, n_in): the sum of
    |kept weights|.

    Source: Burkholz, ICML 2022, who builds with L + 1 layers.
    """
    (n_out, n_copy, _), n_in = random.shape, weight.shape[1]
    kept = np.zeros(random.shape, bool)
    values = random[:, :, : n_in * n].reshape(n_out, n_copy, n_in, n)
    targets = np.broadcast_to(weight[:, None], values.shape[:3])
    chosen, error = _choose(subset, values, targets)
    kept[:, :, : n_in * n] = chosen.reshape(n_out, n_copy, -1)
    gain = np.abs(values * chosen).sum(axis=3).max(axis=1)
    units = np.flatnonzero(constants > 0)[:n]
    values = random[:, :, n_in * n + units] * constants[units]
    targets = np.broadcast_to(bias[:, None], values.shape[:2])
    kept[:, :, n_in * n + units], bias_error = _choose(subset, values, targets)
    return Gadgets(kept, error.max(axis=1)[..., None], bias_error.max(axis=1)), gain


def _choose(
    choice: Choice, values: np.ndarray, targets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return what is kept and |sum - target|; nothing can be kept where no unit has the sign."""
    if not values.shape[-1]:
        return np.zeros(values.shape, bool), np.abs(targets)
    kept = choice(values, targets)
    return kept, np.abs((values * kept).sum(axis=-1) - targets)
