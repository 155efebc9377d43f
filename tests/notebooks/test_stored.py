"""Notebooks are stored without outputs, with fixed metadata and ids, and read like lessons."""

import json
import re
import runpy

import pytest

from notebooks import NOTEBOOKS, ROOT, CellExecutionError, execute, nbformat

CLEAN = runpy.run_path(str(ROOT / "scripts" / "clean_notebooks.py"))


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
    assert text == CLEAN["cleaned"](text, path.stem), "run scripts/clean_notebooks.py"
    nbformat.validate(json.loads(text))


def test_what_an_editor_adds_is_taken_out(tmp_path, capsys):
    path = tmp_path / "own_network.ipynb"
    text = (ROOT / "examples" / "notebooks" / path.name).read_text(encoding="utf-8")
    notebook = json.loads(text)
    code = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")
    code |= {"execution_count": 7, "id": "another", "metadata": {"trusted": True}}
    code["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["1\n"]}]
    notebook["metadata"]["language_info"]["version"] = "3.11.7"
    path.write_text(json.dumps(notebook), encoding="utf-8")
    clean = CLEAN["main"]
    clean.__globals__["FOLDER"] = tmp_path
    clean()
    assert path.read_text(encoding="utf-8") == text
    assert capsys.readouterr().err == f"cleaned {path}\n"
    clean()
    assert capsys.readouterr().err == ""
    assert list(tmp_path.iterdir()) == [path]


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
