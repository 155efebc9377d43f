"""Notebooks are stored without outputs, with fixed metadata and ids, and read like lessons."""

import json
import re

import pytest

from notebooks import NOTEBOOKS, ROOT, CellExecutionError, execute, nbformat

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def test_the_readme_names_every_notebook_with_the_time_that_was_measured():
    text = (ROOT / "examples" / "notebooks" / "README.md").read_text(encoding="utf-8")
    kept = ROOT / "benchmarks" / "results" / "notebooks.json"
    measured = json.loads(kept.read_text(encoding="utf-8"))["seconds"]
    rows = re.findall(r"^\| \[`(\w+)\.ipynb`\]\(\1\.ipynb\) \|.*\| (\d+) \|$", text, re.MULTILINE)
    assert {name: int(count) for name, count in rows} == {k: round(s) for k, s in measured.items()}
    assert {name for name, _ in rows} == {path.stem for path in NOTEBOOKS}
    assert len(rows) == 6


def test_every_notebook_is_executed_by_a_test():
    tested = {path.stem.removeprefix("test_") for path in (ROOT / "tests" / "notebooks").iterdir()}
    assert {path.stem for path in NOTEBOOKS} <= tested
    assert len(NOTEBOOKS) == 6


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_stored_without_outputs_and_with_fixed_metadata(path):
    text = path.read_text(encoding="utf-8")
    notebook = json.loads(text)
    assert text == json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    nbformat.validate(notebook)
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert notebook["metadata"] == METADATA
    name = path.stem.replace("_", "-")
    ids = [f"{name}-{k:02d}" for k in range(len(notebook["cells"]))]
    assert [cell["id"] for cell in notebook["cells"]] == ids
    assert [cell["metadata"] for cell in notebook["cells"]] == [{}] * len(ids)
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    held = {(cell["execution_count"], tuple(cell["outputs"])) for cell in code}
    assert held == {(None, ())}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_reads_like_a_lesson(path):
    """It says what is ideal and what speaks against it; cells are short, figures are labelled."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    prose = "".join("".join(x["source"]) for x in cells if x["cell_type"] == "markdown")
    assert "*Ideal here:*" in prose or "*Ideal here*" in prose
    assert "gainst" in prose
    assert "## What to conclude" in prose
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert max(len(text.splitlines()) for text in code) <= 32
    assert any("assert " in text for text in code)
    drawn = [text for text in code if "plt.subplots(" in text]
    assert drawn != []
    for text in drawn:
        assert "label" in text  # of the axes, with units
        assert "title" in text


def test_a_false_assertion_fails_and_a_warning_is_seen(tmp_path):
    """Whatever runs a notebook must not let either pass."""
    said = "import warnings\nwarnings.warn('far off')\nprint('error 2e-3')"
    warned = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(said)])
    (tmp_path / "a").mkdir()
    done = execute(nbformat.writes(warned), tmp_path / "a")
    assert "far off" in done.warnings[0]
    assert done.number(r"error (\S+)") == 2e-3
    failed = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("assert 1 == 2")])
    (tmp_path / "b").mkdir()
    with pytest.raises(CellExecutionError, match=r"1 == 2"):
        execute(nbformat.writes(failed), tmp_path / "b")
