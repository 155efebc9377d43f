"""Real data that comes with an installed package, split without leaks."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Data:
    """A classification task.

    x_train, x_test: (n_sample, ...) float32. y_train, y_test: (n_sample,) int64 labels.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray

    def __post_init__(self) -> None:
        for part in ("train", "test"):
            x, y = getattr(self, f"x_{part}"), getattr(self, f"y_{part}")
            if len(x) == 0 or len(x) != len(y):
                raise ValueError(
                    f"data {self.name!r}: {len(x)} {part} samples and {len(y)} labels; "
                    "expected the same number, at least one"
                )
        if min(self.y_train.min(), self.y_test.min()) < 0 or self.y_test.max() >= self.n_class:
            raise ValueError(
                f"data {self.name!r}: labels must be 0 … {self.n_class - 1} as in training"
            )

    @property
    def n_class(self) -> int:
        """Number of classes, counted on the training labels."""
        return int(self.y_train.max()) + 1


def digits(*, seed: int, flat: bool, test_share: float = 0.25) -> Data:
    """Return scikit-learn's 1,797 handwritten digits of 8 × 8 pixels, scaled to 0 … 1.

    seed: of the stratified split. flat: images as (64,), else (1, 8, 8).
    Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch: Any = load_digits()
    images, labels = bunch.data, bunch.target
    images = (images / 16.0).astype(np.float32)
    images = images if flat else images.reshape(-1, 1, 8, 8)
    train, test = train_test_split(
        np.arange(len(labels)), test_size=test_share, stratify=labels, random_state=seed
    )
    labels = labels.astype(np.int64)
    return Data("digits", images[train], labels[train], images[test], labels[test])
