"""What people read: names of keys, points and metrics, and their values with units."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from crossbar_sim.config import RunConfig
from crossbar_sim.findings.shares import Interval
from crossbar_sim.report.formats import metric as score_text
from crossbar_sim.report.formats import percent, plain, si, small_percent
from crossbar_sim.report.settings import meanings, shown, unit_of
from crossbar_sim.study.metrics import METRICS


class Key(NamedTuple):
    """A varied key for people: its name, and its unit, "%" for a share."""

    label: str
    unit: str = ""


#: Keys that studies often vary; any other is called by its own name.
KEYS = {
    "variant": Key("variant"),
    "network.source": Key("network"),
    "model.kind": Key("network"),
    "prune.sparsity": Key("weights pruned", "%"),
    "prune.bits": Key("bits per weight"),
    "prune.method": Key("pruning method"),
    "bank.n": Key("branches per bank"),
    "bank.ladder": Key("ladder"),
    "bank.ratio": Key("ratio of neighbouring resistors"),
    "bank.sigma_local": Key("scatter of each resistor (sigma)", "%"),
    "bank.meter_error": Key("meter error", "%"),
    "bank.tc1": Key("temperature coefficient", "1/K"),
    "bank.drift_sigma": Key("spread of the drift", "%"),
    "select.objective": Key("selection objective"),
    "select.scale_per": Key("scale shared by each"),
    "select.max_closed": Key("most closed switches"),
    "tile.n_word": Key("word lines per tile"),
    "tile.n_bit": Key("pairs of bit lines per tile"),
    "tile.n_word, tile.n_bit": Key("lines per side of a tile"),
    "tile.tiling": Key("order of lines"),
    "wires.r_word": Key("word-line resistance per cell", "Ω"),
    "wires.r_bit": Key("bit-line resistance per cell", "Ω"),
    "wires.r_word, wires.r_bit": Key("wire resistance per cell", "Ω"),
    "wires.r_driver": Key("driver resistance", "Ω"),
    "periphery.adc_bits": Key("ADC bits"),
    "periphery.dac_bits": Key("DAC bits"),
    "calibrate.rounds": Key("calibration rounds"),
    "tune.n_output": Key("images to fit outputs on"),
    "life.age": Key("age", "h"),
    "life.temperature": Key("temperature", "K"),
    "life.repair": Key("repair"),
    "life.p_stuck_open": Key("switches stuck open", "%"),
    "life.p_stuck_closed": Key("switches stuck closed", "%"),
    "life.p_stuck_open, life.p_stuck_closed": Key("switches stuck open, and as many closed", "%"),
}


def key_of(key: str, config: RunConfig) -> Key:
    """Return how people read a varied key; its unit is that of the configuration's text.

    config: a run with that key.
    """
    together = ", ".join(part.strip() for part in key.split(","))
    if together in KEYS:
        return KEYS[together]
    return Key(together, unit_of(meanings(config).get(together.partition(", ")[0], "")))


def value_text(value: Any, unit: str) -> str:
    """Return the value of a key as people write it, with its unit."""
    if unit == "%" and isinstance(value, int | float) and not isinstance(value, bool):
        return f"{plain(100 * value)} %"
    return shown(value, unit)


def point_text(point: Mapping[str, Any], keys: Mapping[str, Key]) -> str:
    """Return a point in words: the values of some keys, `branches per bank: 3, repair: yes`."""
    said = []
    for key, (label, unit) in keys.items():
        if key in point:
            value = value_text(point[key], unit)
            said.append(value if key == "variant" else f"{label}: {value}")
    return ", ".join(said) or "the only point"


def values_text(point: Mapping[str, Any], keys: Mapping[str, Key]) -> str:
    """Return the values of some keys at a point, `3, yes`."""
    return ", ".join(value_text(point[key], keys[key].unit) for key in keys if key in point)


def varied(points: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the keys whose values differ between points, in the order of the first point."""
    names = dict.fromkeys(key for point in points for key in point)
    return [key for key in names if len({repr(point.get(key)) for point in points}) > 1]


# ---- metrics -------------------------------------------------------------------------------------


def is_share(name: str) -> bool:
    """Return whether a metric is a share of samples, written with one decimal."""
    metric = METRICS[name]
    return metric.unit == "%" and metric.better == "more"


def metric_text(value: float, name: str, score: str | None = None) -> str:
    """Return the value of a metric with its unit.

    score: the run's `measure.metric`, which the metric "score" is.
    """
    unit = METRICS[name].unit
    if name == "score":
        return score_text(value, score or "")
    if unit == "%":
        return percent(value) if is_share(name) or name == "loss" else small_percent(value)
    if unit == "m²":
        return f"{plain(1e6 * value)} mm²"
    return si(value, unit).replace("-", "−") if unit in ("J", "W", "s") else plain(value)


def interval_text(found: Interval, name: str, score: str | None = None) -> str:
    """Return a mean with its interval, `94.7 % (94.2 … 95.2 %)`; the mean alone without one."""
    mean = metric_text(found.value, name, score)
    bounds = bounds_text(found, name, score)
    return f"{mean} ({bounds})" if bounds else mean


def bounds_text(found: Interval, name: str, score: str | None = None) -> str:
    """Return the ends of an interval with one unit; nothing for an infinite or an empty one."""
    if found.low == found.high or not np.isfinite([found.low, found.high]).all():
        return ""
    low, high = (metric_text(value, name, score) for value in (found.low, found.high))
    number, _, unit = low.rpartition(" ")
    return f"{number if number and high.endswith(f' {unit}') else low} … {high}"


def difference_text(found: Interval, name: str) -> str:
    """Return a difference with its sign and its interval; percentage points of a share."""
    bounded = np.isfinite(found.low) and found.low < found.high
    of = [found.value, *([found.low, found.high] if bounded else [])]
    if METRICS[name].unit == "%":
        decimals = 1 if is_share(name) or name == "loss" else _decimals(of)
        mean, *ends = (_signed(f"{100 * value:.{decimals}f}") for value in of)
        unit = " points"
    else:
        mean, *ends = (_signed(metric_text(value, name)) for value in of)
        unit = ""
    return f"{mean} ({ends[0]} … {ends[1]}){unit}" if ends else f"{mean}{unit}"


def _signed(text: str) -> str:
    """Return a number with its sign, none for a zero."""
    text = text.replace("-", "−")
    size = text.lstrip("−")
    if not size.strip("0. "):
        return size
    return text if text.startswith("−") else f"+{text}"


def _decimals(values: Sequence[float]) -> int:
    """Return the decimals that two digits of the largest of some shares take in percent."""
    largest = max(map(abs, values)) or 1.0
    return int(max(0, 1 - np.floor(np.log10(100 * largest))))
