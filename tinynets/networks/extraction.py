"""Read the weight layers out of a torch module."""

import re
import warnings
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from tinynets.modules.convolution import Convolution
from tinynets.modules.replacing import is_inside
from tinynets.modules.unpacking import unpacked
from tinynets.networks.layers import ConvGeometry, DigitalModule, PrunedLayer, PrunedNetwork
from tinynets.networks.passes import (
    Inputs,
    call,
    check_inputs,
    evaluation,
    tensors,
    watching,
    without_fused_passes,
)

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
    model: nn.Module, example: Inputs, *, leave_digital: tuple[str, ...] = ()
) -> PrunedNetwork:
    """Return the Linear, Conv1d and Conv2d layers of a model as plain arrays.

    model: any module; it is run once in evaluation mode and not changed.
    example: one input batch; its first dimension is the batch. A tuple or a mapping of tensors for
        a model with several inputs.
    leave_digital: paths of modules that stay digital.

    Masks of `torch.nn.utils.prune` are honoured; without one, a weight counts as pruned when it is
    exactly zero. Each layer is proved on the example: its outputs are its weights times its inputs,
    plus its bias. A layer without weights left is its bias, which stays digital, with a warning.

    Attention, recurrent layers, transposed and 3-D convolutions have layers inside: see
    `tinynets.modules.unpacking.unpacked`.

    Raises ValueError naming a module that cannot be mapped (a subclass of attention), that gives
    anything else than that product (a forward of its own, hooks, fake quantisation), whose weight
    is also read outside of it, that holds NaN or inf, or that never runs; and for an example that
    is no batch of tensors, or a compiled program.
    """
    _check_model(model)
    check_inputs(example, "example")
    model = unpacked(model, leave=leave_digital)
    modules = dict(model.named_modules())
    check_paths("leave_digital", leave_digital, modules)
    paths = [path for path in modules if _is_mappable(path, modules[path], leave_digital)]
    spread = _Spread(modules)
    with watching(spread.modules, spread.see):
        n_mvm, n_mac = _count_products(model, {path: modules[path] for path in paths}, example)
    n_mac |= {path: spread.n_mac(path) for path in spread.n_real}
    if idle := [path for path in paths if path not in n_mvm]:
        raise ValueError(
            f"modules {idle} did not run on the example, though their weights may be read without "
            f"them; pass leave_digital={tuple(idle)}"
        )
    names = _names(n_mvm)
    every = [_layer(names[p], p, modules[p], n, spread.of(p)) for p, n in n_mvm.items()]
    layers = tuple(layer for layer in every if layer.n_remaining)
    mapped = [layer.module for layer in layers]
    rest = {path: module for path, module in modules.items() if not is_inside(path, mapped)}
    digital = tuple(path for path, m in rest.items() if any(True for _ in m.parameters(False)))
    left = [DigitalModule(path, _n_held(m), n_mac.get(path, 0)) for path, m in rest.items()]
    if not layers:
        raise ValueError(_nothing_to_map(left, rest))
    biases = {x.module: _only_bias(x) for x in every if not x.n_remaining}
    if biases:
        warnings.warn(
            f"layers {list(biases)} have no weight left, so they stay digital, as their biases",
            stacklevel=2,
        )
    left = [biases.get(x.module, x) for x in left if x.n_weight or x.n_mac]
    return PrunedNetwork(layers, digital, tuple(left))


class _Spread:
    """Counts the products of transposed convolutions with their inputs, by path of the matrix."""

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        every = {p: m for p, m in modules.items() if isinstance(m, Convolution)}
        self.modules = {path: module for path, module in every.items() if module.transposed}
        self.n_real: dict[str, np.ndarray] = {}

    def see(self, path: str, module: Any, x: torch.Tensor, output: torch.Tensor) -> None:
        """Add up a pass."""
        name = f"{path}.matrix".lstrip(".")
        self.n_real[name] = self.n_real.get(name, 0) + module.n_real(x, output)

    def of(self, path: str) -> tuple[int, ...]:
        """Return how often each place of a kernel meets an input; empty for other layers."""
        return tuple(self.n_real[path].tolist()) if path in self.n_real else ()

    def n_mac(self, path: str) -> int:
        """Return the products of a matrix that stays digital."""
        module, n_real = self.modules[path.rpartition(".")[0]], self.n_real[path]
        return dense_weight(module.matrix).numel() // len(n_real) * int(n_real.sum())


