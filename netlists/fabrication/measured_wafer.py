"""Measured wafers: a table of branches becomes the die that selection works with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mapping.bank import Die, ResistorBank
from mapping.bank.stuck import NEVER_CLOSES, NEVER_OPENS, WORKS
from mapping.network.mapped_network import MappedNetwork
from mapping.wafer.meter import Meter
from mapping.wafer.reading_plan import Plan
from mapping.wafer.readings import solve_banks
from netlists.fabrication.wafer_table import UNITS, WaferError, read_batches

#: Resistance that stands for a missing or defective branch, which conducts nothing [ohm].
DEFECTIVE_OHM = 1e15
_STUCK = {"": WORKS, "open": NEVER_CLOSES, "closed": NEVER_OPENS}
_SIDES = {"pos": 0, "neg": 1}
_SIGMAS = 6.0  # a composite reading may be below zero by this many absolute errors of the meter
_USABLE = 0.5  # least fraction of branches with a usable reading
_PREFIX = 1e3  # ratio of neighbouring prefixes of a unit
_HINTED = 0.005  # fraction of branches that look off by a prefix, above which a hint is given


@dataclass(frozen=True)
class Wafer:
    """A measured die, and how many of its branches are defective: not measured or out of range.

    die: the die as measured.
    readings: layer -> (n_in, n_out, 2, n) [ohm], each branch through its closed switch; NaN
        where there is no reading.
    defective: layer -> (n_in, n_out, 2, n) bool, True only where a cell has devices.
    n_branch: branches of all cells with devices.
    n_missing: branches without a reading.
    n_out_of_range: branches out of range.
    n_stuck: switches that the table marks as stuck, open or closed.
    n_prefix: branches out of range that a factor of 1,000 would put in range.
    meter: the meter's error.
    plan: the plan of composite readings, else None.
    raw: layer -> (n_in, n_out, 2, n_reading) [S], composite readings as given, NaN where there is
        none; else None.
    n_unread: readings of the plan that the table lacks.
    n_disagree: banks whose readings contradict each other.
    """

    die: Die
    readings: Mapping[str, np.ndarray]
    defective: Mapping[str, np.ndarray]
    n_branch: int
    n_missing: int
    n_out_of_range: int
    n_stuck: int
    n_prefix: int = 0
    meter: Meter = field(default_factory=Meter)
    plan: Plan | None = None
    raw: Mapping[str, np.ndarray] | None = None
    n_unread: int = 0
    n_disagree: int = 0

    @property
    def hint(self) -> str:
        """Hint about many readings that are off by a factor of 1,000; empty if there are few."""
        if self.n_prefix <= _HINTED * self.n_branch:
            return ""
        return (
            f"{self.n_prefix} of {self.n_branch} branches ({self.n_prefix / self.n_branch:.1%}) "
            "read 1,000 times too high or too low: part of the table may be in another unit, such "
            "as kilohm"
        )

    def covariance(self, layer: str, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Return the covariance (n_cell, 2, n, n) [S^2] of the branches of cells.

        Zero for branches that are defective, and for a meter without any error.
        """
        bank, known = self.die.bank, ~self.defective[layer][rows, columns]
        if self.plan is None or self.raw is None:
            g = np.where(known, 1 / self.readings[layer][rows, columns], 0.0)
            variance = np.where(known, np.square(self.meter.sigma(g)), 0.0)
            return variance[..., None] * np.eye(bank.n)
        raw = self.raw[layer][rows, columns].reshape(-1, len(self.plan.closed))
        solved = solve_banks(self.plan, raw, bank, self.meter)
        covariance = solved.covariance.reshape(len(rows), 2, bank.n, bank.n)
        return np.where(known[..., None] & known[..., None, :], covariance, 0.0)


