"""The set-up script in a copy of its own, where it finds what is missing on some machines."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: What the script calls before it installs anything.
TOOLS = ("bash", "env", "cat", "dirname", "awk", "grep", "rm", "cp", "id")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The script beside what it reads, in an empty directory."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "setup.sh", tmp_path / "scripts")
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def call(copy: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [copy / "scripts" / "setup.sh", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHON": sys.executable, **os.environ, **environment},
    )


def tools(copy: Path, *more: str, **scripts: str) -> str:
    """A PATH with few tools, and with shell scripts of ours."""
    directory = copy / "bin"
    directory.mkdir()
    for name in (*TOOLS, *more):
        (directory / name).symlink_to(shutil.which(name))
    for name, text in scripts.items():
        path = directory / name.replace("_", "-")
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)
    return str(directory)


def debian_12(copy: Path, *, deb822: bool) -> dict[str, str]:
    """Files that say so, and what the script needs to know of them."""
    apt = copy / "apt" / "sources.list.d"
    apt.mkdir(parents=True)
    if deb822:
        text = (
            "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\n"
            "Components: main\n\nTypes: deb\nSuites: bookworm-security\n"
        )
        (apt / "debian.sources").write_text(text)
    else:
        (apt.parent / "sources.list").write_text("deb http://mirror.example/debian bookworm main\n")
    (copy / "os-release").write_text("VERSION_CODENAME=bookworm\n")
    return {"APT_DIRECTORY": str(apt.parent), "OS_RELEASE": str(copy / "os-release")}


def test_without_ngspice_it_says_how_before_anything_is_downloaded(copy):
    done = call(copy, PATH=tools(copy), NGSPICE_LIBRARY_PATH="/nowhere/lib.so")
    assert done.returncode == 1
    for word in ("bookworm-backports", "Ubuntu", "dnf", "brew", "conda"):
        assert word in done.stderr
    assert not (copy / ".venv").exists()


def test_a_library_without_klu_is_not_enough(copy):
    (copy / "libngspice.so").write_bytes(b"no such solver")
    done = call(copy, PATH=tools(copy), NGSPICE_LIBRARY_PATH=str(copy / "libngspice.so"))
    assert done.returncode == 1
    assert f"{copy / 'libngspice.so'} is not one with the KLU solver" in done.stderr


@pytest.mark.parametrize("deb822", [True, False])
def test_the_backports_suite_of_debian_12_is_added(copy, deb822):
    options = debian_12(copy, deb822=deb822)
    path = tools(copy, apt_get="exit 1") + os.pathsep + os.environ["PATH"]
    done = call(copy, PATH=path, NGSPICE_LIBRARY_PATH="/nowhere", SETUP_DRY_RUN="1", **options)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].endswith(f"sources.list.d/backports.{'sources' if deb822 else 'list'}")
    assert lines[1:] == [
        "apt-get update -q",
        "apt-get install -y -q -t bookworm-backports ngspice libngspice0",
    ]
    assert not (copy / ".venv").exists()


def test_a_user_who_is_no_administrator_is_told_what_to_ask_for(copy):
    options = debian_12(copy, deb822=False)
    path = tools(copy, apt_get="exit 1", id="echo 1000")
    done = call(copy, PATH=path, NGSPICE_LIBRARY_PATH="/nowhere/lib.so", **options)
    assert done.returncode == 1
    assert "Ask one to run:" in done.stderr
    assert "apt-get install -t bookworm-backports ngspice libngspice0" in done.stderr
    assert "conda install -c conda-forge ngspice" in done.stderr
    assert not (copy / ".venv").exists()


def test_a_python_without_its_venv_module_has_a_message_of_its_own(copy):
    bare = f'[[ "$*" == *ensurepip* ]] && exit 1\nexec {sys.executable} "$@"'
    path = tools(copy, apt_get="exit 1", id="echo 1000", bare_python=bare)
    done = call(copy, PATH=path, PYTHON="bare-python", NGSPICE_LIBRARY_PATH="/nowhere/lib.so")
    assert done.returncode == 1
    version = "python{}.{}".format(*sys.version_info)
    assert f"apt-get install {version}-venv" in done.stderr
    assert "ngspice" not in done.stderr


def test_an_old_python_and_an_unknown_word_are_refused(copy):
    old = "exit 1"
    done = call(copy, PATH=tools(copy, old_python=old), PYTHON="old-python")
    assert done.returncode == 1
    assert "no Python 3.11 or newer found" in done.stderr
    done = call(copy, "everything")
    assert done.returncode == 1
    assert "expected 'run', 'all' or nothing; got 'everything'" in done.stderr
