"""Samples with their labels: real images, and data of the user's own, split without leaks."""

from tinynets.data.builtin import digits, mnist, mnist5000
from tinynets.data.own import from_arrays, from_dataset, from_folder, from_npz, from_safetensors
from tinynets.data.samples import inputs, named
from tinynets.data.tasks import Data, split

__all__ = [
    "Data",
    "digits",
    "from_arrays",
    "from_dataset",
    "from_folder",
    "from_npz",
    "from_safetensors",
    "inputs",
    "mnist",
    "mnist5000",
    "named",
    "split",
]
