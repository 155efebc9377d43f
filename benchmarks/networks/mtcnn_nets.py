"""The three networks that find faces (MTCNN) in plain torch, with the names of their checkpoints.

Source: Zhang, Zhang, Li, Qiao, IEEE Signal Processing Letters 23 (2016) 1499; the sizes are those
of the weights that facenet-pytorch 2.6.0 ships as pnet.pt, rnet.pt and onet.pt.
"""

from collections import OrderedDict

import torch
from torch import nn

#: By file: convolutions (outputs, kernel, pooling or 0), width of the dense layer or 0, and heads.
NETS = {
    "pnet": (((10, 3, 2), (16, 3, 0), (32, 3, 0)), 0, {"conv4_1": 2, "conv4_2": 4}),
    "rnet": (((28, 3, 3), (48, 3, 3), (64, 2, 0)), 128, {"dense5_1": 2, "dense5_2": 4}),
    "onet": (
        ((32, 3, 3), (64, 3, 3), (64, 3, 2), (128, 2, 0)),
        256,
        {"dense6_1": 2, "dense6_2": 4, "dense6_3": 10},
    ),
}
#: Sizes of their pictures; that of pnet is free.
SIZES = {"pnet": 96, "rnet": 24, "onet": 48}


class Turned(nn.Module):
    """Pixels as one vector, column after column, channels last."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (n, n_pixel * n_channel)."""
        return x.permute(0, 3, 2, 1).flatten(1)


class Face(nn.Module):
    """One of the three networks: pictures to offsets of the box, points, and a probability."""

    def __init__(self, name: str) -> None:
        super().__init__()
        convolutions, width, heads = NETS[name]
        body, n_in = OrderedDict(), 3
        for k, (n_out, kernel, pool) in enumerate(convolutions, start=1):
            body |= {f"conv{k}": nn.Conv2d(n_in, n_out, kernel), f"prelu{k}": nn.PReLU(n_out)}
            if pool:
                body[f"pool{k}"] = nn.MaxPool2d(pool, 2, ceil_mode=True)
            n_in = n_out
        if width:
            k = len(convolutions) + 1
            body |= {"turned": Turned(), f"dense{k}": nn.Linear(9 * n_in, width)}
            body[f"prelu{k}"], n_in = nn.PReLU(width), width
        self.order, self.heads = list(body), list(heads)
        for name, n_out in heads.items():
            body[name] = nn.Linear(n_in, n_out) if width else nn.Conv2d(n_in, n_out, 1)
        for name, module in body.items():
            self.add_module(name, module)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the offsets, the points if there are any, and the probabilities."""
        for name in self.order:
            x = self.get_submodule(name)(x)
        first, *others = (self.get_submodule(name)(x) for name in self.heads)
        return (*others, first.softmax(1))
