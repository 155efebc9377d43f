"""ResNet-18 in plain torch, for grey images and ten classes, with the names of torchvision.

`make()` is the function of `[network] python`; `benchmarks/networks/resnet18.py` trains and
measures it.
"""

from collections import OrderedDict

import torch
from torch import nn


class Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.downsample = nn.Identity()
        if stride > 1 or n_in != n_out:
            shortcut = nn.Conv2d(n_in, n_out, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(n_out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the outputs (n, n_out, height, width)."""
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(y + self.downsample(x))


def make() -> nn.Module:
    """Return the network with random weights."""
    layers: dict[str, nn.Module] = {
        "conv1": nn.Conv2d(1, 64, 7, 2, 3, bias=False),
        "bn1": nn.BatchNorm2d(64),
        "relu": nn.ReLU(),
        "maxpool": nn.MaxPool2d(3, 2, 1),
    }
    n_in = 64
    for k, n_out in enumerate((64, 128, 256, 512), start=1):
        stride = 1 if k == 1 else 2
        layers[f"layer{k}"] = nn.Sequential(Block(n_in, n_out, stride), Block(n_out, n_out, 1))
        n_in = n_out
    layers |= {"avgpool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}
    layers |= {"fc": nn.Linear(512, 10)}
    return nn.Sequential(OrderedDict(layers))
