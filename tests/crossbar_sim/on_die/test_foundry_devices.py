"""Networks on the curved devices of a foundry: outputs, gradients, files, errors."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from foundry_models import SKY130, models_of
from torch import nn

from approx import approx
from crossbar_sim import Hardware, to_torch
from crossbar_sim.foundry.bank import foundry_bank
from crossbar_sim.foundry.measured import measured
from crossbar_sim.foundry.tile import FoundryTile
from crossbar_sim.on_die.circuit_layer import CircuitLayer, circuit_layers
from crossbar_sim.on_die.readout import respond, respond_all
from crossbar_sim.on_die.saved_network import load_network, save_network
from crossbar_sim.periphery.converters import Converters
from mapping import Die, TileConfig, map_network
from netlists import Periphery, Wires
from netlists.foundry.branch import FoundryBranch
from tinynets import extract

BRANCH = FoundryBranch(**SKY130, lengths=(2e-6, 6e-6, 18e-6), v_max=0.22)
#: With errors of the DACs that are and are not folded into matrices, and with and without a swing.
STRAIGHT = Converters(v_read=0.2, dac_gain_sigma=0.01, dac_offset_sigma=0.003, seed=4)
BENT = replace(STRAIGHT, dac_bits=6, dac_inl=0.02, adc_bits=9, auto_zero=True)
ENDS = Periphery(r_feedback=2e3, tia_gain=1e3, v_offset_sigma=1e-3, seed=2)


def on_die(model: nn.Module, x: torch.Tensor, hardware: Hardware):
    """Return the mapping and the network on a die of the branch, on tiles of 6 × 3 pairs."""
    models_of("sky130")
    die = Die(foundry_bank(measured(BRANCH)), seed=5)
    mapped = map_network(extract(model, x[:1]), die, TileConfig(6, 3))
    return mapped, to_torch(model, mapped, hardware, calibration=x)


def dense() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 4)), torch.rand(6, 8) * 2 - 1


def convolutional() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(1)
    conv = nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2)
    return nn.Sequential(conv), torch.rand(3, 2, 5, 6) * 2 - 1


def by_hand(layer: CircuitLayer, mapped, volts: np.ndarray, amps: Callable) -> np.ndarray:
    """Return a layer's rows of outputs for word-line voltages, from the currents of its tiles.

    amps: currents (n_vector, n_line) [A] of a `FoundryTile` for its voltages.
    """
    source, hardware = mapped.layers[0], layer.hardware
    total = np.zeros((len(volts), source.source.n_out))
    for tile in source.tiles:
        own = FoundryTile(tile, mapped.die, measured(BRANCH), hardware.wires, hardware.periphery)
        v_out = own.ends.outputs(amps(own, volts[:, tile.rows]))
        v_p, v_n = np.split(v_out, 2, axis=1)
        total[:, tile.columns] += v_n - v_p
    scale = hardware.periphery.r_feedback * source.g_per_weight * layer.volts_per_unit
    return total / scale + source.source.bias


@pytest.mark.parametrize("swing", [np.inf, 0.05])
@pytest.mark.parametrize("make", [dense, convolutional])
def test_outputs_are_the_engines_of_every_tile(make, swing):
    model, x = make()
    hardware = Hardware(Wires(5, 2, 50), replace(ENDS, v_swing=swing), STRAIGHT, devices=BRANCH)
    mapped, analog = on_die(model, x, hardware)
    layer = next(iter(circuit_layers(analog).values()))
    given = analog(x).detach()
    rows = given if given.ndim == 2 else given.flatten(2).transpose(1, 2).flatten(0, 1)
    volts = layer.voltages(x).double().numpy()
    expected = by_hand(layer, mapped, volts, lambda tile, v_in: tile.solve(v_in).i_out)
    scale = np.abs(expected).max()
    assert rows.numpy() / scale == approx(expected / scale, abs=3e-6)
    lines = to_torch(model, mapped, replace(hardware, devices=None), calibration=x)(x).detach()
    assert float((lines - given).abs().max()) > 1e-4 * scale


def test_one_vector_is_what_ngspice_gives_with_the_models():
    model, x = dense()
    hardware = Hardware(Wires(5, 2, 50), ENDS, Converters(v_read=0.2), devices=BRANCH)
    mapped, analog = on_die(model, x, hardware)
    layer = next(iter(circuit_layers(analog).values()))
    volts = layer.voltages(x[:2]).double().numpy()
    expected = by_hand(layer, mapped, volts, FoundryTile.by_ngspice)
    assert analog(x[:2]).detach().numpy() == approx(expected, rel=1e-5, abs=1e-5)


def test_converters_with_a_bent_line_read_the_same_circuits():
    model, x = convolutional()
    hardware = Hardware(Wires(5, 2, 50), ENDS, BENT, devices=BRANCH)
    _, analog = on_die(model, x, hardware)
    fine = replace(hardware, converters=replace(BENT, dac_bits=None, adc_bits=None, dac_inl=0.0))
    _, smooth = on_die(model, x, fine)
    a, b = analog(x).detach(), smooth(x).detach()
    assert 1e-4 < float((a - b).abs().max() / b.abs().max()) < 0.06


def test_gradients_are_those_of_straight_lines():
    model, x = dense()
    hardware = Hardware(Wires(5, 2, 50), ENDS, Converters(v_read=0.2), devices=BRANCH)
    mapped, curved = on_die(model, x, hardware)
    straight = to_torch(model, mapped, replace(hardware, devices=None), calibration=x)
    slopes, outputs = [], []
    for network in (curved, straight):
        given = x.clone().requires_grad_()
        outputs.append(network(given))
        outputs[-1].square().sum().backward()
        slopes.append(given.grad / 2)
    assert float((outputs[0] - outputs[1]).detach().abs().max()) > 1e-4
    weights = [torch.autograd.functional.jacobian(n, x[0]) for n in (curved, straight)]
    assert weights[0].numpy() == approx(weights[1].numpy(), rel=1e-5, abs=1e-6)
    assert slopes[0].numpy() == approx(slopes[1].numpy(), rel=0.1, abs=0.02)
    with torch.no_grad():
        assert curved(x).numpy() == approx(outputs[0].detach().numpy(), rel=1e-6, abs=1e-7)


def test_a_network_of_curved_devices_is_saved_whole(tmp_path):
    model, x = dense()
    hardware = Hardware(Wires(5, 2), ENDS, BENT, devices=BRANCH)
    mapped, analog = on_die(model, x, hardware)
    save_network(analog, mapped, tmp_path / "net")
    again, _ = load_network(model, tmp_path / "net")
    assert np.array_equal(again(x).detach().numpy(), analog(x).detach().numpy())
    layer = next(iter(circuit_layers(again).values()))
    assert layer.hardware.devices == BRANCH


def test_a_signal_beyond_the_models_names_the_tile_and_the_voltage():
    model, x = dense()
    hardware = Hardware(converters=Converters(v_read=0.5), devices=BRANCH)
    _, analog = on_die(model, x, hardware)
    with pytest.raises(ValueError, match=r"tile \S+: a word node is at .* V .*-0\.22 … 0\.22 V"):
        analog(x)


def test_curves_without_a_die_are_refused():
    model, x = dense()
    hardware = Hardware(devices=BRANCH)
    mapped, _ = on_die(model, x, hardware)
    with pytest.raises(ValueError, match=r"take the die that the tiles are on"):
        respond(mapped.tiles[0], hardware)
    found = respond_all(mapped.tiles, hardware, mapped.die)
    assert all(response.devices is not None for response in found.values())
