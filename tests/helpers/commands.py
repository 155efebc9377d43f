"""A command of crossbar-sim in this process: what a shell would see, loaded only once."""

import io
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from unittest.mock import patch

from crossbar_sim.cli import main


def command(*words: object) -> subprocess.CompletedProcess[str]:
    """Run the entry point; return its exit code and what it wrote."""
    given = [str(word) for word in words]
    out, err, code = io.StringIO(), io.StringIO(), 0
    argv = patch.object(sys, "argv", ["crossbar-sim", *given])
    with argv, redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
    return subprocess.CompletedProcess(given, code, out.getvalue(), err.getvalue())
