"""Attention whose four projections are layers."""

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from tinynets.modules.packed import Unpacked, layer

_PROJECTIONS = ("q_proj", "k_proj", "v_proj")


class Attention(Unpacked):
    """`nn.MultiheadAttention` with the layers q_proj, k_proj, v_proj and out_proj.

    Products of queries, keys and values with each other, and the softmax, are digital. Whatever
    `batch_first` is, the layers see the batch first.
    """

    #: Encoder layers look at these before their fused pass, which would read packed weights.
    in_proj_bias = None
    _qkv_same_embed_dim = False
    q_proj: nn.Linear
    k_proj: nn.Linear
    v_proj: nn.Linear

    def __init__(self, module: nn.MultiheadAttention) -> None:
        has_bias = module.in_proj_bias is not None
        packing: dict[str, tuple[str, ...]] = {
            "in_proj_weight": tuple(f"{p}.weight" for p in _PROJECTIONS)
        }
        if not module._qkv_same_embed_dim:
            packing = {f"{p}_weight": (f"{p}.weight",) for p in _PROJECTIONS}
        if has_bias:
            packing["in_proj_bias"] = tuple(f"{p}.bias" for p in _PROJECTIONS)
        super().__init__(packing)
        self.embed_dim, self.num_heads = module.embed_dim, module.num_heads
        self.batch_first, self.dropout = module.batch_first, module.dropout
        self.add_zero_attn = module.add_zero_attn
        for name, n_in in zip(_PROJECTIONS, (module.embed_dim, module.kdim, module.vdim)):
            self.add_module(name, layer(n_in, module.embed_dim, has_bias))
        self.out_proj = module.out_proj
        self.bias_k, self.bias_v = module.bias_k, module.bias_v
        self.take(module)

    def forward(  # noqa: PLR0913 - torch's signature
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        key_padding_mask: torch.Tensor | None = None,
        need_weights: bool = True,
        attn_mask: torch.Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return what `nn.MultiheadAttention` does: the outputs, and the mean or all weights."""
        if is_causal and attn_mask is None:
            raise RuntimeError("is_causal says of what kind attn_mask is; pass attn_mask as well")
        is_batch = query.ndim == 3
        q, k, v = (self._batch_first(x, is_batch) for x in (query, key, value))
        q, k, v = self.q_proj(q), self.k_proj(k), self.v_proj(v)
        q, k, v = (self._heads(x) for x in (q, *self._longer(k, v)))
        scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
        if is_causal and key_padding_mask is None and not need_weights:
            attn_mask = scores.new_ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        for mask in (attn_mask, key_padding_mask):
            if mask is not None:
                scores = self._masked(scores, mask, is_padding=mask is key_padding_mask)
        weights = scores.softmax(-1)
        if not need_weights:  # torch's other pass gives zeros to a query that may see nothing
            weights = weights.masked_fill(scores.isneginf().all(-1, keepdim=True), 0.0)
        weights = functional.dropout(weights, self.dropout, self.training)
        y = self.out_proj((weights @ v).transpose(1, 2).flatten(2))
        y = y if is_batch and self.batch_first else y.transpose(0, 1)
        weights = weights.mean(1) if average_attn_weights else weights
        if not is_batch:
            y, weights = y.squeeze(1), weights.squeeze(0)
        return y, weights if need_weights else None

    def _batch_first(self, x: torch.Tensor, is_batch: bool) -> torch.Tensor:
        if not is_batch:
            return x[None]
        return x if self.batch_first else x.transpose(0, 1)

    def _longer(self, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Append the keys and values that are no inputs, if there are."""
        more: Any = [] if self.bias_k is None else [(self.bias_k, self.bias_v)]
        more += [(k.new_zeros(1, 1, k.shape[2]),) * 2] if self.add_zero_attn else []
        for one_k, one_v in more:
            k = torch.cat([k, one_k.expand(len(k), -1, -1)], 1)
            v = torch.cat([v, one_v.expand(len(v), -1, -1)], 1)
        return k, v

    def _heads(self, x: torch.Tensor) -> torch.Tensor:
        """Return (n_batch, n_place, n_embed) as (n_batch, n_head, n_place, n_embed / n_head)."""
        return x.unflatten(2, (self.num_heads, -1)).transpose(1, 2)

    def _masked(
        self, scores: torch.Tensor, mask: torch.Tensor, *, is_padding: bool
    ) -> torch.Tensor:
        """Return scores (n_batch, n_head, n_query, n_key) under a mask of either type.

        mask: (n_query, n_key), or one for each head of each sample; (n_batch, n_key) for padding.
        """
        mask = functional.pad(mask, (0, scores.shape[-1] - mask.shape[-1]))
        if is_padding:
            mask = mask.reshape(len(scores), 1, 1, -1)
        elif mask.ndim == 3:
            mask = mask.reshape(*scores.shape[:2], *mask.shape[1:])
        return scores.masked_fill(mask, -math.inf) if mask.dtype == torch.bool else scores + mask
