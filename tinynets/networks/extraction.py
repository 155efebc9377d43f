"""Read the weight layers out of a torch module."""

import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from tinynets.networks.layers import ConvGeometry, PrunedLayer, PrunedNetwork

#: Modules with matrix products inside that this extraction cannot see.
_OPAQUE = (
    nn.RNNBase,
    nn.RNNCellBase,
    nn.MultiheadAttention,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    nn.Conv3d,
    nn.Bilinear,
)


def extract(
    model: nn.Module, example: torch.Tensor, *, leave_digital: tuple[str, ...] = ()
) -> PrunedNetwork:
    """Return the Linear, Conv1d and Conv2d layers of a model as plain arrays.

    model: any module; it is run once in evaluation mode and not changed.
    example: one input batch; its first dimension is the batch.
    leave_digital: paths of modules that stay digital.

    Masks of `torch.nn.utils.prune` are honoured; without one, a weight counts as pruned when it is
    exactly zero. Raises ValueError naming a module that cannot be mapped (recurrent layers,
    attention, transposed or 3-D convolutions), that holds NaN or inf, or that never runs; and for
    an example that is not a tensor, or not a batch.
    """
    if not isinstance(example, torch.Tensor):
        raise ValueError(
            f"example is a {type(example).__name__}; pass a tensor, such as torch.from_numpy(x)"
        )
    modules = dict(model.named_modules())
    check_paths("leave_digital", leave_digital, modules)
    paths = [path for path in modules if _is_mappable(path, modules[path], leave_digital)]
    n_mvm = _count_products(model, {path: modules[path] for path in paths}, example)
    idle = [path for path in paths if path not in n_mvm]
    if idle:
        raise ValueError(f"modules {idle} did not run on the example; leave them digital")
    names = _names(n_mvm)
    layers = tuple(_layer(names[path], path, modules[path], n_mvm[path]) for path in n_mvm)
    digital = tuple(
        path
        for path, module in modules.items()
        if path not in n_mvm and any(True for _ in module.parameters(recurse=False))
    )
    return PrunedNetwork(layers, digital)


def dense_weight(module: Any) -> torch.Tensor:
    """Return the weight that a module multiplies by, with any pruning mask applied."""
    if hasattr(module, "weight_orig"):
        return (module.weight_orig * module.weight_mask).detach()
    return module.weight.detach()


@contextmanager
def evaluation(model: nn.Module) -> Iterator[None]:
    """Put a model in evaluation mode; restore the mode of each module afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def watching(modules: Mapping[str, nn.Module], see: Callable[..., None]) -> Iterator[None]:
    """Call `see(path, module, inputs, output)` after each pass through one of the modules."""
    handles = [m.register_forward_hook(partial(see, path)) for path, m in modules.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def check_paths(what: str, paths: Iterable[str], known: Container[str]) -> None:
    """Raise ValueError, with the name of the option, for paths that a model does not have."""
    if unknown := [path for path in paths if path not in known]:
        raise ValueError(f"{what} names {unknown}, which the model does not have")


def is_inside(path: str, roots: Iterable[str]) -> bool:
    """Return whether a module is one of the roots, or inside one."""
    return any(path == root or path.startswith(f"{root}.") for root in roots)


def safe_name(path: str) -> str:
    """Turn a module path such as `features.0` into a name fit for files and netlists."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", path) or "layer"
    return (name if name[0].isalpha() else f"layer_{name}")[:64]


def _is_mappable(path: str, module: nn.Module, leave_digital: tuple[str, ...]) -> bool:
    if is_inside(path, leave_digital):
        return False
    if isinstance(module, _OPAQUE):
        remedy = f"pass leave_digital=({path!r},) to keep it digital"
        raise ValueError(
            f"module {path!r} ({type(module).__name__}) cannot be mapped onto a crossbar; "
            + (remedy if path else "there is nothing else in the model")
        )
    if isinstance(module, nn.Conv1d | nn.Conv2d) and module.padding_mode != "zeros":
        raise ValueError(
            f"module {path!r} pads with {module.padding_mode!r}; only zeros can be mapped, "
            f"or pass leave_digital=({path!r},)"
        )
    if isinstance(module, nn.Conv1d | nn.Conv2d) and _is_uneven(module):
        raise ValueError(
            f"module {path!r} pads 'same' with an even kernel, one side more than the other; pad "
            f"explicitly or pass leave_digital=({path!r},)"
        )
    return isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d)


