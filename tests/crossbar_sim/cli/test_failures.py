"""What a user sees when something goes wrong: one line, an exit code, and no process left over."""

import errno
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossbar_sim.cli.commands import app
from crossbar_sim.config import ConfigError
from crossbar_sim.ngspice.process import NgspiceError
from crossbar_sim.ngspice.worker import NgspiceWorker
from crossbar_sim.study.store import Store
from crossbar_sim.system.failures import explained, naming
from mapping import ResistorBank
from processes import children, is_alive, needs_proc, wait

COMMAND = [sys.executable, "-c", "from crossbar_sim.cli import main; main()"]
RUN = """
name = "small"
[train]
epochs = {epochs}
[prune]
sparsity = 0.8
rounds = 1
epochs_per_round = 1
"""
STUDY = """
name = "study"
base = "small.toml"
dies = 500
[grid]
"bank.n" = [1]
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "small.toml").write_text(RUN.format(epochs=1))
    (tmp_path / "long.toml").write_text(RUN.format(epochs=50_000))
    (tmp_path / "study.toml").write_text(STUDY)
    return tmp_path


def call(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        encoding="utf-8",
        **options,
    )


def started(*arguments: object, until: Callable[[int], bool]) -> subprocess.Popen[bytes]:
    """Start a command, and return when it has come to some point."""
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    wait(lambda: until(process.pid))
    assert process.poll() is None, process.stderr.read()
    return process


@needs_proc
@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_a_run_told_to_stop_says_how_to_go_on_and_leaves_no_process(files, number, code, word):
    partial = files / "results" / ".small.partial" / "config.json"
    arguments = ("run", files / "long.toml", "--results", files / "results")
    process = started(*arguments, until=lambda pid: partial.exists())
    workers = children(process.pid)
    assert workers, "ngspice has a process of its own"
    process.send_signal(number)
    error = process.communicate(timeout=60)[1].decode()
    assert process.returncode == code
    assert f"crossbar-sim: {word}; the same command with --resume goes on from here" in error
    assert "Traceback" not in error
    assert wait(lambda: not any(map(is_alive, workers)), 20)
    assert partial.exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_the_program_is_loading_is_answered_too(files, number, code):
    """Long before torch has been imported."""
    path = files / "long.toml"
    script = "import sys; print('up', flush=True); from crossbar_sim.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", script, "run", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=files,
    )
    process.stdout.readline()
    assert wait(lambda: handles(process.pid, number), 30)
    process.send_signal(number)
    error = process.communicate(timeout=60)[1].decode()
    assert process.returncode == code, error
    assert "with --resume goes on from here" in error
    assert "Traceback" not in error


def handles(pid: int, number: int) -> bool:
    """Return whether a process has a handler of ours for SIGTERM, and of its own for a signal."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = int(next(line.split()[1] for line in lines if line.startswith("SigCgt")), 16)
    return all(caught >> (n - 1) & 1 for n in (number, signal.SIGTERM))


@needs_proc
def test_workers_of_a_study_end_with_it(files):
    store = files / "s.sqlite"
    arguments = ("study", files / "study.toml", "--store", store, "--jobs", 2)
    process = started(*arguments, until=lambda pid: store.exists() and Store(store).keys())
    workers = children(process.pid)
    process.send_signal(signal.SIGTERM)
    error = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 143
    assert wait(lambda: not any(map(is_alive, workers)), 30)
    assert "terminated; the same command goes on from here" in error
    assert "Traceback" not in error


@needs_proc
def test_a_worker_of_a_study_that_never_had_a_trial_ends_with_it_too():
    script = (
        "from crossbar_sim.study.runner import _in_processes; "
        "import time; list(_in_processes(time.sleep, [(600,)], 2))"
    )
    process = subprocess.Popen([sys.executable, "-c", script])
    # Two workers, and what tracks their resources.
    is_started = wait(lambda: len(children(process.pid)) >= 3, 60)
    time.sleep(1)
    workers = children(process.pid)
    process.kill()
    process.communicate()
    assert is_started
    assert wait(lambda: not any(map(is_alive, workers)), 30)


