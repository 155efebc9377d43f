"""Processor time of every notebook of the examples: of its kernel, and of ngspice below it.

Run: python -m benchmarks.checks.notebooks  (three minutes; kept in results/notebooks.json)

On one thread. Kernels of numba are compiled before, and what a foundry's models say is in the
user's cache, by a first execution that does not count. What is measured stands in
examples/notebooks/README.md, which a test compares.
"""

import os
import resource
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from benchmarks.common import ROOT, machine, print_table, save_json

_FOLDERS = ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")


def seconds(path: Path) -> float:
    """Return the processor time [s] of a notebook, in a folder that is removed afterwards."""
    notebook = nbformat.read(path, 4)
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= dict.fromkeys(_FOLDERS, folder)
        options = {"extra_arguments": ["--IPKernelApp.log_level=40"]}
        place = {"metadata": {"path": folder}}
        before = _of_children()
        NotebookClient(notebook, resources=place, **options).execute()
        return _of_children() - before


def _of_children() -> float:
    """Return the processor time [s] of the processes of this one that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Execute all notebooks twice; print and keep the times of the second execution."""
    os.environ |= {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    start, found = machine(), {}
    for path in sorted((ROOT / "examples" / "notebooks").glob("*.ipynb")):
        seconds(path)
        found[path.stem] = round(seconds(path), 1)
    print_table("Notebooks", ("notebook", "processor time [s]"), list(found.items()))
    save_json("notebooks", {"machine": start, "seconds": found})


if __name__ == "__main__":
    main()
