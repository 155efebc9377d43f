"""Measured wafers: a table of branches becomes the die that selection works with."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from mapping.bank import Die, ResistorBank
from mapping.bank.checks import T_REFERENCE
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
        return _hint(self.n_prefix, self.n_branch)

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
    path = Path(path)
    meter = Meter(mapped.die.bank.meter_error) if meter is None else meter
    cells = {layer.name: layer.source.mask.T for layer in mapped.layers}
    readings = _Readings(cells, mapped.die, path, plan, meter)
    for first, batch in read_batches(path, "branch" if plan is None else "reading"):
        readings.add(first, batch)
    values, states = (readings.by_layer(part) for part in (readings.ohm, readings.state))
    if plan is None:
        return replace(_judge(values, states, mapped, low, high, path), meter=meter)
    raw = {layer: 1 / ohm for layer, ohm in values.items()}
    n_unread = sum(int(np.isnan(raw[layer][mask]).sum()) for layer, mask in cells.items())
    ohms, states, n_disagree = _solve(raw, cells, plan, mapped.die.bank, meter, path)
    wafer = _judge(ohms, states, mapped, low, high, path)
    known = {"meter": meter, "plan": plan, "raw": raw}
    return replace(wafer, **known, n_unread=n_unread, n_disagree=n_disagree)


def _solve(
    raw: Mapping[str, np.ndarray],
    cells: Mapping[str, np.ndarray],
    plan: Plan,
    bank: ResistorBank,
    meter: Meter,
    path: Path,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], int]:
    """Return resistance and state of every branch, and the number of banks that disagree.

    raw: composite readings [S] by layer.
    cells: True where a cell has devices, by layer.
    """
    ohms, states, n_bank, n_disagree = {}, {}, 0, 0
    for layer, mask in cells.items():
        solved = solve_banks(plan, raw[layer][mask].reshape(-1, len(plan.closed)), bank, meter)
        ohm = np.full((*mask.shape, 2, bank.n), np.nan)
        state = np.full(ohm.shape, WORKS, np.int8)
        # A negative estimate is that of a branch that does not conduct.
        g = np.where(solved.g <= 0, 0.0, solved.g).reshape(-1, 2, bank.n)
        with np.errstate(divide="ignore"):
            ohm[mask] = 1 / g
        state[mask] = np.where(solved.stuck, NEVER_OPENS, WORKS).reshape(g.shape)
        ohms[layer], states[layer] = ohm, state
        n_bank += len(solved.agrees)
        n_disagree += int((~solved.agrees).sum())
    if n_disagree > (1 - _USABLE) * n_bank:
        raise WaferError(
            f"{path}: the readings of {n_disagree} of {n_bank} banks contradict each other by more "
            f"than the meter's errors of {meter.relative:g} and {meter.absolute:g} S explain; "
            "check the plan, the meter's error, the unit, and r_off of the bank"
        )
    return ohms, states, n_disagree


class _Readings:
    """The readings of all branches, filled batch by batch; every row is checked."""

    def __init__(
        self, cells: Mapping[str, np.ndarray], die: Die, path: Path, plan: Plan | None, meter: Meter
    ) -> None:
        """Make room for all readings.

        cells: layer -> (n_in, n_out) bool, True where a cell has devices.
        plan: None for single readings.
        """
        self.cells, self.die, self.path = cells, die, path
        self.what = "branch" if plan is None else "reading"
        self.per_bank = die.bank.n if plan is None else len(plan.closed)
        self.per_cell = 2 * self.per_bank
        self.plan, self.least = plan, -_SIGMAS * meter.absolute
        shapes = [mask.shape for mask in cells.values()]
        sizes = [mask.size for mask in cells.values()]
        self.n_in, self.n_out = np.array(shapes, dtype=np.int64).T
        self.start = np.concatenate([[0], np.cumsum(sizes)])
        self.present = np.concatenate([mask.ravel() for mask in cells.values()])
        self.ohm = np.full(self.present.size * self.per_cell, np.nan)
        self.seen = np.zeros(self.ohm.size, bool)
        self.state = np.full(self.ohm.size, WORKS, np.int8)

    def by_layer(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """Return layer -> (n_in, n_out, 2, n) of one value per branch or reading."""
        ends = self.start * self.per_cell
        return {
            name: values[a:b].reshape(*mask.shape, 2, self.per_bank)
            for (name, mask), a, b in zip(self.cells.items(), ends, ends[1:])
        }

    def add(self, first: int, columns: dict[str, Any]) -> None:
        """Store a batch of rows; `first` is the number of its first row."""
        flat = self._places(first, columns)
        (unit,) = (name for name in UNITS if name in columns)
        value = columns[unit].to_numpy(zero_copy_only=False)
        of = np.asarray(flat % self.per_bank)
        expected = "a positive and finite value, or none for a defective branch"
        self._refuse(self._wrong(value, unit, of), first, unit, value, expected)
        # A row may repeat one of this batch or of an earlier one.
        order = np.argsort(flat, kind="stable")
        again = self.seen[flat]
        again[order[1:]] |= np.diff(flat[order]) == 0
        expected = f"each {self.what} once; this one is given twice"
        self._refuse(again, first, self.what, of, expected)
        self.seen[flat] = True
        with np.errstate(divide="ignore"):  # zero siemens is an infinite resistance
            self.ohm[flat] = 1.0 / value if unit == "siemens" else value
        if "stuck" in columns:
            self.state[flat] = state = self._codes(first, columns, "stuck", _STUCK)
            unknown = (state == NEVER_OPENS) & ~(self.ohm[flat] > self.die.bank.r_on)
            expected = "a reading above the switch alone, of a branch that is stuck closed"
            self._refuse(unknown, first, unit, value, expected)

    def _wrong(self, value: np.ndarray, unit: str, of: np.ndarray) -> np.ndarray:
        """Return which values cannot come from a meter; `of` numbers their branches or readings."""
        wrong = ~np.isnan(value) & ~(value > 0)
        if self.plan is None:
            return wrong | np.isinf(value)
        if unit == "siemens":
            # A meter with an absolute error may read below zero where a bank conducts little.
            nothing = (value == 0) & ~self.plan.closed[of].any(axis=1)
            wrong &= ~(value > self.least) & ~nothing
        with np.errstate(divide="ignore", over="ignore"):
            return wrong | np.isinf(value if unit == "siemens" else 1 / value)

    def _places(self, first: int, columns: dict[str, Any]) -> np.ndarray:
        """Return the index of every row's branch in `ohm`."""
        if "die" in columns:
            self._codes(first, columns, "die", {self.die.id: 0})
        layer = self._codes(first, columns, "layer", {k: i for i, k in enumerate(self.cells)})
        side = self._codes(first, columns, "side", _SIDES)
        whole = ("input", "output", self.what)
        row, column, of = (columns[name].to_numpy(zero_copy_only=False) for name in whole)
        for name, values, size in (("input", row, self.n_in), ("output", column, self.n_out)):
            wrong = (values < 0) | (values >= size[layer])
            self._refuse(wrong, first, name, values, "a cell of the layer")
        n = self.per_bank
        self._refuse((of < 0) | (of >= n), first, self.what, of, f"0 … {n - 1}")
        cell = self.start[layer] + row * self.n_out[layer] + column
        expected = "a cell that has devices; this one is pruned"
        self._refuse(~self.present[cell], first, "output", column, expected)
        return cell * self.per_cell + side * n + of

    def _codes(
        self, first: int, columns: dict[str, Any], name: str, known: Mapping[str, int]
    ) -> np.ndarray:
        """Return the number of each text in a column; unknown texts are refused."""
        column = columns[name].dictionary_encode()
        texts = column.dictionary.to_pylist()
        code = np.array([known.get(text, -1) for text in texts], np.int64)
        codes = code[column.indices.to_numpy()]
        expected = f"one of {', '.join(text or 'nothing' for text in known)}"
        self._refuse(codes < 0, first, name, columns[name], expected)
        return codes

    def _refuse(self, wrong: np.ndarray, first: int, name: str, values: Any, expected: str) -> None:
        if wrong.any():
            row = int(np.argmax(wrong))
            raise WaferError(
                f"{self.path}: row {first + row} has {name} = {values[row]}; expected {expected}"
            )


