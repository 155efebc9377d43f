"""Random torch layers, pruned so that they compute what the layers of a trained network do."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils import prune as torch_prune

from tinynets.lottery.gadgets import (
    Choice,
    Target,
    fit_copies,
    fit_pair,
    n_hidden,
    subset,
    whole_units,
)
from tinynets.networks.extraction import conv_geometry, dense_weight

#: Modules that do not amplify an error.
PASSIVE = (nn.ReLU, nn.Flatten, nn.MaxPool2d, nn.AvgPool2d, nn.Dropout, nn.Identity)


@dataclass(frozen=True)
class LayerError:
    """How far the ticket's version of one layer can be off.

    weight: largest |realised - target| of each weight, in the shape of the layer's weight.
    bias: the same for each bias, (n_out,).
    gain: largest factor on an error of each input, in the shape of the layer's weight.
    """

    weight: torch.Tensor
    bias: torch.Tensor
    gain: torch.Tensor


#: The layers built, and their error.
Built = tuple[list[nn.Module], LayerError]


def build_pair(
    name: str, module: nn.Module, n: int, choice: Choice, rng: np.random.Generator
) -> Built:
    """Return two random layers with a ReLU between them that compute one layer of the target.

    n: the most units of either sign used for each input.

    Raises ValueError naming a module that cannot be built.
    """
    target = _target(name, module)
    if choice is whole_units and isinstance(module, nn.Conv2d) and target.bias is not None:
        raise ValueError(
            f"module {name!r}: whole filters cannot make the bias of a convolution, since its "
            "constant would need taps of its own; train with bias=False"
        )
    if target.bias is not None:
        target = replace(target, bias_tap=_bias_tap(name, module))
    n_out, n_in, n_tap = target.weight.shape
    first, own = _first_layer(module, n_in, n_hidden(n), target.bias is not None, rng)
    second = _uniform(rng, n_out, *own.shape, n_tap)
    gadgets = fit_pair(target, own, second, n, choice)
    _prune_first(first, gadgets.kept)
    after = _reader(module, n_out, own.size)
    _set(after, "weight", second)
    _mask(after, "weight", gadgets.kept)
    error = torch.from_numpy(gadgets.error).view_as(dense_weight(module))
    gain = dense_weight(module).double().abs() + error
    return [first, nn.ReLU(), after], LayerError(error, torch.from_numpy(gadgets.bias_error), gain)


def build_copies(
    layers: list[tuple[str, nn.Module]], n: int, rng: np.random.Generator
) -> list[Built]:
    """Return layers that compute a row of Linear layers with ReLU between, one more than those.

    All but the last make n copies of each unit, and constants for the biases of the next layer.
    Raises ValueError naming a module that cannot be built.
    """
    built, constants = [], np.empty(0)
    for k, (name, module) in enumerate(layers):
        n_copy, n_constant = (n, n_hidden(n)) if k < len(layers) - 1 else (1, 0)
        target = _target(name, module)
        weight = target.weight
        bias = np.zeros(len(weight)) if target.bias is None else target.bias
        if k == 0:
            first, values, kept, error = _read_inputs(module, Target(weight, bias), n, n_copy, rng)
            before = [first, nn.ReLU()]
        else:
            values = _uniform(rng, len(weight), n_copy, weight.shape[1] * n + len(constants))
            gadgets, gain = fit_copies(weight[:, :, 0], bias, values, constants, n)
            before, kept = [], gadgets.kept
            error = _layer_error(gadgets.error[:, :, 0], gadgets.bias_error, gain)
        rows = len(weight) * n_copy
        linear, constants = _with_constants(
            values.reshape(rows, -1), kept.reshape(rows, -1), n_constant, rng
        )
        built.append(([*before, linear], error))
    return built


def _layer_error(weight: np.ndarray, bias: np.ndarray, gain: np.ndarray) -> LayerError:
    return LayerError(*map(torch.from_numpy, (weight, bias, gain)))


def _read_inputs(
    module: nn.Module, target: Target, n: int, n_copy: int, rng: np.random.Generator
) -> tuple[nn.Module, np.ndarray, np.ndarray, LayerError]:
    """Return the first layer, and the weights and masks with which copies of a layer read it."""
    weight, bias = target.weight, target.bias
    assert bias is not None  # zeros where the layer has none
    n_out, n_in, _ = weight.shape
    first, own = _first_layer(module, n_in, n_hidden(n), True, rng)
    values = _uniform(rng, n_out * n_copy, *own.shape, 1)
    copies = Target(weight.repeat(n_copy, axis=0), bias.repeat(n_copy))
    gadgets = fit_pair(copies, own, values, n, subset)
    _prune_first(first, gadgets.kept)
    error = gadgets.error.reshape(n_out, n_copy, n_in).max(axis=1)
    bias_error = gadgets.bias_error.reshape(n_out, n_copy).max(axis=1)
    gain = np.abs(weight[:, :, 0]) + error
    return first, values, gadgets.kept, _layer_error(error, bias_error, gain)


def _with_constants(
    values: np.ndarray, kept: np.ndarray, n_constant: int, rng: np.random.Generator
) -> tuple[nn.Linear, np.ndarray]:
    """Return a Linear layer with extra units that keep only their bias, and those biases."""
    n_row, n_in = values.shape
    linear = nn.Linear(n_in, n_row + n_constant, bias=n_constant > 0)
    extra = _uniform(rng, n_constant, n_in)
    _set(linear, "weight", np.concatenate([values, extra]))
    _mask(linear, "weight", np.pad(kept, ((0, n_constant), (0, 0))))
    bias = _uniform(rng, n_row + n_constant)
    if n_constant:
        _set(linear, "bias", bias)
        _mask(linear, "bias", np.arange(len(bias)) >= n_row)
    return linear, bias[n_row:]


def _first_layer(
    module: nn.Module, n_in: int, m: int, bias: bool, rng: np.random.Generator
) -> tuple[nn.Module, np.ndarray]:
    """Return a random layer with m units for each input and, with a bias, m for a constant.

    Also returns the random weight (n_in, m) of each unit from its own input, and the biases of
    the constants as a last row.
    """
    n_unit = (n_in + bias) * m
    if isinstance(module, nn.Conv2d):
        first = nn.Conv2d(n_in, n_unit, 1, bias=bias)
    else:
        first = nn.Linear(n_in, n_unit, bias=bias)
    weight = _uniform(rng, n_unit, n_in)
    own = weight[np.arange(n_in * m), np.arange(n_in).repeat(m)].reshape(n_in, m)
    _set(first, "weight", weight)
    if bias:
        constants = _uniform(rng, n_unit)
        own = np.concatenate([own, constants[None, n_in * m :]])
        _set(first, "bias", constants)
    return first, own


def _prune_first(first: nn.Module, kept: np.ndarray) -> None:
    """Mask the first layer so that each unit in use reads its own input alone.

    kept: mask of the second layer's weights.
    """
    used = np.any(kept, axis=(0, 3))  # (n_in or n_in + 1, m)
    n_in = first.get_parameter("weight").shape[1]
    own = np.arange(len(used)).repeat(used.shape[1])
    _mask(first, "weight", (own[:, None] == np.arange(n_in)) & used.reshape(-1, 1))
    if len(used) > n_in:
        _mask(first, "bias", (own == n_in) & used.ravel())


def _reader(module: Any, n_out: int, n_unit: int) -> nn.Module:
    """Return a layer without bias that reads n_unit units as the module reads its inputs."""
    if isinstance(module, nn.Conv2d):
        around: Any = module.kernel_size, module.stride, module.padding, module.dilation
        return nn.Conv2d(n_unit, n_out, *around, bias=False)
    return nn.Linear(n_unit, n_out, bias=False)


def _target(name: str, module: nn.Module) -> Target:
    """Return the weight and the bias that a layer must realise."""
    if not isinstance(module, nn.Linear | nn.Conv2d):
        raise ValueError(
            f"module {name!r} is a {type(module).__name__}; a ticket is built for Linear, Conv2d "
            f"and {', '.join(kind.__name__ for kind in PASSIVE)}"
        )
    if isinstance(module, nn.Conv2d) and (module.groups > 1 or module.padding_mode != "zeros"):
        raise ValueError(
            f"module {name!r} has {module.groups} groups and pads with {module.padding_mode!r}; "
            "a ticket is built for one group and zeros"
        )
    weight = dense_weight(module).double().numpy()
    bias = None if module.bias is None else module.bias.detach().double().numpy()
    if not np.isfinite(weight).all() or (bias is not None and not np.isfinite(bias).all()):
        raise ValueError(f"module {name!r} holds NaN or inf; train it again")
    return Target(weight.reshape(*weight.shape[:2], -1), bias)


def _bias_tap(name: str, module: nn.Module) -> int:
    """Return a tap of the kernel that never reads padding, where a constant would be zero."""
    if not isinstance(module, nn.Conv2d):
        return 0
    conv = conv_geometry(module)
    taps = []
    for pad, step, size in zip(conv.padding, conv.dilation, conv.kernel):
        if pad % step or 2 * pad > step * (size - 1):
            raise ValueError(
                f"module {name!r} pads by {pad} for a kernel of {size} with dilation {step}: every "
                "tap reads padding, so no constant makes its bias; pad less or train with "
                "bias=False"
            )
        taps.append(pad // step)
    return taps[0] * conv.kernel[1] + taps[1]


def _uniform(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.uniform(-1.0, 1.0, size=shape)


def _set(module: nn.Module, name: str, values: np.ndarray) -> None:
    """Set a parameter of a module."""
    parameter = module.get_parameter(name)
    parameter.data = torch.from_numpy(values).reshape(parameter.shape)


def _mask(module: nn.Module, name: str, kept: np.ndarray) -> None:
    """Prune a parameter of a module."""
    shape = module.get_parameter(name).shape
    torch_prune.custom_from_mask(module, name, torch.from_numpy(kept).reshape(shape))
