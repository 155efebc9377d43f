"""Scores on networks trained on real digits: what each promises, and that it pays."""

import numpy as np
import pytest
import torch
from torch import nn

import tinynets
from approx import approx
from tinynets.data import Data
from tinynets.modules.replacing import copied
from tinynets.networks.extraction import dense_weight
from tinynets.networks.masks import choose, masks_of, weight_layers
from tinynets.networks.models import digits_cnn, mlp
from tinynets.networks.training import accuracy, train
from tinynets.pruning import METHODS, scores, second_order
from tinynets.pruning.methods import PruneOptions
from tinynets.pruning.rounds import prune_once

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def cnn(images: Data) -> nn.Module:
    torch.manual_seed(0)
    return train(digits_cnn(), images, epochs=3, learning_rate=0.01)


def one_shot(
    model: nn.Module, data: Data, method: str, sparsity: float, scope: str = "layer"
) -> float:
    """Accuracy right after pruning, without training."""
    small = tinynets.prune(model, data, method=method, sparsity=sparsity, scope=scope, epochs=0)
    assert [bool(mask.any()) for mask in masks_of(small).values()].count(True) >= 2
    return accuracy(small, data.x_test, data.y_test)


def test_every_score_beats_random_without_training(data, trained):
    found = {method: one_shot(trained, data, method, 0.7) for method in METHODS}
    informed = [found[method] for method in METHODS if method != "random"]
    assert min(informed) > found["random"] + 0.02  # by 0.095 and more over trainings
    assert found["second_order"] >= max(informed) - 0.02


def test_convolutions_are_scored_too(images, cnn):
    found = {m: one_shot(cnn, images, m, 0.6, "output") for m in ("activation", "second_order")}
    assert min(found.values()) > 0.75
    assert one_shot(cnn, images, "gradient", 0.5, "global") > 0.75


@pytest.mark.parametrize("method", ["magnitude", "gradient", "activation", "second_order"])
def test_pruned_weights_stay_pruned(data, trained, method):
    small = tinynets.prune(trained, data, sparsity=0.5, epochs=1, rounds=1)
    before = masks_of(small)
    after = prune_once(small, data, PruneOptions(method=method, sparsity=0.8))
    for path, mask in after.items():
        assert not (mask & ~before[path]).any()
    assert sum(int(m.sum()) for m in after.values()) == round(0.2 * (64 * 32 + 320))


def test_random_masks_stay_within_earlier_ones(data, trained):
    small = tinynets.prune(
        trained, data, method="random", schedule="cubic", rounds=3, sparsity=0.8, epochs=1
    )
    assert sum(int(m.sum()) for m in masks_of(small).values()) == round(0.2 * (64 * 32 + 320))


def test_excluded_layers_stay_whole(data, trained):
    small = tinynets.prune(trained, data, sparsity=0.9, exclude=("fc2",), epochs=1)
    assert int(masks_of(small)["fc1"].sum()) == round(0.1 * 64 * 32)
    assert masks_of(small)["fc2"].all()


def test_two_of_four(data, trained):
    small = tinynets.prune(trained, data, method="activation", scope="2:4", epochs=1)
    assert len(masks_of(small)) == 2
    for mask in masks_of(small).values():
        assert (mask.reshape(-1, 4).sum(1) == 2).all()


def test_the_gradient_score_predicts_the_change_of_the_loss(data, trained):
    x, y = torch.from_numpy(data.x_train), torch.from_numpy(data.y_train)
    layers = weight_layers(trained)
    score = scores.gradient(trained, layers, x, y)["fc1"]
    index = divmod(int(score.argmax()), 64)
    weight = trained.fc1.weight.data
    value, share = float(weight[index]), 1e-2

    def loss():
        with torch.no_grad():
            return float(nn.functional.cross_entropy(trained(x).double(), y))

    before = loss()
    weight[index] = value * (1 - share)
    change = abs(loss() - before) / share
    weight[index] = value
    assert change == approx(float(score[index]), rel=0.1)


