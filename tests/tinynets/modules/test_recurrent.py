"""Recurrent layers with a layer for each matrix, against torch's own."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence
from torch.utils._pytree import tree_map

from tinynets import extract
from tinynets.modules.unpacking import unpacked

OPTIONS: list[dict[str, Any]] = [
    {},
    {"bidirectional": True, "num_layers": 3, "batch_first": True},
    {"num_layers": 2, "bias": False, "dropout": 0.3},
]


def is_close(a: Any, b: Any) -> bool:
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(is_close, a, b))
    return a.shape == b.shape and torch.allclose(a, b, rtol=0, atol=1e-5)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize(
    ("kind", "more"),
    [
        (nn.LSTM, {}),
        (nn.LSTM, {"proj_size": 3}),
        (nn.GRU, {}),
        (nn.RNN, {}),
        (nn.RNN, {"nonlinearity": "relu"}),
    ],
)
@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_outputs_and_final_states_are_torchs(kind, more, options):
    theirs, other = (kind(4, 6, **options, **more).eval() for _ in range(2))
    ours, loaded = unpacked(theirs), unpacked(other)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    loaded.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 5, 4)
    with torch.no_grad():
        y, last = theirs(x)
        start = tree_map(torch.rand_like, last)
        one = tree_map(lambda part: part[:, 0], start)
        for mine in (ours, loaded):
            assert is_close(mine(x), (y, last))
            assert is_close(mine(x, start), theirs(x, start))
            assert is_close(mine(x[0]), theirs(x[0]))
            assert is_close(mine(x[0], one), theirs(x[0], one))
    nested: Any = unpacked(nn.ModuleDict({"rnn": theirs}))
    message = r"module 'rnn', .* not a PackedSequence; pad them, or pass leave_digital=\('rnn',\)"
    with pytest.raises(ValueError, match=message):
        nested["rnn"](pack_sequence([x[0]]))


@pytest.mark.parametrize("kind", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
@pytest.mark.parametrize("bias", [True, False])
def test_cells_are_torchs(kind, bias):
    theirs = kind(4, 6, bias=bias)
    ours, x = unpacked(theirs), torch.randn(2, 4)
    again = unpacked(kind(4, 6, bias=bias))
    again.load_state_dict(theirs.state_dict())
    state = theirs(x)
    for mine in (ours, again):
        assert is_close(mine(x), state)
        assert is_close(mine(x, state), theirs(x, state))
        assert is_close(mine(x[0]), theirs(x[0]))


def test_each_step_is_a_product():
    network = extract(nn.LSTM(4, 6, batch_first=True), torch.randn(2, 5, 4))
    found = {layer.module: (layer.weight.shape, layer.n_mvm) for layer in network.layers}
    assert found == {"ih_l0": ((24, 4), 5), "hh_l0": ((24, 6), 5)}
    assert network.left == ()
