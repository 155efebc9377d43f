"""The metrics that a run can be asked for."""

from crossbar_sim.config.inputs import METRICS
from crossbar_sim.findings.run_score import SCORES


def test_a_configuration_may_name_exactly_the_scores_that_there_are():
    assert tuple(SCORES) == METRICS
