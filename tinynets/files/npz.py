"""Write NPZ files, and read untrusted ones: nothing in one runs or fills the memory."""

import io
import math
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from tinynets.files.checks import check_file

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def write_npz(file: BinaryIO, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as an NPZ file, compressed where that saves more space than it takes time.

    Fractions that are not mostly zeros hardly shrink, so they are stored as they are.
    """
    with zipfile.ZipFile(file, "w", compresslevel=1) as archive:
        for name, array in arrays.items():
            random = array.dtype.kind == "f" and 2 * np.count_nonzero(array) > array.size
            archive.compression = zipfile.ZIP_STORED if random else zipfile.ZIP_DEFLATED
            with archive.open(f"{name}.npy", mode="w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asanyarray(array), allow_pickle=False)


def read_npz(
    path: str | Path, *, most: int | None = None, itemsize: int = 1
) -> dict[str, np.ndarray]:
    """Return all arrays of an NPZ file by name.

    most: bytes that the arrays may take; None for all of this machine's memory.
    itemsize: least bytes that a number counts as, for callers that convert to wider ones.

    Raises ValueError naming the file if it is damaged, holds objects, or has arrays that take more
    or are not as long as they say; OSError if it cannot be opened.
    """
    check_file(path)
    # Read first: any exception after that is due to the file's content.
    content = io.BytesIO(Path(path).read_bytes())
    try:
        if not content.getvalue().startswith(b"PK"):  # Python looks at the end alone
            raise ValueError("it does not begin as an NPZ file")
        with zipfile.ZipFile(content) as archive:
            entries = _entries(archive)
            _check_size(archive, _memory() if most is None else most, itemsize)
            return {name: _array(archive, entry) for name, entry in entries.items()}
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise ValueError(
            f"{path} is damaged or holds something other than plain arrays: {reason[:200]}"
        ) from error


def _entries(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the entries by the name of their array."""
    entries = archive.infolist()
    names = [entry.filename.removesuffix(".npy") for entry in entries]
    if len(set(names)) != len(names):
        raise ValueError("two arrays have the same name")
    return dict(zip(names, entries))


def _check_size(archive: zipfile.ZipFile, most: int, itemsize: int) -> None:
    """Raise ValueError for arrays that take more, or claim to, before any memory is used."""
    total = 0
    for entry in archive.infolist():
        shape, dtype, _ = _header(archive, entry)
        total += max(entry.file_size, math.prod(shape) * max(dtype.itemsize, itemsize))
    if total > most:
        raise ValueError(
            f"its arrays take {total / 2**30:.3g} GiB; at most {most / 2**30:.3g} GiB are read"
        )


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    shape, dtype, start = _header(archive, entry)
    size = start + math.prod(shape) * dtype.itemsize
    if dtype.hasobject:
        raise ValueError(f"{entry.filename} holds objects")
    if size != entry.file_size:
        raise ValueError(f"{entry.filename} claims the shape {shape} but has another length")
    with archive.open(entry) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _header(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo
) -> tuple[tuple[int, ...], np.dtype, int]:
    """Return shape and type of an array, and the offset of its numbers."""
    with archive.open(entry) as file:
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:
            raise ValueError(f"arrays of version {version} are not read")
        shape, _, dtype = _HEADERS[version](file)
        return shape, dtype, file.tell()


def _memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
