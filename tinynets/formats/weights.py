"""Bring weights from files and other libraries, and take them back. No file is ever executed."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import nn

from tinynets.files.checks import check_file
from tinynets.files.drafts import new_file
from tinynets.files.suffixes import WEIGHTS, listed
from tinynets.formats.torch_file import read_torch
from tinynets.modules.replacing import copied
from tinynets.networks.masks import apply_masks, make_permanent

_ACTIVATIONS = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "logistic": nn.Sigmoid,
    "identity": nn.Identity,
}

#: Parts of names that DataParallel and torch.compile add.
_WRAPPERS = ("module", "_orig_mod")


def read_weights(path: str | Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a .safetensors file or of a .pt file that holds a state dict.

    A .pt file may also be a training checkpoint that holds one state dict, under any key. Raises
    ValueError for a file that is truncated, holds several state dicts or none (a pickled model
    could execute code and is refused), or has another suffix; FileNotFoundError.
    """
    path = Path(path)
    check_suffix(path)
    content = WEIGHT_READERS[path.suffix](path)
    if _is_state(content):
        return dict(content)
    states = {}
    if isinstance(content, Mapping):
        states = {key: value for key, value in content.items() if value and _is_state(value)}
    if len(states) > 1:
        raise ValueError(
            f"{path} holds several state dicts, {list(states)}; pass one of them, such as "
            f"torch.load(path, weights_only=True)[{next(iter(states))!r}]"
        )
    if not states:
        found = f", only {list(content)[:5]}" if isinstance(content, Mapping) else ""
        raise ValueError(
            f"{path} holds no state dict{found}; save model.state_dict(), not the model"
        )
    return dict(*states.values())


def load_weights(model: nn.Module, weights: Mapping[str, torch.Tensor] | str | Path) -> nn.Module:
    """Put weights into a model, in place, and return it; masks among them come into force.

    weights: a state dict, or a file that `read_weights` reads. A `weight_mask` beside a
        `weight_orig`, as `torch.nn.utils.prune` saves them, masks the layer. What a wrapper put
        before the names, such as "module.", "_orig_mod." or Lightning's "net.", may differ from
        the model's if the modules are the same otherwise.

    Raises ValueError for tensors that are missing, unknown, of another shape, NaN or inf, or whole
    numbers in place of real ones.
    """
    weights = weights if isinstance(weights, Mapping) else read_weights(weights)
    weights = _renamed(weights, model)
    _check_values(weights, model.state_dict())
    suffix = ".weight_mask"
    masks = {n.removesuffix(suffix): m for n, m in weights.items() if n.endswith(suffix)}
    if masks:
        apply_masks(model, masks)
    try:
        model.load_state_dict(dict(weights))
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:]]
        text = " ".join(line if len(line) < 200 else f"{line[:199]}…" for line in lines[:2])
        rest = f" (and {len(lines) - 2} more)" if len(lines) > 2 else ""
        raise ValueError(f"the weights do not fit {type(model).__name__}: {text}{rest}") from error
    return model


def save_weights(model: nn.Module, path: str | Path) -> Path:
    """Write a model's weights, pruned ones as zeros, to .safetensors or .pt; return the path.

    The tensors have the names of the unmasked model, so that it loads them as any others.
    Raises ValueError for another suffix.
    """
    path = Path(path)
    check_suffix(path)
    weights = make_permanent(copied(model)).state_dict()
    tensors = {
        name: value.clone(memory_format=torch.contiguous_format) for name, value in weights.items()
    }
    save = safetensors.torch.save_file if path.suffix == ".safetensors" else torch.save
    with new_file(path) as draft:
        save(tensors, draft)
    return path


def check_suffix(path: Path) -> None:
    """Raise ValueError unless a path ends as a file of weights does."""
    if path.suffix not in WEIGHTS:
        raise ValueError(f"{path}: expected a {listed(WEIGHTS)} file")


