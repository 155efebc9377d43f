"""What all modules with a layer for each matrix have in common: the tensors of torch's module."""

from typing import Any

import torch
from torch import nn
from torch.nn.utils import prune as torch_prune

#: What torch's pruning appends to the name of a masked tensor.
_SUFFIXES = ("", "_orig", "_mask")


class Unpacked(nn.Module):
    """Computes what a module of torch's computes, with a child layer for each of its matrices.

    packing: by name of a tensor of torch's module, those of the children that it holds, such as
        "q_proj.weight", in order.

    path: in the network, for messages.

    A `state_dict` has the names of torch's module, and such a one can be loaded, as long as the
    children are plain layers; masks and circuits stand under the names of the children.
    """

    def __init__(self, packing: dict[str, tuple[str, ...]]) -> None:
        super().__init__()
        self.packing, self.path = packing, ""
        self.register_state_dict_post_hook(_pack)
        self.register_load_state_dict_pre_hook(_unpack)

    def split(self, name: str, tensor: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the children's tensors in a tensor of torch's module."""
        return tensor.chunk(len(self.packing[name]))

    def join(self, name: str, tensors: list[torch.Tensor]) -> torch.Tensor:
        """Return the tensor of torch's module that holds these of the children."""
        return torch.cat(tensors)

    def take(self, module: nn.Module) -> None:
        """Take over the tensors of torch's module, with its masks."""
        for name, places in self.packing.items():
            is_masked = hasattr(module, f"{name}_mask")
            value: Any = getattr(module, f"{name}_orig" if is_masked else name)
            masks = self.split(name, getattr(module, f"{name}_mask")) if is_masked else None
            for k, (place, part) in enumerate(zip(places, self.split(name, value))):
                path, _, kind = place.rpartition(".")
                child = self.get_submodule(path)
                plain = nn.Parameter(part.detach().clone(), value.requires_grad)
                child.register_parameter(kind, plain)
                if masks:
                    torch_prune.custom_from_mask(child, kind, masks[k])
                    setattr(child, kind, getattr(child, kind).detach())
        self.train(module.training)


def layer(n_in: int, n_out: int, bias: bool) -> nn.Linear:
    """Return a Linear layer without values, for which no random number is drawn."""
    return nn.Linear(n_in, n_out, bias, device="meta")


def is_plain(module: nn.Module, *kinds: type[nn.Module]) -> bool:
    """Return whether a module is one of torch's kinds with nothing of its own in its pass."""
    hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
    return type(module) in kinds and all(
        isinstance(hook, torch_prune.BasePruningMethod) for hook in hooks
    )


def _pack(module: Any, state: dict[str, Any], prefix: str, _metadata: Any) -> None:
    def is_layer(place: str) -> bool:
        return f"{prefix}{place.rpartition('.')[0]}.weight" in state

    whole = {name: p for name, p in module.packing.items() if all(map(is_layer, p))}
    for name, places in whole.items():
        parts = [state.pop(prefix + place) for place in places]
        state[prefix + name] = module.join(name, parts)


def _unpack(module: Any, state: dict[str, Any], prefix: str, *_: Any) -> None:
    for name, places in module.packing.items():
        for suffix in _SUFFIXES:
            if (tensor := state.pop(f"{prefix}{name}{suffix}", None)) is not None:
                parts = module.split(name, tensor)
                state |= {f"{prefix}{p}{suffix}": part for p, part in zip(places, parts)}
