"""The four files of MNIST, from the user's cache or the network, known by their checksums."""

import gzip
import hashlib
import os
import urllib.request
from functools import cache
from pathlib import Path

import numpy as np

from tinynets.files.drafts import new_file

#: Where the files are fetched from, packed by gzip.
URL = "https://ossci-datasets.s3.amazonaws.com/mnist"
#: SHA-256 of the unpacked files, in full, by what they hold.
SHA256 = {
    "train-images": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
#: The longest that a server may be silent [s], and the most that is read of a file [bytes].
TIMEOUT, MOST = 20.0, 50_000_000


def folder() -> Path:
    """Return the folder of the user's cache that holds MNIST, whether it exists or not."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "crossbar-sim/mnist"


@cache
def read_mnist() -> dict[str, np.ndarray]:
    """Return images (n, 28, 28) and labels (n,) of both parts as bytes, by name as in SHA256.

    Raises ValueError if a file is neither in the cache nor can be fetched, or is another.
    """
    return {name: _array(name, _content(name)) for name in SHA256}


def _file(name: str) -> str:
    return f"{name}-idx{3 if name.endswith('images') else 1}-ubyte"


def _array(name: str, content: bytes) -> np.ndarray:
    """Return what follows the sizes, 4 bytes each after a word that tells their number."""
    images = name.endswith("images")
    values = np.frombuffer(content, np.uint8, offset=16 if images else 8)
    return values.reshape(-1, 28, 28) if images else values


def _content(name: str) -> bytes:
    """Return the bytes of a file, and keep those that were fetched."""
    path = folder() / _file(name)
    if path.exists():
        content, source = path.read_bytes(), str(path)
    else:
        content, source = _fetched(name), f"{URL}/{_file(name)}.gz"
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256[name]:
        raise ValueError(
            f"{source} is not the file of MNIST: its SHA-256 is {found}, expected {SHA256[name]}; "
            "remove it, or put the right one there"
        )
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with new_file(path) as draft:
            draft.write_bytes(content)
    return content


def _fetched(name: str) -> bytes:
    address = f"{URL}/{_file(name)}.gz"
    try:
        with (
            urllib.request.urlopen(address, timeout=TIMEOUT) as answer,
            gzip.open(answer) as unpacked,
        ):
            return unpacked.read(MOST)
    except (OSError, EOFError, ValueError) as error:
        raise ValueError(
            f"MNIST is not in {folder()}, and {address} cannot be read ({error}); put "
            f"{', '.join(map(_file, SHA256))} there, unpacked, or take data = 'mnist5000'"
        ) from error