def test_activation_scores_are_the_weight_times_the_norm_of_its_input(data, trained):
    x = torch.from_numpy(data.x_train[:100])
    found = scores.activation(trained, weight_layers(trained), x)
    expected = trained.fc1.weight.detach().abs() * x.norm(dim=0)
    torch.testing.assert_close(found["fc1"], expected, rtol=1e-6, atol=0)


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize(
    ("conv", "shape"),
    [
        (nn.Conv2d(4, 6, 3, stride=2, padding=1, dilation=2, groups=2), (5, 4, 9, 9)),
        (nn.Conv2d(4, 4, 3, padding="same", groups=4, padding_mode="circular"), (2, 4, 6, 7)),
        (nn.Conv1d(3, 5, 4, padding=2), (2, 3, 11)),
        (nn.Linear(3, 4), (2, 5, 3)),
    ],
)
def test_input_rows_times_the_weight_are_the_output(conv, shape):
    torch.manual_seed(0)
    x = torch.randn(shape)
    rows = scores.input_rows(conv, x)
    product = rows @ scores.by_group(conv).mT  # (groups, n_vector, n_out / groups)
    found = product.permute(1, 0, 2).flatten(1) + conv.bias.detach()
    y = conv(x).detach()
    expected = y.flatten(0, -2) if isinstance(conv, nn.Linear) else y.transpose(0, 1).flatten(1).T
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def output_error(layer: nn.Module, weight: torch.Tensor, x: torch.Tensor) -> float:
    return float((x @ (layer.weight.detach() - weight).T).square().sum())


def test_the_weights_that_stay_make_up_for_those_that_go(data, trained):
    x = torch.from_numpy(data.x_train)
    layers = {"fc1": trained.fc1}
    factors = second_order.inverse_factors(trained, layers, x, damping=1e-4)
    mask = choose(scores.activation(trained, layers, x), 0.6, "output")["fc1"]
    updated = second_order.compensate(trained.fc1, mask, factors["fc1"])
    assert (updated[~mask] == 0).all()
    kept = output_error(trained.fc1, trained.fc1.weight.detach() * mask, x)
    assert output_error(trained.fc1, updated, x) < 0.5 * kept
    everything = torch.ones_like(mask)
    torch.testing.assert_close(
        second_order.compensate(trained.fc1, everything, factors["fc1"]),
        dense_weight(trained.fc1),
        rtol=1e-6,
        atol=0,
    )


def test_saliency_is_the_error_that_one_removal_leaves():
    # For the first input all others can make up: OBS's own w² / [H⁻¹]_jj.
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(50, 6))).float()
    layer = nn.Linear(6, 2, bias=False)
    factors = second_order.inverse_factors(layer, {"": layer}, x, damping=1e-9)
    score = second_order.saliency({"": layer}, factors)[""]
    mask = torch.ones(2, 6, dtype=torch.bool)
    mask[0, 0] = False
    updated = second_order.compensate(layer, mask, factors[""])
    assert output_error(layer, updated, x) == approx(float(score[0, 0]), rel=1e-3)
    w = layer.weight.detach()[0].double().numpy()
    best = np.linalg.lstsq(x[:, 1:].double().numpy(), x.double().numpy() @ w, rcond=None)[0]
    np.testing.assert_allclose(updated[0, 1:], best, rtol=1e-3, atol=1e-5)


def test_layers_that_never_run_and_weights_that_are_nan(data):
    layers = {"idle": nn.Linear(3, 3)}
    with pytest.raises(ValueError, match=r"\['idle'\] did not run"):
        scores.activation(mlp((64, 10)), layers, torch.from_numpy(data.x_train[:4]))
    model = mlp((64, 10))
    with torch.no_grad():
        model.fc1.weight[0, 0] = torch.nan
    for method in ("magnitude", "activation", "gradient"):
        with pytest.raises(ValueError, match=r"\['fc1'\] hold NaN"):
            tinynets.prune(model, data, method=method, sparsity=0.5, epochs=0)


def test_scoring_leaves_the_mode_of_every_module_alone(data):
    model = nn.Sequential(nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, 10)).train()
    model[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    prune_once(model, data, PruneOptions(method="activation", sparsity=0.5))
    assert [module.training for module in model] == [True, False, True]
    assert torch.equal(model.state_dict()["1.running_mean"], before["1.running_mean"])


def test_frozen_weights_have_gradient_scores_and_stay_frozen(data, trained):
    frozen = copied(trained).requires_grad_(False)
    x, y = torch.from_numpy(data.x_train[:99]), torch.from_numpy(data.y_train[:99])
    wanted, found = (
        scores.gradient(model, weight_layers(model), x, y) for model in (trained, frozen)
    )
    assert all(torch.equal(found[path], wanted[path]) for path in wanted)
    assert not any(p.requires_grad for p in frozen.parameters())
