"""Targets that are trained through the wires: exact forward, exact backward, better on a die."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from crossbar_sim import Hardware, to_torch
from crossbar_sim.calibration import through_wires as module
from crossbar_sim.calibration.through_wires import TrainedTargets, train_switches
from crossbar_sim.calibration.tile import WiredDie
from mapping import Die, MappedNetwork, ResistorBank, TileConfig, map_network
from mapping.bank.switches import realise
from mapping.network.map_network import map_layer
from netlists import Periphery, Wires
from tinynets.data import Data
from tinynets.networks.extraction import extract

WIRES, ENDS = Wires(400.0, 200.0, r_driver=50.0), Periphery(tia_gain=1e3)


def model_and_data(groups: int = 1) -> tuple[nn.Module, Data]:
    """Return a convolution and a dense layer, and random samples labelled by the network itself."""
    torch.manual_seed(0)
    conv = nn.Conv2d(groups, 3 * groups, 3, stride=2, groups=groups)
    model = nn.Sequential(conv, nn.ReLU(), nn.Flatten(), nn.Linear(27 * groups, 4))
    x = np.random.default_rng(0).normal(size=(160, groups, 8, 8)).astype(np.float32)
    with torch.no_grad():
        y = model(torch.from_numpy(x)).argmax(1).numpy()
    return model.eval(), Data("random", x[:120], y[:120], x[120:], y[120:])


def mapped_on(model: nn.Module, data: Data, bank: ResistorBank) -> MappedNetwork:
    network = extract(model, torch.from_numpy(data.x_train[:1]))
    return map_network(network, Die(bank, seed=2), TileConfig(12, 6))


BANK = ResistorBank(n=5, r_min=2e4, sigma_local=0.05, meter_error=1e-3)


@pytest.mark.parametrize("groups", [1, 3])
def test_a_layer_multiplies_by_what_the_network_on_the_die_does(groups):
    model, data = model_and_data(groups)
    mapped = mapped_on(model, data, replace(BANK, meter_error=0.0))
    images = torch.from_numpy(data.x_train)
    each = [TrainedTargets(layer, WiredDie(mapped.die, WIRES, ENDS)) for layer in mapped.layers]
    aimed = [torch.from_numpy(1.1 * layer.source.weight) for layer in mapped.layers]
    chosen = tuple(tiles.selected(weight) for tiles, weight in zip(each, aimed))
    hardware, put = Hardware(wires=WIRES, periphery=ENDS), replace(mapped, layers=chosen)
    on_die = to_torch(model, put, hardware, calibration=images)
    with torch.no_grad():
        for tiles, weight in zip(each, aimed):
            held = model.get_submodule(tiles.layer.source.module).weight
            held.copy_(tiles(weight).reshape(held.shape))
        np.testing.assert_allclose(model(images), on_die(images), rtol=0, atol=1e-4)


def _watched(call, asked, *args, **options):
    asked.append(call.__name__)
    return call(*args, **options)


@pytest.mark.parametrize("tiling", ["in order", "clustered"])
def test_tiles_of_one_shape_are_solved_in_one_call(tiling, monkeypatch):
    """Of a sparse layer, whose tiles have many shapes; each matrix is that of its own circuit."""
    model, data = model_and_data()
    network = extract(model, torch.from_numpy(data.x_train[:1]))
    dense = network.layers[1]
    kept = np.random.default_rng(3).random(dense.weight.shape) < 0.4
    layer = replace(dense, weight=np.where(kept, dense.weight, 0.0), mask=kept)
    die = Die(replace(BANK, meter_error=0.0), seed=2)
    mapped = map_layer(layer, die, TileConfig(4, 2), tiling=tiling)
    shapes = {tile.present.shape for tile in mapped.tiles}
    assert len(shapes) < len(mapped.tiles)
    wired, asked = WiredDie(die, WIRES, ENDS), []
    for call in (module.solve_torch, module.select):
        watched = partial(_watched, call, asked)
        monkeypatch.setattr(module, call.__name__, watched)
    tiles, weight = TrainedTargets(mapped, wired), torch.tensor(layer.weight)
    found = tiles(weight)
    assert sorted(asked) == ["select"] + ["solve_torch"] * len(shapes)
    chosen = tiles.selected(weight)
    expected = chosen.assemble([wired.matrix(tile) for tile in chosen.tiles])
    expected /= mapped.g_per_weight[:, None]
    limit = 1e-9 * np.abs(expected).max()
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=limit)
    believed = chosen.assemble([tile.g_pos - tile.g_neg for tile in chosen.tiles])
    np.testing.assert_allclose(chosen.predicted, believed, rtol=1e-12, atol=1e-18)


def test_chosen_tiles_have_true_conductances_not_the_meters():
    model, data = model_and_data()
    mapped = mapped_on(model, data, replace(BANK, meter_error=0.05))
    layer = mapped.layers[1]
    chosen = TrainedTargets(layer, WiredDie(mapped.die, WIRES, ENDS)).selected(
        torch.tensor(layer.source.weight)
    )
    assert chosen.tiles
    for tile in chosen.tiles:
        true = mapped.die.branches(tile.layer, *tile.cells, measured=False)
        g_pos, g_neg = realise(true, *tile.chosen)
        np.testing.assert_allclose(tile.g_pos, tile.matrix(g_pos), rtol=1e-12, atol=0)
        np.testing.assert_allclose(tile.g_neg, tile.matrix(g_neg), rtol=1e-12, atol=0)


def test_derivatives_by_what_cells_aim_at_are_those_of_the_circuit(monkeypatch):
    """With any conductance within reach, the choice is no step, and finite differences agree."""
    model, data = model_and_data()
    mapped = mapped_on(model, data, BANK)
    layer = mapped.layers[1]
    tiles = TrainedTargets(layer, WiredDie(mapped.die, WIRES, ENDS))

    def split(target):
        return np.stack([1e-4 + target / 2, 1e-4 - target / 2])

    monkeypatch.setattr(tiles, "_banks", split)
    weight = torch.from_numpy(layer.weight).requires_grad_()
    probe = torch.from_numpy(np.random.default_rng(1).normal(size=layer.weight.shape))
    (tiles(weight) * probe).sum().backward()
    assert weight.grad is not None
    for place in ((0, 3), (2, 20), (3, 26)):
        step = torch.zeros_like(weight)
        step[place] = 1e-4
        with torch.no_grad():
            ends = [float((tiles(weight + sign * step) * probe).sum()) for sign in (1, -1)]
        slope = (ends[0] - ends[1]) / 2e-4
        assert abs(slope - float(weight.grad[place])) < 1e-6 * abs(slope)


@pytest.mark.training
def test_training_through_wires_wins_back_what_they_cost():
    """The loss falls below the digital network's, which was never trained; on each die tried."""
    model, data = model_and_data()
    mapped = mapped_on(model, data, BANK)
    hardware, images = Hardware(wires=WIRES, periphery=ENDS), torch.from_numpy(data.x_train)
    before = [p.detach().clone() for p in model.parameters()]
    wired = WiredDie(mapped.die, WIRES, ENDS)
    training = {"epochs": 8, "learning_rate": 1e-2, "batch_size": 20}
    trained, switched = train_switches(model, data, mapped, wired, **training)

    def loss(network: nn.Module) -> float:
        with torch.no_grad():
            logits = network(images)
        return float(nn.functional.cross_entropy(logits, torch.from_numpy(data.y_train)))

    on_dies = [
        to_torch(network, put, hardware, calibration=images)
        for network, put in ((trained, switched), (model, mapped))
    ]
    assert loss(on_dies[0]) < loss(model) < loss(on_dies[1]) - 0.05
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters()))
    pairs = list(zip(mapped.layers, switched.layers))
    assert all(np.array_equal(old.source.weight, new.source.weight) for old, new in pairs)
    assert all(new.n_different(old) > 0 for old, new in pairs)
    biases = [new.source.bias for _, new in pairs]
    assert all(np.array_equal(b, trained[k].bias.detach()) for b, k in zip(biases, (0, 3)))


def test_what_cannot_be_trained_is_refused():
    model, data = model_and_data()
    mapped = mapped_on(model, data, BANK)
    other = WiredDie(Die(BANK, seed=3), WIRES, ENDS)
    with pytest.raises(ValueError, match="the mapping is of another die than the wires"):
        train_switches(model, data, mapped, other, epochs=1)
    with pytest.raises(ValueError, match="r_word must be above 0 ohm"):
        train_switches(model, data, mapped, WiredDie(mapped.die, Wires(), ENDS), epochs=1)
