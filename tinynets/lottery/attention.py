"""A block of attention from a random one: its query-key and value products as subset sums.

What a head does depends on W_q^T W_k and W_o W_v alone. An entry of W_q^T W_k is a sum over the
dimensions of the keys. If n of these keep one entry of the queries' projection each, that of input
i, then row i of the product is made of products of two random weights; n d dimensions do for all
rows, and likewise for W_o W_v. Neither split of signs nor ReLU is needed. The setting is that of
Otsuka et al., arXiv 2511.04217, whose abstract alone was read; the construction is this one.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tinynets.lottery.tails import make


@dataclass(frozen=True)
class Products:
    """What the heads of a block compute with, each (n_head, d, d).

    query_key: W_q^T W_k.
    output_value: W_o W_v.
    """

    query_key: NDArray
    output_value: NDArray


@dataclass(frozen=True)
class AttentionTicket:
    """A random block and its masks.

    products: of the masked random projections.
    n_random: number of random weights of the four projections.
    n_kept: number that the masks keep.
    """

    products: Products
    n_random: int
    n_kept: int


def products_of(block: nn.MultiheadAttention) -> Products:
    """Return the products of a block without biases, in float64.

    Raises ValueError for a block with biases, whose scores have further terms.
    """
    if block.in_proj_bias is not None:
        raise ValueError("a ticket is built for attention without biases; pass bias=False")
    heads = block.in_proj_weight.detach().double().unflatten(0, (3, block.num_heads, -1))
    q, k, v = heads
    o = block.out_proj.weight.detach().double().unflatten(1, (block.num_heads, -1))
    pairs = torch.einsum("hai,haj->hij", q, k), torch.einsum("iha,haj->hij", o, v)
    return Products(*(pair.numpy() for pair in pairs))


def attention_ticket(target: Products, n: int, seed: int = 0) -> AttentionTicket:
    """Return random projections with masks that make a block.

    n: dimensions of the keys, and of the values, for each of the d inputs of a head.
    seed: random seed of the projections, uniform in -1 … 1.

    Each product is made for a largest entry of 1; the temperature of the softmax and the layer
    after the block take the factor. Source: see above. Cost: 2^(n/2) steps for each entry.
    """
    rng, kept, realised = np.random.default_rng([seed, n]), 0, []
    n_head, d, _ = target.query_key.shape
    for matrices in (target.query_key, target.output_value):
        largest = np.abs(matrices).max()
        own = rng.uniform(-1, 1, (n_head, d, 1, n))
        values = own * rng.uniform(-1, 1, (n_head, d, d, n))
        flat = n_head * d
        made = make((matrices / largest).reshape(flat, d), values.reshape(flat, d, n))
        kept += int(made.kept.sum()) + own.size
        realised.append(matrices + largest * made.error.reshape(matrices.shape))
    n_random = 4 * n_head * (n * d) * d
    return AttentionTicket(Products(*realised), n_random, kept)


def attend(tokens: NDArray, products: Products, d_head: int) -> tuple[NDArray, NDArray]:
    """Return the scores before the softmax (n_batch, n_head, n_token, n_token) and the outputs.

    tokens: (n_batch, n_token, d).
    d_head: dimensions of a head of the block to be made, whose root divides the scores.

    The outputs are (n_batch, n_token, d).
    """
    scores = np.einsum("bsi,hij,btj->bhst", tokens, products.query_key, tokens, optimize=True)
    weight = torch.from_numpy(scores / np.sqrt(d_head)).softmax(dim=3).numpy()
    mixed = np.einsum("bhst,btj->bhsj", weight, tokens)
    return scores, np.einsum("bhsj,hij->bsi", mixed, products.output_value)
