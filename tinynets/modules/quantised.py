"""Quantised layers as floating-point layers between the same steps of quantisation."""

from typing import Any

import torch
from torch import nn
from torch.ao.nn import quantized
from torch.ao.nn.intrinsic import quantized as fused
from torch.ao.nn.intrinsic.quantized import dynamic as fused_dynamic
from torch.ao.nn.quantized import dynamic

from tinynets.modules.packed import Unpacked, layer

_RELU = (fused.LinearReLU, fused.ConvReLU1d, fused.ConvReLU2d, fused_dynamic.LinearReLU)
_DYNAMIC = (dynamic.Linear, fused_dynamic.LinearReLU)
#: The quantised modules with an equal layer.
QUANTISED = (quantized.Linear, quantized.Conv1d, quantized.Conv2d, *_DYNAMIC, *_RELU[:3])
#: Largest level of an input that is quantised as it comes: 7 bits, so that 16 bits hold a sum.
_TOP = 127


class Dequantised(Unpacked):
    """A layer of `torch.ao.nn.quantized`, with the layer `matrix` of the same weights as floats.

    The quantisation of inputs and outputs stays, digitally. A statically quantised layer takes and
    gives quantised tensors; a dynamic one takes the range of each batch, as with torch's engines
    "x86" and "fbgemm".
    """

    def __init__(self, module: Any) -> None:
        super().__init__({})
        weight, bias = module.weight().dequantize(), module.bias()
        self.is_dynamic, self.has_relu = type(module) in _DYNAMIC, type(module) in _RELU
        self.matrix: Any = _empty(module, bias is not None)
        self.matrix.weight = nn.Parameter(weight)
        if bias is not None:
            self.matrix.bias = nn.Parameter(bias.detach().clone())
        if not self.is_dynamic:
            scale = torch.tensor(float(module.scale), dtype=torch.float64)
            self.register_buffer("scale", scale)
            self.register_buffer("zero_point", torch.tensor(int(module.zero_point)))
        self.train(module.training)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return what torch's module does."""
        if self.is_dynamic:
            choose: Any = vars(torch)["_choose_qparams_per_tensor"]
            scale, zero = choose(input, reduce_range=True)
            x = torch.fake_quantize_per_tensor_affine(input, scale, zero, 0, _TOP)
        else:
            x = input.dequantize()
        y = self.matrix(x)
        y = y.relu() if self.has_relu else y
        if self.is_dynamic:
            return y
        scale, zero = float(self.get_buffer("scale")), int(self.get_buffer("zero_point"))
        return torch.quantize_per_tensor(y, scale, zero, torch.quint8)


def is_half(module: Any) -> bool:
    """Return whether a module is quantised to 16-bit floats, whose products torch rounds."""
    return type(module) in _DYNAMIC and module._packed_params.dtype != torch.qint8


def _empty(module: Any, bias: bool) -> nn.Module:
    """Return a floating-point layer of the same shape, without values."""
    if hasattr(module, "in_features"):
        return layer(module.in_features, module.out_features, bias)
    kind = nn.Conv1d if isinstance(module, quantized.Conv1d) else nn.Conv2d
    n = 1 if kind is nn.Conv1d else 2
    names = ("kernel_size", "stride", "padding", "dilation")
    shape: Any = {name: tuple(getattr(module, name))[-n:] for name in names}
    shape |= {"groups": module.groups, "padding_mode": module.padding_mode}
    return kind(module.in_channels, module.out_channels, **shape, bias=bias, device="meta")
