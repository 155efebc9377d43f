"""The metrics that a run can be asked for, and which of them have an interval."""

from typing import Any

import numpy as np
import pytest

from approx import approx
from crossbar_sim.config import RunConfig
from crossbar_sim.config.inputs import METRICS
from crossbar_sim.findings.run_score import SCORES, SHARES, accuracy_row, score_row
from tinynets.data import Data, from_arrays

DIGITAL = np.eye(4)[[0, 1, 2, 3, 0, 1]]
DIE = np.eye(4)[[0, 1, 3, 3, 0, 2]]


def samples(**labels: Any) -> Data:
    x = np.zeros((6, 2), dtype=np.float32)
    return from_arrays("six", {"x_train": x, "x_test": x, **labels}, seed=0)


@pytest.fixture
def data() -> Data:
    return samples(y_train=np.arange(6) % 4, y_test=np.array([0, 1, 2, 3, 1, 2]))


def asked(metric: str | None) -> RunConfig:
    measure = {"metric": metric} if metric else {}
    return RunConfig.model_validate({"name": "a", "measure": measure})


def test_a_configuration_may_name_exactly_the_scores_that_there_are():
    assert tuple(SCORES) == METRICS


def test_an_accuracy_is_paired_with_that_of_the_digital_network(data):
    row = score_row(asked(None), data, DIE, DIGITAL)
    assert row["score"] == approx(4 / 6)
    assert (row["lost"], row["gained"], row["p"]) == (1, 1, 1.0)
    assert row["low"] < 4 / 6 < row["high"]
    assert accuracy_row(DIE, DIGITAL, data)["lost"] == row["lost"]


def test_agreement_has_an_interval_but_nothing_to_be_paired_with():
    row = score_row(asked(None), samples(), DIE, DIGITAL)
    assert row["score"] == approx(4 / 6)
    assert row["low"] < 4 / 6 < row["high"]
    assert row["p"] is None
    assert score_row(asked(None), samples(), DIGITAL, DIGITAL)["low"] is None
    assert accuracy_row(DIE, DIGITAL, samples())["accuracy"] is None


@pytest.mark.parametrize("metric", sorted(set(SCORES) - set(SHARES)))
def test_what_is_no_share_has_no_interval(data, metric):
    row = score_row(asked(metric), data, DIE, DIGITAL)
    assert row["low"] is row["high"] is row["p"] is None


def test_samples_with_several_answers_have_no_interval():
    several = np.stack([DIE, DIGITAL], axis=2)
    row = score_row(asked("agreement"), samples(), several, several)
    assert row["score"] == 1.0
    assert row["low"] is None
