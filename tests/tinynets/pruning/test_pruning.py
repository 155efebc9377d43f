"""Training and pruning on real digits."""

import numpy as np
import pytest
import torch
from torch import nn

import tinynets
from approx import approx
from tinynets.data import Data, digits
from tinynets.networks.extraction import dense_weight
from tinynets.networks.masks import apply_masks, choose, make_permanent, weight_layers
from tinynets.networks.models import mlp
from tinynets.networks.training import accuracy, predict, train
from tinynets.pruning.scores import magnitude

pytestmark = pytest.mark.training


def test_training_learns_and_repeats(data, trained):
    assert accuracy(trained, data.x_test, data.y_test) > 0.93
    torch.manual_seed(0)
    again = train(mlp((64, 32, 10)), data, epochs=15, learning_rate=0.01, seed=0)
    np.testing.assert_array_equal(predict(again, data.x_test), predict(trained, data.x_test))


def test_pruning_to_ninety_percent_keeps_most_of_the_accuracy(data, trained):
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    steps = []
    small = tinynets.prune(
        trained,
        data,
        sparsity=0.9,
        rounds=5,
        epochs=10,
        learning_rate=0.03,
        progress=lambda *step: steps.append(step),
    )
    network = tinynets.extract(small, torch.from_numpy(data.x_test[:1]))
    assert network.sparsity == approx(0.9, abs=1e-3)
    assert accuracy(small, data.x_test, data.y_test) > 0.8
    assert steps == [("prune", k, 5) for k in range(6)]
    assert trained.state_dict().keys() == before.keys() != set()
    for name, value in trained.state_dict().items():
        assert torch.equal(value, before[name]), "the model given must not change"


def test_masks_survive_training_and_become_permanent(data, trained):
    small = tinynets.prune(trained, data, method="magnitude", sparsity=0.7, epochs=1)
    zeros = dense_weight(small.fc1) == 0
    train(small, data, epochs=1)
    assert (dense_weight(small.fc1)[zeros] == 0).all()
    plain = make_permanent(small).state_dict()
    assert set(plain) == {"fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"}
    assert (plain["fc1.weight"][zeros] == 0).all()


def test_magnitude_masks_keep_the_largest_of_the_whole_network():
    model = mlp((3, 2, 2))
    with torch.no_grad():
        model.fc1.weight.copy_(torch.arange(1.0, 7.0).view(2, 3))
        model.fc2.weight.copy_(torch.tensor([[10.0, -20.0], [0.5, 30.0]]))
    masks = choose(magnitude(weight_layers(model)), 0.5)
    assert masks["fc1"].tolist() == [[False, False, False], [False, True, True]]
    assert masks["fc2"].tolist() == [[True, True], [False, True]]
    assert choose(magnitude(weight_layers(model)), 0.0)["fc1"].all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sparsity": 1.0}, r"\[0, 1\)"),
        ({"sparsity": -0.1}, r"\[0, 1\)"),
        ({"sparsity": 0.5, "method": "magic"}, "'magic'"),
        ({"sparsity": 0.5, "rounds": 0}, "rounds"),
    ],
)
def test_bad_options(data, trained, options, message):
    with pytest.raises(ValueError, match=message):
        tinynets.prune(trained, data, **options)


def test_bad_models_and_masks():
    with pytest.raises(ValueError, match="no Linear"):
        choose(magnitude(weight_layers(nn.ReLU())), 0.5)
    model = mlp((3, 2, 2))
    with pytest.raises(ValueError, match=r"mask of layer 'fc1' has shape \(1, 1\)"):
        apply_masks(model, {"fc1": torch.ones(1, 1)})
    with torch.no_grad():
        model.fc2.weight.fill_(1e-9)
    with pytest.raises(ValueError, match=r"no weight in layers \['fc2'\]"):
        choose(magnitude(weight_layers(model)), 0.8)
    with torch.no_grad():
        model.fc2.weight.fill_(torch.nan)
    with pytest.raises(ValueError, match=r"\['fc2'\] hold NaN"):
        choose(magnitude(weight_layers(model)), 0.5)
    with pytest.raises(ValueError, match="sizes"):
        mlp((3,))


def test_data_does_not_leak_and_is_checked(data):
    assert len(data.x_train) + len(data.x_test) == 1797
    train_images = {image.tobytes() for image in data.x_train}
    shared = sum(image.tobytes() in train_images for image in data.x_test)
    assert shared == 0
    assert data.n_class == 10
    assert digits(seed=0, flat=False).x_test.shape[1:] == (1, 8, 8)
    x, y = np.zeros((3, 2), np.float32), np.array([0, 1, 2])
    with pytest.raises(ValueError, match="at least one"):
        Data("d", x[:0], y[:0], x, y)
    with pytest.raises(ValueError, match="at least one"):
        Data("d", x, y, x, y[:2])
    with pytest.raises(ValueError, match="labels"):
        Data("d", x, y, x, y + 1)
    with pytest.raises(ValueError, match="labels"):
        Data("d", x, y - 1, x, y)
    with pytest.raises(ValueError, match="the train samples hold NaN"):
        Data("d", x * np.float32(np.nan), y, x, y)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda m: None, {"epochs": -1}, "epochs must be >= 0 and batch_size >= 1; got -1, 64"),
        (lambda m: None, {"batch_size": 0}, "got 1, 0"),
        (lambda m: m.requires_grad_(False), {}, "no parameter of the model can be trained"),
        (lambda m: m.fc2.weight.data.fill_(torch.nan), {}, "the loss is nan after epoch 1"),
        (lambda m: m.append(nn.Linear(10, 7)), {}, r"shape \(64, 7\); .* labels 0 … 9"),
        (lambda m: m.append(nn.Unflatten(1, (2, 5))), {}, r"shape \(64, 2, 5\)"),
    ],
)
def test_training_that_cannot_work(data, change, options, message):
    model = mlp((64, 8, 10))
    change(model)
    with pytest.raises(ValueError, match=message):
        train(model, data, **({"epochs": 1} | options))


def test_no_epochs_change_nothing(data):
    model = mlp((64, 8, 10)).requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    train(model, data, epochs=0)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
