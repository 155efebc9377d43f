"""Files and directories appear complete, and what killed writers leave is removed."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tinynets.files.drafts import added_files, new_directory, new_file

KILLED = """
import os, signal, sys
from pathlib import Path
from tinynets.files.drafts import new_directory
with new_directory(Path(sys.argv[1])) as draft:
    (draft / "half").write_text("x")
    print(draft.name, flush=True)
    if sys.argv[2] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    sys.stdin.read()
"""


def start(target: Path, how: str) -> tuple[subprocess.Popen[str], str]:
    command = [sys.executable, "-c", KILLED, str(target), how]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen(command, text=True, **pipes)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def test_the_next_writer_removes_what_a_killed_one_left(tmp_path):
    process, draft = start(tmp_path / "p", "killed")
    process.communicate()
    assert [path.name for path in tmp_path.iterdir()] == [draft]
    with new_directory(tmp_path / "other"):
        pass
    assert (tmp_path / draft).exists(), "of another target"
    with new_directory(tmp_path / "p") as mine:
        (mine / "whole").write_text("x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "p"]


def test_the_draft_of_a_writer_at_work_stays(tmp_path):
    process, draft = start(tmp_path / "p", "at work")
    with new_file(tmp_path / "p") as mine:
        mine.write_text("x")
    assert (tmp_path / draft / "half").exists()
    (tmp_path / "p").unlink()
    process.communicate("")
    assert [path.name for path in (tmp_path / "p").iterdir()] == ["half"]


def fail_half_way(make: Callable, target: Path) -> None:
    with make(target) as draft:
        (draft / "half").write_text("x")
        raise RuntimeError("bug")


def test_nothing_is_left_of_a_failure_and_the_error_names_the_target(tmp_path):
    with pytest.raises(OSError, match=r"No space left on device: '.*/p'"), new_file(tmp_path / "p"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    for make in (new_directory, added_files):
        with pytest.raises(RuntimeError, match="bug"):
            fail_half_way(make, tmp_path / "p")
    assert list(tmp_path.iterdir()) == []


def test_files_are_added_to_a_directory_when_all_are_there(tmp_path):
    for names in (("a", "b"), ("b", "c")):
        with added_files(tmp_path / "d") as draft:
            for name in names:
                (draft / name).write_text("".join(names))
            before = sorted((tmp_path / "d").glob("*"))
        assert [path.name for path in before] == ([] if names[0] == "a" else ["a", "b"])
    assert [(tmp_path / "d" / name).read_text() for name in "abc"] == ["ab", "bc", "bc"]


def test_an_existing_directory_is_not_replaced(tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(FileExistsError, match="choose another"), new_directory(tmp_path / "there"):
        pass
