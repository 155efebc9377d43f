"""Which weights are kept, whatever the scope, and masks that stay in force."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune as torch_prune

import tinynets
from approx import approx
from tinynets.data import digits
from tinynets.modules.replacing import copied
from tinynets.networks.extraction import extract
from tinynets.networks.masks import (
    apply_masks,
    choose,
    keep_largest,
    make_permanent,
    masks_of,
    weight_layers,
)
from tinynets.networks.models import digits_cnn, mlp
from tinynets.networks.training import predict, train
from tinynets.pruning import prune
from tinynets.pruning.schedules import sparsities
from tinynets.pruning.scores import magnitude

pytestmark = pytest.mark.training

SCORES = {
    "a": torch.tensor([[1.0, 2.0, 3.0, 4.0], [8.0, 7.0, 6.0, 5.0]]),
    "b": torch.tensor([[9.0, 0.5, 0.25, 9.5]]),
}


@pytest.mark.parametrize(
    ("scope", "kept"),
    [
        ("global", {"a": [[0, 0, 0, 0], [1, 1, 1, 1]], "b": [[1, 0, 0, 1]]}),
        ("layer", {"a": [[0, 0, 0, 0], [1, 1, 1, 1]], "b": [[1, 0, 0, 1]]}),
        ("output", {"a": [[0, 0, 1, 1], [1, 1, 0, 0]], "b": [[1, 0, 0, 1]]}),
        ("1:2", {"a": [[0, 1, 0, 1], [1, 0, 1, 0]], "b": [[1, 0, 0, 1]]}),
    ],
)
def test_scopes(scope, kept):
    masks = choose(SCORES, 0.5, scope)
    assert {path: mask.int().tolist() for path, mask in masks.items()} == kept


@pytest.mark.parametrize("n_keep", [0, 1, 5, 8])
def test_equal_scores_are_kept_in_order_of_position(n_keep):
    rows = torch.tensor([[1.0, 2, 1, 1, 1, 0, 1, 1], [3.0, 3, 3, 3, 3, 3, 3, 3]])
    order = torch.sort(rows, dim=1, descending=True, stable=True).indices[:, :n_keep]
    expected = torch.zeros_like(rows, dtype=torch.bool).scatter(1, order, True)
    assert torch.equal(keep_largest(rows, n_keep), expected)


def faint() -> nn.Sequential:
    """Return a network whose batch norm makes its first layer's outputs very small when folded."""
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(4)
    nn.init.uniform_(norm.weight, -2e-3, 2e-3)
    nn.init.uniform_(norm.running_var, 0.5, 2.0)
    rest = (nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 10))
    return nn.Sequential(nn.Conv2d(1, 4, 3), norm, *rest).eval()


@pytest.mark.parametrize("method", ["magnitude", "activation", "second_order"])
def test_folding_before_pruning_keeps_the_same_weights(method):
    data, masks = digits(seed=0, flat=False), []
    for model in (faint(), tinynets.fold_batch_norm(faint())):
        small = prune(model, data, method=method, sparsity=0.7, epochs=0)
        masks.append(masks_of(small))
    whole, folded = masks
    assert whole["0"].any()
    assert all(torch.equal(whole[path], folded[path]) for path in whole)


def test_scores_of_folded_layers_whose_channels_changed_or_have_no_gain():
    folded = tinynets.fold_batch_norm(faint())
    folded[0].folded_gain[1] = 0.0
    found = magnitude(weight_layers(folded))["0"]
    assert torch.equal(found[1], folded[0].weight[1].detach().abs())
    folded[0].folded_gain = torch.ones(3)
    assert torch.equal(magnitude(weight_layers(folded))["0"], folded[0].weight.detach().abs())


def test_layers_left_with_few_weights_are_named():
    data, model = digits(seed=0, flat=True), mlp((64, 32, 10))
    with torch.no_grad():
        model.fc2.weight.mul_(0.1)[0, :3] = 9.0
    with pytest.warns(UserWarning, match=r"'fc2' 3 of 320; .* exclude=\('fc2',\)"):
        prune(model, data, method="magnitude", sparsity=0.9, epochs=0)
    prune(model, data, method="magnitude", sparsity=0.9, scope="layer", epochs=0)  # no warning


def test_what_is_gone_is_never_kept():
    gone = {"a": torch.tensor([[-1.0, -1.0, -1.0, 2.0]])}
    assert choose(gone, 0.25)["a"].tolist() == [[False, False, False, True]]
    assert choose(gone, None, "2:4")["a"].tolist() == [[False, False, False, True]]


@pytest.mark.parametrize(
    ("sparsity", "scope", "message"),
    [
        (0.9, "3:2", "keeps 3 of 2"),
        (0.9, "2:4", "got sparsity 0.9"),
        (0.5, "row", "'N:M'; got 'row'"),
        (None, "layer", r"\[0, 1\); got None"),
        (1.0, "layer", r"\[0, 1\); got 1.0"),
        (-0.1, "output", r"\[0, 1\)"),
        (float("nan"), "global", r"\[0, 1\)"),
        (0.9, "layer", r"weight in layers \['a', 'b'\]; lower it, or pass exclude=\('a', 'b'\)"),
        (0.9, "global", r"layers \['b'\]; lower it, or pass scope='layer' or exclude=\('b',\)"),
        (None, "1:3", "4 inputs a row, not a multiple of 3"),
    ],
)
def test_refused_choices(sparsity, scope, message):
    scores = {"a": torch.ones(1, 4), "b": torch.ones(1, 4)}
    with pytest.raises(ValueError, match=message):
        choose(scores, sparsity, scope)


def test_scores_that_are_not_numbers():
    with pytest.raises(ValueError, match=r"layers \['b'\] hold NaN"):
        choose({"a": torch.ones(2), "b": torch.tensor([1.0, torch.inf])}, 0.5)