def _only_bias(layer: PrunedLayer) -> DigitalModule:
    """Return what stays digital of a layer without a weight."""
    return DigitalModule(layer.module, 0 if layer.bias is None else layer.n_out, 0)


def _check_model(model: Any) -> None:
    """Raise ValueError for what is no plain torch module."""
    if isinstance(model, torch.jit.ScriptModule) or not isinstance(model, nn.Module):
        raise ValueError(
            f"the model is a {type(model).__name__}; expected an nn.Module in Python: build it and "
            "load its weights, since a compiled or exported program has no modules to replace"
        )


def _n_held(module: nn.Module) -> int:
    """Return how many numbers a module itself holds for its products."""
    held = [*module.parameters(False), *(b for b in module.buffers(False) if b.ndim > 1)]
    return sum(tensor.numel() for tensor in held)


def _nothing_to_map(left: Iterable[DigitalModule], modules: Mapping[str, nn.Module]) -> str:
    """Return the message for a network without a layer for tiles."""
    held = [f"{x.module} ({type(modules[x.module]).__name__})" for x in left if x.module]
    return (
        "the network has no weight layer to map; expected at least one nn.Linear, nn.Conv1d or "
        f"nn.Conv2d with floating-point weights; got {', '.join(held[:5]) or 'no weights'}"
    )


def dense_weight(module: Any) -> torch.Tensor:
    """Return the weight that a module multiplies by, with any pruning mask applied."""
    if hasattr(module, "weight_mask"):
        return (module.weight_orig * module.weight_mask).detach()
    return module.weight.detach()


def check_paths(what: str, paths: Iterable[str], known: Container[str]) -> None:
    """Raise ValueError, with the name of the option, for paths that a model does not have."""
    if unknown := [path for path in paths if path not in known]:
        raise ValueError(f"{what} names {unknown}, which the model does not have")


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
    if not isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
        return False
    if isinstance(module.weight, nn.UninitializedParameter):
        return True  # the pass gives it its shape
    weight = dense_weight(module)
    if weight.is_complex() or not weight.numel():
        raise ValueError(
            f"module {path!r} must have a real weight with at least one number; got "
            f"{weight.dtype} of shape {tuple(weight.shape)}"
        )
    return True


def _count_products(
    model: nn.Module, modules: dict[str, nn.Module], example: Inputs
) -> tuple[dict[str, int], dict[str, int]]:
    """Run the model once, and prove the outputs of some modules.

    Returns their matrix-vector products per inference, in order of use, and the multiplications of
    every module without the modules inside it.
    """
    n_mvm: dict[str, int] = {}
    reads, flops = _Reads(), FlopCounterMode(display=False)

    def see(path: str, module: nn.Module, x: torch.Tensor, output: torch.Tensor) -> None:
        if output.ndim < (2 if isinstance(module, nn.Linear) else dense_weight(module).ndim):
            raise ValueError(
                f"module {path!r} gave an output of shape {tuple(output.shape)}, which has no "
                "batch dimension; pass a batch, such as example[None]"
            )
        channels = output.shape[-1] if isinstance(module, nn.Linear) else output.shape[1]
        n_mvm[path] = n_mvm.get(path, 0) + output[0].numel() // channels
        if "weight" in dict(module.named_parameters(recurse=False)):
            reads.by_module[address(dense_weight(module))] += 1
        proofs.append(partial(_prove, path, module, x, output))

    proofs: list[Callable[[], None]] = []
    with watching(modules, see), evaluation(model), torch.no_grad():
        with without_fused_passes(), reads, flops:
            call(model, example)
        for prove in proofs:
            prove()
    reads.check(model, modules)
    return n_mvm, _own_products(model, flops, len(tensors(example)[0]))


def _prove(path: str, module: Any, x: torch.Tensor, output: torch.Tensor) -> None:
    """Raise ValueError unless a module's output is its weight times its input, plus its bias."""
    if not torch.isfinite(x).all():
        raise ValueError(f"the input of module {path!r} holds NaN or inf on the example")
    weight, bias = dense_weight(module).to(x.dtype), module.bias
    if not torch.isfinite(weight).all():
        return  # refused when the layer is read
    bias = None if bias is None else bias.to(x.dtype)
    if isinstance(module, nn.Linear):
        product = nn.functional.linear(x, weight, bias)
    else:
        one = isinstance(module, nn.Conv1d)
        convolve: Any = nn.functional.conv1d if one else nn.functional.conv2d
        shape = module.stride, module.padding, module.dilation, module.groups
        product = convolve(x, weight, bias, *shape)
    error = float((output - product).abs().max() / product.abs().max().clamp_min(1e-30))
    if not error <= max(1e-4, 8 * torch.finfo(output.dtype).eps):
        raise ValueError(
            f"module {path!r} ({type(module).__name__}) must give its weight times its input plus "
            f"its bias; its output is off by {error:.2g} of the largest: it has a forward, hooks "
            f"or quantisers of its own; put them into a module behind it, or pass "
            f"leave_digital=({path!r},)"
        )


