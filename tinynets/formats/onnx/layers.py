"""The ONNX operations with weights, each as torch modules that can be pruned and extracted."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tinynets.formats.onnx.graph import Node
from tinynets.formats.onnx.operators import FUNCTIONS
from tinynets.formats.onnx.windows import pad, window_ends

Tensor = torch.Tensor
Constants = Mapping[str, Tensor]
#: Modules that run one after the other, and what the first of them reads.
Chain = tuple[list[nn.Module], tuple[str, ...]]

#: By operation, the tensors of its module that come from its inputs 1, 2, …
TENSORS = {
    "Gemm": ("weight", "bias"),
    "MatMul": ("weight",),
    "Conv": ("weight", "bias"),
    "ConvTranspose": ("weight", "bias"),
    "BatchNormalization": ("weight", "bias", "running_mean", "running_var"),
}
_CONVOLUTIONS = {
    "Conv": (nn.Conv1d, nn.Conv2d, nn.Conv3d),
    "ConvTranspose": (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
}
_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "Relu": torch.relu,
    "Sigmoid": torch.sigmoid,
    "Tanh": torch.tanh,
}


class Operation(nn.Module):
    """An operation without weights."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self.node = replace(node, branches={})

    def forward(self, *x: Tensor | None) -> Any:
        found = run(self.node, *x)
        return found[0] if isinstance(found, tuple) and len(self.node.outputs) == 1 else found

    def extra_repr(self) -> str:
        return self.node.kind


def run(node: Node, *x: Tensor | None) -> Any:
    """Return what an operation makes of its inputs; ValueError names one that cannot take them."""
    try:
        return FUNCTIONS[node.kind](node, *x)
    except (RuntimeError, IndexError, TypeError, AttributeError, KeyError, ValueError) as error:
        if node.label in str(error):
            raise
        shapes = [None if tensor is None else tuple(tensor.shape) for tensor in x]
        (first, *_) = str(error).splitlines() or [""]
        raise ValueError(f"{node.label} cannot take inputs of shapes {shapes}: {first}") from error


class BatchNorm(_BatchNorm):
    """Batch norm for inputs of any number of dimensions: an ONNX file does not tell it."""

    def _check_input_dim(self, input: Tensor) -> None:
        pass


class Pad(nn.Module):
    """Adds the zeros that a convolution wants around its input, where torch's has no such option.

    node: the convolution. kernel: its sizes.
    """

    def __init__(self, node: Node, kernel: tuple[int, ...]) -> None:
        super().__init__()
        self.node, self.kernel = node, kernel

    def forward(self, x: Tensor) -> Tensor:
        return pad(x, window_ends(self.node, tuple(x.shape[2:]), self.kernel))


class Crop(nn.Module):
    """Cuts (before, after) values off each of the last axes."""

    def __init__(self, ends: list[tuple[int, int]]) -> None:
        super().__init__()
        self.ends = ends

    def forward(self, x: Tensor) -> Tensor:
        return pad(x, [(-before, -after) for before, after in self.ends])