def _count_products(
    model: nn.Module, modules: dict[str, nn.Module], example: torch.Tensor
) -> dict[str, int]:
    """Run the model once; return matrix-vector products per inference, in order of use."""
    counts: dict[str, int] = {}

    def see(path: str, module: nn.Module, _inputs: Any, output: torch.Tensor) -> None:
        if output.ndim < (2 if isinstance(module, nn.Linear) else dense_weight(module).ndim):
            raise ValueError(
                f"module {path!r} gave an output of shape {tuple(output.shape)}, which has no "
                "batch dimension; pass a batch, such as example[None]"
            )
        channels = output.shape[-1] if isinstance(module, nn.Linear) else output.shape[1]
        counts[path] = counts.get(path, 0) + output[0].numel() // channels

    with watching(modules, see), evaluation(model), torch.no_grad():
        model(example)
    return counts


def _names(paths: Iterable[str]) -> dict[str, str]:
    """Return a name for each path; names differ even if case is ignored."""
    names: dict[str, str] = {}
    used: set[str] = set()
    for path in paths:
        name = safe_name(path)
        tries = (name, *(f"{name[:56]}_{k}" for k in range(2, len(used) + 3)))
        names[path] = next(t for t in tries if t.lower() not in used)
        used.add(names[path].lower())
    return names


def _layer(name: str, path: str, module: Any, n_mvm: int) -> PrunedLayer:
    weight = dense_weight(module).cpu().double().numpy()
    mask = getattr(module, "weight_mask", None)
    mask = weight != 0 if mask is None else mask.detach().cpu().numpy() != 0
    conv = None if isinstance(module, nn.Linear) else conv_geometry(module)
    if conv is not None:
        weight, mask = _ungroup(weight, conv.groups), _ungroup(mask, conv.groups)
    bias = module.bias
    bias = None if bias is None else bias.detach().cpu().double().numpy()
    return PrunedLayer(name, weight, mask, bias, conv, path, n_mvm)


def conv_geometry(module: Any) -> ConvGeometry:
    """Return the sliding-window geometry; a 1-D convolution is one of height 1."""

    def pair(values: Any, before: int) -> tuple[int, int]:
        values = tuple(int(v) for v in values)
        return values if len(values) == 2 else (before, values[0])

    padding = module.padding
    if isinstance(padding, str):
        if _is_uneven(module):
            raise ValueError("padding='same' with an even kernel is uneven; pad explicitly")
        padding = [r // 2 if padding == "same" else 0 for r in _reach(module)]
    return ConvGeometry(
        in_channels=module.in_channels,
        kernel=pair(module.kernel_size, 1),
        stride=pair(module.stride, 1),
        padding=pair(padding, 0),
        dilation=pair(module.dilation, 1),
        groups=module.groups,
    )


def _reach(module: Any) -> list[int]:
    return [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size)]


def _is_uneven(module: Any) -> bool:
    return module.padding == "same" and any(r % 2 for r in _reach(module))


def _ungroup(weight: np.ndarray, groups: int) -> np.ndarray:
    """Flatten a convolution's weight to (n_out, in_channels * kernel), groups written out."""
    n_out = weight.shape[0]
    flat = weight.reshape(n_out, -1)
    if groups == 1:
        return flat
    per_out, per_in = n_out // groups, flat.shape[1]
    full = np.zeros((n_out, groups * per_in), dtype=weight.dtype)
    for group in range(groups):
        out = slice(group * per_out, (group + 1) * per_out)
        full[out, group * per_in : (group + 1) * per_in] = flat[out]
    return full
