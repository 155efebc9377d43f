"""Stock `ngspice -b` on a deck with foundry models, which may have to load compiled ones first."""

import math
import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np

from crossbar_sim.ngspice.errors import NgspiceError
from crossbar_sim.ngspice.library import INSTALL_HELP

#: The file that a deck writes, beside itself.
OUTPUT = "out.txt"
#: Lines of what ngspice printed that a message quotes.
_QUOTED = 5


def run_deck(deck: str, n_point: int, n_column: int, *, time_limit: float) -> np.ndarray:
    """Run a deck that writes OUTPUT by `wrdata` with one scale; return its columns.

    time_limit: [s], after which ngspice is ended.

    Returns (n_point, n_column). Raises NgspiceError where ngspice is missing, does not end in time,
    or writes anything but so many finite numbers.
    """
    program = shutil.which("ngspice")
    if program is None:
        raise NgspiceError(f"there is no program ngspice; {INSTALL_HELP}")
    with tempfile.TemporaryDirectory(prefix="crossbar-ngspice-") as name:
        folder = Path(name)
        (folder / "deck.cir").write_text(deck, encoding="utf-8")
        # Its own limit of processor time, for where this process is killed and cannot end it.
        limited = ["sh", "-c", f'ulimit -t {math.ceil(time_limit) + 10}; exec "$@"', "sh"]
        said = _run([*limited, program, "-b", "deck.cir"], folder, time_limit)
        path = folder / OUTPUT
        if not path.exists():
            raise NgspiceError(f"ngspice wrote no results; it said: {_last(said)}")
        found = np.loadtxt(path, ndmin=2)[:, 1:]
    if found.shape != (n_point, n_column) or not np.isfinite(found).all():
        raise NgspiceError(
            f"ngspice wrote {found.shape[0]} × {found.shape[1]} numbers, expected {n_point} × "
            f"{n_column} finite ones; it said: {_last(said)}"
        )
    return found


def _run(words: list[str], folder: Path, time_limit: float) -> str:
    """Return what a program prints; it and what it started end with this function."""
    with subprocess.Popen(
        words,
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            return process.communicate(timeout=time_limit)[0]
        except subprocess.TimeoutExpired as error:
            raise NgspiceError(
                f"ngspice did not end within {time_limit:g} s: the models may not converge there, "
                "or the circuit is too large"
            ) from error
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _last(said: str) -> str:
    lines = [line for line in said.splitlines() if line.strip()]
    return " / ".join(lines[-_QUOTED:])
