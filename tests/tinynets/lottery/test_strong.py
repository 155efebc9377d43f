"""Pruned random networks that compute what trained ones do, on real digits."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from tinynets import extract
from tinynets.data import Data
from tinynets.lottery.gadgets import n_hidden, one_weight, subset, whole_units
from tinynets.lottery.strong import METHODS, error_bound, strong_ticket
from tinynets.networks.masks import masks_of
from tinynets.networks.models import digits_cnn, mlp
from tinynets.networks.training import train

pytestmark = pytest.mark.training

ROUNDING = 1e-12


@pytest.fixture(scope="module")
def dense(data: Data) -> nn.Module:
    torch.manual_seed(0)
    return train(mlp((64, 12, 10)), data, epochs=5)


@pytest.fixture(scope="module")
def cnn(images: Data) -> nn.Module:
    torch.manual_seed(0)
    return train(digits_cnn((3, 4)), images, epochs=2)


def compare(
    model: nn.Module, ticket: nn.Module, data: Data, n: int = 40
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return |ticket - model| and its bound on test images, with the inputs' signs mixed."""
    x = torch.from_numpy(data.x_test[:n]).double() - 0.4
    with torch.no_grad():
        wanted = copy.deepcopy(model).double()(x)
    return (ticket(x) - wanted).abs(), error_bound(model, ticket, x)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [1, 5])
def test_the_bound_holds_for_every_construction(dense, data, method, n):
    ticket = strong_ticket(dense, n, method=method, seed=n)
    off, bound = compare(dense, ticket, data)
    assert off.shape == bound.shape == (40, 10)
    assert (off <= bound + ROUNDING).all()


@pytest.mark.parametrize("n", [2, 6])
def test_the_bound_holds_for_convolutions(cnn, images, n):
    off, bound = compare(cnn, strong_ticket(cnn, n), images)
    assert (off <= bound + ROUNDING).all()


@pytest.mark.parametrize("method", ["subset_sum", "one_extra_layer"])
def test_each_random_weight_more_halves_the_error(dense, data, method):
    found = {n: [strong_ticket(dense, n, method=method, seed=k) for k in (1, 2)] for n in (6, 14)}
    weight = {n: np.median([t.errors[0].weight.median() for t in ts]) for n, ts in found.items()}
    assert 1.7**8 < weight[6] / weight[14] < 2.5**8
    output = {
        n: np.mean([compare(dense, t, data)[0].mean() for t in ts]) for n, ts in found.items()
    }
    assert output[14] < output[6] / 4  # 6.8 and more over trainings
    assert output[14] < 0.03


def test_convolutions_get_nearer_with_more_random_weights(cnn, images):
    tickets = [strong_ticket(cnn, n) for n in (4, 12)]
    medians = [float(ticket.errors[1].weight.median()) for ticket in tickets]
    assert 1.6**8 < medians[0] / medians[1] < 2.6**8
    errors = [float(compare(cnn, ticket, images)[0].mean()) for ticket in tickets]
    assert errors[1] < errors[0] / 8


def test_a_sum_beats_one_weight_of_as_many(dense, data):
    errors = {
        method: float(compare(dense, strong_ticket(dense, 12, method=method), data)[0].mean())
        for method in ("one_weight", "subset_sum")
    }
    assert errors["subset_sum"] < 0.1 * errors["one_weight"]


@pytest.mark.parametrize(("method", "depth"), [("subset_sum", 4), ("one_extra_layer", 3)])
def test_depth_and_what_is_kept(dense, method, depth):
    ticket = strong_ticket(dense, 8, method=method)
    assert ticket.depth == depth
    assert 0 < ticket.n_kept < 0.5 * ticket.n_random
    assert not any(p.requires_grad for p in ticket.parameters())
    masked = [module for module in ticket.network if hasattr(module, "weight_mask")]
    assert len(masked) == depth
    for module in masked:
        weight = module.weight_orig
        assert weight.abs().max() <= 1
        assert abs(float(weight.mean())) < 0.05
        kept = module.weight_mask != 0
        torch.testing.assert_close(module.weight[kept], weight[kept], rtol=0, atol=0)
        assert (module.weight[~kept] == 0).all()


def test_a_unit_of_a_pair_sees_one_input_alone(dense):
    first = masks_of(strong_ticket(dense, 6).network)["0"]
    assert first.shape == ((64 + 1) * n_hidden(6), 64)
    assert first.sum(dim=1).max() == 1


def test_both_signs_of_an_input_are_exact_in_the_limit():
    model = nn.Sequential(nn.Linear(1, 1))
    ticket = strong_ticket(model, 20)
    x = torch.linspace(-1, 1, 21, dtype=torch.float64)[:, None]
    with torch.no_grad():
        torch.testing.assert_close(ticket(x), copy.deepcopy(model).double()(x), atol=1e-4, rtol=0)


def test_pruned_targets_stay_pruned_and_the_target_is_not_changed(dense):
    model = copy.deepcopy(dense)
    with torch.no_grad():
        model.get_parameter("fc1.weight")[:, ::2] = 0
    before = copy.deepcopy(model.state_dict())
    ticket = strong_ticket(model, 4)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not ticket.errors[0].weight[:, ::2].any()
    per_input = masks_of(ticket.network)["2"].reshape(12, 65, -1).any(dim=2)
    assert not per_input[:, :64:2].any()


