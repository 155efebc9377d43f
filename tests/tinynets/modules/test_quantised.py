"""Quantised layers as floating-point layers between steps of quantisation, against torch's own."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.ao import quantization
from torch.ao.quantization import DeQuantStub, QuantStub

from tinynets import extract
from tinynets.modules.unpacking import unpacked

pytestmark = [
    pytest.mark.skipif(torch.backends.quantized.engine != "x86", reason="another engine rounds"),
    pytest.mark.filterwarnings("ignore"),
]


def static(*layers: nn.Module, shape: tuple[int, ...], fuse: bool) -> nn.Module:
    model: Any = nn.Sequential(QuantStub(), *layers, DeQuantStub()).eval()
    model.qconfig = quantization.get_default_qconfig("x86")
    if fuse:
        quantization.fuse_modules(model, [["1", "2"]], inplace=True)
    ready = quantization.prepare(model)
    ready(torch.randn(50, *shape))
    return quantization.convert(ready)


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(8, 6), (8,)),
        (nn.Linear(8, 6, bias=False), (5, 8)),
        (nn.Conv1d(2, 4, 3, stride=2, padding=2), (2, 9)),
        (nn.Conv2d(4, 4, (3, 2), padding=1, dilation=2, groups=2), (4, 7, 7)),
    ],
)
def test_static_layers_keep_their_rounding(layer, shape, fuse):
    torch.manual_seed(0)
    theirs: Any = static(layer, nn.ReLU(), shape=shape, fuse=fuse)
    ours, x = unpacked(theirs), torch.randn(20, *shape)
    y, wanted = ours(x), theirs(x)
    step = float(theirs[1].scale)
    assert float((y - wanted).abs().max()) <= 1.01 * step
    assert float((y != wanted).float().mean()) < 0.01  # a half may be rounded the other way
    assert [one.module for one in extract(theirs, x).layers] == ["1.matrix"]


def test_dynamic_layers_are_torchs():
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3))
    theirs, x = quantization.quantize_dynamic(plain, {nn.Linear}), torch.randn(20, 8)
    torch.testing.assert_close(unpacked(theirs)(x), theirs(x), rtol=0, atol=1e-5)
    assert [one.module for one in extract(theirs, x).layers] == ["0.matrix", "2.matrix"]
    half = quantization.quantize_dynamic(plain, {nn.Linear}, dtype=torch.float16)
    assert unpacked(half) is half
    with pytest.raises(ValueError, match=r"no weight layer to map; .* got 0 .Linear."):
        extract(half, x)
