"""Execute the notebooks of the examples, each in an empty folder, and read what they print."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

#: Of the extra `notebook`; tests that import from here are skipped without it.
nbclient: Any = pytest.importorskip("nbclient")
nbformat: Any = pytest.importorskip("nbformat")
CellExecutionError = nbclient.exceptions.CellExecutionError

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))
#: Where Jupyter and IPython write beside the notebook.
_FOLDERS = ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
#: Seconds that a cell may take on a busy machine.
_TIME_LIMIT = 300


@dataclass(frozen=True)
class Executed:
    """What an executed notebook shows.

    text: what its cells have printed.
    errors: what they have printed on standard error.
    n_figure: number of its figures.
    """

    text: str
    errors: str
    n_figure: int

    def number(self, pattern: str) -> float:
        """Return the number that a pattern's only group matches in the text."""
        found = re.search(pattern, self.text)
        assert found, f"{pattern!r} is not in: {self.text}"
        return float(found[1])

    @property
    def warnings(self) -> list[str]:
        """Lines of standard error that name the category of a warning."""
        return re.findall(r".*\b\w*Warning\b.*", self.errors)


def execute(source: str, folder: Path, *, seeds: int = 0) -> Executed:
    """Return what a notebook of ours shows, with the packages of this tree, on one thread.

    source: of the notebook, in the format of Jupyter.
    folder: where it runs, and where Jupyter keeps its files.
    seeds: what is added to the seeds of initial weights, as on another processor.

    Raises CellExecutionError for a cell that fails.
    """
    notebook = nbformat.reads(source.replace("manual_seed(1)", f"manual_seed({1 + seeds})"), 4)
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    jupyter, work = folder / "jupyter", folder / "work"
    work.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        for name in _FOLDERS:
            patch.setenv(name, str(jupyter))
        for name, value in {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}.items():
            patch.setenv(name, value)
        patch.setenv("NUMBA_NUM_THREADS", "1")
        quiet = ["--IPKernelApp.log_level=40"]
        place = {"metadata": {"path": str(work)}}
        options = {"timeout": _TIME_LIMIT, "resources": place, "extra_arguments": quiet}
        nbclient.NotebookClient(notebook, kernel_name="python3", **options).execute()
    assert not list(work.iterdir()), "it has left files where it ran"
    return _shown(notebook)


def _shown(notebook: Any) -> Executed:
    outputs = [x for cell in notebook.cells for x in cell.get("outputs", ())]
    streams = {"stdout": "", "stderr": ""}
    for output in outputs:
        if output.output_type == "stream":
            streams[output.name] += output.text
    figures = [x for x in outputs if "image/png" in x.get("data", {})]
    return Executed(streams["stdout"], streams["stderr"], len(figures))


def example(name: str, folder: Path, request: pytest.FixtureRequest) -> Executed:
    """Return what a notebook of the examples shows; it may print no warning."""
    (path,) = (path for path in NOTEBOOKS if path.stem == name)
    seeds = request.config.getoption("other_seeds")
    done = execute(path.read_text(encoding="utf-8"), folder, seeds=seeds)
    assert done.warnings == []
    return done
