"""What each way of tuning gives back to the digits perceptron on real dies, and what it leaves."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from crossbar_sim import Hardware, Noise, to_torch
from crossbar_sim.calibration.tune import (
    Chip,
    fine_tune,
    fine_tune_layer_by_layer,
    fit_outputs,
    train_noise_aware,
)
from crossbar_sim.config.study import with_values
from crossbar_sim.on_die.circuit_layer import CircuitLayer, circuit_layers
from crossbar_sim.pipeline.steps import select_on_die
from mapping import Die, ResistorBank, TileConfig, map_network
from mapping.network.map_network import SelectionRule
from netlists import Periphery, Wires
from tinynets.data import Data, digits
from tinynets.networks.extraction import extract
from tinynets.networks.masks import apply_masks, make_permanent, masks_of
from tinynets.networks.models import mlp
from tinynets.networks.training import accuracy, train

pytestmark = pytest.mark.training

OFFSET = {"periphery.v_offset_sigma": 2e-3, "periphery.auto_zero": False}
WIRES = {
    "wires.source": "given",
    "wires.r_word": 100.0,
    "wires.r_bit": 100.0,
    "periphery.tia_gain": 100.0,
}
COARSE = {"bank.n": 1}
DIES = [1, 2]

# The perceptron is read from a file, so it and what it scores on a die are the same everywhere.
# What is trained through a die is not: over three dies and two seeds of training each, the gains
# asked for here were exceeded at least twofold.


class Job:
    """The digits perceptron on a die of its configuration with some keys set."""

    def __init__(self, digits_mlp, values, die):
        config, self.data, self.model = digits_mlp
        config = with_values(config, {**values, "die.seed": die})
        self.images = torch.from_numpy(self.data.x_train)
        mapped = select_on_die(config, self.model, self.data)
        periphery = config.periphery
        hardware = replace(
            config.hardware, periphery=periphery.amplifiers, converters=periphery.converters
        )
        self.chip = Chip(mapped.die, mapped.tile, hardware, config.select)
        self.on_die = to_torch(self.model, mapped, hardware, calibration=self.images)

    def score(self, network):
        return accuracy(network, self.data.x_test, self.data.y_test)

    def logits(self, network):
        with torch.no_grad():
            return network(torch.from_numpy(self.data.x_test))


def state(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("die", DIES)
@pytest.mark.parametrize(
    ("values", "before", "gained", "least"),
    [(OFFSET, 0.86, 0.08, 0.93), (WIRES, 0.93, 0.02, 0.93), (COARSE, 0.3, 0.1, 0.3)],
)
def test_fitted_outputs_bring_accuracy_back(digits_mlp, values, before, gained, least, die):
    job = Job(digits_mlp, values, die)
    kept = state(job.on_die)
    tuned = fit_outputs(job.on_die, job.model, job.images[:300])
    assert job.score(job.on_die) < before
    assert job.score(tuned) > job.score(job.on_die) + gained
    assert job.score(tuned) > least
    assert same(state(job.on_die), kept)


def test_fitted_outputs_are_the_least_squares_line(digits_mlp):
    """Against NumPy's own line, output by output, on the first layer, without noise."""
    job = Job(digits_mlp, OFFSET | {"noise.bandwidth": 0.0}, 1)
    images = job.images[:200]
    tuned = fit_outputs(job.on_die, job.model, images)
    with torch.no_grad():
        found = job.on_die.get_submodule("fc1")(images).double().numpy()
        wanted = job.model.get_submodule("fc1")(images).double().numpy()
        fitted = tuned.get_submodule("fc1")(images).double().numpy()
    alive = np.flatnonzero(np.ptp(found, axis=0) > 1e-9)  # the others have no weight left
    assert len(alive) > 10
    for j in alive:
        line = np.polyval(np.polyfit(found[:, j], wanted[:, j], 1), found[:, j])
        np.testing.assert_allclose(fitted[:, j], line, atol=1e-4 * np.abs(wanted).max())


