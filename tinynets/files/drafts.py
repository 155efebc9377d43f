"""Files and directories that appear only when complete: they are written as a draft first.

A draft lies beside its target, as `.NAME.HOST-PID.tmp`. The draft of a killed writer is removed by
the next writer of the same target on that machine.
"""

import os
import platform
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def new_file(target: str | Path) -> Iterator[Path]:
    """Yield where to write a file; after the block it is `target`, in place of an older one.

    After an exception nothing has changed. An OSError that names no file, or the draft, is raised
    with the target's name.
    """
    target = Path(target)
    with _draft(target) as draft:
        yield draft
        draft.replace(target)


@contextmanager
def new_directory(target: str | Path) -> Iterator[Path]:
    """Yield an empty directory to fill; after the block it is `target`. Otherwise as `new_file`.

    Raises FileExistsError when the target already exists.
    """
    target = Path(target)
    if os.path.lexists(target):
        raise FileExistsError(f"{target} exists; remove it or choose another directory")
    with _draft(target) as draft:
        draft.mkdir(parents=True)
        yield draft
        draft.rename(target)


@contextmanager
def added_files(directory: str | Path) -> Iterator[Path]:
    """Yield an empty directory to fill; after the block its files are in `directory`.

    A new directory appears whole; into an existing one the files go one by one, in place of older
    ones. Otherwise as `new_file`.
    """
    directory = Path(directory)
    with _draft(directory) as draft:
        draft.mkdir(parents=True)
        yield draft
        if not directory.exists():
            draft.rename(directory)
            return
        for path in sorted(draft.iterdir()):
            path.replace(directory / path.name)


@contextmanager
def _draft(target: Path) -> Iterator[Path]:
    """Yield the name of a draft; remove whatever has it afterwards."""
    _remove_abandoned(target)
    draft = target.with_name(f".{target.name}.{_host()}-{os.getpid()}.tmp")
    _remove(draft)
    try:
        yield draft
    except OSError as error:
        if error.errno is not None and error.filename in (None, str(draft)):
            raise OSError(error.errno, os.strerror(error.errno), str(target)) from error
        raise
    finally:
        _remove(draft)


def _remove_abandoned(target: Path) -> None:
    """Remove the drafts of a target whose writers, on this machine, are gone."""
    pattern = re.compile(rf"\.{re.escape(target.name)}\.{re.escape(_host())}-([0-9]+)\.tmp")
    if not target.parent.is_dir():
        return
    for path in target.parent.iterdir():
        match = pattern.fullmatch(path.name)
        if match and not _alive(int(match[1])):
            _remove(path)


def _host() -> str:
    return platform.node()


def _alive(pid: int) -> bool:
    """Return whether a process of that number runs, whoever owns it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
