"""What the scripts that write tables share: kept results, and Markdown."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def load(name: str) -> dict[str, Any]:
    """Return the kept output of a script."""
    return json.loads((RESULTS / f"{name}.json").read_text())


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def measured(section: Callable[[], str], *names: str) -> list[str]:
    """Return a section, or, where its outputs are not kept, what says that they are to be made.

    names: of the outputs, each of a script, or study_NAME of studies.py.
    """
    missing = [name for name in names if not (RESULTS / f"{name}.json").exists()]
    if not missing:
        return [section()]
    scripts = [name.replace("study_", "studies.py ") for name in missing]
    commands = ", ".join(f"`python benchmarks/{s if ' ' in s else s + '.py'}`" for s in scripts)
    return [f"To be measured with these energies, wires and intervals: {commands}."]