def test_whole_filters_are_kept_or_dropped_together():
    torch.manual_seed(1)
    for model, bias in ((nn.Linear(3, 2), True), (nn.Conv2d(2, 1, (1, 3), bias=False), False)):
        ticket = strong_ticket(nn.Sequential(model), 22, method="filters")
        second = masks_of(ticket.network)["2"].float().flatten(2 if not bias else 1)
        second = second.permute(1, 0, *range(2, second.ndim)).flatten(1)
        assert ((second.mean(1) == 0) | (second.mean(1) == 1)).all()
        assert ticket.errors[0].weight.mean() < 0.3 * model.weight.abs().mean()


def test_a_filter_of_one_weight_is_a_subset_sum():
    rng = np.random.default_rng(0)
    values, targets = rng.uniform(-1, 1, (1, 1, 10)), rng.uniform(-0.5, 0.5, (1, 1))
    np.testing.assert_array_equal(whole_units(values, targets), subset(values, targets))


def test_one_weight_is_the_nearest_or_none():
    values = np.array([[[0.5, -0.2, 0.9]], [[0.5, -0.2, 0.9]], [[0.5, -0.2, 0.9]]])
    kept = one_weight(values, np.array([[0.8], [-0.3], [0.1]]))
    np.testing.assert_array_equal(kept[:, 0], [[0, 0, 1], [0, 1, 0], [0, 0, 0]])


def test_a_ticket_without_a_unit_of_some_sign_keeps_nothing_there():
    model = nn.Sequential(nn.Linear(40, 1, bias=False))
    ticket = strong_ticket(model, 1, method="one_weight", seed=3)
    off = (ticket(torch.eye(40)) - model(torch.eye(40)).double()).abs()
    assert (off <= error_bound(model, ticket, torch.eye(40)) + 1e-6).all()


@pytest.mark.parametrize("padding", [0, 1, (1, 0), "same"])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_bias_does_not_fade_at_the_padding(padding, stride):
    if padding == "same" and stride == 2:
        return
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 2, 3, stride, padding))
    with torch.no_grad():
        model[0].weight.zero_()
    y = strong_ticket(model, 14)(torch.rand(1, 2, 6, 7))
    assert float((y - y[:, :, :1, :1]).abs().max()) < ROUNDING
    torch.testing.assert_close(y[0, :, 0, 0], model[0].bias.double(), atol=5e-3, rtol=0)


def test_a_dilated_convolution_and_nested_modules(images):
    torch.manual_seed(0)
    conv = nn.Conv2d(1, 2, 3, padding=2, dilation=2)
    model = nn.Sequential(nn.Sequential(conv, nn.ReLU()), nn.AvgPool2d(2), nn.Flatten())
    model.append(nn.Linear(32, 3))
    off, bound = compare(model, strong_ticket(model, 10), images)
    assert (off <= bound + ROUNDING).all()
    assert off.max() < 0.1


def test_a_ticket_can_be_extracted_like_any_pruned_network(dense, data):
    ticket = strong_ticket(dense, 4)
    network = extract(ticket.network, torch.from_numpy(data.x_train[:1]).double())
    kept = sum(layer.n_remaining for layer in network.layers)
    assert 0.9 * ticket.n_kept < kept <= ticket.n_kept  # the rest is biases


def test_the_same_seed_gives_the_same_ticket(dense):
    a, b, c = (strong_ticket(dense, 4, seed=seed).state_dict() for seed in (1, 1, 2))
    assert a.keys() == b.keys() != set()
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not all(torch.equal(a[name], c[name]) for name in a)


LINEAR = nn.Linear(2, 2)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (nn.Sequential(LINEAR), {"method": "luck"}, "method must be one of"),
        (nn.Sequential(LINEAR), {"n": 0}, "n must be at least 1"),
        (nn.Sequential(LINEAR, nn.Sigmoid()), {}, "'1' is a Sigmoid"),
        (nn.Sequential(nn.Sequential(nn.Tanh())), {}, "'0.0' is a Tanh"),
        (nn.Sequential(nn.Conv2d(2, 2, 1, groups=2)), {}, "has 2 groups"),
        (nn.Sequential(nn.Conv2d(1, 1, 3, padding_mode="circular")), {}, "pads with 'circular'"),
        (nn.Sequential(nn.Conv2d(1, 1, 3, padding=2)), {}, "every tap reads padding"),
        (nn.Sequential(nn.Conv2d(1, 1, 3, padding=1)), {"method": "filters"}, "whole filters"),
        (nn.Sequential(nn.Conv2d(1, 1, 1)), {"method": "one_extra_layer"}, r"layers \['0'\]"),
    ],
)
def test_what_cannot_be_built_is_named(model, options, message):
    with pytest.raises(ValueError, match=message):
        strong_ticket(model, **({"n": 2} | options))


def test_damaged_targets_are_refused():
    model = nn.Sequential(nn.Linear(2, 2))
    with torch.no_grad():
        model[0].bias[0] = torch.nan
    with pytest.raises(ValueError, match="'0' holds NaN"):
        strong_ticket(model, 2)
