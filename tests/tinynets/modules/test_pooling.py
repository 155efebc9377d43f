"""Quick pooling gives what torch's gives."""

import pytest
import torch
from torch import nn

from tinynets.modules.pooling import QuickPool, with_quick_pooling


@pytest.mark.parametrize(
    ("size", "options", "shape"),
    [
        (2, {}, (3, 4, 9, 8)),
        ((3, 2), {}, (2, 5, 10, 7)),
        (3, {"stride": 2, "padding": 1}, (2, 3, 9, 9)),
        (2, {"ceil_mode": True}, (2, 3, 5, 5)),
        (2, {}, (3, 9, 8)),
    ],
)
def test_the_same_values_with_and_without_gradients(size, options, shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    network = nn.Sequential(nn.MaxPool2d(size, **options))
    expected = network(x)
    quick = with_quick_pooling(network)
    assert isinstance(quick[0], QuickPool)
    with torch.no_grad():
        assert torch.equal(quick(x), expected)
    assert torch.equal(quick(x), expected)


def test_a_hook_stays():
    network = nn.Sequential(nn.MaxPool2d(2))
    network[0].register_forward_hook(lambda *_: None)
    assert type(with_quick_pooling(network)[0]) is nn.MaxPool2d
