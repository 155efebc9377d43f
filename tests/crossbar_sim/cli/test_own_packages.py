"""Another package named mapping, netlists or tinynets: it is named with its file, in one line."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import crossbar_sim
from crossbar_sim.jobs import diagnosis
from crossbar_sim.jobs.diagnosis import diagnose
from crossbar_sim.system.own_packages import HOME, NAMES

SCRIPT = "import crossbar_sim; print(crossbar_sim.__version__)"


def python(*words: str, cwd: Path, tree: Path = HOME) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder, with the packages of a tree."""
    called = [sys.executable, *words]
    settings = {"PYTHONPATH": str(tree), "PATH": "/usr/bin:/bin"}
    return subprocess.run(called, cwd=cwd, env=settings, capture_output=True, text=True)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages, to be damaged."""
    folder = tmp_path_factory.mktemp("tree")
    for name in (*NAMES, "crossbar_sim"):
        ignored = shutil.ignore_patterns("__pycache__", "*.npz")
        shutil.copytree(HOME / name, folder / name, ignore=ignored)
    return folder


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("words", [["script.py"], ["-m", "crossbar_sim", "doctor"]])
def test_a_file_beside_the_script_is_named(tmp_path, name, words):
    (tmp_path / f"{name}.py").write_text("x = 1\n")
    (tmp_path / "script.py").write_text(SCRIPT)
    done = python(*words, cwd=tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"crossbar-sim: Python finds {tmp_path / name}.py in place of the ")
    assert line.endswith("; rename it, or start from another folder")


def test_a_folder_without_init_beside_the_script_does_not_matter(tmp_path):
    """A folder that only holds data is no package as long as there is a real one."""
    (tmp_path / "netlists").mkdir()
    done = python("-c", SCRIPT, cwd=tmp_path)
    assert done.stdout.strip() == crossbar_sim.__version__, done.stderr


def test_a_package_that_was_overwritten_or_removed_is_named(tree, tmp_path):
    first = tree / "mapping" / "__init__.py"
    before = first.read_text()
    first.write_text("import pandas\n")
    done = python("-m", "crossbar_sim", "doctor", cwd=tmp_path, tree=tree)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f"{first} is not that of crossbar-sim: another package 'mapping'" in line
    assert "pip uninstall mapping, then install crossbar-sim again" in line
    first.unlink()
    done = python("-c", SCRIPT, cwd=tmp_path, tree=tree)
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"crossbar-sim: {first} of crossbar-sim is missing; install ")
    first.write_text(before)
    assert python("-c", SCRIPT, cwd=tmp_path, tree=tree).returncode == 0


def test_other_errors_keep_their_traceback(tmp_path):
    code = (
        "import sys\nfrom crossbar_sim.system import own_packages as own\n"
        "own._tell_in_one_line()\nraise ValueError('another')"
    )
    done = python("-c", code, cwd=tmp_path)
    assert done.stderr.startswith("Traceback")
    assert done.stderr.endswith("ValueError: another\n")


class File:
    """A file of an installed distribution, as importlib.metadata tells it."""

    def __init__(self, path: Path, digest: str) -> None:
        self.path, self.hash = path, type("Hash", (), {"mode": "sha256", "value": digest})()

    def __str__(self) -> str:
        return str(self.path)

    def locate(self) -> Path:
        return self.path


def test_doctor_finds_installed_files_that_were_changed(monkeypatch):
    files = [File(HOME / "mapping" / "__init__.py", "no digest"), File(HOME / "gone.py", "x")]
    monkeypatch.setattr(diagnosis.importlib.metadata, "files", lambda _name: files)
    found = next(finding for finding in diagnose() if finding.what == "crossbar-sim")
    assert not found.ok
    assert "2 files changed" in found.status
    assert f"{files[0]} and 1 more is not as it was installed" in found.remedy
    monkeypatch.setattr(diagnosis.importlib.metadata, "files", lambda _name: [])
    found = next(finding for finding in diagnose() if finding.what == "crossbar-sim")
    assert found.ok
    assert crossbar_sim.__version__ in found.status