def test_exclusions_reach_what_is_inside():
    model = nn.ModuleDict({"stem": nn.Linear(2, 2), "body": mlp((2, 3, 2))})
    assert list(weight_layers(model, ("body",))) == ["stem"]
    assert list(weight_layers(model, ("body.fc1",))) == ["stem", "body.fc2"]
    with pytest.raises(ValueError, match=r"\['bod'\]"):
        weight_layers(model, ("bod",))
    with pytest.raises(ValueError, match="outside"):
        weight_layers(model, ("stem", "body"))


def test_masks_for_layers_that_are_not_there():
    with pytest.raises(ValueError, match=r"masks name \['fc9'\]"):
        apply_masks(mlp((2, 2)), {"fc9": torch.ones(2, 2)})


def test_masked_training_equals_torchs_own_slower_one():
    data = digits(seed=0, flat=False)
    torch.manual_seed(0)
    ours = digits_cnn()
    apply_masks(ours, choose(magnitude(weight_layers(ours)), 0.8))
    theirs = digits_cnn()
    apply_masks(theirs, masks_of(ours))
    theirs.load_state_dict(ours.state_dict())
    x, y = torch.from_numpy(data.x_train[:512]), torch.from_numpy(data.y_train[:512])
    small = type(data)("few", data.x_train[:512], data.y_train[:512], data.x_test, data.y_test)
    train(ours, small, epochs=2, seed=3)
    optimiser = torch.optim.Adam(theirs.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 16)
    order = torch.Generator().manual_seed(3)
    for _ in range(2):
        for rows in torch.randperm(512, generator=order).split(64):
            optimiser.zero_grad()
            nn.functional.cross_entropy(theirs(x[rows]), y[rows]).backward()
            optimiser.step()
            schedule.step()
    np.testing.assert_allclose(predict(ours, data.x_test), predict(theirs, data.x_test), atol=1e-5)
    assert all(torch.equal(mask, masks_of(theirs)[path]) for path, mask in masks_of(ours).items())


def test_masks_come_back_when_training_fails():
    model = mlp((64, 10))
    apply_masks(model, {"fc1": torch.eye(10, 64) != 0})

    def stop(step):
        if step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(model, digits(seed=0, flat=True), epochs=1, on_step=stop)
    assert int(masks_of(model)["fc1"].sum()) == 10
    assert set(model.state_dict()) == {"fc1.bias", "fc1.weight_orig", "fc1.weight_mask"}


def test_masks_survive_state_dict(tmp_path):
    model = mlp((4, 3))
    apply_masks(model, {"fc1": torch.eye(3, 4) != 0})
    torch.save(model.state_dict(), tmp_path / "m.pt")
    again = mlp((4, 3))
    apply_masks(again, {"fc1": torch.ones(3, 4)})
    again.load_state_dict(torch.load(tmp_path / "m.pt", weights_only=True))
    assert torch.equal(masks_of(again)["fc1"], torch.eye(3, 4) != 0)
    assert extract(again, torch.zeros(1, 4)).layers[0].n_remaining == 3


def test_schedules():
    assert sparsities("one_shot", 0.9, 5) == [0.9]
    assert sparsities("iterative", 0.75, 2) == approx([0.5, 0.75])
    assert sparsities("cubic", 0.8, 2) == approx([0.7, 0.8])
    with pytest.raises(ValueError, match="'linear'"):
        sparsities("linear", 0.5, 2)
    with pytest.raises(ValueError, match="rounds"):
        sparsities("cubic", 0.5, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scope": "2:4", "schedule": "cubic"}, "one step"),
        ({"sparsity": 0.5, "schedule": "never"}, "'never'"),
        ({"sparsity": 0.5, "exclude": ("fc7",)}, "fc7"),
        ({"sparsity": None}, "got None"),
    ],
)
def test_options_of_the_facade(options, message):
    with pytest.raises(ValueError, match=message):
        prune(mlp((64, 10)), digits(seed=0, flat=True), epochs=0, **options)


def test_weights_that_are_computed_from_others_are_named():
    normed = nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))
    with pytest.raises(ValueError, match=r"weights of layers \['0'\] are computed"):
        weight_layers(nn.Sequential(normed, nn.Linear(2, 2)))
    assert list(weight_layers(nn.Sequential(normed, nn.Linear(2, 2)), ("0",))) == ["1"]
    hooked = nn.utils.spectral_norm(nn.Linear(3, 2))
    with pytest.raises(ValueError, match=r"computed .*remove_spectral_norm"):
        weight_layers(nn.Sequential(hooked, nn.Linear(2, 2)))


def test_masks_of_torch_on_weights_and_biases_after_a_pass():
    data = digits(seed=0, flat=True)
    model = mlp((64, 8, 10))
    torch_prune.l1_unstructured(model.fc1, "weight", 0.5)
    torch_prune.l1_unstructured(model.fc1, "bias", 0.5)
    model(torch.zeros(1, 64))  # the masked tensors now belong to a graph, which cannot be copied
    small = tinynets.prune(model, data, sparsity=0.6, rounds=1, epochs=1)
    assert int((small.fc1.bias == 0).sum()) == 4
    plain = make_permanent(copied(small)).state_dict()
    assert set(plain) == {"fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"}
    assert int((plain["fc1.bias"] == 0).sum()) == 4
    tiles = tinynets.prune_for_tiles(
        model, data, n_word=8, n_bit=8, sparsity=0.6, rounds=1, epochs=0
    )
    assert tinynets.extract(tiles, torch.zeros(1, 64)).sparsity == approx(0.6, abs=1e-3)
    assert tinynets.strong_ticket(model, 2).n_kept > 0
