"""Imports point one way, and the numerical packages do without torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ["tinynets", "mapping", "netlists", "crossbar_sim"]
MODULES = [path for package in PACKAGES for path in sorted((ROOT / package).glob("*.py"))]


def imported_packages(path: Path) -> set[str]:
    """Return the top-level names that a module imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_an_import_only_points_left(path):
    right = PACKAGES[PACKAGES.index(path.parent.name) + 1 :]
    assert not imported_packages(path) & set(right)


@pytest.mark.parametrize(
    "package", ["mapping", "netlists", "tinynets.subset_sum", "crossbar_sim.ngspice"]
)
def test_no_torch_is_imported(package):
    code = f"import {package}, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_public_names_of_the_packages_can_be_imported():
    import crossbar_sim
    import mapping
    import netlists
    import tinynets

    for package in (crossbar_sim, netlists, mapping, tinynets):
        assert package.__all__
        for name in package.__all__:
            assert callable(getattr(package, name)), name
        with pytest.raises(AttributeError, match="nonsense"):
            _ = package.nonsense


def test_no_comparison_has_a_hidden_absolute_tolerance():
    """NumPy allows 1e-8 and torch 1e-5 unless told: more than most currents and conductances."""
    seen, hidden = 0, []
    for path in [*MODULES, *(ROOT / "tests").glob("*.py"), *(ROOT / "benchmarks").glob("*.py")]:
        for call in (x for x in ast.walk(ast.parse(path.read_text())) if isinstance(x, ast.Call)):
            name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
            if name in ("allclose", "isclose", "assert_close"):
                seen += 1
                if not any(keyword.arg == "atol" for keyword in call.keywords):
                    hidden.append(f"{path.name}:{call.lineno}: state atol")
    assert hidden == []
    assert seen > 20


def test_every_public_function_has_a_docstring():
    missing = []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.col_offset == 0:
                public = not node.name.startswith("_")
                if public and ast.get_docstring(node) is None:
                    missing.append(f"{path.name}:{node.name}")
    assert missing == []


@pytest.mark.parametrize("path", MODULES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_text_is_read_and_written_as_utf_8(path):
    """Whatever the locale: an encoding is given wherever text goes through a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            modes = [a.value for a in node.args if isinstance(a, ast.Constant)]
            text = name in ("read_text", "write_text") or (
                name == "open" and any(mode in ("r", "w", "a") for mode in modes)
            )
            given = {keyword.arg for keyword in node.keywords}
            assert not text or "encoding" in given, f"{path.name}:{node.lineno}"
            assert name != "open" or not {"newline"} & given or "encoding" in given