class Swap(nn.Module):
    """Exchanges the last two axes, so that a matrix on the left is one on the right."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mT


class Shift(nn.Module):
    """Adds what a bias of another shape than (n_out,) adds."""

    def __init__(self, bias: Tensor) -> None:
        super().__init__()
        self.bias = nn.Parameter(bias.clone())

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias


class Recurrent(nn.Module):
    """LSTM, GRU or simple recurrent network, in one direction or both; it stays digital.

    weight_input: (n_direction, n_gate * n_hidden, n_in). weight_hidden: the same of the state.
    bias: (n_direction, 2 * n_gate * n_hidden), or None. Gates are in ONNX's order.
    """

    def __init__(self, node: Node, weights: tuple[Tensor, Tensor], bias: Tensor | None) -> None:
        super().__init__()
        self.node = node
        self.weight_input, self.weight_hidden = (nn.Parameter(w.clone()) for w in weights)
        self.bias = None if bias is None else nn.Parameter(bias.clone())
        self.step = {"LSTM": _lstm, "GRU": _gru, "RNN": _rnn}[node.kind]

    def forward(self, x: Tensor, *states: Tensor | None) -> Any:
        layout = self.node.get("layout", 0)
        x = x.transpose(0, 1) if layout else x
        n_hidden, n_state = self.weight_hidden.shape[-1], 2 if self.node.kind == "LSTM" else 1
        shape = len(self.weight_input), x.shape[1], n_hidden
        given = [*states, None, None][:n_state]
        given = [s.transpose(0, 1) if layout and s is not None else s for s in given]
        starts = [x.new_zeros(shape) if s is None else s.expand(shape) for s in given]
        runs = [self._direction(k, x, [s[k] for s in starts]) for k in range(shape[0])]
        outputs = [torch.stack([y for y, _ in runs], 1)]
        outputs += [torch.stack([state[k] for _, state in runs]) for k in range(n_state)]
        if layout:
            outputs = [outputs[0].permute(2, 0, 1, 3), *(y.transpose(0, 1) for y in outputs[1:])]
        return outputs[0] if len(self.node.outputs) == 1 else tuple(outputs)

    def _direction(self, k: int, x: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        n = self.weight_input.shape[1]
        bias = x.new_zeros(2 * n) if self.bias is None else self.bias[k]
        driven = x @ self.weight_input[k].T + bias[:n]
        back = self.node.get("direction") == "reverse" or k == 1
        made = []
        for moment in driven.flip(0) if back else driven:
            state = self.step(moment, state, self.weight_hidden[k], bias[n:], self.node)
            made.append(state[0])
        return torch.stack(made[::-1] if back else made), state


def _lstm(
    driven: Tensor, state: list[Tensor], weight: Tensor, bias: Tensor, _node: Node
) -> list[Tensor]:
    h, c = state
    i, o, f, new = (driven + h @ weight.T + bias).chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * new.tanh()
    return [o.sigmoid() * c.tanh(), c]


def _gru(
    driven: Tensor, state: list[Tensor], weight: Tensor, bias: Tensor, node: Node
) -> list[Tensor]:
    (h,) = state
    n = h.shape[-1]
    z, r = (driven[:, : 2 * n] + h @ weight[: 2 * n].T + bias[: 2 * n]).sigmoid().chunk(2, -1)
    if node.get("linear_before_reset"):
        inner = r * (h @ weight[2 * n :].T + bias[2 * n :])
    else:
        inner = (r * h) @ weight[2 * n :].T + bias[2 * n :]
    return [(1 - z) * (driven[:, 2 * n :] + inner).tanh() + z * h]


def _rnn(
    driven: Tensor, state: list[Tensor], weight: Tensor, bias: Tensor, node: Node
) -> list[Tensor]:
    (name, *_) = node.get("activations", ["Tanh"])
    return [_ACTIVATIONS[name](driven + state[0] @ weight.T + bias)]


def constant(node: Node, k: int, constants: Constants) -> Tensor | None:
    """Return the constant at input k, None where it is left out or computed."""
    name = node.inputs[k] if k < len(node.inputs) else ""
    if name in constants and not constants[name].numel():
        raise node.refuse(f"a constant {name!r} without elements")
    return constants.get(name)


def _fixed(node: Node, k: int, constants: Constants) -> Tensor | None:
    """Return the constant at input k, None where it is left out; it must not be computed."""
    value = constant(node, k, constants)
    if value is None and k < len(node.inputs) and node.inputs[k]:
        raise node.refuse(f"input {k} ({node.inputs[k]!r}), which is not a constant of the file,")
    return value


def _must(node: Node, k: int, constants: Constants) -> Tensor:
    value = _fixed(node, k, constants)
    if value is None:
        raise ValueError(f"{node.label} lacks its input {k}; the file is damaged")
    return value


def _linear(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    _fill(layer, weight, bias)
    return layer


def _fill(module: Any, weight: Tensor, bias: Tensor | None) -> None:
    with torch.no_grad():
        module.weight.copy_(weight)
        if bias is not None:
            module.bias.copy_(bias)


def _gemm(node: Node, constants: Constants) -> Chain | None:
    weight, bias = constant(node, 1, constants), constant(node, 2, constants)
    computed = len(node.inputs) > 2 and node.inputs[2] and bias is None
    if weight is None or node.get("transA") or computed or weight.ndim != 2:
        return None
    weight = weight if node.get("transB") else weight.T
    weight = weight * node.get("alpha", 1.0)
    if bias is None:
        return [_linear(weight)], node.inputs[:1]
    bias = bias * node.get("beta", 1.0)
    if bias.numel() != bias.shape[-1:].numel():  # another number for each sample
        return [_linear(weight), Shift(bias)], node.inputs[:1]
    return [_linear(weight, bias.reshape(-1).expand(len(weight)))], node.inputs[:1]


def _matmul(node: Node, constants: Constants) -> Chain | None:
    left, right = (constant(node, k, constants) for k in (0, 1))
    if right is not None and right.ndim == 2:
        return [_linear(right.T)], node.inputs[:1]
    if left is not None and left.ndim == 2:
        return [Swap(), _linear(left), Swap()], node.inputs[1:]
    return None


def _conv(node: Node, constants: Constants) -> Chain:
    weight, bias = _must(node, 1, constants), _fixed(node, 2, constants)
    if weight.ndim not in (3, 4, 5):
        raise node.refuse("a convolution that is not 1-D, 2-D or 3-D")
    kernel, strides = tuple(weight.shape[2:]), node.get("strides", [1] * (weight.ndim - 2))
    ends = window_ends(node, (2**20,) * len(kernel), kernel)
    depends = node.get("auto_pad", "NOTSET").startswith("SAME") and set(strides) != {1}
    native = not depends and all(before == after >= 0 for before, after in ends)
    padding = [before for before, _ in ends] if native else [0] * len(kernel)
    layer = _convolution(node, weight, bias, padding=padding)
    return ([layer] if native else [Pad(node, kernel), layer]), node.inputs[:1]


def _transposed(node: Node, constants: Constants) -> Chain:
    weight, bias = _must(node, 1, constants), _fixed(node, 2, constants)
    if weight.ndim not in (3, 4, 5) or node.get("output_shape"):
        raise node.refuse("output_shape, or a convolution that is not 1-D, 2-D or 3-D,")
    n_axis = weight.ndim - 2
    more = node.get("output_padding", [0] * n_axis)
    ends = _cut(node, tuple(weight.shape[2:]), more)
    native = all(before == after >= 0 for before, after in ends)
    padding = [before for before, _ in ends] if native else [0] * n_axis
    layer = _convolution(node, weight, bias, padding=padding, output_padding=tuple(more))
    return ([layer] if native else [layer, Crop(ends)]), node.inputs[:1]


def _cut(node: Node, kernel: tuple[int, ...], more: list[int]) -> list[tuple[int, int]]:
    """Return what a transposed convolution cuts off (before, after) each axis."""
    how, n_axis = node.get("auto_pad", "NOTSET"), len(kernel)
    if not how.startswith("SAME"):
        return window_ends(node, (), kernel)
    steps = zip(
        kernel, node.get("dilations", [1] * n_axis), node.get("strides", [1] * n_axis), more
    )
    totals = [max(d * (k - 1) + 1 + extra - s, 0) for k, d, s, extra in steps]
    halves = [(total // 2, total - total // 2) for total in totals]
    return halves if how == "SAME_UPPER" else [(after, before) for before, after in halves]


def _convolution(node: Node, weight: Tensor, bias: Tensor | None, **padding: Any) -> nn.Module:
    n_axis, groups = weight.ndim - 2, node.get("group", 1)
    sizes = weight.shape[1] * groups, weight.shape[0]
    layer: Any = _CONVOLUTIONS[node.kind][n_axis - 1](
        *(sizes if node.kind == "Conv" else (weight.shape[0], weight.shape[1] * groups)),
        tuple(weight.shape[2:]),
        stride=tuple(node.get("strides", [1] * n_axis)),
        dilation=tuple(node.get("dilations", [1] * n_axis)),
        groups=groups,
        bias=bias is not None,
        **padding,
    )
    _fill(layer, weight, bias)
    return layer


def _batch_norm(node: Node, constants: Constants) -> Chain:
    if node.get("training_mode"):
        raise node.refuse("training mode")
    scale, bias, mean, variance = (_must(node, k, constants) for k in range(1, 5))
    norm = BatchNorm(len(scale), eps=node.get("epsilon", 1e-5))
    _fill(norm, scale, bias)
    norm.running_mean, norm.running_var = mean.clone(), variance.clone()
    return [norm], node.inputs[:1]


def _recurrent(node: Node, constants: Constants) -> Chain:
    weights = _must(node, 1, constants), _must(node, 2, constants)
    bias = _fixed(node, 3, constants)
    inputs = (*node.inputs, *[""] * 8)
    plain = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
    given = node.get("activations", [])
    known = not given or given == plain[node.kind] * len(weights[0])
    simple = node.kind == "RNN" and set(given) <= set(_ACTIVATIONS) and len(set(given)) == 1
    if inputs[4] or inputs[7] or node.get("clip") or node.get("input_forget"):
        raise node.refuse("sequence lengths, peepholes, clip or input_forget")
    if not known and not simple:
        raise node.refuse(f"activations {given}")
    return [Recurrent(node, weights, bias)], (inputs[0], *inputs[5:7])


#: By ONNX name: returns modules, or None where nothing is a weight.
LAYERS: dict[str, Callable[[Node, Constants], Chain | None]] = {
    "BatchNormalization": _batch_norm,
    "Conv": _conv,
    "ConvTranspose": _transposed,
    "GRU": _recurrent,
    "Gemm": _gemm,
    "LSTM": _recurrent,
    "MatMul": _matmul,
    "RNN": _recurrent,
}
