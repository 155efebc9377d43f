"""Figures on stdout: CSV for a pipe, a table for people, or one JSON object, if it is asked for."""

import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tinynets.files.outputs import csv_text

Json = Annotated[
    bool,
    typer.Option("--json", help="One JSON object on stdout, with the same numbers."),
]
Rows = list[dict[str, Any]]
#: How the floats of a column are written; see `format`.
Form = str | Callable[[str], str]
#: Space between two columns of a table.
_GAP = 2


def print_rows(
    rows: Rows,
    *,
    as_json: bool = False,
    form: Form = "",
    names: Iterable[str] = (),
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Print rows: as CSV, as a table if stdout is a terminal, or as the JSON object {"rows": …}.

    form: format of all floats, such as ".4g", or a function from the name of a column to it.
    names: that come first in the header, whatever the rows have.
    facts: other keys of the JSON object.
    """
    written = _written(rows, form)
    if as_json:
        print_json({"rows": _read(rows, written), **(facts or {})})
    elif sys.stdout.isatty():
        Console().print(*tables_that_fit(rows, Console().width) if rows else ())
    else:
        typer.echo(csv_text(written, names=names), nl=False)


def print_tables(tables: Mapping[str, Rows], *, as_json: bool, form: Form, **facts: Any) -> None:
    """Print several tables with their titles, which go to stderr, or one JSON object of all.

    facts: other keys of the JSON object.
    """
    if as_json:
        read = {title: _read(rows, _written(rows, form)) for title, rows in tables.items()}
        told = [{"title": title, "rows": rows} for title, rows in read.items()]
        print_json({**facts, "tables": told})
        return
    for title, rows in tables.items():
        Console(stderr=True, highlight=False).print(f"{title}:", markup=False)
        print_rows(rows, form=form)
        typer.echo()


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object; what JSON lacks is the text "Infinity", "-Infinity" or "NaN"."""
    typer.echo(json.dumps(_plain(value), indent=1, ensure_ascii=False))


def for_people() -> bool:
    """Return whether both stdout and stderr are terminals, so that nobody reads CSV."""
    return sys.stdout.isatty() and sys.stderr.isatty()


def _written(rows: Rows, form: Form) -> Rows:
    """Return rows with each float as it is printed."""
    of = form if callable(form) else lambda _name: form
    return [
        {k: format(v, of(k)) if isinstance(v, float) else v for k, v in row.items()} for row in rows
    ]


def _read(rows: Rows, written: Rows) -> Rows:
    """Return printed rows with numbers in place of the texts of floats."""
    return [
        {k: float(after[k]) if isinstance(v, float) else v for k, v in row.items()}
        for row, after in zip(rows, written, strict=True)
    ]


def _plain(value: Any) -> Any:
    """Return a value in the types of JSON."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):  # a number of NumPy
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value if isinstance(value, bool | int | float | str | None) else str(value)


# ---- tables for people ---------------------------------------------------------------------------


def tables_that_fit(rows: Rows, width: int) -> list[Table]:
    """Return rows as tables of this width, all with the first column and some of the others.

    A value with its interval, X, X_low and X_high, is one column; a longer text is wrapped.
    """
    shown = [dict(_cells(row)) for row in rows]
    names = list(dict.fromkeys(name for row in shown for name in row))
    longest = {name: max(len(name), *(len(row.get(name, "")) for row in shown)) for name in names}
    sizes = {name: min(size + _GAP, width // 2) for name, size in longest.items()}
    parts: list[list[str]] = []
    for name in names[1:]:
        if not parts or sum(sizes[known] for known in [*parts[-1], name]) > width:
            parts.append(names[:1])
        parts[-1].append(name)
    return [_table(shown, part) for part in parts or [names]]


def _table(shown: list[dict[str, str]], names: list[str]) -> Table:
    table = Table(box=None)
    for name in names:
        table.add_column(escape(name), overflow="fold")
    for row in shown:
        table.add_row(*(escape(row.get(name, "")) for name in names))
    return table


def _cells(row: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield name and text of each cell, with intervals beside their values."""
    for name, value in row.items():
        stem, _, end = name.rpartition("_")
        if end in ("low", "high") and _has_interval(stem, row):
            continue
        text = _short(value)
        if text and _has_interval(name, row):
            text += f" ({_short(row[f'{name}_low'])} … {_short(row[f'{name}_high'])})"
        yield name, text


def _has_interval(name: str, row: dict[str, Any]) -> bool:
    return {name, f"{name}_low", f"{name}_high"} <= set(row)


def _short(value: Any) -> str:
    """Return a value in few digits, nothing for one that is not there."""
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