def read_wafer(
    path: str | Path,
    mapped: MappedNetwork,
    *,
    low: float = 0.2,
    high: float = 5.0,
    plan: Plan | None = None,
    meter: Meter | None = None,
) -> Wafer:
    """Read the measured branches of a network's cells from a CSV or Parquet file.

    path: a table with the columns layer, input, output, side (pos or neg), branch and one of ohm,
        measured_ohm or siemens: the branch through its closed switch at the bank's temperature.
        Two more columns are optional: `die`, the id of the network's die, and `stuck`: open,
        closed or empty. A branch stuck closed needs a reading.
    mapped: the network.
    low, high: usable range of a reading, as fractions of the nominal value.
    plan: the plan of composite readings. Their table has a column `reading`, numbered as in the
        plan, in place of `branch`; a value is the whole bank with the switches of that reading
        closed. In siemens, it may be below zero by six of the meter's absolute errors.
    meter: the meter's error; by default that of the die's bank.

    A branch without a value, or with one out of range, is defective: it counts as never conducting
    and no selection closes it. Composite readings are solved by weighted least squares;
    `mapping.wafer.readings` explains gaps, contradictions and stuck switches. Memory depends on
    the size of the die, not on the length of the table.

    The measured die has the readings less the nominal switch as its resistors, without further
    scatter or meter error. Raises WaferError for a file that cannot be read, missing columns,
    unknown layers, cells or sides, another die, a branch or reading given twice, values that are
    not positive, composite readings without a plan (or the reverse), or if more than half of the
    branches have no usable reading or more than half of the banks disagree.
    """
    path, bank = Path(path), mapped.die.bank
    meter = Meter(bank.meter_error) if meter is None else meter
    cells = _cells(mapped)
    kind = _Kind("branch", bank.n, _impossible_branch)
    if plan is not None:
        kind = _Kind("reading", len(plan.closed), partial(_impossible_reading, plan, meter))
    readings = _Readings(cells, mapped.die, kind)
    for first, columns in read_batches(path, kind.column):
        readings.add(_Batch(path, first, columns))
    if plan is None:
        return replace(_judge(readings.ohm, readings.state, mapped, low, high, path), meter=meter)
    raw = _by_layer(1 / readings.ohm, cells)
    n_unread = sum(int(np.isnan(raw[layer][mask]).sum()) for layer, mask in cells.items())
    ohm, state, n_disagree = _solve(raw, cells, plan, bank, meter, path)
    known = {"meter": meter, "plan": plan, "raw": raw}
    wafer = _judge(ohm, state, mapped, low, high, path)
    return replace(wafer, **known, n_unread=n_unread, n_disagree=n_disagree)


