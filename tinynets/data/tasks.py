"""Samples and labels in training and test parts, split without leaks."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinynets.data.samples import as_labels, as_samples, check_samples


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
            check_samples(self.name, f"{part} samples", x, y, labelled=self.has_labels)
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
    x, y = as_samples(x), as_labels(y if labelled else ())
    check_samples(name, "samples", x, y, labelled=labelled)
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
