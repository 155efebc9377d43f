"""The law of strong tickets: what its columns are, and that the output follows the rms."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from approx import approx
from crossbar_sim.laws import tickets
from crossbar_sim.laws.law import Effort
from crossbar_sim.laws.tickets import (
    alone_rows,
    by_rms,
    construction_row,
    forward,
    quantised_rows,
    scaled,
    tail_run,
    tails,
)
from tinynets.networks.models import DigitsAttention, digits_cnn, mlp

X = np.random.default_rng(0).uniform(0, 1, (60, 12))


@pytest.fixture(scope="module")
def perceptron() -> nn.Sequential:
    torch.manual_seed(0)
    return mlp((12, 9, 5)).double()


@pytest.fixture
def small(monkeypatch):
    """Random networks in place of trained ones, and few numbers of values."""
    images = np.random.default_rng(1).uniform(0, 1, (4, 1, 8, 8))

    def networks(seed: int) -> dict:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return {
                "perceptron": (mlp((12, 9, 5)).double(), X),
                "convolutions": (digits_cnn((2, 2)).double(), images),
                "attention": (DigitsAttention(16, 2).double(), images),
            }

    def lenet(seed: int) -> tuple:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return digits_cnn((3, 2)).double(), images

    monkeypatch.setattr(tickets, "networks", networks)
    monkeypatch.setattr(tickets, "lenet", lenet)
    monkeypatch.setattr(tickets, "N_TAIL", (6, 8, 10))
    monkeypatch.setattr(tickets, "N_TICKET", (4,))


def test_a_scaled_perceptron_gives_the_same_logits_times_a_factor(perceptron):
    layers = scaled(perceptron, 0.5)
    assert [np.abs(layer).max() for layer in layers] == [approx(0.5), approx(0.5)]
    with torch.no_grad():
        logits = perceptron(torch.from_numpy(X)).numpy()
    factor = forward(layers, X)[-1] / logits
    np.testing.assert_allclose(factor, factor[0, 0], rtol=1e-9)


def test_the_rms_predicts_the_output_of_independent_errors(perceptron):
    """Gaussian errors of a known rms in both layers, many networks."""
    layers, rms, rng = scaled(perceptron, 1.0), [1e-4, 3e-4], np.random.default_rng(3)
    exact, squares = forward(layers, X)[-1], []
    for _ in range(300):
        off = [w + e * rng.standard_normal(w.shape) for w, e in zip(layers, rms)]
        squares.append(np.mean((forward(off, X)[-1] - exact) ** 2))
    assert by_rms(layers, X, rms) == approx(np.sqrt(np.mean(squares)), rel=0.05)


def test_without_the_weights_out_of_reach_the_output_is_nearer(perceptron):
    runs = [tail_run(scaled(perceptron, 1.0), X, ("products", 6), seed) for seed in range(8)]
    whole, within = (np.mean([r[key] for r in runs]) for key in ("output", "output_in_reach"))
    assert within < 0.7 * whole
    assert np.mean([r["square_out_of_reach"] for r in runs]) > 0.6
    ratios = [r["output"] / r["output_by_rms"] for r in runs]
    assert 0.5 < np.exp(np.mean(np.log(ratios))) < 2


def test_weights_alone_agree_with_the_closed_forms():
    rows = alone_rows(Effort(0.2), 0)
    inside = [
        r["out_of_reach_low"] <= r["out_of_reach_theorem"] <= r["out_of_reach_high"] for r in rows
    ]
    assert np.mean(inside) > 0.85
    assert all(r["rms_high"] > r["rms_at_least"] for r in rows if r["n"] <= 10)
    assert len(rows) == 3 * len(tickets.N_TAIL)


def test_weights_of_a_grid_are_met_exactly_below_kappa_1(perceptron):
    rows = {r["n"]: r for r in quantised_rows(perceptron, range(3))}
    assert rows[20]["exact"] > 0.98
    assert rows[4]["exact"] < 0.4
    assert rows[4]["kappa"] > 1 > rows[8]["kappa"]


def test_a_construction_states_sizes_and_stays_within_its_bound(perceptron):
    row = construction_row(perceptron, X, ("quarter", "a name", 8), range(2))
    assert row["within_bound"]
    assert row["output"] < row["bound"]
    assert row["weights"] == 12 * 9 + 9 + 9 * 5 + 5
    assert row["kept"] < row["random"] / 5
    assert row["networks"] == 2
    assert 0.5 < row["same_class"] <= 1


def test_large_networks_have_fewer_random_ones(monkeypatch):
    monkeypatch.setattr(tickets, "CASES", tuple((n, "one_weight", "") for n in ("a", "LeNet-5")))
    monkeypatch.setattr(tickets, "N_TICKET", (2,))
    made = dict.fromkeys(("a", "LeNet-5"), (mlp((12, 3)).double(), X))
    rows = tickets.construction_rows(made, range(7, 12), Effort(0.1))
    assert [(row["network"], row["networks"]) for row in rows] == [("a", 5), ("LeNet-5", 3)]


@pytest.mark.training
def test_lenet_is_trained_on_the_first_images_of_mnist(monkeypatch):
    data = tickets.mnist(seed=0, flat=False)
    few = replace(data, x_train=data.x_train[:3000], y_train=data.y_train[:3000])
    monkeypatch.setattr(tickets, "mnist", lambda **_: few)
    model, images = tickets.lenet(0)
    with torch.no_grad():
        found = model(torch.from_numpy(images)).argmax(1).numpy()
    assert images.shape == (tickets.LENET_IMAGES, 1, 28, 28)
    assert float((found == data.y_test[: len(found)]).mean()) > 0.7


def test_factors_fall_as_their_errors(perceptron):
    found = tails(perceptron, X, range(3), Effort(1.0))
    median = next(r for r in found["factors"] if r["error"] == "median")
    own = [r for r in found["tails"] if r["values"] == "products" and r["largest_weight"] == 1]
    ends = [r["median"] for r in own if r["n"] in (8, 20)]
    assert median["factor"] == approx((ends[0] / ends[1]) ** (1 / 12), rel=0.05)
    assert len(found["tails"]) == len(tickets.DRAWS) * len(tickets.N_TAIL)


def test_measured_tables_and_figure(small, tmp_path):
    found = tickets.measure(Effort(0.01), 0)
    assert found == tickets.measure(Effort(0.01), 0)
    assert [len(table.rows) for table in tickets.tables(found)] == [8, 9, 15, 35, 3, 4]
    assert all(row["within_bound"] for row in found["constructions"])
    assert {row["network"] for row in found["constructions"]} == {
        "perceptron",
        "convolutions",
        "LeNet-5",
    }
    assert all(row["score"] <= row["score_bound"] for row in found["attention"])
    tickets.draw(found, tmp_path / "law.png")
    assert (tmp_path / "law.png").stat().st_size > 10_000


@pytest.mark.training
def test_the_networks_are_trained_and_the_same_for_a_seed(monkeypatch):
    monkeypatch.setattr(tickets, "EPOCHS", 8)
    first, again = tickets.networks(1), tickets.networks(1)
    labels = tickets.digits(seed=1, flat=False).y_test
    for name, (model, images) in first.items():
        with torch.no_grad():
            logits, others = (m(torch.from_numpy(images)) for m in (model, again[name][0]))
        assert torch.equal(logits, others)
        assert float((logits.argmax(1).numpy() == labels).mean()) > 0.5, name
    assert set(first) == {"perceptron", "convolutions", "attention"}
