"""Transposed and 3-D convolutions as a plain convolution of inputs that are padded before it."""

from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.nn.modules.conv import _ConvTransposeNd

from tinynets.modules.packed import Unpacked

#: The modules of torch's with such a convolution inside.
CONVOLUTIONS = (nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


class Convolution(Unpacked):
    """A transposed or a 3-D convolution, with the layer `matrix`: an nn.Conv1d or nn.Conv2d.

    A transposed convolution puts zeros between its inputs and around them; `matrix` slides the
    mirrored kernel over that, one product for each position of the output. In three dimensions,
    `matrix` takes the planes under a kernel as channels, and is called for each plane of the
    output. Padding is digital.
    """

    matrix: nn.Conv1d | nn.Conv2d

    def __init__(self, module: Any) -> None:
        names = ("weight", "bias") if module.bias is not None else ("weight",)
        super().__init__({name: (f"matrix.{name}",) for name in names})
        self.transposed, self.groups = module.transposed, module.groups
        self.kernel, self.n_axis = module.kernel_size, len(module.kernel_size)
        self.stride, self.dilation, self.padding = module.stride, module.dilation, module.padding
        self.output_padding = module.output_padding
        self.mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
        self.ends = [] if self.transposed else module._reversed_padding_repeated_twice
        self.step = (1,) * self.n_axis if self.transposed else self.stride
        self.matrix = self._matrix(module.in_channels, module.out_channels, "bias" in names)
        self.take(module)

    def _matrix(self, n_in: int, n_out: int, bias: bool) -> Any:
        """Return the layer without values, for which no random number is drawn."""
        kind: Any = nn.Conv1d if self.n_axis == 1 else nn.Conv2d
        n_in = n_in * self.kernel[0] if self.n_axis == 3 else n_in
        sizes = {"kernel_size": self.kernel, "stride": self.step, "dilation": self.dilation}
        sizes = {name: size[-2:] for name, size in sizes.items()}
        return kind(n_in, n_out, groups=self.groups, bias=bias, device="meta", **sizes)

    def split(self, name: str, tensor: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the tensor of `matrix` that stands for one of torch's module."""
        if name == "weight":
            tensor = self._mirrored(tensor) if self.transposed else tensor
            tensor = tensor.flatten(1, 2) if self.n_axis == 3 else tensor
        return (tensor,)

    def join(self, name: str, tensors: list[torch.Tensor]) -> torch.Tensor:
        """Return the tensor of torch's module that stands for one of `matrix`."""
        (tensor,) = tensors
        if name == "weight":
            tensor = tensor.unflatten(1, (-1, self.kernel[0])) if self.n_axis == 3 else tensor
            tensor = self._mirrored(tensor) if self.transposed else tensor
        return tensor

    def forward(self, input: torch.Tensor, output_size: list[int] | None = None) -> torch.Tensor:
        """Return what torch's module does."""
        is_batch = input.ndim == self.n_axis + 2
        x = input if is_batch else input[None]
        if self.transposed:
            x = self._spread(x, output_size)
        else:
            x = functional.pad(x, self.ends, self.mode)
        y = self._planes(x) if self.n_axis == 3 else self.matrix(x)
        return y if is_batch else y[0]

    def n_real(self, x: torch.Tensor, output: torch.Tensor) -> np.ndarray:
        """Return how often each place of a transposed kernel meets an input, and not a zero.

        x, output: of a pass of a batch. The places are those of `matrix`, (n_place,), and the
        numbers those of one sample.
        """
        shape = self.stride, self.padding, self.dilation, self.kernel
        axes = []
        for n_in, n_out, step, pad, dilation, k in zip(x.shape[2:], output.shape[2:], *shape):
            reached = step * np.arange(n_in) + dilation * np.arange(k)[::-1, None] - pad
            axes.append(((reached >= 0) & (reached < n_out)).sum(1))
        return reduce(np.multiply.outer, axes).ravel()

    def _mirrored(self, weight: torch.Tensor) -> torch.Tensor:
        """Exchange inputs and outputs in each group of a kernel, and turn it round."""
        grouped = weight.unflatten(0, (self.groups, -1)).transpose(1, 2)
        return grouped.flatten(0, 1).flip(list(range(2, weight.ndim)))

    def _spread(self, x: torch.Tensor, output_size: list[int] | None) -> torch.Tensor:
        """Return inputs with the zeros between and around them."""
        shape = self.stride, self.padding, self.kernel, self.n_axis, self.dilation
        more = _ConvTransposeNd._output_padding(self, x, output_size, *shape)  # type: ignore[arg-type]
        sizes = [(n - 1) * s + 1 for n, s in zip(x.shape[2:], self.stride)]
        wide = x.new_zeros(*x.shape[:2], *sizes)
        wide[(..., *(slice(None, None, s) for s in self.stride))] = x
        before = [d * (k - 1) - p for d, k, p in zip(self.dilation, self.kernel, self.padding)]
        return functional.pad(wide, [n for b, m in zip(before, more) for n in (b + m, b)][::-1])

    def _planes(self, x: torch.Tensor) -> torch.Tensor:
        """Run over the first of three axes, plane by plane of the output."""
        step, dilation = self.step[0], self.dilation[0]
        reach = dilation * (self.kernel[0] - 1) + 1
        starts = range(0, x.shape[2] - reach + 1, step)
        windows = (x[:, :, k : k + reach : dilation].flatten(1, 2) for k in starts)
        return torch.stack([self.matrix(window) for window in windows], 2)
