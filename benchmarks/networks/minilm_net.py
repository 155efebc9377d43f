"""The sentence encoder all-MiniLM-L6-v2 in plain torch, with the names of its checkpoint.

`make()` is the function of `[network] python`; `benchmarks/networks/minilm.py` measures it.
"""

import torch
from torch import nn

#: Sizes of the checkpoint: words, positions, width, inner width, heads, layers.
WORDS, POSITIONS, WIDTH, INNER, HEADS, LAYERS = 30522, 512, 384, 1536, 12, 6


class Normalised(nn.Module):
    """A product, added to what came before and normalised."""

    def __init__(self, n_in: int) -> None:
        super().__init__()
        self.dense = nn.Linear(n_in, WIDTH)
        self.LayerNorm = nn.LayerNorm(WIDTH, eps=1e-12)

    def forward(self, x: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
        """Return states (n, n_token, WIDTH)."""
        return self.LayerNorm(self.dense(x) + before)


class Heads(nn.Module):
    """The three projections of attention, and attention itself."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))

    def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """Return (n, n_token, WIDTH); bias (n, 1, 1, n_token) is very negative for padding."""
        parts = (part(x) for part in (self.query, self.key, self.value))
        q, k, v = (p.unflatten(-1, (HEADS, -1)).transpose(1, 2) for p in parts)
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5 + bias
        return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)


class Block(nn.Module):
    """One layer of the encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.ModuleDict({"self": Heads(), "output": Normalised(WIDTH)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(WIDTH, INNER)})
        self.output = Normalised(INNER)

    def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """Return states (n, n_token, WIDTH)."""
        x = self.attention["output"](self.attention["self"](x, bias), x)
        return self.output(nn.functional.gelu(self.intermediate["dense"](x)), x)


class Embeddings(nn.Module):
    """Rows of three tables, added and normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(WORDS, WIDTH)
        self.position_embeddings = nn.Embedding(POSITIONS, WIDTH)
        self.token_type_embeddings = nn.Embedding(2, WIDTH)
        self.LayerNorm = nn.LayerNorm(WIDTH, eps=1e-12)
        self.register_buffer("position_ids", torch.arange(POSITIONS)[None])

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return states (n, n_token, WIDTH) of one sentence each, so all of type 0."""
        places = self.position_embeddings(self.position_ids[:, : tokens.shape[1]])
        types = self.token_type_embeddings(torch.zeros_like(tokens))
        return self.LayerNorm(self.word_embeddings(tokens) + types + places)


class MiniLM(nn.Module):
    """Sentences to vectors of length 1.

    The checkpoint's pooler is not used; it is there so that all tensors have a place.
    """

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = Embeddings()
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(Block() for _ in range(LAYERS))})
        self.pooler = nn.ModuleDict({"dense": nn.Linear(WIDTH, WIDTH)})

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return vectors (n, WIDTH); input_ids and attention_mask (n, n_token), 0 for padding."""
        mask = attention_mask.to(self.embeddings.LayerNorm.weight.dtype)
        bias = (1 - mask[:, None, None]) * torch.finfo(mask.dtype).min
        x = self.embeddings(input_ids)
        for block in self.encoder["layer"]:
            x = block(x, bias)
        mean = (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp_min(1)
        return nn.functional.normalize(mean)


def make() -> MiniLM:
    """Return the network with random weights, for its file of weights."""
    return MiniLM()