def test_an_output_that_never_moves_keeps_its_gain():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 3)).eval()
    with torch.no_grad():
        model[0].weight[1, :5] = 0.0
    x = torch.rand(50, 6)
    x[:, 5] = 0.0  # all that output 1 listens to
    mapped = map_network(extract(model, x), Die(ResistorBank(n=6), seed=1), TileConfig(8, 8))
    amplifiers = Periphery(v_offset_sigma=5e-3)
    on_die = to_torch(model, mapped, Hardware(periphery=amplifiers), calibration=x)
    tuned = fit_outputs(on_die, model, x)
    assert on_die[0].gain[1] == tuned[0].gain[1] == 1.0
    assert tuned[0].gain[0] != 1.0
    with torch.no_grad():
        gap = (tuned(x) - model(x))[:, 1].abs().max()
        assert gap < 1e-5 < 1e-3 < (on_die(x) - model(x))[:, 1].abs().max()


@pytest.mark.parametrize("images", [0, 1])
def test_a_line_needs_two_images(digits_mlp, images):
    job = Job(digits_mlp, {}, 1)
    with pytest.raises(ValueError, match=f"at least 2 images, better 300; got {images}"):
        fit_outputs(job.on_die, job.model, job.images[:images])
    with pytest.raises(ValueError, match=f"at least 2 images, better 300; got {images}"):
        fine_tune_layer_by_layer(job.model, job.data, job.chip, epochs=1, n_calibration=images)


@pytest.mark.parametrize("die", DIES)
@pytest.mark.parametrize(("values", "gained"), [(OFFSET, 0.05), (WIRES, 0.015), (COARSE, 0.02)])
def test_training_through_the_circuits_helps(digits_mlp, values, gained, die):
    job = Job(digits_mlp, values, die)
    kept = state(job.on_die)
    tuned = fine_tune(job.on_die, job.data, epochs=5, learning_rate=3e-3)
    assert job.score(tuned) > job.score(job.on_die) + gained
    assert same(state(job.on_die), kept)
    changed = {n for n, value in state(tuned).items() if not torch.equal(value, kept[n])}
    assert changed == {f"{path}.{name}" for path in ("fc1", "fc2") for name in ("gain", "bias")}


def test_layer_by_layer_makes_up_for_coarse_banks_better_than_lines(digits_mlp):
    """One die may gain nothing: with five seeds of the noise, the third gained 0.00 … 0.04."""
    gained = [_gain_by_layers(Job(digits_mlp, COARSE, die)) for die in (1, 2, 3)]
    assert np.mean(gained) > 0.02


def _gain_by_layers(job: Job) -> float:
    """Return by how much layer by layer is better than lines on a die; check what it leaves."""
    kept, seen = state(job.model), []
    tuned, mapped = fine_tune_layer_by_layer(
        job.model,
        job.data,
        job.chip,
        epochs=5,
        learning_rate=3e-3,
        progress=lambda *done: seen.append(done),
    )
    lines = fit_outputs(job.on_die, job.model, job.images[:500])
    assert seen == [("put on the die", k, 2) for k in range(3)]
    assert same(state(job.model), kept)
    assert [layer.name for layer in mapped.layers] == ["fc1", "fc2"]
    original = extract(job.model, job.images[:1])
    for before, after in zip(original.layers, mapped.layers):
        assert np.array_equal(before.mask, after.source.mask), "zeros stay, and no other comes"
    assert np.array_equal(original.layers[0].weight, mapped.layers[0].source.weight)
    assert not np.array_equal(original.layers[1].weight, mapped.layers[1].source.weight)
    assert circuit_layers(tuned).keys() == {"fc1", "fc2"}
    return job.score(tuned) - job.score(lines)


@pytest.mark.parametrize(("values", "least"), [(OFFSET, 0.925), (WIRES, 0.925)])
@pytest.mark.parametrize("die", DIES)
def test_layer_by_layer_makes_up_for_circuits(digits_mlp, values, least, die):
    job = Job(digits_mlp, values, die)
    tuned, _ = fine_tune_layer_by_layer(job.model, job.data, job.chip, epochs=5, learning_rate=3e-3)
    assert job.score(tuned) > least > job.score(job.on_die)


