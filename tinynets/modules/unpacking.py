"""Give each matrix of a network that is inside one of torch's modules a layer of its own."""

from collections.abc import Callable, Iterable
from typing import Any

from torch import nn

from tinynets.modules.attention import Attention
from tinynets.modules.convolution import CONVOLUTIONS, Convolution
from tinynets.modules.packed import Unpacked, is_plain
from tinynets.modules.quantised import QUANTISED, Dequantised, is_half
from tinynets.modules.recurrent import RecurrentCell, RecurrentLayers
from tinynets.modules.replacing import copied, is_inside, with_module

#: By kind of torch's modules, what is put in its place.
_KINDS: dict[type[nn.Module], Callable[[Any], Unpacked]] = {
    nn.MultiheadAttention: Attention,
    **dict.fromkeys((nn.LSTM, nn.GRU, nn.RNN), RecurrentLayers),
    **dict.fromkeys((nn.LSTMCell, nn.GRUCell, nn.RNNCell), RecurrentCell),
    **dict.fromkeys(QUANTISED, Dequantised),
    **dict.fromkeys(CONVOLUTIONS, Convolution),
}


def unpacked(
    model: nn.Module, *, leave: Iterable[str] = (), only: Iterable[str] | None = None
) -> nn.Module:
    """Return a model that computes the same, with a layer for each matrix of a larger module.

    leave: paths of modules that stay as they are, with everything inside them.
    only: paths of layers; the modules that do not have them inside stay as they are.

    The model given does not change: if a module of it is replaced, that is done in a copy. A
    subclass, a module with hooks, and one whose weights are parametrised stay as they are.
    """
    leave, wanted = tuple(leave), None if only is None else set(only)
    found = [
        path
        for path, module in model.named_modules()
        if is_plain(module, *_KINDS)
        and not is_half(module)
        and not is_inside(path, leave)
        and (wanted is None or any(is_inside(one, (path,)) for one in wanted - {path}))
    ]
    model = copied(model) if found else model
    for path in found:
        module = model.get_submodule(path)
        replaced = _KINDS[type(module)](module)
        replaced.path = path
        model = with_module(model, path, replaced)
    return model
