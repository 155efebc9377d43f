"""The tables of a fabrication pack: what their columns hold, written as text, and compared."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mapping.network.mapped_layer import MappedLayer
from mapping.network.mapped_network import MappedNetwork
from mapping.tiling.tiles import Tile
from netlists.fabrication.manifest import PackError
from netlists.fabrication.switch_tables import branch_table
from tinynets.files.extras import optional

#: Columns by name, all of one length.
Table = dict[str, Any]
_ROUNDING = 1e-9  # relative difference that another processor may make, and more


def branch_tables(mapped: MappedNetwork) -> Iterator[Table]:
    """Yield the branches of one tile after another; see `switch_tables.COLUMNS`."""
    yield from (branch_table(mapped, tile) for tile in mapped.tiles)


def cell_tables(mapped: MappedNetwork) -> Iterator[Table]:
    """Yield the cells of one tile after another: targets [S], what is realised, and the error.

    error: of g_pos - g_neg, as a part of the largest target of the layer.
    """
    for layer in mapped.layers:
        largest = np.abs(layer.target).max()
        yield from (_cells(layer, tile, largest) for tile in layer.tiles)


def _cells(layer: MappedLayer, tile: Tile, largest: float) -> Table:
    i, j = np.nonzero(tile.present)
    rows, columns = tile.rows[i], tile.columns[j]
    weight = layer.source.weight[columns, rows]
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
        "g_predicted": layer.predicted[columns, rows],
        "g_pos": g_pos,
        "g_neg": g_neg,
        "error": (g_pos - g_neg - target) / largest,
    }


def pin_tables(mapped: MappedNetwork) -> Iterator[Table]:
    """Yield which pin of each tile is which input or output of its layer."""
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
    """Yield how many resistors of each nominal value, and how many switches, the tiles take."""
    bank = mapped.die.bank
    n_bank = 2 * sum(int(tile.present.sum()) for tile in mapped.tiles)
    values, counts = np.unique(bank.r_nominal, return_counts=True)
    yield {
        "part": ["resistor"] * len(values) + ["switch"],
        "value_ohm": np.append(values, bank.r_on),
        "count": np.append(counts, bank.n) * n_bank,
    }


#: Makers of the tables that every pack has as text, by file.
TEXTS = {"cells.csv": cell_tables, "pins.csv": pin_tables, "bom.csv": part_tables}


def write_texts(mapped: MappedNetwork, directory: Path) -> None:
    """Write cells.csv, pins.csv and bom.csv."""
    for name, make in TEXTS.items():
        _write_text(make(mapped), directory / name)


def _write_text(tables: Iterable[Table], path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        for k, table in enumerate(tables):
            if not k:
                file.write(",".join(table) + "\n")
            lists = [v.tolist() if isinstance(v, np.ndarray) else v for v in table.values()]
            rows = ([v if isinstance(v, str) else repr(v) for v in row] for row in zip(*lists))
            file.writelines(",".join(row) + "\n" for row in rows)


def write_branches(mapped: MappedNetwork, directory: Path) -> None:
    """Write branches.csv and branches.parquet tile by tile, so that memory stays bounded."""
    arrow, arrow_csv = optional("pyarrow", extra="fab"), optional("pyarrow.csv", extra="fab")
    parquet = optional("pyarrow.parquet", extra="fab")
    schema = arrow.table(next(branch_tables(mapped))).schema
    with (
        arrow_csv.CSVWriter(str(directory / "branches.csv"), schema) as text,
        parquet.ParquetWriter(str(directory / "branches.parquet"), schema) as binary,
    ):
        for columns in branch_tables(mapped):
            table = arrow.table(columns).cast(schema)
            text.write_table(table)
            binary.write_table(table)


def check_tables(mapped: MappedNetwork, directory: Path) -> None:
    """Raise PackError naming a table of a pack that says other things than its network."""
    for name, make in TEXTS.items():
        _check(directory / name, make(mapped))
    # Both are read side by side: what a branch measures takes longest, and is found once.
    paths = [directory / f"branches{suffix}" for suffix in (".csv", ".parquet")]
    _check_all(paths, branch_tables(mapped))


def _check(path: Path, tables: Iterable[Table]) -> None:
    _check_all([path], tables)


def _check_all(paths: list[Path], tables: Iterable[Table]) -> None:
    """Compare files with the tables that they should hold, batch by batch."""
    arrow = optional("pyarrow", extra="fab")
    readers: list[_Rows] = []
    for columns in tables:
        wanted = arrow.table(columns)
        readers = readers or [_Rows(path, wanted.schema, arrow) for path in paths]
        for reader in readers:
            reader.compare(wanted)
    for reader in readers:
        reader.end()


class _Rows:
    """The rows of a CSV or Parquet file, compared one table after another."""

    def __init__(self, path: Path, schema: Any, arrow: Any) -> None:
        self.path, self.schema, self.arrow, self.n_row = path, schema, arrow, 0
        self.batches = (_parquet if path.suffix == ".parquet" else _csv)(path, schema)
        self.rest = schema.empty_table()

    def compare(self, wanted: Any) -> None:
        """Raise PackError unless the next rows are these."""
        while self.rest.num_rows < wanted.num_rows:
            self.rest = self.arrow.concat_tables([self.rest, self._next()])
        found, self.rest = self.rest.slice(0, wanted.num_rows), self.rest.slice(wanted.num_rows)
        for name in self.schema.names:
            if found[name].equals(wanted[name]):
                continue
            wrong = _differs(found[name], wanted[name])
            if wrong.any():
                k = int(np.argmax(wrong))
                raise PackError(
                    f"{self.path}: row {self.n_row + k + 1} has {name} = {found[name][k]}; the "
                    f"network of the pack gives {wanted[name][k]}"
                )
        self.n_row += wanted.num_rows

    def end(self) -> None:
        """Raise PackError when there are more rows."""
        if self.rest.num_rows or self._next(None) is not None:
            raise PackError(f"{self.path} has more than the {self.n_row} rows of its network")

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


def _differs(found: Any, wanted: Any) -> np.ndarray:
    """Return (n_row,) bool: where two columns differ, numbers by more than rounding may."""
    a, b = found.to_numpy(), wanted.to_numpy()
    if b.dtype.kind == "f":
        # A small difference of large numbers is rounded as they are.
        return ~(np.abs(a - b) <= _ROUNDING * np.abs(b).max(initial=0.0))
    return a != b