def _judge(
    readings: Mapping[str, np.ndarray],
    states: Mapping[str, np.ndarray],
    mapped: MappedNetwork,
    low: float,
    high: float,
    path: Path,
) -> Wafer:
    """Return the wafer of readings; defective branches never conduct."""
    bank = mapped.die.bank
    nominal = bank.r_nominal + bank.r_on
    n_branch = n_missing = n_far = n_prefix = 0
    resistors, defective, failed = {}, {}, {}
    for layer in mapped.layers:
        ohm, cells = readings[layer.name], layer.source.mask.T
        missing = np.isnan(ohm)
        far = (ohm < low * nominal) | (ohm > high * nominal) | (ohm <= bank.r_on)
        state = states[layer.name]
        far &= state != NEVER_OPENS  # such a branch always conducts what was read
        n_branch += int(cells.sum()) * 2 * bank.n
        n_missing += int(missing[cells].sum())
        n_far += int(far[cells].sum())
        n_prefix += int((far & _off_by_prefix(ohm / nominal, low, high))[cells].sum())
        defective[layer.name] = (missing | far) & cells[:, :, None, None]
        resistor = (ohm - bank.r_on) / _warming(bank)
        resistors[layer.name] = np.where(missing | far, DEFECTIVE_OHM, resistor)
        failed[layer.name] = np.where(missing | far, NEVER_CLOSES, state)
    hint = _hint(n_prefix, n_branch)
    if n_missing + n_far > (1 - _USABLE) * n_branch:
        raise WaferError(
            f"{path}: of {n_branch} branches {n_missing} have no reading and {n_far} are outside "
            f"{low:g} … {high:g} times nominal; at least half must be usable: check the unit, and "
            f"whether the table is of this network{'; ' * bool(hint)}{hint}"
        )
    n_stuck = sum(int(np.count_nonzero(state)) for state in states.values())
    die = Die.from_table(resistors, without_spread(bank), stuck=failed)
    return Wafer(die, readings, defective, n_branch, n_missing, n_far, n_stuck, n_prefix)


