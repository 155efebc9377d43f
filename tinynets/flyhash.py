"""The fly's hash: a sparse binary random projection to many units, of which the largest few win.

Similar inputs share winners, so codes find neighbours. The projection only adds up inputs, which
resistors do as manufactured, without any choice or programming.
"""

import numpy as np
import torch
from torch import nn

_QUERY_CHUNK = 512


def sparse_projection(n_in: int, n_code: int, *, share: float = 0.1, seed: int = 0) -> torch.Tensor:
    """Return which inputs each unit adds up: (n_code, n_in) bool, equally many in every row.

    share: fraction of the inputs that a unit adds up, in (0, 1]; at least one input.

    Since rows are equally full, a constant added to all inputs changes no winner.
    Raises ValueError for a share outside (0, 1].
    Source: Dasgupta, Stevens, Navlakha, Science 358 (2017) 793.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be in (0, 1]; got {share}")
    order = torch.rand(n_code, n_in, generator=torch.Generator().manual_seed(seed)).argsort(1)
    return order < max(1, round(share * n_in))


def winners(scores: torch.Tensor, n_winner: int) -> torch.Tensor:
    """Return a bool mask of the n_winner largest scores of each row, the first of equals.

    scores: (n_batch, n_code). Raises ValueError for n_winner outside 1 … n_code, or scores that are
    NaN or infinite.
    """
    n_code = scores.shape[1]
    if not 1 <= n_winner <= n_code:
        raise ValueError(f"n_winner must be 1 … {n_code}, the number of units; got {n_winner}")
    if not torch.isfinite(scores).all():
        raise ValueError("scores hold NaN or inf; check the inputs of the hash")
    least = scores.topk(n_winner, dim=1, sorted=False).values.amin(1, keepdim=True)
    sure, ties = scores > least, scores == least
    n_left = n_winner - sure.sum(1, keepdim=True)
    return sure | (ties & (ties.cumsum(1) <= n_left))


class FlyHash(nn.Module):
    """Project with a binary matrix (or what a crossbar makes of it), and let the largest win.

    projection: (n_code, n_in), bool or real.
    n_winner: ones in a code.
    """

    def __init__(self, projection: torch.Tensor, n_winner: int) -> None:
        super().__init__()
        self.n_winner = n_winner
        self.register_buffer("projection", projection)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the codes (n_batch, n_code) bool of inputs (n_batch, n_in).

        Raises ValueError for inputs of another length, and as `winners` does.
        """
        projection = self.get_buffer("projection").double()
        if x.ndim != 2 or x.shape[1] != projection.shape[1]:
            raise ValueError(
                f"x has shape {tuple(x.shape)}; expected (n_batch, {projection.shape[1]})"
            )
        return winners(x.double() @ projection.T, self.n_winner)


def dense_hash(x: torch.Tensor, n_code: int, *, seed: int = 0) -> torch.Tensor:
    """Return codes (n_batch, n_code) bool: on which side of random planes the inputs lie.

    x: (n_batch, n_in), centred by the caller, since the planes go through zero.
    Source: Charikar, STOC 2002 (random hyperplanes).
    """
    generator = torch.Generator().manual_seed(seed)
    planes = torch.randn(n_code, x.shape[1], generator=generator, dtype=torch.float64)
    return x.double() @ planes.T > 0


def nearest_codes(codes: torch.Tensor, queries: torch.Tensor, k: int) -> np.ndarray:
    """Return the k codes (n_query, k) that agree with each query in most bits, the first of equals.

    codes: (n, n_code), queries: (n_query, n_code), bool. For codes with equally many ones this is
    the order of shared winners. Raises ValueError for k outside 1 … n.
    """
    _check_k(k, len(codes))
    signs = codes.float() * 2 - 1
    parts = []
    for part in queries.split(_QUERY_CHUNK):
        agreement = (part.float() * 2 - 1) @ signs.T
        parts.append(agreement.argsort(dim=1, descending=True, stable=True)[:, :k])
    return torch.cat(parts).numpy()


def nearest_exact(x: torch.Tensor, queries: torch.Tensor, k: int) -> np.ndarray:
    """Return the k nearest inputs (n_query, k) by Euclidean distance, the first of equals.

    x: (n, n_in), queries: (n_query, n_in). Raises ValueError for k outside 1 … n.
    """
    _check_k(k, len(x))
    exact = "donot_use_mm_for_euclid_dist"
    parts = [
        torch.cdist(part.double(), x.double(), compute_mode=exact).argsort(dim=1, stable=True)
        for part in queries.split(_QUERY_CHUNK)
    ]
    return torch.cat(parts)[:, :k].numpy()


def recall(retrieved: np.ndarray, exact: np.ndarray) -> float:
    """Return the fraction of exact neighbours (n_query, k) among those retrieved (n_query, m).

    Raises ValueError for different numbers of queries.
    """
    if len(retrieved) != len(exact):
        raise ValueError(
            f"retrieved has {len(retrieved)} queries and exact {len(exact)}; pass the same number"
        )
    hits = [len(np.intersect1d(a, b)) for a, b in zip(retrieved, exact)]
    return float(np.sum(hits)) / exact.size


def _check_k(k: int, n: int) -> None:
    if not 1 <= k <= n:
        raise ValueError(f"k must be 1 … {n}, the number of items; got {k}")
