"""The fly's hash against sorting, exact neighbours and dense random planes."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from approx import approx
from tinynets.data import digits
from tinynets.flyhash import (
    FlyHash,
    dense_hash,
    nearest_codes,
    nearest_exact,
    recall,
    sparse_projection,
    winners,
)


@pytest.fixture(scope="module")
def images() -> tuple[torch.Tensor, torch.Tensor]:
    """1,347 digits to search among and 100 others to search for."""
    data = digits(seed=0, flat=True)
    return torch.from_numpy(data.x_train), torch.from_numpy(data.x_test[:100])


def found_share(codes: FlyHash, images: tuple[torch.Tensor, torch.Tensor], k: int = 10) -> float:
    x, queries = images
    return recall(nearest_codes(codes(x), codes(queries), k), nearest_exact(x, queries, k))


@given(st.integers(1, 30), st.integers(1, 4), st.sampled_from([1, 3, 1000]), st.data())
def test_winners_are_the_first_of_a_stable_sort(n_code, n_batch, high, data):
    k = data.draw(st.integers(1, n_code))
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    scores = torch.from_numpy(rng.integers(-high, high + 1, (n_batch, n_code)) / 7)
    order = scores.argsort(dim=1, descending=True, stable=True)[:, :k]
    expected = torch.zeros(scores.shape, dtype=torch.bool).scatter(1, order, True)
    assert torch.equal(winners(scores, k), expected)


@pytest.mark.parametrize("values", [[0.0, 0.0, 0.0], [1e-300, 2e-300, 0.0], [-1e30, 1e30, 0.0]])
def test_exactly_so_many_win_on_any_scale(values):
    found = winners(torch.tensor([values], dtype=torch.float64), 2)
    assert int(found.sum()) == 2
    assert bool(found[0, 1])


def test_every_unit_sees_equally_many_inputs_and_no_two_the_same():
    projection = sparse_projection(64, 500, share=0.1, seed=1)
    assert projection.shape == (500, 64)
    assert (projection.sum(1) == 6).all()
    assert len(torch.unique(projection, dim=0)) == 500
    assert projection.sum(0).min() > 20
    assert torch.equal(projection, sparse_projection(64, 500, share=0.1, seed=1))
    assert sparse_projection(5, 3, share=0.01).sum(1).tolist() == [1, 1, 1]


def test_brightness_and_contrast_change_no_winner(images):
    hash_of = FlyHash(sparse_projection(64, 300), 15)
    x = images[1].double()
    codes = hash_of(x)
    assert (codes.sum(1) == 15).all()
    noise = 1e-3 * torch.rand(x.shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(hash_of(x + noise), hash_of(3 * (x + noise) + 0.25))


def test_it_finds_neighbours_and_more_winners_find_more(images):
    shares = [found_share(FlyHash(sparse_projection(64, 20 * k), k), images) for k in (4, 16, 64)]
    assert shares == sorted(shares)
    assert shares[0] > 10 * 10 / 1347  # ten times chance
    assert shares[-1] > 0.45


def test_it_beats_as_many_dense_planes_as_it_has_winners(images):
    mean = images[0].mean(0)
    for k in (8, 32):
        fly = np.mean(
            [found_share(FlyHash(sparse_projection(64, 20 * k, seed=s), k), images) for s in (0, 1)]
        )
        planes = np.mean(
            [
                found_share(lambda x, s=s, k=k: dense_hash(x - mean, k, seed=s), images)
                for s in (0, 1)
            ]
        )
        assert fly > planes


def test_dense_planes_agree_by_the_angle():
    angle = np.pi / 3
    x = torch.tensor([[1.0, 0.0], [np.cos(angle), np.sin(angle)]])
    codes = dense_hash(x, 20_000, seed=0)
    assert float((codes[0] == codes[1]).double().mean()) == approx(1 - angle / np.pi, abs=0.01)


def test_exact_neighbours_are_those_of_brute_force(images):
    x, queries = images
    far = ((queries[:5, None].double() - x[None].double()) ** 2).sum(2).numpy()
    np.testing.assert_array_equal(
        nearest_exact(x, queries[:5], 7), np.argsort(far, axis=1, kind="stable")[:, :7]
    )
    assert nearest_exact(x, x[:3], 1)[:, 0].tolist() == [0, 1, 2]


def test_equal_codes_come_in_order():
    codes = torch.tensor([[1, 0], [0, 1], [1, 0], [1, 1]]).bool()
    assert nearest_codes(codes, codes[:1], 4).tolist() == [[0, 2, 3, 1]]


def test_recall_counts_shared_neighbours():
    assert recall(np.array([[1, 2, 9], [4, 5, 6]]), np.array([[2, 3], [5, 6]])) == 0.75


def test_refused_inputs():
    with pytest.raises(ValueError, match=r"share must be in \(0, 1\]"):
        sparse_projection(4, 4, share=0.0)
    with pytest.raises(ValueError, match="n_winner must be 1 … 3"):
        winners(torch.zeros(1, 3), 4)
    with pytest.raises(ValueError, match="NaN or inf"):
        winners(torch.tensor([[0.0, torch.nan]]), 1)
    with pytest.raises(ValueError, match=r"expected \(n_batch, 4\)"):
        FlyHash(sparse_projection(4, 8), 2)(torch.zeros(3, 5))
    codes = torch.zeros(3, 4, dtype=torch.bool)
    with pytest.raises(ValueError, match="k must be 1 … 3"):
        nearest_codes(codes, codes, 4)
    with pytest.raises(ValueError, match="k must be 1 … 3"):
        nearest_exact(codes, codes, 0)
    with pytest.raises(ValueError, match="retrieved has 2 queries and exact 1"):
        recall(np.zeros((2, 1)), np.zeros((1, 1)))
