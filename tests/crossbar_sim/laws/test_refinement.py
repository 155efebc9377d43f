"""The law of refinement: matrices on resistors, the iteration, its energy."""

import numpy as np
import pytest

from approx import approx
from crossbar_sim.energy.digital import NODES
from crossbar_sim.laws import refinement
from crossbar_sim.laws.law import Effort
from crossbar_sim.laws.refinement import (
    N_ITERATION,
    case,
    joules,
    matrix,
    quantised,
    realised,
    refine,
    settling,
    spectral_radius,
    summary,
)

FP32 = next(node for node in NODES if node.name == "45 nm fp32")


@pytest.fixture(scope="module")
def measured() -> dict:
    with pytest.MonkeyPatch.context() as few:
        few.setattr(refinement, "SIZES", {8: 3.0, 12: 2.0})
        few.setattr(refinement, "CONDITIONS", (10.0, 1e6))
        few.setattr(refinement, "BRANCHES", (2, 6))
        return refinement.measure(Effort(1.0), 0)


@pytest.mark.parametrize("condition", [10.0, 1e4])
def test_a_matrix_has_its_condition_and_is_positive(condition):
    a = matrix(20, condition, 1)
    values = np.linalg.eigvalsh(a)
    assert values[-1] / values[0] == approx(condition, rel=1e-6)
    assert np.abs(a).max() == approx(1)
    np.testing.assert_allclose(a, a.T, rtol=0, atol=0)


def test_more_branches_realise_a_matrix_more_precisely():
    a = matrix(16, 10.0, 0)
    errors = [np.std(realised(a, branches, 0).matrix - a) for branches in (2, 4, 6)]
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


def test_loads_and_siemens_are_of_the_same_branches():
    a = matrix(8, 10.0, 0)
    found = realised(a, 6, 0)
    unit = found.siemens / found.loads.sum()
    assert np.all(found.loads >= np.abs(found.matrix).sum(axis=1) * (1 - 1e-9))
    assert unit == approx(0.95 * sum(1 / (100e3 * 1.75**k + 1e3) for k in range(6)), rel=1e-9)


@pytest.mark.parametrize("factor", [0.6, 1.5, 3.0])
def test_an_inner_solver_off_by_a_factor_gains_what_its_radius_says(factor):
    """Atilde = factor A: the error shrinks by 1 - 1 / factor in every iteration, exactly."""
    a = matrix(10, 10.0, 0)
    radius = abs(1 - 1 / factor)
    assert spectral_radius(a, factor * a) == approx(radius, rel=1e-9)
    errors = refine(a, factor * a, None, 0)
    np.testing.assert_allclose(errors[:10], radius ** np.arange(10), rtol=1e-5)


def test_a_radius_above_one_diverges():
    a = matrix(10, 10.0, 0)
    errors = refine(a, 0.4 * a, None, 0)
    assert errors[10] == approx(1.5**10, rel=1e-6)
    assert errors[-1] == 1e6


def test_exact_inner_solver_needs_one_iteration():
    a = matrix(10, 10.0, 0)
    errors = refine(a, a, None, 0)
    assert errors[0] == 1
    assert errors[1] < 1e-13
    assert len(errors) == N_ITERATION + 1


def test_converters_round_to_a_range_that_fits():
    values = np.array([-1.0, 0.3, 0.9])
    found = quantised(values, 3)
    np.testing.assert_allclose(found, [-1.0, 0.25, 1.0], rtol=1e-12)
    assert quantised(values, None) is values
    np.testing.assert_allclose(quantised(np.zeros(2), 8), 0.0, rtol=0, atol=0)


def test_a_case_agrees_with_its_prediction():
    found = [case(12, condition, 6, 0) for condition in (10.0, 1e6)]
    assert [one["radius"] < 1 for one in found] == [True, False]
    assert [one["None"][-1] < 1e-9 for one in found] == [True, False]


def test_a_summary_counts_what_diverged():
    grown, shrunk = np.full(N_ITERATION + 1, 10.0), 10.0 ** -np.arange(N_ITERATION + 1.0)
    one = {"weight_error": 0.1, "siemens": 1.0, "settling": 1.0}
    cases = [one | {"radius": 2.0, "None": grown, "8": grown}] * 2
    cases += [one | {"radius": 0.1, "None": shrunk, "8": grown}] * 3
    ideal, eight = summary(4, 10.0, 2, cases)
    assert (ideal["diverged"], ideal["as_predicted"], ideal["iterations"]) == (0.4, 5, 10)
    assert (eight["diverged"], eight["as_predicted"], eight["iterations"]) == (1.0, 2, None)
    assert (ideal["radii_of_others"], eight["radii_of_others"]) == ([], [0.1] * 3)
    assert ideal["digits_5"] == approx(5)


def test_settling_is_that_of_one_pole():
    """exp(-t / tau) is half a step of 8 bits, 2^-9."""
    t = settling(np.array([1.0, 3.0]), 0.1, 8)
    tau = 4 / (2 * np.pi * 100e6 * 0.1)
    assert np.exp(-t / tau) == approx(2.0**-9)


def test_joules_add_up_and_the_inverse_is_not_free():
    row = {"n": 10, "iterations": 4, "settling": 1e-6, "siemens": 1e-3}
    found = joules(row, FP32)
    parts = ("DAC", "ADC", "amplifiers", "array", "residuals")
    assert found["refinement"] == approx(sum(found[part] for part in parts))
    assert found["DAC"] == approx(4 * 10 * 3.9e-6 * 2**7 * 1e-6)
    assert found["array"] == approx(4 * 1e-3 * 0.04 * 1e-6)
    assert found["residuals"] == approx(4 * 100 * 4.6e-12)
    assert found["lu"] == approx((333 + 300) * 4.6e-12)
    assert found["lu_over_refinement"] < found["lu_over_refinement_free_dac"]


def test_measured_is_the_same_again_and_every_case_is_there(measured, tmp_path):
    rows, energies = measured["rows"], measured["energies"]
    assert len(rows) == 2 * 2 * 2 * 2
    assert {row["condition"] for row in energies} == {10.0}
    ideal = [row for row in rows if row["converter_bits"] is None]
    assert sum(row["as_predicted"] for row in ideal) == sum(row["matrices"] for row in ideal)
    again = case(8, 10.0, 2, 0)
    assert again["radius"] == case(8, 10.0, 2, 0)["radius"]
    refinement.draw(measured, tmp_path / "law.png")
    assert (tmp_path / "law.png").stat().st_size > 10_000
    assert [len(table.rows) for table in refinement.tables(measured)] == [len(rows), len(energies)]
