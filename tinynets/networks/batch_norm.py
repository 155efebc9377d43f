"""Fold batch norm into the layer before it, so that a crossbar does both."""

from collections import Counter
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights

from tinynets.modules.convolution import Convolution
from tinynets.modules.packed import Unpacked
from tinynets.modules.replacing import copied
from tinynets.networks.masks import FOLDED_GAIN, make_permanent


class _Tracer(torch.fx.Tracer):
    """Stops at modules that do not call others, since only the order of modules matters."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        inner = any(True for _ in m.children()) and not isinstance(m, Unpacked)
        return not inner or super().is_leaf_module(m, module_qualified_name)


def fold_batch_norm(model: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode whose batch norms are folded wherever that is exact.

    A batch norm is folded when it alone reads a Conv1d, Conv2d or Linear layer, both run once, and
    nothing else reads their parameters or changes their outputs (a hook, a subclass); `Identity`
    takes its place. The same goes for the `matrix` of an unpacked transposed or 3-D convolution. A
    Linear layer's output is taken to be (n_batch, n_out). The others stay, and `extract` lists them
    as digital. Masks become permanent, as do weight norm and spectral norm of a folded layer.
    Raises ValueError for a model whose graph torch.fx cannot trace, or a layer whose weight is
    computed in another way.
    Source: Jacob et al., CVPR 2018, arXiv 1712.05877, by torch.nn.utils.fusion.
    """
    model = make_permanent(copied(model)).eval()
    pairs = foldable(model)
    for layer_path, norm_path in pairs:
        layer, norm = model.get_submodule(layer_path), model.get_submodule(norm_path)
        _make_plain(layer_path, layer)
        _fold(layer, norm)
        for path, module in list(model.named_modules(remove_duplicate=False)):
            if module is norm:
                model.set_submodule(path, nn.Identity())
    if pairs:
        _graph(model)  # raises if the old modules are also held where torch does not see them
    return model


def foldable(model: nn.Module) -> list[tuple[str, str]]:
    """Return the paths (layer, batch norm) that can be folded, in order of use."""
    graph = _graph(model)
    calls = Counter(str(node.target) for node in graph.nodes if node.op == "call_module")
    read = {str(n.target).rpartition(".")[0] for n in graph.nodes if n.op == "get_attr"}
    pairs = []
    for node in graph.nodes:
        before = node.args[0] if node.op == "call_module" and node.args else None
        if not isinstance(before, torch.fx.Node) or before.op != "call_module":
            continue
        paths = str(before.target), str(node.target)
        layer, norm = (model.get_submodule(path) for path in paths)
        once = len(before.users) == 1 and all(calls[path] == 1 for path in paths)
        if isinstance(layer, Convolution) and not layer._forward_hooks:
            layer, paths = layer.matrix, (f"{paths[0]}.matrix", paths[1])
        if once and not read & set(paths) and _fits(layer, norm):
            pairs.append(paths)
    return pairs


def _graph(model: nn.Module) -> torch.fx.Graph:
    try:
        return _Tracer().trace(model)
    except Exception as error:
        raise ValueError(
            f"torch.fx cannot trace {type(model).__name__} ({error}); leave its batch norms digital"
        ) from error


def _make_plain(path: str, layer: Any) -> None:
    """Make the weight of a layer a parameter of its own, whatever it was computed from."""
    if parametrize.is_parametrized(layer):
        # torch.nn.utils.parametrize.remove_parametrizations would change the class, and thereby
        # the model that this is a copy of.
        values = {name: getattr(layer, name).detach().clone() for name in layer.parametrizations}
        del layer.parametrizations
        layer.__class__ = type(layer).__bases__[0]
        for name, value in values.items():
            layer.register_parameter(name, nn.Parameter(value))
    for remove in (remove_weight_norm, remove_spectral_norm):
        try:
            remove(layer)
        except ValueError:  # it has no such norm
            continue
    if "weight" not in layer._parameters:
        raise ValueError(
            f"the weight of layer {path!r} is computed from other parameters, so a batch norm "
            "cannot be folded into it; make it a plain parameter first"
        )


def _fold(layer: Any, norm: Any) -> None:
    mean, variance = norm.running_mean, norm.running_var
    gain = torch.ones_like(mean) if norm.weight is None else norm.weight
    offset = torch.zeros_like(mean) if norm.bias is None else norm.bias
    fuse = fuse_linear_bn_weights if isinstance(layer, nn.Linear) else fuse_conv_bn_weights
    with torch.no_grad():
        scale = gain * torch.rsqrt(variance + norm.eps)
        layer.register_buffer(FOLDED_GAIN, scale, persistent=False)
        layer.weight, layer.bias = fuse(
            layer.weight, layer.bias, mean, variance, norm.eps, gain, offset
        )


#: The forward passes that can be folded; that of a subclass may compute anything.
_FORWARD = (nn.Linear.forward, nn.Conv1d.forward, nn.Conv2d.forward)
_CONVOLUTION = (nn.Conv1d._conv_forward, nn.Conv2d._conv_forward)


def _fits(layer: Any, norm: Any) -> bool:
    if not isinstance(norm, _BatchNorm) or norm.running_mean is None:
        return False
    if type(norm).forward not in (_BatchNorm.forward, nn.SyncBatchNorm.forward):
        return False
    if layer._forward_hooks or norm._forward_hooks or norm._forward_pre_hooks:
        return False
    if type(layer).forward not in _FORWARD:
        return False
    if isinstance(layer, nn.Linear):
        return layer.out_features == norm.num_features
    return type(layer)._conv_forward in _CONVOLUTION
