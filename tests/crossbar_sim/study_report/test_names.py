"""What people read: names and units of keys, points and metrics."""

import numpy as np
import pytest

from crossbar_sim.config import RunConfig
from crossbar_sim.config.study import with_values
from crossbar_sim.study.intervals import Interval
from crossbar_sim.study.metrics import METRICS
from crossbar_sim.study_report.names import (
    KEYS,
    Key,
    bounds_text,
    difference_text,
    interval_text,
    key_of,
    metric_text,
    point_text,
    value_text,
    varied,
)

CONFIG = RunConfig(name="a")


#: Values of keys that take no number of 3.
VALUES = {
    "network.source": "cnn",
    "model.kind": "cnn",
    "prune.method": "tiles",
    "prune.sparsity": 0.5,
    "bank.ladder": "equal",
    "bank.ratio": 1.5,
    "bank.tc1": 1e-4,
    "select.objective": "aware",
    "select.scale_per": "output",
    "tile.tiling": "clustered",
    "life.repair": True,
}


@pytest.mark.parametrize("key", [key for key in KEYS if key != "variant"])
def test_every_key_with_a_name_is_a_key_of_a_run(key):
    given = {"wires.source": "given", "wires.r_word": 3.0, "wires.r_bit": 3.0}
    before = with_values(CONFIG, given)
    small = any(word in key for word in ("sigma", "error", "stuck"))
    changed = with_values(before, {key: VALUES.get(key, 0.01 if small else 4)})
    assert changed.digest != before.digest


def test_a_key_without_a_name_keeps_its_own_with_its_unit():
    assert key_of("energy.t_read", CONFIG) == Key("energy.t_read", "s")
    assert key_of("wires.r_word,wires.r_bit", CONFIG).unit == "Ω"
    assert value_text(3e-7, "s") == "300 ns"
    assert value_text(0.05, "%") == "5 %"
    assert value_text(True, "%") == "yes"
    assert value_text(16, "") == "16"


def test_a_point_in_words():
    keys = {"variant": Key("variant"), "bank.n": Key("branches per bank"), "b": Key("b")}
    assert point_text({"variant": "fitted", "bank.n": 3}, keys) == "fitted, branches per bank: 3"
    assert point_text({}, keys) == "the only point"
    assert varied([{"a": 1, "b": [2]}, {"a": 1, "b": [3]}, {"a": 1}]) == ["b"]


def test_metrics_have_names_and_a_direction():
    names = [metric.label for metric in METRICS.values()]
    assert len(set(names)) == len(names)
    assert {m.better for m in METRICS.values()} == {"more", "less", ""}
    assert all(m.unit in ("%", "J", "W", "s", "m²", "bits", "") for m in METRICS.values())


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("accuracy", 0.9472, "94.7 %"),
        ("loss", -0.0021, "−0.2 %"),
        ("mvm_error", 0.00123, "0.12 %"),
        ("energy", 1.67e-8, "16.7 nJ"),
        ("area", 2.5e-6, "2.5 mm²"),
        ("n_resistor", 3792.0, "3,792"),
        ("effective_bits", 5.25, "5.25"),
    ],
)
def test_values_of_metrics(name, value, text):
    assert metric_text(value, name) == text


def test_a_score_is_written_as_what_it_is():
    assert metric_text(0.5, "score", "agreement") == "50.0 %"
    assert metric_text(0.5, "score", "mse") == "0.5"


def test_intervals_name_their_unit_once():
    assert interval_text(Interval(0.947, 0.942, 0.952), "accuracy") == "94.7 % (94.2 … 95.2 %)"
    assert interval_text(Interval(9e-10, 8e-10, 1.1e-9), "energy") == "900 pJ (800 pJ … 1.1 nJ)"
    assert interval_text(Interval(0.9, -np.inf, np.inf), "accuracy") == "90.0 %"
    assert bounds_text(Interval(5.0, 5.0, 5.0), "n_resistor") == ""


def test_differences_have_a_sign_and_points():
    found = Interval(-0.0021, -0.009, 0.0048)
    assert difference_text(found, "accuracy") == "−0.2 (−0.9 … +0.5) points"
    assert difference_text(Interval(0.0, 0.0, 0.0), "accuracy") == "0.0 points"
    assert difference_text(Interval(2e-9, 1e-9, 3e-9), "energy") == "+2 nJ (+1 nJ … +3 nJ)"
    assert (
        difference_text(Interval(1.2e-4, 1e-4, 1.4e-4), "mvm_error")
        == "+0.012 (+0.010 … +0.014) points"
    )
