"""What the scripts that write tables share: kept results, and Markdown."""

import json
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


def has(*names: str) -> bool:
    """Return whether there are kept outputs of these names."""
    return all((RESULTS / f"{name}.json").exists() for name in names)
