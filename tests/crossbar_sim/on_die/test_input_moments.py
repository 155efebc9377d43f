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


def test_moments_of_groups_are_blocks_of_the_whole_and_choose_alike():
    torch.manual_seed(0)
    model, x = (
        torch.nn.Sequential(torch.nn.Conv2d(6, 6, 3, groups=3)).eval(),
        torch.rand(9, 6, 5, 5),
    )
    network = extract(model, x)
    whole, each = (second_moments(model, network, x, whole=w) for w in (True, False))
    blocks = each("layer_0", {})
    assert blocks.shape == (3, 18, 18)
    full = whole("layer_0", {}).reshape(3, 18, 3, 18)
    for k in range(3):
        np.testing.assert_allclose(blocks[k], full[k, :, k], rtol=1e-12, atol=0)
    die = Die(ResistorBank(n=3, sigma_local=0.05, meter_error=1e-3), seed=1)
    rule = SelectionRule(objective="aware")
    one, other = (
        map_network(network, die, TileConfig(8, 8), rule=rule, second_moment=moment)
        for moment in (whole, each)
    )
    assert one.layers[0].n_different(other.layers[0]) == 0


def test_moments_of_a_wide_depthwise_layer_are_small():
    model, x = torch.nn.Conv2d(512, 512, 3, groups=512).eval(), torch.rand(1, 512, 4, 4)
    model = torch.nn.Sequential(model)
    network = extract(model, x)
    moment = second_moments(model, network, x)
    assert moment("layer_0", {}).nbytes < 1e6  # 170 MB with the zeros between groups
    rule, die = SelectionRule(objective="aware"), Die(ResistorBank(n=2), seed=0)
    mapped = map_network(network, die, TileConfig(16, 16), rule=rule, second_moment=moment)
    assert mapped.layers[0].weight.shape == (512, 9)


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
