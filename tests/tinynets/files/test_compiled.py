"""A kernel is compiled again when a kernel that it calls, in another file, is edited."""

import subprocess
import sys
from pathlib import Path

import pytest

CALLED = "from numba import njit\n\n@njit(cache=True)\ndef called(x):\n    return {} * x\n"
CALLER = """
import called
from numba import njit
from tinynets.files.compiled import kernels

@{}
def twice(x):
    return called.called(x)
"""


def answer(directory: Path, factor: int) -> list[int]:
    """Edit the called kernel; return what the calling one then says in a new process, and misses.

    Without byte code, by whose time in seconds Python itself would miss the edit.
    """
    (directory / "called.py").write_text(CALLED.format(factor))
    code = "import caller; print(caller.twice(21), sum(caller.twice._cache_misses.values()))"
    run = [sys.executable, "-B", "-c", code]
    found = subprocess.run(run, cwd=directory, capture_output=True, text=True, check=True)
    return [int(word) for word in found.stdout.split()]


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("njit(cache=True)", [[42, 1], [42, 0], [42, 0]]),  # numba alone still misses the edit
        ("kernels(called)", [[42, 1], [42, 0], [63, 1]]),
    ],
)
def test_an_edit_of_a_called_kernel_is_noticed(tmp_path, how, expected):
    (tmp_path / "caller.py").write_text(CALLER.format(how))
    assert [answer(tmp_path, factor) for factor in (2, 2, 3)] == expected
