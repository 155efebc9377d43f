"""Blocks of attention from random projections with a mask."""

import numpy as np
import pytest
import torch
from torch import nn

from approx import approx
from tinynets.lottery.attention import attend, attention_ticket, products_of
from tinynets.networks.models import DigitsAttention

D, HEADS = 6, 2


@pytest.fixture
def block() -> nn.MultiheadAttention:
    torch.manual_seed(0)
    return nn.MultiheadAttention(D, HEADS, bias=False, batch_first=True).double()


def test_the_products_do_what_the_block_does(block):
    tokens = torch.randn(3, 5, D, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, _ = block(tokens, tokens, tokens)
    _, mixed = attend(tokens.numpy(), products_of(block), D // HEADS)
    np.testing.assert_allclose(mixed, expected.numpy(), rtol=1e-12, atol=1e-12)


def test_tickets_come_nearer_with_each_dimension(block):
    target, errors = products_of(block), []
    for n in (4, 8, 14):
        made = attention_ticket(target, n, 0).products
        pairs = (made.query_key, target.query_key), (made.output_value, target.output_value)
        errors.append(np.median([np.abs(a - b) for a, b in pairs]))
    assert errors[1] < errors[0] / 4
    assert errors[2] < errors[1] / 16


def test_a_ticket_counts_its_weights(block):
    """Four projections of n D x D a head; of two of them one entry a row."""
    n = 5
    ticket = attention_ticket(products_of(block), n, 0)
    assert ticket.n_random == 4 * HEADS * n * D * D
    own = 2 * HEADS * n * D
    assert own < ticket.n_kept < own + 2 * HEADS * n * D * D


def test_the_seed_fixes_a_ticket(block):
    target = products_of(block)
    same, again, other = (attention_ticket(target, 4, seed).products for seed in (1, 1, 2))
    np.testing.assert_array_equal(same.query_key, again.query_key)
    assert not np.array_equal(same.query_key, other.query_key)


def test_a_block_with_biases_is_refused():
    with pytest.raises(ValueError, match=r"attention without biases; pass bias=False"):
        products_of(nn.MultiheadAttention(D, HEADS))


def test_the_digits_block_attends_to_all_rows():
    torch.manual_seed(0)
    model = DigitsAttention(8, 2).double().eval()
    x = torch.rand(2, 1, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        tokens = model.tokens(x)
        _, mixed = attend(tokens.numpy(), products_of(model.attention), 4)
        expected = model.fc((tokens + torch.from_numpy(mixed)).mean(dim=1))
        assert float((model(x) - expected).abs().max()) == approx(0.0, abs=1e-12)
