"""Measured values come in: a table of branches becomes the die that selection works with."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mapping.bank import Die
from mapping.design import MappedNetwork

#: A branch that conducts nothing: what a missing or defective one is taken for [ohm].
DEFECTIVE_OHM = 1e15
_KEYS = ("layer", "input", "output", "side", "branch")


class WaferError(ValueError):
    """A table of measurements that cannot be used."""


@dataclass(frozen=True)
class Wafer:
    """A measured die, and how many of its branches are defective: not measured, or out of range."""

    die: Die
    n_branch: int
    n_missing: int
    n_out_of_range: int


def read_wafer(
    path: str | Path, mapped: MappedNetwork, *, low: float = 0.2, high: float = 5.0
) -> Wafer:
    """Read measured branch values of the cells of a network, CSV or Parquet.

    Columns: layer, input, output, side (pos or neg), branch, and either ohm or siemens, of the
    branch through its closed switch. Empty cells, and values outside low … high times nominal,
    mark a branch as defective: it counts as never conducting. So do branches that the table lacks.

    Returns the die as measured: its resistors are the readings less the nominal switch, without
    further meter error. Raises WaferError for a file that cannot be read, missing columns, unknown
    layers, cells or sides, a branch given twice, or values that are not positive.
    """
    columns = _read(Path(path))
    bank = mapped.die.bank
    tables = {
        layer.name: np.full((*layer.layer.weight.T.shape, 2, bank.n), np.nan)
        for layer in mapped.layers
    }
    ohm = _ohms(columns, path)
    place = _places(columns, tables, bank.n, path)
    for name, table in tables.items():
        here = columns["layer"] == name
        table[tuple(part[here] for part in place)] = ohm[here]
    return _judge(tables, mapped, low, high)


def _judge(tables: dict[str, np.ndarray], mapped: MappedNetwork, low: float, high: float) -> Wafer:
    """Turn readings into a die, defects into branches that never conduct."""
    bank = mapped.die.bank
    nominal = bank.r_nominal + bank.r_on
    n_branch = n_missing = n_far = 0
    found = {}
    for layer in mapped.layers:
        table = tables[layer.name]
        cells = layer.layer.mask.T
        missing = np.isnan(table)
        far = ~missing & ((table < low * nominal) | (table > high * nominal))
        n_branch += int(cells.sum()) * 2 * bank.n
        n_missing += int(missing[cells].sum())
        n_far += int(far[cells].sum())
        found[layer.name] = np.where(missing | far, DEFECTIVE_OHM, table - bank.r_on)
    # The readings are all that is known: no further scatter, and no second meter error.
    measured = replace(bank, sigma_lot=0.0, sigma_gradient=0.0, sigma_local=0.0, meter_error=0.0)
    return Wafer(Die.from_table(found, measured), n_branch, n_missing, n_far)


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        import pyarrow
        import pyarrow.csv
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError("pyarrow is missing; pip install 'crossbar-sim[fab]'") from error
    try:
        if path.suffix == ".parquet":
            table: Any = pyarrow.parquet.read_table(path)
        else:
            table = pyarrow.csv.read_csv(path)
    except (OSError, pyarrow.ArrowInvalid) as error:
        raise WaferError(f"{path} cannot be read as a table: {error}") from error
    units = {"ohm", "siemens"} & set(table.column_names)
    lacking = [name for name in _KEYS if name not in table.column_names]
    if lacking or len(units) != 1:
        raise WaferError(
            f"{path} has columns {table.column_names}; expected {', '.join(_KEYS)} and one of ohm "
            "and siemens"
        )
    names = [*_KEYS, *units]
    return {name: table[name].to_numpy(zero_copy_only=False) for name in names}


def _ohms(columns: dict[str, np.ndarray], path: str | Path) -> np.ndarray:
    """Return the readings [ohm], NaN where there is none."""
    name = "ohm" if "ohm" in columns else "siemens"
    try:
        values = columns[name].astype(float)
    except (TypeError, ValueError) as error:
        raise WaferError(f"{path}: column {name} holds something that is no number") from error
    bad = np.flatnonzero(~np.isnan(values) & ~(values > 0))
    if len(bad):
        raise WaferError(
            f"{path}: row {bad[0] + 2} has {name} = {values[bad[0]]}; expected a positive value, "
            "or an empty field for a defective branch"
        )
    return values if name == "ohm" else 1.0 / values


def _places(
    columns: dict[str, np.ndarray], tables: dict[str, np.ndarray], n: int, path: str | Path
) -> tuple[np.ndarray, ...]:
    """Return the indices (input, output, side, branch) of every row, all checked."""
    layer, side = columns["layer"].astype(str), columns["side"].astype(str)
    columns["layer"] = layer
    _refuse(~np.isin(layer, list(tables)), path, "layer", layer, f"one of {sorted(tables)}")
    _refuse(~np.isin(side, ["pos", "neg"]), path, "side", side, "pos or neg")
    place = []
    for axis, name in enumerate(("input", "output")):
        values = _whole(columns[name], name, path)
        size = np.array([tables[x].shape[axis] for x in layer.tolist()], dtype=int)
        _refuse((values < 0) | (values >= size), path, name, values, "a cell of the layer")
        place.append(values)
    branch = _whole(columns["branch"], "branch", path)
    _refuse((branch < 0) | (branch >= n), path, "branch", branch, f"0 … {n - 1}")
    place += [(side == "neg").astype(int), branch]
    code = np.unique(layer, return_inverse=True)[1]
    keys = np.stack([code, *place], axis=1)
    _, first, count = np.unique(keys, axis=0, return_index=True, return_counts=True)
    if (count > 1).any():
        twice = keys[first[count > 1][0]]
        raise WaferError(f"{path}: branch {twice[1:].tolist()} of a layer is given twice")
    return tuple(place)


def _whole(values: np.ndarray, name: str, path: str | Path) -> np.ndarray:
    if values.dtype.kind not in "iu":
        raise WaferError(f"{path}: column {name} must hold whole numbers")
    return values.astype(int)


def _refuse(
    wrong: np.ndarray, path: str | Path, name: str, values: np.ndarray, expected: str
) -> None:
    rows = np.flatnonzero(wrong)
    if len(rows):
        row = rows[0]
        raise WaferError(f"{path}: row {row + 2} has {name} = {values[row]}; expected {expected}")
