"""Input-aware selection on a whole network: the moments, and what they are worth."""

import numpy as np
import pytest
import torch

from crossbar_sim import Hardware, to_torch
from crossbar_sim.on_die.input_moments import second_moments, write_weight
from mapping import Die, ResistorBank, SelectionRule, TileConfig, map_network
from tinynets.networks.extraction import extract
from tinynets.networks.models import digits_cnn, mlp


def test_moments_are_those_of_the_layers_inputs():
    torch.manual_seed(0)
    model, x = mlp((5, 4, 3)).eval(), torch.rand(50, 5)
    network = extract(model, x)
    moment = second_moments(model, network, x)
    np.testing.assert_allclose(moment("fc1", {}), (x.T @ x / 50).numpy(), rtol=1e-5)
    with torch.no_grad():
        hidden = model.relu1(model.fc1(x))
    np.testing.assert_allclose(moment("fc2", {}), (hidden.T @ hidden / 50).numpy(), rtol=1e-4)
    doubled = moment("fc2", {"fc1": np.zeros((4, 5))})
    bias = torch.relu(model.fc1.bias.detach())
    np.testing.assert_allclose(doubled, torch.outer(bias, bias).numpy(), rtol=1e-5)


def test_convolutions_with_groups_are_written_back():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(4, 6, 3, groups=2))
    layer = extract(model, torch.rand(1, 4, 5, 5)).layers[0]
    before = model[0].weight.detach().clone()
    write_weight(model, layer, 2 * layer.weight)
    torch.testing.assert_close(model[0].weight.detach(), 2 * before, rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_awareness_lowers_the_error_of_the_networks_outputs(kind):
    torch.manual_seed(0)
    model = mlp((64, 32, 10)).eval() if kind == "mlp" else digits_cnn((4, 6)).eval()
    x = torch.rand(200, 64) if kind == "mlp" else torch.rand(60, 1, 8, 8)
    network = extract(model, x[:1])
    die = Die(ResistorBank(n=2, sigma_local=0.05, meter_error=1e-3), seed=1)
    moment = second_moments(model, network, x[::2])

    def error(rule):
        mapped = map_network(network, die, TileConfig(32, 32), rule=rule, second_moment=moment)
        on_die = to_torch(model, mapped, Hardware(), calibration=x[::2])
        with torch.no_grad():
            return float((on_die(x[1::2]) - model(x[1::2])).norm())

    assert error(SelectionRule(objective="aware")) < 0.5 * error(SelectionRule())