def _off_by_prefix(ratio: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return which ratios to nominal would be in range with another prefix of the unit."""
    larger, smaller = ratio * _PREFIX, ratio / _PREFIX
    return ((low < larger) & (larger < high)) | ((low < smaller) & (smaller < high))


def _hint(n_prefix: int, n_branch: int) -> str:
    if n_prefix <= _HINTED * n_branch:
        return ""
    return (
        f"{n_prefix} of {n_branch} branches ({n_prefix / n_branch:.1%}) read 1,000 times too "
        "high or too low: part of the table may be in another unit, such as kilohm"
    )


def without_spread(bank: ResistorBank) -> ResistorBank:
    """Return a bank without anything random: no spread, defect, drift or meter error."""
    spreads = ("sigma_lot", "sigma_gradient", "sigma_local", "sigma_on", "tc1_sigma")
    chances = ("p_stuck_open", "p_stuck_closed", "meter_error")
    ageing = ("drift", "drift_sigma", "age")  # the readings contain it up to the measurement
    return replace(bank, **dict.fromkeys((*spreads, *chances, *ageing), 0.0))


def _warming(bank: ResistorBank) -> float:
    """Return the resistance at the bank's temperature over that at the reference."""
    kelvin = bank.temperature - T_REFERENCE
    return 1 + bank.tc1 * kelvin + bank.tc2 * kelvin**2