def _by_layer(values: np.ndarray, cells: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return views layer -> (n_in, n_out, 2, n) of values (n_cell, 2, n) of all layers in order."""
    parts = np.split(values, np.cumsum([mask.size for mask in cells.values()])[:-1])
    return {
        name: part.reshape(*mask.shape, *part.shape[1:])
        for (name, mask), part in zip(cells.items(), parts)
    }


def _solve(
    raw: Mapping[str, np.ndarray],
    cells: Mapping[str, np.ndarray],
    plan: Plan,
    bank: ResistorBank,
    meter: Meter,
    path: Path,
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return resistance and state (n_cell, 2, n) of every branch, and how many banks disagree.

    raw: composite readings [S] by layer.
    cells: True where a cell has devices, by layer.
    """
    ohm = np.full((sum(mask.size for mask in cells.values()), 2, bank.n), np.nan)
    state, n_bank, n_disagree = np.full(ohm.shape, WORKS, np.int8), 0, 0
    ohms, states = _by_layer(ohm, cells), _by_layer(state, cells)
    for layer, mask in cells.items():
        solved = solve_banks(plan, raw[layer][mask].reshape(-1, len(plan.closed)), bank, meter)
        # A negative estimate is that of a branch that does not conduct.
        g = np.where(solved.g <= 0, 0.0, solved.g).reshape(-1, 2, bank.n)
        with np.errstate(divide="ignore"):
            ohms[layer][mask] = 1 / g
        states[layer][mask] = np.where(solved.stuck, NEVER_OPENS, WORKS).reshape(g.shape)
        n_bank += len(solved.agrees)
        n_disagree += int((~solved.agrees).sum())
    if n_disagree > (1 - _USABLE) * n_bank:
        raise WaferError(
            f"{path}: the readings of {n_disagree} of {n_bank} banks contradict each other by more "
            f"than the meter's errors of {meter.relative:g} and {meter.absolute:g} S explain; "
            "check the plan, the meter's error, the unit, and r_off of the bank"
        )
    return ohm, state, n_disagree


@dataclass(frozen=True)
class _Kind:
    """What the rows of a table are: branches, or readings of whole banks.

    column: the column that numbers them within a bank.
    n: their number in a bank.
    impossible: (values, whether in siemens, numbers) -> bool, the values that no meter gives.
    """

    column: str
    n: int
    impossible: Callable[[np.ndarray, bool, np.ndarray], np.ndarray]


def _impossible_branch(value: np.ndarray, _in_siemens: bool, _branch: np.ndarray) -> np.ndarray:
    return (value <= 0) | np.isinf(value)


def _impossible_reading(
    plan: Plan, meter: Meter, value: np.ndarray, in_siemens: bool, reading: np.ndarray
) -> np.ndarray:
    if not in_siemens:
        with np.errstate(divide="ignore", over="ignore"):
            return (value <= 0) | np.isinf(1 / value)
    # A meter with an absolute error may read below zero where a bank conducts little.
    nothing = (value == 0) & ~plan.closed[reading].any(axis=1)
    return (value <= -_SIGMAS * meter.absolute) & ~nothing | np.isinf(value)


@dataclass(frozen=True)
class _Batch:
    """Rows of a table; `first` is the number of the first one."""

    path: Path
    first: int
    columns: dict[str, Any]

    def numbers(self, name: str) -> np.ndarray:
        """Return a column of numbers."""
        return self.columns[name].to_numpy(zero_copy_only=False)

    def codes(self, name: str, known: Mapping[str, int]) -> np.ndarray:
        """Return the number of each text in a column; unknown texts are refused."""
        column = self.columns[name].dictionary_encode()
        texts = column.dictionary.to_pylist()
        codes = np.array([known.get(text, -1) for text in texts], np.int64)
        codes = codes[column.indices.to_numpy()]
        self.refuse(codes < 0, name, f"one of {', '.join(text or 'nothing' for text in known)}")
        return codes

    def refuse(self, wrong: np.ndarray, name: str, expected: str) -> None:
        """Raise WaferError naming the first row whose value is wrong, if there is one."""
        if wrong.any():
            row = int(np.argmax(wrong))
            raise WaferError(
                f"{self.path}: row {self.first + row} has {name} = {self.columns[name][row]}; "
                f"expected {expected}"
            )


class _Readings:
    """The readings of all layers, filled batch by batch; every row is checked.

    ohm, state: (n_cell, 2, n) of every crossing, layer after layer.
    """

    def __init__(self, cells: Mapping[str, np.ndarray], die: Die, kind: _Kind) -> None:
        """Make room for all readings.

        cells: layer -> (n_in, n_out) bool, True where a cell has devices.
        """
        self.die, self.kind = die, kind
        self.layers = {name: k for k, name in enumerate(cells)}
        self.n_in, self.n_out = np.array([mask.shape for mask in cells.values()], np.int64).T
        self.start = np.cumsum(self.n_in * self.n_out) - self.n_in * self.n_out
        self.present = np.concatenate([mask.ravel() for mask in cells.values()])
        self.ohm = np.full((self.present.size, 2, kind.n), np.nan)
        self.seen = np.zeros(self.ohm.shape, bool)
        self.state = np.full(self.ohm.shape, WORKS, np.int8)

    def add(self, batch: _Batch) -> None:
        """Store a batch of rows."""
        place = self._places(batch)
        (unit,) = (name for name in UNITS if name in batch.columns)
        value, in_siemens = batch.numbers(unit), unit == "siemens"
        expected = "a positive and finite value, or none for a defective branch"
        batch.refuse(self.kind.impossible(value, in_siemens, place[2]), unit, expected)
        # A row may repeat one of this batch or of an earlier one.
        flat = np.ravel_multi_index(place, self.ohm.shape)
        order = np.argsort(flat, kind="stable")
        again = self.seen[place]
        again[order[1:]] |= np.diff(flat[order]) == 0
        column = self.kind.column
        batch.refuse(again, column, f"each {column} once; this one is given twice")
        self.seen[place] = True
        with np.errstate(divide="ignore"):  # zero siemens is an infinite resistance
            self.ohm[place] = 1.0 / value if in_siemens else value
        if "stuck" in batch.columns:
            self.state[place] = state = batch.codes("stuck", _STUCK)
            unknown = (state == NEVER_OPENS) & ~(self.ohm[place] > self.die.bank.r_on)
            expected = "a reading above the switch alone, of a branch that is stuck closed"
            batch.refuse(unknown, unit, expected)

    def _places(self, batch: _Batch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return where every row belongs in `ohm`: its cell, its side, its number in the bank."""
        if "die" in batch.columns:
            batch.codes("die", {self.die.id: 0})
        layer, side = batch.codes("layer", self.layers), batch.codes("side", _SIDES)
        row, column, number = map(batch.numbers, ("input", "output", self.kind.column))
        for name, values, size in (("input", row, self.n_in), ("output", column, self.n_out)):
            wrong = (values < 0) | (values >= size[layer])
            batch.refuse(wrong, name, "a cell of the layer")
        wrong = (number < 0) | (number >= self.kind.n)
        batch.refuse(wrong, self.kind.column, f"0 … {self.kind.n - 1}")
        cell = self.start[layer] + row * self.n_out[layer] + column
        batch.refuse(~self.present[cell], "output", "a cell that has devices; this one is pruned")
        return cell, side, number


def _cells(mapped: MappedNetwork) -> dict[str, np.ndarray]:
    """Return layer -> (n_in, n_out) bool, True where a cell has devices, as a die's tables."""
    return {layer.name: layer.source.pattern.written_out().T for layer in mapped.layers}


def _judge(
    ohm: np.ndarray, state: np.ndarray, mapped: MappedNetwork, low: float, high: float, path: Path
) -> Wafer:
    """Return the wafer of readings and states (n_cell, 2, n); defective branches never conduct."""
    bank, cells = mapped.die.bank, _cells(mapped)
    present = np.concatenate([mask.ravel() for mask in cells.values()])
    nominal, missing = bank.r_nominal + bank.r_on, np.isnan(ohm)
    far = (ohm < low * nominal) | (ohm > high * nominal) | (ohm <= bank.r_on)
    far &= state != NEVER_OPENS  # such a branch always conducts what was read
    defective = missing | far
    resistors = np.where(defective, DEFECTIVE_OHM, (ohm - bank.r_on) / bank.temperature_factor)
    failed = _by_layer(np.where(defective, NEVER_CLOSES, state), cells)
    off_by_prefix = far & _off_by_prefix(ohm / nominal, low, high)
    wafer = Wafer(
        die=Die(bank.without_spread, table=_by_layer(resistors, cells), stuck=failed),
        readings=_by_layer(ohm, cells),
        defective=_by_layer(defective & present[:, None, None], cells),
        n_branch=int(present.sum()) * 2 * bank.n,
        n_missing=int(missing[present].sum()),
        n_out_of_range=int(far[present].sum()),
        n_stuck=int(np.count_nonzero(state)),
        n_prefix=int(off_by_prefix[present].sum()),
    )
    if wafer.n_missing + wafer.n_out_of_range > (1 - _USABLE) * wafer.n_branch:
        raise WaferError(
            f"{path}: of {wafer.n_branch} branches {wafer.n_missing} have no reading and "
            f"{wafer.n_out_of_range} are outside {low:g} … {high:g} times nominal; at least half "
            "must be usable: check the unit, and whether the table is of this network"
            f"{'; ' * bool(wafer.hint)}{wafer.hint}"
        )
    return wafer


def _off_by_prefix(ratio: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return which ratios to nominal would be in range with another prefix of the unit."""
    larger, smaller = ratio * _PREFIX, ratio / _PREFIX
    return ((low < larger) & (larger < high)) | ((low < smaller) & (smaller < high))
