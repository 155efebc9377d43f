"""Build the network of a file that holds nothing but the weights of Linear layers."""

import re
from collections.abc import Iterator, Mapping
from itertools import islice, pairwise

import torch
from torch import nn

from tinynets.formats.weights import load_weights

_PARTS = ("weight", "weight_orig", "weight_mask", "bias")


class LinearStack(nn.Module):
    """Linear layers in a row with ReLU between them, under their original paths."""

    def __init__(self, layers: Mapping[str, nn.Linear]) -> None:
        super().__init__()
        self.order = list(layers)
        for path, layer in layers.items():
            *parents, name = path.split(".")
            home: nn.Module = self
            for parent in parents:
                if parent not in dict(home.named_children()):
                    home.add_module(parent, nn.Module())
                home = home.get_submodule(parent)
            home.add_module(name, layer)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for path in self.order[:-1]:
            x = torch.relu(self.get_submodule(path)(x))
        return self.get_submodule(self.order[-1])(x)


def linear_stack(weights: Mapping[str, torch.Tensor]) -> LinearStack:
    """Return the network of a state dict that holds Linear layers and nothing else.

    Masks of `torch.nn.utils.prune` among the weights come into force. The layers' sizes must fit
    together in one order only; if there are several, numbered names decide (fc1, fc2, or 0, 2).
    ReLU between the layers is assumed: a file of weights does not say.

    Raises ValueError when the weights do not determine the network; build it and use
    `load_weights`.
    """
    shapes = _shapes(weights)
    orders = list(islice(_orders(shapes, []), 2))
    if len(orders) == 2:
        numbered = _numbered(list(shapes))
        orders = [numbered] if numbered and _joins([shapes[path] for path in numbered]) else []
    if not orders:
        sizes = ", ".join(f"{path} {tuple(shape)}" for path, shape in shapes.items())
        raise ValueError(
            f"the Linear layers {sizes} do not fit together in one order only; build the "
            "network and load the weights into it"
        )
    layers = {
        path: nn.Linear(shapes[path][1], shapes[path][0], bias=f"{path}.bias" in weights)
        for path in orders[0]
    }
    stack = LinearStack(layers)
    load_weights(stack, weights)
    return stack.eval()


def _shapes(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Size]:
    """Return the shape of each Linear layer by path; ValueError for any other tensor."""
    matrices = {name: value.shape for name, value in weights.items() if value.ndim == 2}
    shapes = {name.rpartition(".")[0]: shape for name, shape in matrices.items()}
    known = {f"{path}.{part}" for path in shapes if path for part in _PARTS}
    other = [name for name in weights if name not in known]
    if other or not shapes:
        what = f"{other[:3]} belong to none" if shapes else "there is no matrix"
        raise ValueError(
            f"the weights are not those of a stack of named Linear layers: {what}; build the "
            "network and load the weights into it"
        )
    return shapes


def _joins(shapes: list[torch.Size]) -> bool:
    return all(after[1] == before[0] for before, after in pairwise(shapes))


def _orders(shapes: Mapping[str, torch.Size], before: list[str]) -> Iterator[list[str]]:
    """Yield every order of all layers in which each one's outputs fit the next one's inputs."""
    if len(before) == len(shapes):
        yield before
    for path, shape in shapes.items():
        if path not in before and (not before or shape[1] == shapes[before[-1]][0]):
            yield from _orders(shapes, [*before, path])


def _numbered(paths: list[str]) -> list[str] | None:
    """Return paths sorted by the one number in each, or None if they differ in anything else."""
    matches = [re.fullmatch(r"(\D*)(\d+)(\D*)", path) for path in paths]
    around = {(m[1], m[3]) if m else None for m in matches}
    if None in around or len(around) > 1:
        return None
    return sorted(paths, key=lambda path: int(re.sub(r"\D", "", path)))
