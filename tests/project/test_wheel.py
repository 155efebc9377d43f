"""The wheel holds every room, with templates and schemas; an editable install would hide a lack."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
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
