"""Fold batch norm into the layer before it, so that a crossbar does both."""

from collections import Counter

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from tinynets.networks.masks import copied, make_permanent


class _Tracer(torch.fx.Tracer):
    """Stops at modules without parts, since only the order of modules matters."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        inner = any(True for _ in m.children())
        return not inner or super().is_leaf_module(m, module_qualified_name)


def fold_batch_norm(model: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode whose batch norms are folded wherever that is exact.

    A batch norm is folded when it alone reads a Conv1d, Conv2d or Linear layer and both run once;
    `Identity` takes its place. A Linear layer's output is taken to be (n_batch, n_out). The others
    stay, and `extract` lists them as digital. Masks become permanent.
    Raises ValueError for a model whose graph torch.fx cannot trace.
    Source: Jacob et al., CVPR 2018, arXiv 1712.05877, by torch.nn.utils.fusion.
    """
    model = make_permanent(copied(model)).eval()
    for layer_path, norm_path in foldable(model):
        layer, norm = model.get_submodule(layer_path), model.get_submodule(norm_path)
        fuse = fuse_linear_bn_eval if isinstance(layer, nn.Linear) else fuse_conv_bn_eval
        with torch.no_grad():
            model.set_submodule(layer_path, fuse(layer, norm))  # pyright: ignore[reportArgumentType]
        model.set_submodule(norm_path, nn.Identity())
    return model


def foldable(model: nn.Module) -> list[tuple[str, str]]:
    """Return the paths (layer, batch norm) that can be folded, in order of use."""
    try:
        graph = _Tracer().trace(model)
    except Exception as error:
        raise ValueError(
            f"torch.fx cannot trace {type(model).__name__} ({error}); leave its batch norms digital"
        ) from error
    calls = Counter(str(node.target) for node in graph.nodes if node.op == "call_module")
    pairs = []
    for node in graph.nodes:
        before = node.args[0] if node.op == "call_module" and node.args else None
        if not isinstance(before, torch.fx.Node) or before.op != "call_module":
            continue
        paths = str(before.target), str(node.target)
        layer, norm = (model.get_submodule(path) for path in paths)
        once = len(before.users) == 1 and all(calls[path] == 1 for path in paths)
        if once and _fits(layer, norm):
            pairs.append(paths)
    return pairs


def _fits(layer: nn.Module, norm: nn.Module) -> bool:
    if not isinstance(norm, _BatchNorm) or norm.running_mean is None:
        return False
    if isinstance(layer, nn.Linear):
        return layer.out_features == norm.num_features
    return isinstance(layer, nn.Conv1d | nn.Conv2d)
