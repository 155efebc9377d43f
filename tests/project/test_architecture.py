"""Imports point one way, and the numerical packages do without torch."""

import ast
import subprocess
import sys
from pathlib import Path

import networkx
import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ["tinynets", "mapping", "netlists", "crossbar_sim"]
MODULES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
#: The rooms of each package; a room may import from those before it.
ROOMS = {
    "tinynets": [
        "files",
        "subset_sum",
        "data",
        "modules",
        "networks",
        "formats",
        "pruning",
        "lottery",
    ],
    "mapping": ["bank", "tiling", "selection", "wafer", "network"],
    "netlists": ["circuit", "spice", "foundry", "layout", "fabrication"],
    "crossbar_sim": [
        "system",
        "transfer",
        "solvers",
        "certificates",
        "golden",
        "gradients",
        "ngspice",
        "nonlinear",
        "foundry",
        "periphery",
        "on_die",
        "calibration",
        "energy",
        "config",
        "pipeline",
        "findings",
        "report",
        "study",
        "study_report",
        "laws",
        "jobs",
        "selftest",
        "cli",
    ],
}
#: Rooms inside a room; each knows nothing of the files around it.
ROOMS_INSIDE = ["tinynets/formats/onnx"]


def named(path: Path) -> str:
    """Return a module's path in the repository, as tests are named by it."""
    return path.relative_to(ROOT).as_posix()


def imported_modules(path: Path) -> set[str]:
    """Return all dotted names that a module imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_an_import_only_points_left(path):
    right = PACKAGES[PACKAGES.index(path.relative_to(ROOT).parts[0]) + 1 :]
    assert not {name.split(".")[0] for name in imported_modules(path)} & set(right)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_is_a_room_in_the_written_order(package):
    rooms = {p.parent.name for p in (ROOT / package).glob("*/__init__.py")}
    assert rooms == set(ROOMS[package])
    wrong = []
    for place, room in enumerate(ROOMS[package]):
        later = set(ROOMS[package][place + 1 :])
        for path in (ROOT / package / room).rglob("*.py"):
            own = [n.split(".") for n in imported_modules(path) if n.startswith(f"{package}.")]
            wrong += [f"{named(path)}: {'.'.join(n)}" for n in own if n[1] in later]
    assert wrong == []


def test_a_room_inside_a_room_knows_nothing_of_the_files_around_it():
    inside = [p.parent for name in PACKAGES for p in (ROOT / name).glob("*/*/**/__init__.py")]
    assert sorted(map(named, inside)) == ROOMS_INSIDE
    around = []
    for room in inside:
        own, beside = (named(place).replace("/", ".") + "." for place in (room, room.parent))
        for path in room.glob("*.py"):
            near = [name for name in imported_modules(path) if name.startswith(beside)]
            around += [f"{named(path)}: {name}" for name in near if not name.startswith(own)]
    assert around == []


def test_a_room_has_three_to_ten_files_and_says_what_it_is_for():
    rooms = [ROOT / package / room for package, names in ROOMS.items() for room in names]
    rooms += [ROOT / room for room in ROOMS_INSIDE]
    assert len(rooms) > 20
    for room in rooms:
        count = len([p for p in room.glob("*.py") if p.name != "__init__.py"])
        assert 3 <= count <= 10, f"{named(room)}: {count}"
        assert ast.get_docstring(ast.parse((room / "__init__.py").read_text()))


def test_no_modules_import_each_other():
    """Imports inside functions count: a circle is a circle."""
    known = {named(p).removesuffix(".py").replace("/", "."): p for p in MODULES}
    after = {
        name: {m for n in imported_modules(p) for m in (n, n.rpartition(".")[0]) if m in known}
        for name, p in known.items()
    }
    circles = list(networkx.simple_cycles(networkx.DiGraph(after)))
    assert circles == []


@pytest.mark.parametrize(
    "package", ["mapping", "netlists", "tinynets.subset_sum", "crossbar_sim.ngspice.worker"]
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
    for path in [*MODULES, *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]:
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


def test_text_is_read_and_written_as_utf_8():
    """Whatever the locale: an encoding is given wherever text goes through a file."""
    seen, wrong = 0, []
    for path in MODULES:
        for call in (x for x in ast.walk(ast.parse(path.read_text())) if isinstance(x, ast.Call)):
            name = getattr(call.func, "attr", getattr(call.func, "id", ""))
            modes = {a.value for a in call.args if isinstance(a, ast.Constant)}
            given = {keyword.arg for keyword in call.keywords}
            as_text = modes & {"r", "w", "a"} or "newline" in given
            if name in ("read_text", "write_text") or (name == "open" and as_text):
                seen += 1
                if "encoding" not in given:
                    wrong.append(f"{named(path)}:{call.lineno}: state encoding")
    assert wrong == []
    assert seen > 10
