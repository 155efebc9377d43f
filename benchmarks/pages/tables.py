"""What the scripts that write tables share: kept outputs and Markdown."""

import json
from collections.abc import Callable
from typing import Any

from benchmarks.common import RESULTS, ROOT


def load(name: str) -> dict[str, Any]:
    """Return the kept output of a script."""
    return json.loads((RESULTS / f"{name}.json").read_text())


def images_of(kept: dict[str, Any]) -> str:
    """Return the images that a kept output is from."""
    return "all of MNIST" if kept.get("data") == "mnist" else "MNIST-5000"


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def measured(section: Callable[[], str], *names: str) -> list[str]:
    """Return a section or, if one of its outputs is missing, the commands that make it.

    section: a function that returns the section.
    names: the outputs that it needs, each of a script, or study_NAME of studies/run_studies.py.
    """
    missing = [name for name in names if not (RESULTS / f"{name}.json").exists()]
    if not missing:
        return [section()]
    commands = ", ".join(f"`{_command(name)}`" for name in missing)
    return [f"Not yet measured with these energies, wires and intervals: {commands}."]


def _command(name: str) -> str:
    """Return the command that makes an output."""
    script, _, study = name.partition("_") if name.startswith("study_") else (name, "", "")
    (path,) = (ROOT / "benchmarks").rglob(f"{'run_studies' if study else script}.py")
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return f"python -m {module} {study}".rstrip()
