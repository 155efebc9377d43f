"""Pruned layers and networks: what they hold and what they refuse."""

from typing import Any

import numpy as np
import pytest

from approx import approx
from tinynets.networks.flops import Counts, count
from tinynets.networks.layers import ConvGeometry, GroupedMatrix, PrunedLayer, PrunedNetwork

WEIGHT = np.array([[1.0, 0.0, 2.0], [0.0, 0.0, -3.0]])


def layer(**changes: Any) -> PrunedLayer:
    return PrunedLayer(**({"name": "fc", "weight": WEIGHT, "mask": WEIGHT != 0} | changes))


def test_counts_and_sizes():
    found = layer(bias=np.zeros(2), n_mvm=4)
    assert (found.n_out, found.n_in, found.n_weight, found.n_remaining) == (2, 3, 6, 3)
    assert count(found) == Counts(6, 3, 24, 12, 48, 24)
    assert count(found) + count(found) == Counts(12, 6, 48, 24, 96, 48)


def test_flops_without_bias_save_the_first_addition():
    dense = PrunedLayer("d", np.ones((100, 100)), np.ones((100, 100), bool))
    assert count(dense).n_mac == 10_000
    assert count(dense).n_flop == 19_900


def test_a_grouped_convolution_has_no_weights_between_groups():
    geometry = ConvGeometry(2, (1, 1), (1, 1), (0, 0), (1, 1), groups=2)
    found = PrunedLayer("c", np.ones((2, 1)), np.ones((2, 1), bool), conv=geometry)
    assert found.n_weight == 2
    np.testing.assert_array_equal(found.written_out().weight, np.eye(2))
    with pytest.raises(ValueError, match="expected 1 inputs and outputs"):
        PrunedLayer("c", np.eye(2), np.eye(2) != 0, conv=geometry)


def test_a_grouped_matrix_does_what_the_matrix_does():
    rng = np.random.default_rng(0)
    full = np.kron(np.eye(3), np.ones((2, 4))) * rng.integers(0, 3, (6, 12))
    matrix = GroupedMatrix.of(full, 3)
    assert matrix.values.shape == (6, 4)
    assert matrix.shape == full.shape
    np.testing.assert_array_equal(matrix.written_out(), full)
    inputs, outputs = matrix.cells
    np.testing.assert_array_equal(np.column_stack([outputs, inputs]), np.argwhere(full))
    np.testing.assert_array_equal(matrix.values[matrix.place(outputs, inputs)], full[full != 0])
    outputs, inputs = np.array([1, 2, 5]), np.array([0, 3, 4, 9, 11])
    np.testing.assert_array_equal(matrix.part(outputs, inputs), full[np.ix_(outputs, inputs)])
    np.testing.assert_array_equal(matrix.reach(outputs[:2]), np.arange(8))
    matrix.add(outputs, inputs, np.ones((3, 5)))
    full[np.ix_(outputs, inputs)] += np.kron(np.eye(3), np.ones((2, 4)))[np.ix_(outputs, inputs)]
    np.testing.assert_array_equal(matrix.written_out(), full)


@pytest.mark.parametrize(
    ("groups", "message"), [(4, "4 groups do not divide"), (2, "2 groups must be zero between")]
)
def test_a_matrix_that_does_not_have_its_groups(groups, message):
    with pytest.raises(ValueError, match=message):
        GroupedMatrix.of(np.ones((6, 4)), groups)


def test_arrays_cannot_be_written_to():
    with pytest.raises(ValueError, match="read-only"):
        layer().weight[0, 0] = 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "a\n.control"}, "not safe"),
        ({"name": "1a"}, "not safe"),
        ({"name": ""}, "not safe"),
        ({"weight": np.ones(3), "mask": np.ones(3, bool)}, r"\(n_out, n_in / groups\)"),
        ({"mask": np.ones((3, 2), bool)}, "mask"),
        ({"bias": np.ones(3)}, r"expected \(2,\)"),
        ({"weight": WEIGHT * np.nan}, "'fc' holds NaN or inf"),
        ({"bias": np.array([0, np.inf])}, "'fc' holds NaN or inf"),
        ({"mask": np.zeros((2, 3), bool)}, "pruned weight is not zero"),
    ],
)
def test_refused_layers(changes, message):
    with pytest.raises(ValueError, match=message):
        layer(**changes)


GEOMETRY = {"kernel": (1, 1), "stride": (1, 1), "padding": (0, 0), "dilation": (1, 1)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kernel": "(3,3)\nimport os"}, "kernel must be two whole numbers"),
        ({"kernel": (3, 3, 3)}, "kernel must be two whole numbers"),
        ({"kernel": (0, 1)}, "kernel must be a whole number from 1"),
        ({"stride": (1.0, 1)}, "stride must be a whole number"),
        ({"dilation": (True, 1)}, "dilation must be a whole number"),
        ({"padding": (0, -1)}, "padding must be a whole number from 0"),
        ({"padding": (0, 10**12)}, "padding must be a whole number"),
        ({"in_channels": 0}, "in_channels must be a whole number from 1"),
        ({"groups": 2}, "2 groups do not divide 3 channels"),
    ],
)
def test_geometries_that_make_no_sense(changes, message):
    parts = {"in_channels": 3, **GEOMETRY}
    assert ConvGeometry(**parts | {"kernel": (np.int64(1), 1)}).kernel == (1, 1)
    with pytest.raises(ValueError, match=message):
        ConvGeometry(**parts | changes)


def test_a_geometry_goes_with_its_weight():
    assert layer(conv=ConvGeometry(3, **GEOMETRY)).conv.n_in == 3
    with pytest.raises(ValueError, match="expected 2 inputs"):
        layer(conv=ConvGeometry(2, **GEOMETRY))
    with pytest.raises(ValueError, match="outputs that the groups divide"):
        layer(conv=ConvGeometry(3, **GEOMETRY, groups=3))
    with pytest.raises(ValueError, match="'fc': n_mvm must be a whole number from 1"):
        layer(n_mvm=0)


def test_networks():
    network = PrunedNetwork((layer(), layer(name="fc2")))
    assert network.layer("fc2").name == "fc2"
    assert network.sparsity == approx(0.5)
    with pytest.raises(KeyError, match="no layer 'x'"):
        network.layer("x")
    with pytest.raises(ValueError, match="ignoring case"):
        PrunedNetwork((layer(), layer(name="FC")))
    with pytest.raises(ValueError, match="no weight layer"):
        PrunedNetwork(())
