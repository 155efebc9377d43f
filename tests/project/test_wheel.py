"""The wheel holds every room, with templates and schemas; an editable install would hide a lack."""

import importlib.util
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import crossbar_sim
from tinynets.version import VERSION

ROOT = Path(__file__).parents[2]
#: Files beside the packages that both are made from.
TOP = ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in", "CHANGELOG.md", "CITATION.cff")
_spec = importlib.util.spec_from_file_location("release", ROOT / "scripts" / "build_release.py")
release = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(release)
PACKAGES = ("tinynets", "mapping", "netlists", "crossbar_sim")


def test_the_wheel_has_every_file_of_the_packages(tmp_path):
    for name in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, tmp_path / "tree" / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path / "tree")
    code = f"from setuptools.build_meta import build_wheel; build_wheel({str(tmp_path)!r})"
    subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "tree", check=True, capture_output=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    paths = [p for name in PACKAGES for p in (ROOT / name).rglob("*") if p.is_file()]
    expected = {p.relative_to(ROOT).as_posix() for p in paths if "__pycache__" not in p.parts}
    assert len(expected) > 150
    assert held == expected


def test_wheel_and_sdist_have_the_same_bytes_and_all_their_tests(tmp_path):
    made = []
    for place in ("one", "another"):
        tree = tmp_path / place / "tree"
        for name in (*PACKAGES, "tests", "docs"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, tree / name, ignore=ignored, copy_function=shutil.copyfile)
        for name in TOP:
            shutil.copy(ROOT / name, tree)
        (tmp_path / place / "out").mkdir()
        made.append(release.build(tree, tmp_path / place / "out", 1_700_000_000))
    assert [path.suffix for path in made[0]] == [".whl", ".gz"]
    for one, another in zip(*made, strict=True):
        assert one.name == another.name
        assert one.read_bytes() == another.read_bytes()
    with tarfile.open(made[0][1]) as sdist:
        held = {member.name.partition("/")[2] for member in sdist.getmembers()}
        assert {member.mtime for member in sdist.getmembers()} == {1_700_000_000}
    tests = {p.relative_to(ROOT).as_posix() for p in (ROOT / "tests").rglob("*.*") if p.is_file()}
    expected = {name for name in tests if "__pycache__" not in name} | set(TOP)
    assert len(expected) > 150
    assert expected <= held
    assert not [name for name in held if name.endswith((".pyc", ".nbi", ".nbc"))]


def test_the_version_is_said_once():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert "version" in project["dynamic"]
    assert crossbar_sim.__version__ == VERSION
    assert f"\nversion: {VERSION}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\n## {VERSION} (" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert all((ROOT / name / "py.typed").is_file() for name in PACKAGES)
