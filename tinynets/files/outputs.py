"""What is written for people: tables as CSV text, and files that lie side by side."""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tinynets.files.drafts import new_file


def one_line(text: object) -> str:
    """Return a text without unprintable characters, newlines included.

    What a name of a user's holds then cannot end a comment or a title, and add what follows it.
    """
    return "".join(c if c.isprintable() else " " for c in str(text))


def csv_text(
    rows: list[dict[str, Any]], *, digits: int | None = None, names: Iterable[str] = ()
) -> str:
    """Return rows as CSV with a header of all their names.

    digits: significant digits of each float; None for all.
    names: that come first in the header, whatever the rows have.
    """
    text = io.StringIO()
    header = dict.fromkeys([*names, *(name for row in rows for name in row)])
    table = csv.DictWriter(text, list(header), lineterminator="\n")
    table.writeheader()
    for row in rows:
        short = {k: f"{v:.{digits}g}" for k, v in row.items() if digits and isinstance(v, float)}
        table.writerow(row | short)
    return text.getvalue()


def write_beside(stem: Path, contents: Mapping[str, bytes]) -> list[Path]:
    """Write STEM with each ending, such as "-law.csv", one after the other; return the paths."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = [stem.with_name(f"{stem.name}{ending}") for ending in contents]
    for path, content in zip(paths, contents.values()):
        with new_file(path) as draft:
            draft.write_bytes(content)
    return paths
