"""Recurrent layers and cells whose input and recurrent matrices are layers."""

from collections.abc import Callable
from itertools import product
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence

from tinynets.modules.packed import Unpacked, layer

#: Hidden state, and for an LSTM also its cell state.
State = tuple[torch.Tensor, ...]
#: From the input's and the hidden state's product, and the state, to the next state.
Step = Callable[[torch.Tensor, torch.Tensor, State], State]


def _lstm(x: torch.Tensor, h: torch.Tensor, state: State) -> State:
    i, f, g, o = (x + h).chunk(4, -1)
    cell = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
    return o.sigmoid() * cell.tanh(), cell


def _gru(x: torch.Tensor, h: torch.Tensor, state: State) -> State:
    (r, z, n), (h_r, h_z, h_n) = x.chunk(3, -1), h.chunk(3, -1)
    update = (z + h_z).sigmoid()
    return ((1 - update) * (n + (r + h_r).sigmoid() * h_n).tanh() + update * state[0],)


def _tanh(x: torch.Tensor, h: torch.Tensor, state: State) -> State:
    return ((x + h).tanh(),)


def _relu(x: torch.Tensor, h: torch.Tensor, state: State) -> State:
    return ((x + h).relu(),)


def _step(module: Any) -> Step:
    if isinstance(module, nn.LSTM | nn.LSTMCell):
        return _lstm
    if isinstance(module, nn.GRU | nn.GRUCell):
        return _gru
    return _relu if module.nonlinearity == "relu" else _tanh


class _Recurrent(Unpacked):
    """Common to layers and cells.

    suffixes: of the tensors of each pair of matrices, such as "_l0_reverse".
    """

    def __init__(self, module: Any, suffixes: list[str]) -> None:
        names = [f"{name}{end}" for end in suffixes for name in ("ih", "hh", "hr")]
        packing = {
            f"{kind}_{name}": (f"{name}.{kind}",)
            for name, kind in product(names, ("weight", "bias"))
            if isinstance(getattr(module, f"{kind}_{name}", None), torch.Tensor)
        }
        super().__init__(packing)
        self.step, self.hidden_size = _step(module), module.hidden_size
        self.n_state = 2 if self.step is _lstm else 1
        for name in names:
            if f"weight_{name}" in packing:
                n_out, n_in = getattr(module, f"weight_{name}").shape
                self.add_module(name, layer(n_in, n_out, f"bias_{name}" in packing))
        self.take(module)


class RecurrentLayers(_Recurrent):
    """`nn.LSTM`, `nn.GRU` or `nn.RNN` with layers ih_l0, hh_l0, ih_l0_reverse, ...

    The sums and functions of the gates are digital; so is the state between two steps. Each of the
    layers hr_l0, ... projects the hidden state of an LSTM with a `proj_size`.
    """

    def __init__(self, module: nn.RNNBase) -> None:
        ends = ["", "_reverse"] if module.bidirectional else [""]
        layers = product(range(module.num_layers), ends)
        super().__init__(module, [f"_l{k}{end}" for k, end in layers])
        self.ends, self.num_layers = ends, module.num_layers
        self.batch_first, self.dropout = module.batch_first, module.dropout
        self.sizes = (module.proj_size or module.hidden_size, module.hidden_size)[: self.n_state]

    def forward(self, input: torch.Tensor, hx: Any = None) -> tuple[torch.Tensor, Any]:
        """Return the outputs of the last layer and the final states, as torch's module does.

        Raises ValueError for a packed sequence.
        """
        if isinstance(input, PackedSequence):
            raise ValueError(
                f"module {self.path!r}, a recurrent layer on the die, takes padded sequences, not "
                f"a PackedSequence; pad them, or pass leave_digital=({self.path!r},)"
            )
        is_batch = input.ndim == 3
        x = input if self.batch_first or not is_batch else input.transpose(0, 1)
        x = x if is_batch else x[None]
        given = [hx] if isinstance(hx, torch.Tensor) else hx
        if given is None:
            n_pass = self.num_layers * len(self.ends)
            given = [x.new_zeros(n_pass, len(x), size) for size in self.sizes]
        elif not is_batch:
            given = [part[:, None] for part in given]
        x, last = self._layers(x, given)
        states = [torch.stack(parts) for parts in zip(*last)]
        if not is_batch:
            x, states = x[0], [state[:, 0] for state in states]
        elif not self.batch_first:
            x = x.transpose(0, 1)
        return x, (tuple(states) if self.n_state == 2 else states[0])

    def _layers(self, x: torch.Tensor, given: Any) -> tuple[torch.Tensor, list[State]]:
        """Return the outputs (n_batch, n_step, n_out), and the last states of every pass."""
        last: list[State] = []
        for k in range(self.num_layers):
            x = functional.dropout(x, self.dropout, self.training) if k else x
            ways = []
            for end in self.ends:
                state = tuple(part[len(last)] for part in given)
                outputs, state = self._pass(f"_l{k}{end}", x.flip(1) if end else x, state)
                ways.append(outputs.flip(1) if end else outputs)
                last.append(state)
            x = torch.cat(ways, -1)
        return x, last

    def _pass(self, end: str, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        """Run one layer in one direction over inputs (n_batch, n_step, n_in)."""
        project = self._modules.get(f"hr{end}", nn.Identity())
        recur, outputs = self.get_submodule(f"hh{end}"), []
        for gates in self.get_submodule(f"ih{end}")(x).unbind(1):
            hidden, *cell = self.step(gates, recur(state[0]), state)
            state = (project(hidden), *cell)  # type: ignore[misc]
            outputs.append(state[0])
        return torch.stack(outputs, 1), state


class RecurrentCell(_Recurrent):
    """`nn.LSTMCell`, `nn.GRUCell` or `nn.RNNCell` with layers ih and hh."""

    ih: nn.Linear
    hh: nn.Linear

    def __init__(self, module: nn.RNNCellBase) -> None:
        super().__init__(module, [""])

    def forward(self, input: torch.Tensor, hx: Any = None) -> Any:
        """Return the next state, as torch's module does."""
        is_batch = input.ndim == 2
        x = input if is_batch else input[None]
        given = [hx] if isinstance(hx, torch.Tensor) else hx
        if given is None:
            given = [x.new_zeros(len(x), self.hidden_size)] * self.n_state
        elif not is_batch:
            given = [part[None] for part in given]
        states = self.step(self.ih(x), self.hh(given[0]), tuple(given))
        states = states if is_batch else tuple(state[0] for state in states)
        return states if self.n_state == 2 else states[0]
