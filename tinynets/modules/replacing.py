"""Copy a network, and put another module in the place of one of its own."""

import copy
from collections.abc import Iterable

import torch
from torch import nn


def copied(model: nn.Module) -> nn.Module:
    """Return a deep copy, even of a masked model that has just run, which torch cannot copy."""
    for module in model.modules():
        held = vars(module)  # what a hook recomputes in every pass, such as weight × mask
        for name, value in held.items():
            if isinstance(value, torch.Tensor) and not value.is_leaf:
                held[name] = value.detach()
    return copy.deepcopy(model)


def with_module(network: nn.Module, path: str, module: nn.Module) -> nn.Module:
    """Put a module at a path, and at all other paths of the module that is there.

    Returns the network, or the module itself at the path "". Raises AttributeError for a path that
    does not exist in the network.
    """
    replaced = network.get_submodule(path)  # without this, torch would add an unknown path
    if not path:
        return module
    everywhere = network.named_modules(remove_duplicate=False)
    for place in [place for place, there in everywhere if there is replaced]:
        network.set_submodule(place, module)
    for other in network.modules():
        # Their fused passes would read the weight of the module that was here.
        if isinstance(other, nn.TransformerEncoderLayer):
            other.activation_relu_or_gelu = 0
        elif isinstance(other, nn.TransformerEncoder):
            other.use_nested_tensor = False
    return network


def is_inside(path: str, roots: Iterable[str]) -> bool:
    """Return whether a module is one of the roots, or inside one."""
    return any(path == root or path.startswith(f"{root}.") or not root for root in roots)
