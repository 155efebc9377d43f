"""Tables of measurements in CSV or Parquet, read batch by batch with typed columns."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tinynets.files.extras import optional

#: A table has exactly one of these columns; measured_ohm is the name in a pack's own table.
UNITS = ("ohm", "measured_ohm", "siemens")
_CELL = ("layer", "input", "output", "side")
#: By the column that says what a value belongs to, of which a table has one: the columns that it
#: may have, and what to do about such a table where the other kind is read.
_KINDS = {"branch": (("die", "stuck"), "leave out --plan"), "reading": (("die",), "give --plan")}
_WHOLE = ("input", "output", *_KINDS)
_BATCH = 2**16  # rows in memory at once


class WaferError(ValueError):
    """A table of measurements that cannot be used."""


def read_batches(path: Path, what: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield, for each batch of rows, the number of its first row and its typed columns."""
    arrow = optional("pyarrow", extra="fab")
    parquet = path.suffix == ".parquet"
    row = 1 if parquet else 2  # row 1 of a CSV file is its header
    try:
        for batch in (_parquet if parquet else _csv)(path, arrow, what):
            if batch.num_rows:
                yield row, _typed(batch, arrow, path, row)
            row += batch.num_rows
    except OSError as error:
        raise WaferError(f"{path} cannot be read: {error}") from error
    except arrow.ArrowException as error:
        text = str(error) if parquet else _with_row(path, arrow, what) or str(error)
        match = re.search(r"Row #(\d+): (.*)", text, re.DOTALL)
        where, reason = (f"at row {match[1]}", match[2]) if match else ("", text)
        raise WaferError(
            f"{path} cannot be read {where or f'after row {row - 1}'}; expected whole numbers in "
            f"input, output, {what} and numbers in the column of values: {reason[:200]}"
        ) from error


def _with_row(path: Path, arrow: Any, what: str) -> str:
    """Return the error of a CSV file with its row, which a reader with several threads omits."""
    try:
        for _ in _csv(path, arrow, what, threads=False):
            pass
    except arrow.ArrowException as error:
        return str(error)
    return ""


def _parquet(path: Path, arrow: Any, what: str) -> Iterator[Any]:
    with optional("pyarrow.parquet", extra="fab").ParquetFile(path) as file:
        names = _columns(file.schema_arrow.names, path, what)
        yield from file.iter_batches(_BATCH, columns=names)


def _csv(path: Path, arrow: Any, what: str, *, threads: bool = True) -> Iterator[Any]:
    csv = optional("pyarrow.csv", extra="fab")
    reading = csv.ReadOptions(use_threads=threads)
    with csv.open_csv(path, read_options=reading) as head:
        names = _columns(head.schema.names, path, what)
    kinds = csv.ConvertOptions(include_columns=names, column_types=_types(names, arrow))
    with csv.open_csv(path, read_options=reading, convert_options=kinds) as file:
        yield from file


def _columns(names: list[str], path: Path, what: str) -> list[str]:
    """Return the columns to read; each must occur exactly once."""
    keys, (other,) = (*_CELL, what), _KINDS.keys() - {what}
    extra = _KINDS[what][0]
    if other in names:
        raise WaferError(
            f"{path} has a column {other}; composite readings have a column reading and need their "
            f"plan, single readings have a column branch and no plan: {_KINDS[other][1]}"
        )
    if "stuck" in names and "stuck" not in extra:
        raise WaferError(
            f"{path} has a column stuck, which is only for a column branch; remove it: composite "
            "readings show which switches are stuck"
        )
    known = [name for name in names if name in (*keys, *UNITS, *extra)]
    units = [name for name in known if name in UNITS]
    if len(units) != 1 or sorted(set(known) - {*extra, *units}) != sorted(keys):
        raise WaferError(
            f"{path} has columns {names}; expected {', '.join(keys)} and one of {', '.join(UNITS)}"
        )
    if len(set(known)) != len(known):
        raise WaferError(f"{path} has columns {names}; expected each of them once")
    return known


def _types(names: list[str], arrow: Any) -> dict[str, Any]:
    kinds: dict[str, Any] = dict.fromkeys(_WHOLE, arrow.int64())
    kinds |= dict.fromkeys(UNITS, arrow.float64())
    return {name: kinds.get(name, arrow.string()) for name in names}


def _typed(batch: Any, arrow: Any, path: Path, first: int) -> dict[str, Any]:
    """Return the columns of a batch by name; raises ArrowInvalid for what is not a number.

    first: number of the first row, for the message about an empty field.
    """
    types = _types(batch.schema.names, arrow)
    columns = {name: batch[name].cast(kind) for name, kind in types.items()}
    if "stuck" in columns:
        columns["stuck"] = columns["stuck"].fill_null("")
    for name in (*_CELL, *_KINDS, "die"):
        if name in columns and columns[name].null_count:
            row = first + int(np.argmax(columns[name].is_null().to_numpy(zero_copy_only=False)))
            raise WaferError(f"{path}: row {row} has no {name}; every row needs one")
    return columns
