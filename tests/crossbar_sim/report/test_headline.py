"""The sentences at the top of a report say what the numbers say, and nothing more."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from crossbar_sim.findings.shares import exact_test
from crossbar_sim.report.headline import (
    accuracy,
    energy,
    findings,
    headline,
    limit,
    rivals,
    wafer_accuracy,
    wafer_branches,
    wafer_cells,
)

NETWORKS = ("float", "pruned", "mapped, ideal wires", "mapped, everything and noise")


def pair(lost: int, gained: int) -> dict[str, Any]:
    return {"low": 0.896, "high": 0.946, "lost": lost, "gained": gained} | {
        "p": exact_test(lost, gained)
    }


@pytest.fixture
def r() -> dict[str, Any]:
    """The numbers of a report, as far as the sentences need them."""
    pairs = [pair(3, 8), pair(0, 0), pair(1, 0), pair(5, 2)]
    shares = (0.968, 0.9311, 0.9289, 0.9244)
    rows = [
        {"network": network, "n_image": 450, "accuracy": share, "relative_error": error} | each
        for network, share, error, each in zip(NETWORKS, shares, (0.2, 0, 0.01, 0.05), pairs)
    ]
    costs = {"wires and drivers": 0.042, "ADC": 0.009, "noise": 0.007, "all together": 0.046}
    changes = {"wires and drivers: none": (0.015, None), "ADC: 7 bits": (0.05, 2e-10)}
    return {
        "accuracy": rows,
        "measure": {
            "metric": "accuracy",
            "scores": [{"score": row["accuracy"]} | row for row in rows],
        },
        "costs": [{"term": t, "error": e} | pair(2, 0) for t, e in costs.items()],
        "changes": [
            {"change": c, "error": e, "saved": saved} | pair(1, 1)
            for c, (e, saved) in changes.items()
        ],
        "part_costs": {
            "layers": [{"layer": "fc1", "driver": 4e-4, "word": 2e-4, "bit": -1e-4, "tia": 0.0}],
            "tile": "fc1_0_0",
        },
        "energy": {
            "analog": {"ADC": 84e-11, "DAC": 10e-11, "cell": 6e-11},
            "analog_total": 1e-9,
            "digital": [
                {"node": "45 nm int8", "nonzero": 5e-10, "nonzero_with_fetch_ratio": 0.1},
                {"node": "45 nm fp32", "nonzero": 8e-9, "nonzero_with_fetch_ratio": 2.0},
                {"node": "7 nm int8", "nonzero": 1e-10, "nonzero_with_fetch_ratio": None},
            ],
        },
        "config": {
            "prune": {"sparsity": 0.9},
            "data": {"source": "digits"},
            "calibrate": {"rounds": 0},
        },
    }


def test_the_accuracy_has_its_interval_and_its_pairs(r):
    assert accuracy(r) == (
        "On this die, the network gets 92.4 % of 450 test images right (95 %: 89.6 … 94.6 %), "
        "0.7 points below the same pruned network on a digital processor: 5 images lost, 2 gained, "
        "which chance alone explains (p = 0.45)."
    )


def test_a_difference_beyond_chance_is_called_one(r):
    r["measure"]["scores"][-1] |= pair(20, 2)
    assert "20 images lost, 2 gained, more than chance explains (p < 0.001)" in accuracy(r)


def test_equal_networks_read_as_equal(r):
    r["measure"]["scores"][-1] |= pair(0, 0) | {"score": 0.9311}
    r["config"]["prune"] = None
    assert accuracy(r).endswith("exactly those of the same network on a digital processor.")
    r["measure"]["scores"][-1] |= pair(2, 2)
    assert "as many as the same network on a digital processor: 2 images lost, 2" in accuracy(r)


def test_another_metric_has_no_interval(r):
    r["measure"]["metric"] = "mse"
    r["config"]["data"]["source"] = "mine.npz"
    none = dict.fromkeys(("low", "high", "lost", "gained", "p"))
    r["measure"]["scores"] = [row | none for row in r["measure"]["scores"]]
    said = accuracy(r)
    assert said.startswith("On this die, the network's mse on 450 test samples is 0.9244")
    assert said.endswith("no share of the samples, so no interval is stated.")
    r["measure"]["metric"] = "agreement"
    assert accuracy(r).startswith("For 92.4 % of 450 test samples, the largest output")


def test_the_limit_is_the_largest_error_and_what_shows_it(r):
    said = limit(r)
    assert (
        "“wires and drivers”: 4.2 % of their rms, before the choice of switches with 1.0 %" in said
    )
    assert "Alone: 2 images lost, 0 gained, which chance alone explains (p = 0.5)." in said
    assert "would be 1.5 % instead of 4.6 %, with 1 image lost, 1 gained" in said
    assert said.endswith(
        "the drivers cost most: without their resistance, the cross-entropy would "
        "fall by 400 µnat, to first order."
    )


def test_the_choice_of_switches_may_be_the_limit(r):
    r["accuracy"][2]["relative_error"] = 0.2
    said = limit(r)
    assert "that of the choice of switches: 20 % of their rms, before “wires" in said
    assert "Without it" not in said, "what perfect switches would do is not worked out"
    r["accuracy"][2]["relative_error"] = 0.0
    assert limit(r | {"costs": []}).startswith("Nothing:")


def test_no_limit_is_named_where_the_switches_make_up_for_the_wires(r):
    r["config"]["calibrate"]["rounds"] = 2
    assert limit(r).endswith("none is named.")


def test_the_largest_part_of_the_energy_and_what_a_bit_saves(r):
    assert energy(r) == (
        "An inference takes 1 nJ. The ADCs take 84.0 % of it, before the DACs with 10.0 %. With 7 "
        "bits they would save 200 pJ (20.0 %), and the error of the outputs would be 5.0 % instead "
        "of 4.6 %, with 1 image lost, 1 gained, which chance alone explains (p = 1)."
    )


def test_nothing_is_promised_of_a_part_without_a_change(r):
    r["energy"]["analog"] = {"TIA stage": 9e-10, "cell": 1e-10}
    assert energy(r) == (
        "An inference takes 1 nJ. The part “TIA stage” takes 90.0 % of it, before the resistors "
        "themselves with 10.0 %."
    )


def test_the_die_wins_and_loses_against_digital_arithmetic(r):
    said = rivals(r)
    assert said.startswith("The die wins in part:")
    assert "10 × as much as 45 nm int8 and 2 × less than 45 nm fp32" in said
    rows = copy.deepcopy(r["energy"]["digital"])
    for row, ratio in zip(rows, (1.01, 1.3e-6)):
        row["nonzero_with_fetch_ratio"] = ratio
    said = rivals({"energy": {"digital": rows}})
    assert "about as much as 45 nm int8 and 770,000 × as much as 45 nm fp32" in said
    assert "nothing is compared" in rivals({"energy": {"digital": rows[2:]}})


def test_every_figure_of_a_real_report_has_a_sentence(finished: Path):
    numbers = json.loads((finished / "report.json").read_text())
    page = (finished / "report.html").read_text()
    for name, sentence in findings(numbers).items():
        assert f'id="{name}-says"' in page, sentence
    assert len(findings(numbers)) == page.count('class="chart"') - 1, "one is for want of a script"
    assert len(headline(numbers)) == page.count('class="statement"') == 4


def test_a_wafer_in_sentences():
    old, new = ({"accuracy": a, "n_image": 450} | pair(0, 0) for a in (0.896, 0.958))
    new["against_old"] = pair(7, 35)
    numbers: dict[str, Any] = {
        "accuracy": [old, new],
        "cells_off": 1572,
        "cells": 1702,
        "cells_unmended": 15,
        "tolerance": 0.005,
        "changes": {"n": 3728, "switches": 20424},
        "branches": {"n": 20424, "missing": 407, "out_of_range": 0, "stuck": 1},
        "nominal": [{"sigma": 0.11}, {"sigma": None}],
    }
    assert "7 samples lost, 35 gained, more than chance explains (p < 0.001)" in wafer_accuracy(
        numbers
    )
    assert wafer_cells(numbers) == (
        "1,572 of 1,702 cells were further than 0.50 % of their layer's largest weight from their "
        "targets. 3,728 of 20,424 switches change; then 15 cells stay out of reach."
    )
    assert wafer_cells(numbers | {"cells_unmended": 1}).endswith("1 cell stays out of reach.")
    assert wafer_cells(numbers | {"cells_unmended": 0}).endswith("every cell reaches its target.")
    assert wafer_cells(numbers | {"cells_off": 0}).endswith("No switch changes.")
    assert wafer_branches(numbers) == (
        "407 of 20,424 branches are defective: 407 without a reading, 0 out of range; 1 switch "
        "stuck. The others scatter about nominal by up to 11.0 % (sigma)."
    )
