"""Read the arrays of an NPZ file that anybody may have made: nothing runs, nothing fills memory."""

import io
import math
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_npz(path: str | Path) -> dict[str, np.ndarray]:
    """Return all arrays of an NPZ file by name.

    Raises ValueError naming the file for one that is damaged, that holds objects, or whose arrays
    are not as long as they say or longer than this machine's memory; OSError for one that cannot
    be opened.
    """
    # Read first: what fails after that is the file's content, whatever exception it runs into.
    content = io.BytesIO(Path(path).read_bytes())
    try:
        with zipfile.ZipFile(content) as archive:
            entries = _entries(archive)
            return {name: _array(archive, entry) for name, entry in entries.items()}
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise ValueError(
            f"{path} is damaged or holds other things than plain arrays: {reason[:200]}"
        ) from error


def _entries(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the entries by the name of their array, their sizes checked."""
    entries = archive.infolist()
    names = [entry.filename.removesuffix(".npy") for entry in entries]
    if len(set(names)) != len(names):
        raise ValueError("two arrays have one name")
    total, memory = sum(entry.file_size for entry in entries), _memory()
    if total > memory:
        raise ValueError(f"its arrays take {total:,} bytes; this machine has {memory:,}")
    return dict(zip(names, entries))


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(entry) as file:
        shape, dtype = _header(file)
        size = file.tell() + math.prod(shape) * dtype.itemsize
    if dtype.hasobject:
        raise ValueError(f"{entry.filename} holds objects")
    if size != entry.file_size:
        raise ValueError(f"{entry.filename} says that its shape is {shape}, and is not that long")
    with archive.open(entry) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _header(file: Any) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"arrays of version {version} are not read")
    shape, _, dtype = _HEADERS[version](file)
    return shape, dtype


def _memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
