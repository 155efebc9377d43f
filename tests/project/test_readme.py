"""The README is short, its example runs, its commands exist, its files are there."""

import re
from pathlib import Path

import torch

from benchmarks.pages import readme
from crossbar_sim.cli.commands import COMMANDS
from tinynets.networks.models import mlp

ROOT = Path(__file__).parents[2]
PACKAGES = ("tinynets", "mapping", "netlists", "crossbar_sim")
README = (ROOT / "README.md").read_text()


def test_the_readme_fits_one_screen():
    text = re.sub(r"```.*?```|^    .*?$|<.*?>", "", README, flags=re.DOTALL | re.MULTILINE)
    words = re.sub(r"\]\([^)]*\)", "]", text).split()
    assert 150 < len(words) <= 450


def test_the_python_example_puts_a_network_on_a_die():
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(code.splitlines()) <= 10
    torch.manual_seed(0)
    model, images = mlp((64, 16, 10)), torch.rand(40, 64)
    names = {"model": model, "images": images}
    exec(compile(code, "README.md", "exec"), names)
    outputs, digital = names["on_die"](images), model(images)
    assert 0 < (outputs - digital).abs().max() < 0.1 * digital.abs().max()


def test_commands_exist():
    page = (ROOT / "docs/reference/commands.md").read_text()
    assert re.findall(r"^## ([a-z-]+)", page, re.MULTILINE) == list(COMMANDS)
    mentioned = set(re.findall(r"^    crossbar-sim ([a-z-]+)", README, re.MULTILINE))
    assert len(mentioned) > 3
    assert mentioned <= set(COMMANDS)


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^    make ([a-z]+)", README, re.MULTILINE)
    assert "demo" in targets
    for target in targets:
        assert f"\n{target}:" in makefile


def test_linked_files_exist():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]
    links = [
        (page, path) for page in pages for path in re.findall(r"\]\(([^)#:\s]+)", page.read_text())
    ]
    assert len(links) > 150
    assert [f"{page}: {path}" for page, path in links if not (page.parent / path).exists()] == []


def test_the_results_are_what_the_scripts_measured():
    written = readme.written()
    assert len(written) > 15
    assert [path for path, text in written.items() if (ROOT / path).read_text() != text] == []


def test_every_script_that_is_named_is_there():
    """In pages and in the code; and each module of benchmarks can be run as it says."""
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    code = [path for name in ("benchmarks", *PACKAGES) for path in (ROOT / name).rglob("*.py")]
    named = set()
    for path in pages + code:
        text = path.read_text()
        named |= set(re.findall(r"benchmarks/[\w/]+\.py", text))
        modules = re.findall(r"python -m (benchmarks[\w.]+\w)", text)
        named |= {f"{module.replace('.', '/')}.py" for module in modules}
    assert len(named) > 20
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