def test_layer_by_layer_aware_of_what_the_die_gives(digits_mlp):
    job = Job(digits_mlp, {"bank.n": 2}, 1)
    rule = SelectionRule(objective="aware", scale_per="output")
    chip = replace(job.chip, rule=rule)
    tuned, mapped = fine_tune_layer_by_layer(
        job.model, job.data, chip, epochs=5, learning_rate=3e-3, n_calibration=200
    )
    assert job.score(tuned) > job.score(job.model) - 0.03
    assert len(np.unique(mapped.layers[0].g_per_weight)) > 5, "a scale for each output"


def test_the_same_seed_gives_the_same_network_whatever_came_before(digits_mlp):
    job = Job(digits_mlp, OFFSET, 1)
    assert circuit_layers(job.on_die)["fc1"].stream is not None, "there is noise"

    def tune(seed):
        options = {"epochs": 2, "learning_rate": 3e-3, "seed": seed}
        yield fine_tune(job.on_die, job.data, **options)
        yield fine_tune_layer_by_layer(job.model, job.data, job.chip, **options)[0]
        yield fit_outputs(job.on_die, job.model, job.images[:100])

    first = list(tune(3))
    assert len(first) == 3
    used = job.logits(job.on_die)  # moves the stream of the noise on
    assert not torch.equal(used, job.logits(job.on_die))
    for a, b in zip(first, tune(3), strict=True):
        assert same(state(a), state(b))
        assert torch.equal(job.logits(a), job.logits(b))
    for a, b in zip(first[:2], tune(4)):  # fitted lines have no seed
        assert not same(state(a), state(b))


def test_what_tuning_saturates_is_not_counted(digits_mlp):
    job = Job(digits_mlp, OFFSET, 1)
    layers = circuit_layers(job.on_die)
    bright = replace(job.data, x_train=3 * job.data.x_train)
    tuned = fine_tune(job.on_die, bright, epochs=1)
    fitted = fit_outputs(job.on_die, job.model, 3 * job.images[:100])
    assert [layer.n_saturated for layer in layers.values()] == [0, 0]
    for network in (tuned, fitted):
        assert [layer.n_saturated for layer in circuit_layers(network).values()] == [0, 0]
        network(3 * job.images[:100])
        assert circuit_layers(network)["fc1"].n_saturated > 0


def mean_score_of_noisy_weights(network, data, sigma):
    """Over 20 draws of weights that miss by sigma of each layer's largest."""
    generator, scores = torch.Generator().manual_seed(0), []
    for _ in range(20):
        noisy = copy.deepcopy(network)
        for path, mask in masks_of(noisy).items():
            weight = noisy.get_submodule(path).weight.data
            error = torch.randn(weight.shape, generator=generator)
            weight += mask * sigma * weight.abs().max() * error
        scores.append(accuracy(noisy, data.x_test, data.y_test))
    return np.mean(scores)


@pytest.mark.parametrize("seed", [0, 1])
def test_noise_in_training_makes_a_network_that_errors_hurt_less(digits_mlp, seed):
    """Against as much training without noise; three seeds gained 3.3 … 4.0 points."""
    _, data, model = digits_mlp
    before = state(model)
    options = {"epochs": 15, "learning_rate": 0.01, "seed": seed}
    hardened = train_noise_aware(model, data, sigma=0.1, **options)
    more = copy.deepcopy(model)
    apply_masks(more, masks_of(more))
    more = make_permanent(train(more, data, **options))
    assert same(state(model), before)
    assert hardened.state_dict().keys() == model.state_dict().keys()
    assert masks_of(model).keys() == masks_of(hardened).keys() == {"fc1", "fc2"}
    for path, mask in masks_of(model).items():
        assert torch.equal(masks_of(hardened)[path], mask)
    score = mean_score_of_noisy_weights(hardened, data, 0.2)
    assert score > mean_score_of_noisy_weights(more, data, 0.2) + 0.015


def test_noise_aware_training_keeps_zeros_and_masks(digits_mlp):
    _, data, model = digits_mlp
    options = {"sigma": 0.05, "epochs": 1, "exclude": ("fc2",), "seed": 1}
    found = train_noise_aware(model, data, **options)
    assert torch.equal(found.fc2.weight != 0, model.fc2.weight != 0)
    assert not torch.equal(found.fc2.weight, model.fc2.weight)
    masked = copy.deepcopy(model)
    apply_masks(masked, masks_of(masked))
    masked(torch.from_numpy(data.x_train[:2]))  # torch cannot copy it from now on
    assert same(state(train_noise_aware(masked, data, **options)), state(found))
    other = train_noise_aware(model, data, **(options | {"seed": 2}))
    assert not same(state(other), state(found))


