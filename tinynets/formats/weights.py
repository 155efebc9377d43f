"""Bring weights from files and other libraries, and take them back. No file is ever executed."""

import io
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import nn

from tinynets.files.drafts import new_file
from tinynets.networks.masks import apply_masks, copied, make_permanent

_ACTIVATIONS = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "logistic": nn.Sigmoid,
    "identity": nn.Identity,
}


def read_weights(path: str | Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a .safetensors file or of a .pt file that holds a state dict.

    A .pt file may also hold {"state_dict": ...}. Raises ValueError for a file that is truncated,
    holds anything but tensors (a pickled model could execute code and is refused), or has another
    suffix; FileNotFoundError.
    """
    path = Path(path)
    check_suffix(path)
    content = WEIGHT_READERS[path.suffix](path)
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not all(map(torch.is_tensor, content.values())):
        raise ValueError(f"{path} holds no state dict; save model.state_dict(), not the model")
    return dict(content)


def load_weights(model: nn.Module, weights: Mapping[str, torch.Tensor] | str | Path) -> nn.Module:
    """Put weights into a model, in place, and return it; masks among them come into force.

    weights: a state dict, or a file that `read_weights` reads. A `weight_mask` beside a
    `weight_orig`, as `torch.nn.utils.prune` saves them, masks the layer.
    Raises ValueError for tensors that are missing, unknown, of another shape, NaN or inf.
    """
    weights = weights if isinstance(weights, Mapping) else read_weights(weights)
    if bad := [name for name, value in weights.items() if not torch.isfinite(value).all()]:
        raise ValueError(f"tensors {bad} hold NaN or inf; load a sound checkpoint")
    suffix = ".weight_mask"
    masks = {n.removesuffix(suffix): m for n, m in weights.items() if n.endswith(suffix)}
    if masks:
        apply_masks(model, masks)
    try:
        model.load_state_dict(dict(weights))
    except RuntimeError as error:
        first, *more = [line.strip() for line in str(error).splitlines()[1:]]
        rest = f" (and {len(more)} more)" if more else ""
        raise ValueError(f"the weights do not fit {type(model).__name__}: {first}{rest}") from error
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
    if path.suffix not in WEIGHT_READERS:
        raise ValueError(f"{path}: expected a .safetensors, .pt or .pth file")


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


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error})") from error


def _read_pt(path: Path) -> Any:
    # Read first: what fails after that is the file's content, whatever exception it runs into.
    content = io.BytesIO(path.read_bytes())
    try:
        return torch.load(content, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} holds Python objects that could execute code, or is damaged; it was not "
            "loaded; save model.state_dict() alone"
        ) from error
    except Exception as error:
        raise ValueError(f"{path} is truncated or not a torch file ({error})") from error


#: By suffix, what reads the content of a file of weights.
WEIGHT_READERS: dict[str, Callable[[Path], Any]] = {
    ".safetensors": _read_safetensors,
    ".pt": _read_pt,
    ".pth": _read_pt,
}
