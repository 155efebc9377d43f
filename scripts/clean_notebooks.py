"""Take outputs and what an editor has added out of the notebooks of the examples, in place.

Run: python scripts/clean_notebooks.py
"""

import json
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "examples" / "notebooks"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def cleaned(text: str, name: str) -> str:
    """Return a notebook's text without outputs; its cells are numbered, with its name before.

    text: of a notebook in the format of Jupyter, version 4.
    name: of its file, without the suffix.
    """
    cells = [
        _cell(cell, f"{name.replace('_', '-')}-{k:02d}")
        for k, cell in enumerate(json.loads(text)["cells"])
    ]
    notebook = {"cells": cells, "metadata": METADATA, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _cell(cell: dict[str, Any], name: str) -> dict[str, Any]:
    source = "".join(cell["source"]).strip("\n").splitlines(keepends=True)
    empty: dict[str, Any] = {"execution_count": None, "outputs": []}
    empty = empty if cell["cell_type"] == "code" else {}
    whole = {"cell_type": cell["cell_type"], "id": name, "metadata": {}, "source": source, **empty}
    return dict(sorted(whole.items()))


def main() -> None:
    """Clean every notebook that is not clean, and name it."""
    for path in sorted(FOLDER.glob("*.ipynb")):
        text = path.read_text(encoding="utf-8")
        clean = cleaned(text, path.stem)
        if clean != text:
            draft = path.with_suffix(".tmp")
            draft.write_text(clean, encoding="utf-8")
            draft.replace(path)
            print(f"cleaned {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
