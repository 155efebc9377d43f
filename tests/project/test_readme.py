"""The README's example runs, its commands exist, its files are there."""

import re
import subprocess
import sys
from pathlib import Path

from benchmarks.pages import laws, readme

ROOT = Path(__file__).parents[2]
PACKAGES = ("tinynets", "mapping", "netlists", "crossbar_sim")
README = (ROOT / "README.md").read_text()


def test_the_python_example_runs_and_prints_a_tiny_error():
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    lines = [line for line in code.splitlines() if line and not line.startswith(("import", "from"))]
    assert len(lines) <= 15
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 1e-11


def test_commands_exist():
    from crossbar_sim.cli.commands import app

    known = {command.name or command.callback.__name__ for command in app.registered_commands}
    mentioned = set(re.findall(r"^\| `crossbar-sim ([a-z-]+)", README, re.MULTILINE))
    assert mentioned == known


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^    make ([a-z]+)", README, re.MULTILINE)
    assert "demo" in targets
    for target in targets:
        assert f"\n{target}:" in makefile


def test_linked_files_exist():
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        links = re.findall(r"\]\(([^)#:]+)\)", page.read_text())
        assert links or page.name != "README.md"
        for path in links:
            assert (page.parent / path).exists(), f"{page.name}: {path}"


def test_the_results_are_what_the_scripts_measured():
    assert readme.block() in README
    assert readme.page() == (ROOT / "docs" / "results.md").read_text()
    assert laws.page() == (ROOT / "docs" / "laws.md").read_text()


def test_every_script_that_is_named_is_there():
    """In pages and in the code; and each module of benchmarks can be run as it says."""
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    code = [path for name in ("benchmarks", *PACKAGES) for path in (ROOT / name).rglob("*.py")]
    named = set()
    for path in pages + code:
        text = path.read_text()
        named |= set(re.findall(r"benchmarks/[\w/]+\.py", text))
        modules = re.findall(r"python -m (benchmarks[\w.]+\w)", text)
        named |= {f"{module.replace('.', '/')}.py" for module in modules}
    assert len(named) > 20
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