@needs_proc
def test_an_ngspice_process_ends_with_the_one_that_started_it():
    script = (
        "from crossbar_sim.ngspice.worker import NgspiceWorker as W; "
        "import time; w = W(); w.probe();"
        "print('ready', flush=True); time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    workers = children(process.pid)
    assert workers
    process.kill()
    process.communicate()
    assert wait(lambda: not any(map(is_alive, workers)), 20)


def test_a_fork_of_a_process_with_an_ngspice_has_one_of_its_own():
    with NgspiceWorker(time_limit=60) as worker:
        wanted = worker.probe().values.tolist()
        pid = os.fork()
        if not pid:
            same = worker.probe().values.tolist() == wanted
            worker.close()
            os._exit(0 if same else 1)
        assert wait(lambda: os.waitpid(pid, os.WNOHANG)[0], 60)
        assert worker.probe().values.tolist() == wanted, "the first one's goes on"


def caught(function: Callable[[], object]) -> Exception:
    try:
        function()
    except Exception as error:
        return error
    raise AssertionError("it did not raise")


def bug_in_numpy() -> np.ndarray:
    return np.zeros(2) + np.zeros(3)


def bug_in_python() -> int:
    return int("x")


def failed_assertion() -> None:
    assert not ResistorBank


@pytest.mark.parametrize("function", [bug_in_numpy, bug_in_python, failed_assertion])
def test_a_bug_keeps_its_traceback(function):
    assert explained(caught(function)) is None


@pytest.mark.parametrize(
    ("function", "message", "code"),
    [
        (lambda: ResistorBank(n=0), "n must be", 2),
        (lambda: exec("raise ConfigError('so')", {"ConfigError": ConfigError}), "so", 2),
        (lambda: exec("raise NgspiceError('no')", {"NgspiceError": NgspiceError}), "no", 1),
        # A message of ours about a file that asks for too much, with torch's own words in it.
        (
            lambda: exec(
                "raise NgspiceError('x: DefaultCPUAllocator')", {"NgspiceError": NgspiceError}
            ),
            "^x: D",
            1,
        ),
        (lambda: exec("raise RuntimeError('DefaultCPUAllocator')"), "out of memory", 1),
        (lambda: exec("raise MemoryError"), "out of memory; make the network", 1),
        (
            lambda: Path("/nowhere/at/all").read_bytes(),
            "/nowhere/at/all: No such file .* check the path",
            1,
        ),
    ],
)
def test_what_is_said_is_one_line_and_a_code(function, message, code):

    found = explained(caught(function))
    assert found is not None
    assert re.search(message, found[0])
    assert found[1] == code


def test_a_full_disk_names_the_file_and_what_to_do():
    def write():
        with naming(Path("results/x.json")), open("/dev/full", "w") as file:
            file.write("x")

    error = caught(write)
    assert error.errno == errno.ENOSPC
    assert explained(error) == (
        "results/x.json: No space left on device; free some space, or write elsewhere",
        1,
    )


@pytest.mark.parametrize("kind", ["run", "study"])
def test_a_disk_that_is_full_in_mid_work_is_one_line(files, kind):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    where = {"run": ("--results", files / "out"), "study": ("--store", files / "s.sqlite")}[kind]
    name = {"run": "small.toml", "study": "study.toml"}[kind]
    result = call(kind, files / name, *where, preexec_fn=limit)
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    last = result.stderr.strip().splitlines()[-1]
    assert str(files) in last
    assert "too large" in last or "the store" in last or "cannot be" in last


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("verify", "x", "--vectors", "0"), "--vectors"),
        (("verify", "x", "--tolerance", "nan"), "must be 0 … 1; got nan"),
        (("verify", "x", "--tolerance", "-1"), "must be 0 … 1; got -1"),
        (("verify", "x", "--seed", "-1"), "--seed"),
        (("verify", "x", "--sample", "0"), "--sample"),
        (("verify", "x", "--solvers", "fast,none"), "must be two of fast, ngspice"),
        (("verify", "x", "--solvers", "fast"), "as ngspice,fast; got fast"),
        (("study", "x.toml", "--jobs", "0"), "must be 1 or more, or -1"),
        (("precision", "--seed", "-1"), "--seed"),
        (("precision", "--bits", "nan"), "must be 0 … 64; got nan"),
        (("precision", "--yield", "1"), "must be 0 … 1, ends excluded; got 1"),
        (("precision", "--band", "0.1", "7"), "must be 0 … 1; got 7"),
        (("prune", "x.onnx", "--learning-rate", "inf"), "must be 1e-30 … 10; got inf"),
        (("prune", "x.onnx", "--size", "0", "8"), "must be 1 … 10000; got 0"),
        (("prune", "x.onnx", "--epochs", "-1"), "--epochs"),
        (("reselect", "x", "y", "--output", "z", "--extra", "-1"), "--extra"),
        (("reselect", "x", "y", "--output", "z", "--tolerance", "nan"), "got nan"),
        (("export", "x", "--output", "z", "--meter-relative", "-1"), "must be 0 … 1; got -1"),
    ],
)
def test_an_option_out_of_its_bounds_is_refused_by_name(arguments, message):
    from typer.testing import CliRunner

    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert message in result.output


def test_help_shows_what_looks_like_markup_and_the_version_is_told():
    from typer.testing import CliRunner

    shown = CliRunner().invoke(app, ["study", "--help"], env={"COLUMNS": "200"}).output
    assert "the study's [optimise] table" in shown
    version = CliRunner().invoke(app, ["--version"])
    assert version.exit_code == 0
    assert version.output.startswith("crossbar-sim 0.")


@pytest.mark.parametrize(
    "settings", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}]
)
def test_a_terminal_without_unicode_does_not_matter(settings):
    result = call("study", "--help", env=os.environ | settings)
    assert result.returncode == 0, result.stderr
    assert "--optimise" in result.stdout


def test_the_terminal_wraps_what_a_command_says_of_itself():
    said = {command.name: command.help for command in app.registered_commands}
    assert len(said) > 10
    for name, text in said.items():
        assert text, name
        assert "\n" not in text.replace("\n\n", ""), name
