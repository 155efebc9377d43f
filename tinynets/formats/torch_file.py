"""Read a file of `torch.save`: nothing in it runs, and its tensors are those that it holds."""

import io
import pickle
import pickletools
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from tinynets.files.checks import check_file

#: An old file is a mark, a version, a machine, the objects and the names of their storages; then
#: the storages follow, each behind its length.
_N_PICKLE, _LENGTH = 5, 8


def read_torch(path: Path) -> Any:
    """Return what a file of `torch.save` holds, on the CPU.

    Raises ValueError naming the file if it holds more than tensors, numbers and text, or is
    damaged.
    """
    check_file(path)
    # Read first: what fails after that is the file's content, whatever exception it runs into.
    content = io.BytesIO(path.read_bytes())
    try:
        is_old = not zipfile.is_zipfile(content)
        if not is_old:
            _check_sums(path, content)
        content.seek(0)
        found = torch.load(content, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} holds Python objects that could execute code, or is damaged; it was not "
            "loaded; save model.state_dict() alone"
        ) from error
    except Exception as error:
        if isinstance(error, ValueError) and str(path) in str(error):
            raise
        raise ValueError(f"{path} is truncated or not a torch file ({error})") from error
    if is_old:
        _check_old(path, content, found)
    return found


def _check_sums(path: Path, content: io.BytesIO) -> None:
    """Raise ValueError for an entry that is not as its checksum says, which torch does not read."""
    with zipfile.ZipFile(content) as file:
        damaged = file.testzip()
    if damaged:
        raise ValueError(
            f"{path} is damaged: the checksum of {damaged[:80]!r} does not match; save it again"
        )


def _check_old(path: Path, content: io.BytesIO, found: Any) -> None:
    """Raise ValueError unless an old file, which has no checksums, holds its tensors and no more.

    content: which torch has just read to the end of the last tensor.
    found: what it holds. Torch does not fill a storage that stands nowhere in the file.
    """
    end = content.tell()
    if content.read(1):
        raise ValueError(f"{path} is damaged: it is longer than its tensors; save it again")
    content.seek(0)
    for _ in range(_N_PICKLE):
        for _ in pickletools.genops(content):
            pass  # to the end of a pickle
    storages = [tensor.untyped_storage() for tensor in _tensors(found)]
    sizes = {storage.data_ptr(): storage.nbytes() for storage in storages}
    held, stored = sum(sizes.values()), end - content.tell() - _LENGTH * len(sizes)
    if held > stored:
        raise ValueError(
            f"{path} is damaged: its tensors take {held:,} bytes, of which {max(stored, 0):,} are "
            "stored; save it again"
        )


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors in an object of dicts and lists, but sparse ones."""
    if isinstance(value, torch.Tensor):
        if value.layout == torch.strided:
            yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _tensors(part)
    elif isinstance(value, list | tuple | set):
        for part in value:
            yield from _tensors(part)
