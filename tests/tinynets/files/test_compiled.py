"""A kernel is compiled again when the kernel that it calls, in another file, is edited."""

import os
import subprocess
import sys
from pathlib import Path

CALLED = "from numba import njit\n\n@njit(cache=True)\ndef called(x):\n    return {} * x\n"
CALLER = """
from numba import njit
import called
{}
@njit(cache=True)
def twice(x):
    return called.called(x)
"""
FOLLOW = "from tinynets.files.compiled import follow\nfollow(__file__, called)\n"


def answer(directory: Path, factor: int) -> int:
    """Edit the called kernel, run the calling one in a new process, and return what it says."""
    (directory / "called.py").write_text(CALLED.format(factor))
    run = [sys.executable, "-B", "-c", "import caller; print(caller.twice(21))"]
    found = subprocess.run(run, cwd=directory, capture_output=True, text=True, check=True)
    return int(found.stdout)


def test_an_edit_of_a_called_kernel_is_noticed(tmp_path):
    """Without following it goes unseen: numba still behaves as the module says."""
    for name, follow, expected in (("plain", "", [42, 42]), ("following", FOLLOW, [42, 63])):
        (tmp_path / name).mkdir()
        (tmp_path / name / "caller.py").write_text(CALLER.format(follow))
        old = (tmp_path / name / "caller.py").stat()
        os.utime(tmp_path / name / "caller.py", ns=(old.st_atime_ns, old.st_mtime_ns - 10**9))
        assert [answer(tmp_path / name, 2), answer(tmp_path / name, 3)] == expected
