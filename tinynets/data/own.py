"""The user's data: data sets, arrays, their files, and folders of images."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tinynets.data.samples import as_labels, as_samples, named
from tinynets.data.tasks import Data, split
from tinynets.files.checks import check_file, said_of
from tinynets.files.npz import read_npz

#: Total size of the arrays of an NPZ file [bytes]; a small file can claim or unpack to any size.
MAX_BYTES = 2**31

#: Files of a folder that count as images.
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")


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
    with said_of(path):
        return from_arrays(str(path), arrays, seed=seed, test_share=test_share)


def from_safetensors(path: str | Path, *, seed: int = 0, test_share: float = 0.2) -> Data:
    """Return the data of a safetensors file, whose tensors are named as `from_arrays` says.

    Raises ValueError naming missing tensors, or for a file that is damaged or has over 2 GiB.
    """
    import safetensors.torch

    check_file(path)
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
    with said_of(path):
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
        whole = {f"x_{part}": as_samples(_inputs_of(arrays, f"_{part}")) for part in parts}
        labels = {f"y_{part}": as_labels(arrays.get(f"y_{part}", ())) for part in parts}
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
