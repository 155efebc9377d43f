"""The short scripts run as they are, one for each family of methods."""

import runpy
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parents[2] / "examples").glob("prune_*.py"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_an_example_runs(path, capsys):
    if path.stem == "prune_filters":
        pytest.importorskip("torch_pruning")
    runpy.run_path(str(path), run_name="__main__")
    assert "%" in capsys.readouterr().out
    assert len(path.read_text().splitlines()) < 40