@pytest.mark.parametrize("sigma", [0.0, -1.0, np.nan, np.inf])
def test_noise_needs_a_size(digits_mlp, sigma):
    _, data, model = digits_mlp
    with pytest.raises(ValueError, match="sigma must be > 0, a fraction of the largest weight"):
        train_noise_aware(model, data, sigma=sigma, epochs=1)


@pytest.fixture(scope="module")
def strange() -> tuple[nn.Module, Data]:
    """A convolutional network with groups and batch norm, whose root holds more than layers."""
    torch.manual_seed(0)
    data = digits(seed=0, flat=False)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, groups=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64, 10),
    )
    return train(model, data, epochs=4, learning_rate=0.01), data


def test_convolutions_groups_and_batch_norm(strange):
    model, data = strange
    die = Die(ResistorBank(n=2, sigma_local=0.05), seed=1)
    hardware = Hardware(Wires(5.0, 5.0), Periphery(v_offset_sigma=3e-3))
    chip = Chip(die, TileConfig(32, 32), hardware)
    network = extract(model, torch.from_numpy(data.x_train[:1]))
    mapped = map_network(network, die, chip.tile)
    images = torch.from_numpy(data.x_train)
    on_die = to_torch(model, mapped, hardware, calibration=images)

    def score(network):
        return accuracy(network, data.x_test, data.y_test)

    tuned, found = fine_tune_layer_by_layer(model, data, chip, epochs=2, learning_rate=3e-3)
    lines = fit_outputs(on_die, model, images[:200])
    assert score(on_die) < score(model) - 0.02
    assert score(lines) > score(on_die) + 0.01
    assert score(tuned) > score(on_die) + 0.01
    assert [layer.name for layer in found.layers] == [layer.name for layer in network.layers]
    grouped = found.layers[1].source
    assert np.array_equal(grouped.mask, network.layers[1].mask)
    assert not tuned.training


def test_a_model_that_is_one_layer(digits_mlp):
    _, data, _ = digits_mlp
    torch.manual_seed(0)
    model = train(nn.Linear(64, 10), data, epochs=5, learning_rate=0.01)
    kept = state(model)
    chip = Chip(Die(ResistorBank(n=1, sigma_local=0.1), seed=1), TileConfig(32, 32))
    images = torch.from_numpy(data.x_train)
    mapped = map_network(extract(model, images[:1]), chip.die, chip.tile)
    on_die = to_torch(model, mapped, Hardware(), calibration=images)
    assert isinstance(on_die, CircuitLayer)
    tuned, _ = fine_tune_layer_by_layer(model, data, chip, epochs=10, learning_rate=3e-3)
    assert isinstance(tuned, CircuitLayer)
    scores = [accuracy(net, data.x_test, data.y_test) for net in (on_die, tuned)]
    assert scores[1] > scores[0]
    assert isinstance(model, nn.Linear)
    assert same(state(model), kept)


def test_the_mode_of_the_networks_given_stays(digits_mlp):
    job = Job(digits_mlp, {}, 1)
    model = copy.deepcopy(job.model).train()
    fit_outputs(job.on_die, model, job.images[:10])
    assert model.training
    assert not job.on_die.training


def test_noise_is_part_of_what_is_restarted():
    noise = Noise(1e9)
    torch.manual_seed(0)
    model, x = mlp((6, 4)).eval(), torch.rand(20, 6)
    mapped = map_network(extract(model, x), Die(ResistorBank(n=4), seed=1), TileConfig(8, 8))
    hardware = Hardware(periphery=Periphery(v_noise=1e-8), noise=noise)
    on_die = to_torch(model, mapped, hardware, calibration=x)
    layer = circuit_layers(on_die)["fc1"]
    layer.restart()
    first, second = layer(x), layer(x)
    layer.restart()
    assert torch.equal(layer(x), first)
    assert not torch.equal(first, second)