#: Functions that multiply by a weight. An embedding does not: it looks up rows.
_PRODUCTS = {"linear", "conv1d", "conv2d", "matmul", "__matmul__", "__rmatmul__", "mm", "addmm"}
_PRODUCTS |= {"conv3d", *(f"conv_transpose{n}d" for n in (1, 2, 3))}
_PRODUCTS |= {"bmm", "baddbmm", "mv", "einsum", "tensordot", "bilinear"}
_PRODUCTS |= {"multi_head_attention_forward"}


def address(tensor: torch.Tensor) -> tuple[int, int]:
    """Return what a tensor has in common with its transposed and detached versions."""
    return tensor.data_ptr(), tensor.numel()


class _Reads(TorchFunctionMode):
    """Counts the products with each weight: in all, and in passes of the modules that hold it."""

    def __init__(self) -> None:
        super().__init__()
        self.by_module: Counter[tuple[int, int]] = Counter()
        self.of_weight: dict[tuple[int, int], list[str]] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if (name := getattr(func, "__name__", "")) in _PRODUCTS:
            for tensor in (*args, *kwargs.values()):
                if isinstance(tensor, torch.Tensor):
                    self.of_weight.setdefault(address(tensor), []).append(name)
        return func(*args, **kwargs)

    def check(self, model: nn.Module, modules: Mapping[str, nn.Module]) -> None:
        """Raise ValueError if the weight of one of the modules is also read outside of it."""
        mapped = {id(module) for module in modules.values()}
        others = {
            id(parameter)
            for module in model.modules()
            if id(module) not in mapped
            for parameter in module.parameters(recurse=False)
        }
        for path, module in modules.items():
            weight = dict(module.named_parameters(recurse=False)).get("weight")
            if weight is None:
                continue  # computed from others in every pass
            names = self.of_weight.get(address(weight), [])
            if id(weight) not in others and len(names) > self.by_module[address(weight)]:
                raise ValueError(
                    f"the weight of module {path!r} is also read outside of it, by {names[-1]}, "
                    f"which would miss the circuits; call the module there, or pass "
                    f"leave_digital=({path!r},)"
                )


def _own_products(model: nn.Module, flops: FlopCounterMode, n_sample: int) -> dict[str, int]:
    """Return the multiplications per inference of every module without the modules inside it."""
    root = type(model).__name__
    counts = {name: sum(by_op.values()) for name, by_op in flops.get_flop_counts().items()}
    total: dict[str, int] = {}
    own: dict[str, int] = {}
    for path, module in reversed(list(model.named_modules())):  # the inner ones first
        names = [name for name, _ in module.named_children()]
        inside = sum(total.get(f"{path}.{name}".lstrip("."), 0) for name in names)
        # A ModuleList never runs itself, and has no count.
        total[path] = counts.get(f"{root}.{path}" if path else root, inside)
        own[path] = (total[path] - inside) // (2 * n_sample)
    return own


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


def _layer(name: str, path: str, module: Any, n_mvm: int, n_real: tuple[int, ...]) -> PrunedLayer:
    weight, bias = weight_and_bias(module)
    mask = getattr(module, "weight_mask", None)
    conv = None if isinstance(module, nn.Linear) else conv_geometry(module)
    mask = weight != 0 if mask is None else _flat(mask.detach().cpu().numpy() != 0)
    bias = None if module.bias is None else bias
    return PrunedLayer(name, weight, mask, bias, conv, path, n_mvm, n_real)


def weight_and_bias(module: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the weight as `PrunedLayer` holds it and the bias (n_out,), as float64.

    Without a bias, the second is zero.
    """
    weight = _flat(dense_weight(module).cpu().double().numpy())
    if module.bias is None:
        return weight, np.zeros(len(weight))
    return weight, module.bias.detach().cpu().double().numpy()


def _flat(weight: np.ndarray) -> np.ndarray:
    """Flatten an array in the shape of a module's weight to (n_out, n_in / groups)."""
    return weight if weight.ndim == 2 else weight.reshape(len(weight), -1)


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
