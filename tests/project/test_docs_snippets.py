"""What the pages show runs as it stands: Python, configurations and commands, in order."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from crossbar_sim.cli.commands import COMMANDS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
#: Pages whose blocks are steps of one piece of work, commands included.
TUTORIALS = sorted((DOCS / "tutorials").glob("*.md"))
#: Pages with Python that other tests do not run with checks of their own.
PYTHON = [
    DOCS / name for name in ("how_to/circuits.md", "how_to/fabrication.md", "how_to/masks.md")
]
PYTHON.append(DOCS / "theory/certificates.md")
_STEP = re.compile(
    r"```python\n(?P<python>.*?)```|```toml\n# (?P<name>\S+\.toml)\n(?P<toml>.*?)```"
    r"|(?P<shell>(?:^    crossbar-sim [^\n]*\n)+)",
    re.DOTALL | re.MULTILINE,
)


def page_id(path: Path) -> str:
    return path.stem


def marked(path: Path) -> object:
    """Mark a tutorial that trains a network: it comes out differently on another processor."""
    trains = "train(model" in path.read_text(encoding="utf-8")
    return pytest.param(path, marks=[pytest.mark.training] if trains else [])


@pytest.mark.filterwarnings("ignore:.*LeafSpec")  # torch's own, when it exports
@pytest.mark.parametrize("path", list(map(marked, TUTORIALS)), ids=[p.stem for p in TUTORIALS])
def test_a_tutorial_does_what_it_says(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    steps = list(_STEP.finditer(path.read_text(encoding="utf-8")))
    assert steps
    names: dict = {}
    for step in steps:
        if step["python"]:
            exec(compile(step["python"], path.name, "exec"), names)
            assert capsys.readouterr().out or step is not steps[0]
        elif step["toml"]:
            (tmp_path / step["name"]).write_text(step["toml"], encoding="utf-8")
        else:
            for line in step["shell"].splitlines():
                _run(line.partition("#")[0].split())


def _run(words: list[str]) -> None:
    assert words[0] == "crossbar-sim"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "crossbar_sim", *words[1:]]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
    assert done.stdout


@pytest.mark.parametrize("path", PYTHON, ids=page_id)
def test_the_python_of_a_page_runs(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    snippets = re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
    assert snippets
    for k, code in enumerate(snippets):
        exec(compile(code, f"{path.name}, snippet {k}", "exec"), {})
        assert capsys.readouterr().out or "write_masks" in code


def test_every_page_with_python_is_run():
    shown = {p for p in DOCS.rglob("*.md") if "```python" in p.read_text(encoding="utf-8")}
    elsewhere = {p.stem for p in (ROOT / "tests/project").glob("test_docs_*.py")}
    left = [p for p in shown - {*PYTHON, *TUTORIALS} if f"test_docs_{p.stem}" not in elsewhere]
    assert left == []


def test_commands_of_the_pages_exist_with_their_options():
    from typer.main import get_command

    from crossbar_sim.cli.commands import app

    commands = get_command(app).commands  # type: ignore[attr-defined]
    texts = [p.read_text(encoding="utf-8") for p in [ROOT / "README.md", *DOCS.rglob("*.md")]]
    lines = [line for text in texts for line in re.findall(r"crossbar-sim ([a-z-]+[^`\n#]*)", text)]
    unknown = []
    for line in lines:
        name, *words = line.split()
        if name in COMMANDS:
            options = {opt for p in commands[name].params for opt in (*p.opts, *p.secondary_opts)}
            used = {w.rstrip(".,;:)") for w in words if w.startswith("--")}
            unknown += [f"{name} {word}" for word in used - options - {"--help"}]
    assert len(lines) > 50
    assert unknown == []
