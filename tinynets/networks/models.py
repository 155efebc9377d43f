"""Small networks for the examples and studies."""

import itertools
from collections import OrderedDict

import torch
from torch import nn


def mlp(sizes: tuple[int, ...]) -> nn.Sequential:
    """Return a multilayer perceptron with ReLU between its layers.

    sizes: number of units from input to output, e.g. (64, 32, 10). Layers are fc1, fc2, …
    """
    if len(sizes) < 2 or min(sizes) < 1:
        raise ValueError(f"sizes must be two or more positive numbers; got {sizes}")
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for k, (n_in, n_out) in enumerate(itertools.pairwise(sizes), 1):
        if k > 1:
            layers[f"relu{k - 1}"] = nn.ReLU()
        layers[f"fc{k}"] = nn.Linear(n_in, n_out)
    return nn.Sequential(layers)


def digits_cnn(channels: tuple[int, int] = (8, 16), size: int = 8) -> nn.Sequential:
    """Return two 3 × 3 convolutions, 2 × 2 pooling and a dense layer for size × size images."""
    first, second = channels
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, first, 3, padding=1),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(first, second, 3, padding=1),
            relu2=nn.ReLU(),
            pool=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            fc=nn.Linear(second * (size // 2) ** 2, 10),
        )
    )


def lenet5() -> nn.Sequential:
    """Return LeNet-5 for 28 × 28 images: two convolutions of 5 × 5, three dense layers.

    As in LeCun et al., Proc. IEEE 86 (1998), with ReLU, maximum pooling and a full second layer.
    """
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 6, 5, padding=2),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(6, 16, 5),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            fc1=nn.Linear(400, 120),
            relu3=nn.ReLU(),
            fc2=nn.Linear(120, 84),
            relu4=nn.ReLU(),
            fc3=nn.Linear(84, 10),
        )
    )


class DigitsAttention(nn.Module):
    """One block of attention for 8 × 8 images, whose rows are the tokens; then their mean.

    d: width of the tokens.
    n_head: number of heads.
    """

    def __init__(self, d: int, n_head: int) -> None:
        super().__init__()
        self.embed = nn.Linear(8, d)
        self.place = nn.Parameter(0.1 * torch.randn(8, d))
        self.attention = nn.MultiheadAttention(d, n_head, bias=False, batch_first=True)
        self.fc = nn.Linear(d, 10)

    def tokens(self, x: torch.Tensor) -> torch.Tensor:
        """Return the tokens (n_batch, 8, d) of images (n_batch, 1, 8, 8)."""
        return self.embed(x[:, 0]) + self.place

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits (n_batch, 10) of images (n_batch, 1, 8, 8)."""
        tokens = self.tokens(x)
        mixed, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        return self.fc((tokens + mixed).mean(dim=1))