def from_sklearn(classifier: Any) -> nn.Sequential:
    """Return a trained scikit-learn `MLPClassifier` as a torch module that gives logits.

    Layers are fc1, fc2, … as in `models.mlp`; the logits' order is that of `classes_`.
    Raises ValueError for a classifier that is not fitted or has several labels a sample.
    """
    if not hasattr(classifier, "coefs_"):
        raise ValueError("expected an MLPClassifier after fit(); it has no coefs_ yet")
    weights = [np.asarray(w).T for w in classifier.coefs_]
    biases = [np.asarray(b) for b in classifier.intercepts_]
    if classifier.out_activation_ == "logistic":
        if len(biases[-1]) != 1:
            raise ValueError("an MLPClassifier with several labels a sample is not supported")
        # One logit z against 0 is the softmax of (-z/2, z/2).
        halves = np.array([[-0.5], [0.5]])
        weights[-1], biases[-1] = halves @ weights[-1], halves[:, 0] * biases[-1]
    model = nn.Sequential()
    for k, (weight, bias) in enumerate(zip(weights, biases), 1):
        layer = nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(weight))
            layer.bias.copy_(torch.from_numpy(bias))
        model.add_module(f"fc{k}", layer)
        if k < len(weights):
            model.add_module(f"{classifier.activation}{k}", _ACTIVATIONS[classifier.activation]())
    return model.eval()


def _is_state(content: Any) -> bool:
    return isinstance(content, Mapping) and all(map(torch.is_tensor, content.values()))


def _check_values(
    weights: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]
) -> None:
    whole = {
        name: value.dtype
        for name, value in weights.items()
        if name in expected
        and expected[name].is_floating_point()
        and not value.is_floating_point()
        and not name.endswith("_mask")
    }
    if whole:
        raise ValueError(
            f"tensors {list(whole)[:3]} are of {set(whole.values())}, as quantised networks have "
            "them; expected real numbers; save the network before it was quantised"
        )
    if bad := [name for name, value in weights.items() if not torch.isfinite(value).all()]:
        raise ValueError(f"tensors {bad} hold NaN or inf; load a sound checkpoint")


def _renamed(weights: Mapping[str, torch.Tensor], model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the weights under the model's names, if only what wrappers add to them differs.

    Raises ValueError if the file has the model's tensors inside those of a larger one.
    """
    homes = set(map(_home, model.state_dict()))
    ours = {_unwrapped(home): home for home in homes}
    theirs = {_unwrapped(_home(name)) for name in weights}
    first = next(iter(ours), "")
    ends = [path.removesuffix(first) for path in theirs if path.endswith(first)]
    starts = [s for s in ends if s[-1:] in ("", ".") and {s + path for path in ours} <= theirs]
    if len(ours) < len(homes) or not starts or ("" in starts and len(ours) < len(theirs)):
        return dict(weights)
    if len(ours) < len(theirs):
        start = sorted(starts)[0]
        raise ValueError(
            f"the tensors of {type(model).__name__} are under {sorted(starts)}, beside others; "
            f"pass {{k.removeprefix({start!r}): v for k, v in weights.items() "
            f"if k.startswith({start!r})}}"
        )
    renamed = {}
    for name, value in weights.items():
        home = _home(name)
        ours_home = ours[_unwrapped(home).removeprefix(starts[0])]
        renamed[ours_home + name.removeprefix(home)] = value
    return renamed if len(renamed) == len(weights) else dict(weights)


def _home(name: str) -> str:
    """Return the path of a tensor's module, with a dot at its end unless it is empty."""
    return name[: name.rfind(".") + 1]


def _unwrapped(home: str) -> str:
    return "".join(f"{part}." for part in home.split(".")[:-1] if part not in _WRAPPERS)


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    check_file(path)
    try:
        return safetensors.torch.load_file(path)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error})") from error


#: By suffix, what reads the content of a file of weights.
WEIGHT_READERS: dict[str, Callable[[Path], Any]] = {
    ".safetensors": _read_safetensors,
    ".pt": read_torch,
    ".pth": read_torch,
}
