"""Samples as arrays, with a field for each input of a network if it has several, and labels."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

#: Most classes that labels may name.
MAX_CLASSES = 1_000_000


def named(inputs: Mapping[str, Any]) -> np.ndarray:
    """Return samples of a network with several inputs, or with integers, as one array of records.

    inputs: by name of the network's input, an array (n_sample, ...) each. Whole numbers become
        int64, real ones float32, and booleans stay.

    Raises ValueError for no samples, an input without a name, arrays of other numbers, or not as
    many samples in each.
    """
    if "" in inputs:
        raise ValueError("an array has no name; name each array after the input that takes it")
    arrays = {name: np.asarray(inputs[name]) for name in sorted(inputs)}
    # Numbers come first: a network's first input is never a mask.
    arrays = dict(sorted(arrays.items(), key=lambda item: item[1].dtype.kind == "b"))
    if len({len(array) if array.ndim else 0 for array in arrays.values()}) != 1:
        raise ValueError(no_batch("inputs", {name: array.shape for name, array in arrays.items()}))
    kept = {n: a if a.dtype.kind == "b" else _numbers(n, a) for n, a in arrays.items()}
    fields = [(name, array.dtype, array.shape[1:]) for name, array in kept.items()]
    records = np.empty(len(next(iter(kept.values()))), dtype=fields)
    for name, array in kept.items():
        records[name] = array
    return records


def no_batch(what: str, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Return the message for inputs that do not have as many samples each, with their shapes."""
    return (
        f"all {what} must have the same number of samples, in the first dimension; got "
        f"{', '.join(f'{name} of shape {shape}' for name, shape in shapes.items())}; an input with "
        "its batch elsewhere, such as a state, takes a module around the network that puts the "
        "batch first, or a constant: from_onnx(path, fixed={name: value})"
    )


def _numbers(name: str, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "iuf":
        raise ValueError(f"input {name!r} must be numbers or booleans; got {array.dtype}")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes inf, and is refused
        return array.astype(np.float32 if array.dtype.kind == "f" else np.int64)


def inputs(samples: np.ndarray) -> torch.Tensor | dict[str, torch.Tensor]:
    """Return samples of `Data` as a network takes them: one tensor, or tensors by name."""
    if not samples.dtype.names:
        return torch.from_numpy(samples)
    parts = {name: samples[name] for name in samples.dtype.names}
    return {name: torch.from_numpy(part.copy(order="C")) for name, part in parts.items()}


def as_samples(x: Any) -> np.ndarray:
    """Return samples as float32, or as records; ValueError unless they are real numbers."""
    if isinstance(x, Mapping):
        return named(x)
    samples = np.asarray(x)
    if samples.dtype.names:
        return samples
    if samples.dtype.kind not in "biuf":
        raise ValueError(f"samples must be real numbers; got {samples.dtype}")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes inf, and is refused
        return np.ascontiguousarray(samples, dtype=np.float32)


def as_labels(y: Any) -> np.ndarray:
    """Return labels as int64; ValueError unless they are whole numbers from 0 in one row."""
    labels = np.asarray(y)
    is_row = labels.ndim == 1 and labels.dtype.kind in "biuf"
    if not is_row or (labels != np.round(labels)).any():
        raise ValueError(
            f"labels must be whole numbers in one row; got {labels.dtype} of shape {labels.shape}"
        )
    if len(labels) and not (labels.min() >= 0 and labels.max() < MAX_CLASSES):
        raise ValueError(
            f"labels must be 0 … {MAX_CLASSES - 1:,}, a number for each class; got "
            f"{labels.min()} … {labels.max()}"
        )
    return labels.astype(np.int64)


def check_samples(name: str, what: str, x: np.ndarray, y: np.ndarray, *, labelled: bool) -> None:
    """Raise ValueError unless there are samples, all finite, each with a label if any has one."""
    if len(x) == 0 or (labelled and len(x) != len(y)):
        raise ValueError(
            f"data {name!r}: {len(x)} {what} and {len(y)} labels; expected the same number, at "
            "least one"
        )
    fields = [x[field] for field in x.dtype.names] if x.dtype.names else [x]
    if not all(np.isfinite(field).all() for field in fields):
        raise ValueError(f"data {name!r}: the {what} hold NaN or inf")
