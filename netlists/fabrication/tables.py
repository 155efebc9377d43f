"""The tables of a fabrication pack: their columns, how they are written, how they are checked."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from mapping.network.mapped_layer import MappedLayer
from mapping.network.mapped_network import MappedNetwork
from mapping.tiling.tiles import Tile
from netlists.fabrication.file_names import (
    BRANCHES,
    BRANCHES_BINARY,
    CELLS,
    CELLS_BINARY,
    PARTS,
    PINS,
    table_files,
)
from netlists.fabrication.manifest import PackError
from netlists.fabrication.switch_tables import branch_table, write_tables
from tinynets.files.extras import optional
from tinynets.progress import Progress, silent

#: Columns by name, all of the same length.
Table = dict[str, Any]
_ROUNDING = 1e-9  # relative difference, above what another processor may cause


def branch_tables(mapped: MappedNetwork) -> Iterator[Table]:
    """Yield a table of branches for each tile; see `branch_table`."""
    yield from (branch_table(mapped, tile) for tile in mapped.tiles)


def cell_tables(mapped: MappedNetwork) -> Iterator[Table]:
    """Yield a table of cells for each tile, with target and realised values [S].

    The column error is that of g_pos - g_neg as a fraction of the layer's largest target.
    """
    for layer in mapped.layers:
        largest = np.abs(layer.target).max()
        yield from (_cells(layer, tile, largest) for tile in layer.tiles)


def _cells(layer: MappedLayer, tile: Tile, largest: float) -> Table:
    i, j = np.nonzero(tile.present)
    rows, columns = tile.rows[i], tile.columns[j]
    place = layer.source.pattern.place(columns, rows)
    weight = layer.source.weight[place]
    target = weight * layer.g_per_weight[columns]
    g_pos, g_neg = tile.g_pos[i, j], tile.g_neg[i, j]
    return {
        "layer": [tile.layer] * len(i),
        "tile": [tile.name] * len(i),
        "word_line": i,
        "bit_line": j,
        "input": rows,
        "output": columns,
        "weight": weight,
        "g_target": target,
        "g_predicted": layer.predicted[place],
        "g_pos": g_pos,
        "g_neg": g_neg,
        "error": (g_pos - g_neg - target) / largest,
    }


def pin_tables(mapped: MappedNetwork) -> Iterator[Table]:
    """Yield a table of pins for each tile: the input or output of the layer that each one is."""
    for tile in mapped.tiles:
        n_word, n_bit = tile.n_word, tile.n_bit
        n_pin = n_word + 2 * n_bit
        pins = [f"in_{k}" for k in range(n_word)]
        pins += [f"out_{k}_{side}" for side in ("p", "n") for k in range(n_bit)]
        yield {
            "tile": [tile.name] * n_pin,
            "pin": pins,
            "direction": ["in"] * n_word + ["out"] * (2 * n_bit),
            "layer": [tile.layer] * n_pin,
            "index": np.concatenate([tile.rows, tile.columns, tile.columns]),
            "side": [""] * n_word + ["pos"] * n_bit + ["neg"] * n_bit,
        }


def part_tables(mapped: MappedNetwork) -> Iterator[Table]:
    """Yield the bill of materials: counts of resistors by nominal value, and of switches."""
    bank = mapped.die.bank
    n_bank = 2 * sum(int(tile.present.sum()) for tile in mapped.tiles)
    values, counts = np.unique(bank.r_nominal, return_counts=True)
    yield {
        "part": ["resistor"] * len(values) + ["switch"],
        "value_ohm": np.append(values, bank.r_on),
        "count": np.append(counts, bank.n) * n_bank,
    }


#: Functions that make tables, by name of the file without its suffix.
_MAKE: dict[str, Callable[[MappedNetwork], Iterable[Table]]] = {
    "branches": branch_tables,
    "cells": cell_tables,
    "pins": pin_tables,
    "bom": part_tables,
}


def _names(mapped: MappedNetwork, whole: bool) -> tuple[str, ...]:
    return (PINS, PARTS, *(table_files(mapped) if whole else ()))


def write_pack_tables(
    mapped: MappedNetwork, directory: Path, *, whole: bool = True, tell: Progress = silent
) -> None:
    """Write the tables of a pack, those of branches and large ones in bounded memory.

    whole: whether there are tables of branches and cells.
    """
    names = _names(mapped, whole)
    for name in names:
        if name in (CELLS, PINS, PARTS):
            write_tables(_MAKE[Path(name).stem](mapped), directory / name)
    for stem in ("cells", "branches"):
        paths = [directory / name for name in names if Path(name).stem == stem and name != CELLS]
        if paths:
            _write_typed(_MAKE[stem](mapped), paths, len(mapped.tiles), tell)


def _write_typed(tables: Iterable[Table], paths: list[Path], n: int, tell: Progress) -> None:
    """Write n tables of the same columns, one below the other, to CSV and Parquet files."""
    arrow, arrow_csv = optional("pyarrow", extra="fab"), optional("pyarrow.csv", extra="fab")
    parquet = optional("pyarrow.parquet", extra="fab")
    with ExitStack() as stack:
        schema, writers = None, []
        for k, columns in enumerate(tables):
            tell("tables", k, n)
            table = arrow.table(columns) if schema is None else arrow.table(columns).cast(schema)
            if schema is None:
                schema = table.schema
                for path in paths:
                    is_text = path.suffix == ".csv"
                    make = arrow_csv.CSVWriter if is_text else parquet.ParquetWriter
                    options = {} if is_text else {"compression": "zstd"}
                    writers.append(stack.enter_context(make(str(path), schema, **options)))
            for writer in writers:
                writer.write_table(table)
        tell("tables", n, n)


def check_tables(mapped: MappedNetwork, directory: Path, *, whole: bool = True) -> None:
    """Raise PackError, naming the table, if a table of a pack contradicts its network.

    whole: whether there are tables of branches and cells; the manifest says which, and those that
        are there are read.
    """
    names = [PINS, PARTS]
    if whole:
        each = (CELLS, CELLS_BINARY, BRANCHES, BRANCHES_BINARY)
        names += [name for name in each if (directory / name).is_file()]
    for stem, make in _MAKE.items():
        # Text and binary are read in parallel: measured values take longest, and are computed once.
        paths = [directory / name for name in names if Path(name).stem == stem]
        if paths:
            _check(paths, make(mapped))


def _check(paths: list[Path], tables: Iterable[Table]) -> None:
    """Compare files with the tables that they should hold, table by table."""
    arrow = optional("pyarrow", extra="fab")
    readers: list[_Rows] = []
    for columns in tables:
        expected = arrow.table(columns)
        readers = readers or [_Rows(path, expected.schema, arrow) for path in paths]
        for reader in readers:
            reader.compare(expected)
    for reader in readers:
        reader.end()


class _Rows:
    """The rows of a CSV or Parquet file, compared with one table after another."""

    def __init__(self, path: Path, schema: Any, arrow: Any) -> None:
        self.path, self.schema, self.arrow, self.n_row = path, schema, arrow, 0
        self.batches = (_parquet if path.suffix == ".parquet" else _csv)(path, schema)
        self.rest = schema.empty_table()

    def compare(self, expected: Any) -> None:
        """Raise PackError unless the next rows are those of a table."""
        n = expected.num_rows
        while self.rest.num_rows < n:
            self.rest = self.arrow.concat_tables([self.rest, self._next()])
        rows, self.rest = self.rest.slice(0, n), self.rest.slice(n)
        for name in self.schema.names:
            if rows[name].equals(expected[name]):
                continue
            wrong = _differs(rows[name], expected[name])
            if wrong.any():
                k = int(np.argmax(wrong))
                raise PackError(
                    f"{self.path}: row {self.n_row + k + 1} has {name} = {rows[name][k]}; the "
                    f"network of the pack gives {expected[name][k]}"
                )
        self.n_row += n

    def end(self) -> None:
        """Raise PackError if there are more rows."""
        if self.rest.num_rows or self._next(None) is not None:
            raise PackError(f"{self.path} has more rows than the {self.n_row} of its network")

    def _next(self, *default: Any) -> Any:
        try:
            batch = next(self.batches, *default)
            return batch if batch is None else self.arrow.table(batch).cast(self.schema)
        except StopIteration:
            raise PackError(f"{self.path} has fewer rows than the network of the pack") from None
        except (self.arrow.ArrowException, ValueError, KeyError, OSError) as error:
            raise PackError(f"{self.path} cannot be read: {str(error)[:200]}") from error


def _csv(path: Path, schema: Any) -> Iterator[Any]:
    csv = optional("pyarrow.csv", extra="fab")
    options = csv.ConvertOptions(column_types=schema)
    with csv.open_csv(path, convert_options=options) as file:
        yield from file


def _parquet(path: Path, schema: Any) -> Iterator[Any]:
    with optional("pyarrow.parquet", extra="fab").ParquetFile(path) as file:
        yield from file.iter_batches(columns=schema.names)


def _differs(column: Any, expected: Any) -> np.ndarray:
    """Return (n_row,) bool: where two columns differ, for numbers by more than rounding."""
    a, b = column.to_numpy(), expected.to_numpy()
    if b.dtype.kind == "f":
        # Small values may be differences of large ones, so they have the rounding error of those.
        return ~(np.abs(a - b) <= _ROUNDING * np.abs(b).max(initial=0.0))
    return a != b
