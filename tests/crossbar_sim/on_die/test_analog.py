"""Networks on the die: equal to the digital ones when everything is ideal."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import crossbar_sim
from approx import approx
from crossbar_sim import Converters, Hardware, solve, solve_ngspice, to_torch, transfer_matrix
from crossbar_sim.ngspice.process import Job
from crossbar_sim.on_die import circuit_layer
from crossbar_sim.on_die.circuit_layer import CircuitLayer, circuit_layers
from crossbar_sim.on_die.layer_inputs import InputRange, input_ranges, patches
from crossbar_sim.on_die.readout import (
    Readout,
    grouped,
    merged,
    respond,
    respond_all,
    stacked,
)
from crossbar_sim.on_die.to_torch import circuit_inputs
from crossbar_sim.periphery.conversion import Errors, adc_errors, quantise
from crossbar_sim.periphery.noise import Noise, output_noise
from crossbar_sim.solvers.solution import Solution
from mapping import Die, MappedNetwork, ResistorBank, TileConfig, map_network
from netlists import Periphery, Wires, array_circuit, tile_circuit, to_spice, write_network
from tinynets.networks.extraction import extract
from tinynets.networks.models import digits_cnn, mlp

pytestmark = pytest.mark.usefixtures("_no_grad")

#: So many branches that selection errs by less than float32 does.
PRECISE = ResistorBank(n=14, sigma_local=0.02)


@pytest.fixture
def _no_grad() -> Iterator[None]:
    with torch.no_grad():
        yield


class Strange(nn.Module):
    """Residual, concatenation, batch norm, groups, dilation, stride: any graph will do."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(2, 4, 3, padding=2, dilation=2)
        self.norm = nn.BatchNorm2d(4)
        self.b = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.c = nn.Conv2d(8, 3, (2, 3), stride=(2, 1))
        self.d = nn.Conv1d(9, 2, 3, padding="same")
        self.e = nn.Linear(5, 3)

    def forward(self, x):
        x = self.norm(self.a(x))
        x = torch.cat([x, torch.relu(x + self.b(x))], dim=1)
        x = self.c(x)
        return self.e(self.d(x.flatten(1).unflatten(1, (9, -1)))[..., :5])


def n_saturated(solution: Solution) -> int:
    """Return how many outputs stand at the amplifiers' swing."""
    swing = solution.circuit.periphery.v_swing
    return int((np.abs(solution.v_out) >= swing * (1 - 1e-12)).sum())


def on_ideal_die(
    model: nn.Module, example: torch.Tensor, **options: Any
) -> tuple[MappedNetwork, nn.Module]:
    mapped = map_network(extract(model, example), Die(PRECISE, seed=1), TileConfig(16, 8))
    return mapped, to_torch(model, mapped, Hardware(**options), calibration=example)


def difference(a: nn.Module, b: nn.Module, x: torch.Tensor) -> float:
    with torch.no_grad():
        return float((a(x) - b(x)).abs().max() / a(x).abs().max())


@pytest.mark.parametrize(
    ("model", "shape"),
    [(mlp((9, 7, 4)), (5, 9)), (digits_cnn((3, 4)), (3, 1, 8, 8)), (Strange(), (3, 2, 6, 7))],
)
def test_ideal_parts_give_the_digital_network(model, shape):
    torch.manual_seed(0)
    x = torch.rand(shape)
    model.eval()
    _, analog = on_ideal_die(model, x)
    assert difference(model, analog, x) < 2e-5


def test_a_linear_layer_on_sequences():
    model, x = nn.Sequential(nn.Linear(4, 3)), torch.rand(2, 5, 4)
    _, analog = on_ideal_die(model, x)
    assert analog(x).shape == (2, 5, 3)
    assert difference(model, analog, x) < 2e-5


def test_wires_and_converters_move_the_outputs_a_little():
    torch.manual_seed(0)
    model, x = mlp((20, 16, 4)).eval(), torch.rand(8, 20)
    _, wired = on_ideal_die(model, x, wires=Wires(5, 5))
    _, coarse = on_ideal_die(model, x, converters=Converters(dac_bits=6, adc_bits=6))
    _, fine = on_ideal_die(model, x, converters=Converters(dac_bits=12, adc_bits=12))
    assert 1e-5 < difference(model, wired, x) < 0.2
    assert difference(model, fine, x) < 0.1 * difference(model, coarse, x)
    _, low_gain = on_ideal_die(model, x, periphery=Periphery(tia_gain=100.0))
    assert 1e-3 < difference(model, low_gain, x) < 0.2


def test_inputs_beyond_the_calibrated_range_saturate_and_are_counted():
    model, x = mlp((4, 3)).eval(), torch.rand(6, 4)
    _, analog = on_ideal_die(model, x, converters=Converters(adc_bits=8, dac_bits=8))
    with torch.no_grad():
        assert analog.fc1.n_saturated == 0
        analog(x)
        assert analog.fc1.n_saturated == 0
        analog(3 * x)
        assert analog.fc1.n_saturated > 0


def test_signed_inputs_get_a_signed_range():
    model, x = mlp((4, 3)).eval(), torch.randn(16, 4)
    _, analog = on_ideal_die(model, x)
    assert input_ranges(model, ["fc1"], x)["fc1"] == InputRange(float(x.abs().max()), True)
    assert difference(model, analog, x) < 2e-5


def test_circuit_inputs_are_voltages_of_im2col_rows():
    model, x = digits_cnn((2, 3)).eval(), torch.rand(2, 1, 8, 8)
    mapped, analog = on_ideal_die(model, x)
    volts = circuit_inputs(analog, mapped, x)
    assert {name: v.shape for name, v in volts.items()} == {
        "conv1": (128, 9),
        "conv2": (128, 18),
        "fc": (2, 48),
    }
    assert np.abs(volts["conv1"]).max() == approx(0.2)


def test_nan_inputs_are_refused():
    model, x = mlp((4, 3)).eval(), torch.full((2, 4), torch.nan)
    with pytest.raises(ValueError, match="'fc1' holds NaN or inf on the example"):
        on_ideal_die(model, x)


MODES = [
    {},
    {"drive": "two-phase"},
    {"inputs": "bit-serial", "dac_bits": 20},
    {"drive": "two-phase", "inputs": "bit-serial", "dac_bits": 20},
]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("signed", [True, False])
def test_ideal_parts_give_the_digital_network_in_every_mode(mode, signed):
    torch.manual_seed(0)
    model = mlp((9, 7, 4)).eval()
    x = torch.randn(6, 9) if signed else torch.rand(6, 9)
    _, analog = on_ideal_die(model, x, converters=Converters(**mode))
    assert difference(model, analog, x) < 3e-5
    assert analog.fc1.n_saturated == 0


@pytest.mark.parametrize("mode", MODES)
def test_the_adc_range_is_calibrated_on_what_each_pass_shows(mode):
    torch.manual_seed(0)
    model, x = mlp((9, 7, 4)).eval(), torch.randn(20, 9)
    mode = {"dac_bits": 10} | mode
    _, analog = on_ideal_die(model, x, converters=Converters(adc_bits=14, **mode))
    assert difference(model, analog, x) < 5e-3
    assert analog.fc1.n_saturated == 0
    seen = [part(v)[0].abs().max() for _, v in analog.fc1.passes(x) for part in analog.fc1.parts]
    assert analog.fc1.adc.v_limit == approx(float(max(seen)), rel=1e-6)


def test_fixed_ranges_saturate_and_are_counted():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(4, 3)).eval(), torch.rand(6, 4)
    _, narrow = on_ideal_die(model, x, converters=Converters(dac_range=0.5))
    beyond = int((x > 0.5).sum())
    narrow(x)
    assert narrow[0].n_saturated == beyond > 0
    _, analog = on_ideal_die(model, x, converters=Converters(adc_range=1e-6))
    y = analog(x)
    assert analog[0].n_saturated == y.numel()
    units = (y - model[0].bias).abs() / analog[0].units_per_volt
    assert torch.allclose(units, torch.tensor(1e-6), rtol=0.02, atol=0)


def test_converter_errors_move_the_outputs_by_their_size():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(30, 20)).eval(), torch.rand(50, 30)
    y = model(x).detach() - model[0].bias.detach()
    for name in ("dac_gain_sigma", "adc_gain_sigma", "dac_inl", "adc_inl"):
        _, analog = on_ideal_die(model, x, converters=Converters(**{name: 0.01}))
        error = analog(x) - model[0].bias - y
        assert 2e-4 < float(error.std() / y.std()) < 0.03, name
    offset = Converters(adc_offset_sigma=1e-3)
    mapped, analog = on_ideal_die(model, x, converters=offset)
    error = (analog(x) - model[0].bias - y).mean(dim=0) / analog[0].units_per_volt
    wanted = np.zeros(20)
    for tile in mapped.tiles:
        limit = analog[0].adc.v_limit
        errors = adc_errors(offset, tile.n_bit, tile.name, limit)
        wanted[tile.columns] += errors.offset.numpy() * limit
    np.testing.assert_allclose(error.detach(), wanted, atol=1e-5)


def test_two_phases_cancel_offsets():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(8, 5)).eval(), torch.randn(9, 8)
    ends = Periphery(v_offset_sigma=5e-3)
    wrong = {}
    for drive in ("bipolar", "two-phase"):
        converters = Converters(drive=drive, adc_offset_sigma=2e-3, dac_offset_sigma=2e-3)
        _, analog = on_ideal_die(model, x, converters=converters, periphery=ends)
        wrong[drive] = difference(model, analog, x)
    assert wrong["bipolar"] > 0.01
    assert wrong["two-phase"] < 1e-4


def test_auto_zero_cancels_every_offset():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(8, 5)).eval(), torch.rand(9, 8)
    ends, wrong = Periphery(v_offset_sigma=5e-3), {}
    for mode in ({}, {"inputs": "bit-serial", "dac_bits": 16}):
        for zeroed in (False, True):
            converters = Converters(
                adc_offset_sigma=2e-3, dac_offset_sigma=2e-3, auto_zero=zeroed, **mode
            )
            _, analog = on_ideal_die(model, x, converters=converters, periphery=ends)
            wrong[zeroed] = difference(model, analog, x)
            assert analog[0].n_saturated == 0
        assert wrong[False] > 0.01
        assert wrong[True] < 1e-4
    coarse = Converters(adc_bits=6, auto_zero=True)
    _, analog = on_ideal_die(model, x, converters=coarse)
    assert analog[0].adc.zeros
    assert all(not zero.any() for zero in analog[0].adc.zeros), "nothing to subtract"


def random_array(shape: tuple[int, int] = (16, 12), seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    g = 10 ** rng.uniform(-7, -4, size=shape) * (rng.random(shape) < 0.7)
    return g, rng.uniform(-0.3, 0.3, size=(5, shape[0]))


AMPLIFIERS = [
    {"r_input": 100.0},
    {"v_offset": 1e-3, "v_offset_sigma": 2e-3, "seed": 3},
    {"gbw": 1e8, "v_noise": 4e-9},
    {"v_swing": 0.2},
    {"r_input": 20.0, "v_offset_sigma": 2e-3, "v_noise": 4e-9, "gbw": 1e8, "v_swing": 0.2},
]


@pytest.mark.parametrize("options", AMPLIFIERS)
@pytest.mark.parametrize("gain", [np.inf, 1e4, 100.0])
@pytest.mark.parametrize("wires", [Wires(), Wires(1, 2, 50)])
def test_ngspice_agrees_on_real_amplifiers(options, gain, wires, worker):
    g, v_in = random_array()
    circuit = array_circuit(g, wires, Periphery(tia_gain=gain, **options))
    fast, spice = solve(circuit, v_in), solve_ngspice(circuit, v_in, worker=worker)
    for found, wanted in ((spice.i_out, fast.i_out), (spice.v_out, fast.v_out)):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-11 * np.abs(wanted).max())
    assert n_saturated(spice) == n_saturated(fast)
    assert (n_saturated(fast) > 0) == ("v_swing" in options)
    few = solve(circuit, v_in[:2], nodes=True)
    np.testing.assert_allclose(few.v_out, fast.v_out[:2], rtol=0, atol=1e-12)
    tia = circuit.elements.tia_nodes
    drop = few.v_node[:, tia] - few.i_out * circuit.periphery.r_tia_input
    wanted = circuit.periphery.share * circuit.periphery.offsets(12)
    np.testing.assert_allclose(drop, np.broadcast_to(wanted, drop.shape), rtol=0, atol=1e-13)


def test_offsets_are_not_in_the_transfer_matrix():
    g, v_in = random_array()
    for wires in (Wires(), Wires(1, 1)):
        plain = array_circuit(g, wires, Periphery(tia_gain=1e3))
        moved = array_circuit(g, wires, Periphery(tia_gain=1e3, v_offset=0.01))
        np.testing.assert_allclose(transfer_matrix(moved), transfer_matrix(plain), rtol=1e-12)
        difference = solve(moved, v_in).i_out - solve(plain, v_in).i_out
        np.testing.assert_allclose(difference, difference[[0]].repeat(5, 0), atol=1e-15)
        assert (difference < 0).all(), "the virtual grounds lie higher, so less current flows"


def test_what_a_lines_conductance_does_without_wires():
    g, v_in = random_array()
    g_line, ends = g.sum(axis=0), Periphery(tia_gain=200.0, r_input=30.0)
    ideal = -20e3 * (v_in @ (g / (1 + 30.0 * g_line)))
    found = solve(array_circuit(g, Wires(), ends), v_in).v_out
    lost = ends.noise_gain(g_line) / 200.0  # what a finite gain takes: lost / (1 + lost)
    np.testing.assert_allclose(found, ideal / (1 + lost), rtol=1e-10)
    offset = Periphery(v_offset=1e-3, r_input=30.0)
    at_rest = solve(array_circuit(g, Wires(), offset), np.zeros(16)).v_out[0]
    np.testing.assert_allclose(at_rest, 1e-3 * offset.noise_gain(g_line), rtol=1e-10)
    assert Periphery(gbw=1e8).bandwidth(np.array([4.5e-4])) == approx(1e7)


def test_every_amplifier_and_tile_has_its_own_offset():
    ends = Periphery(v_offset=0.5, v_offset_sigma=1e-3, seed=2)
    offsets = ends.offsets(5000)
    assert offsets.mean() == approx(0.5, abs=1e-4)
    assert offsets.std() == approx(1e-3, rel=0.05)
    assert np.array_equal(offsets, ends.offsets(5000))
    assert not np.array_equal(offsets, ends.for_tile("fc_0_0").offsets(5000))


def test_a_saturated_loop_lets_go_and_others_hardly_feel_it(worker):
    """What the clipped output stage leaves out, measured on a real one."""
    g, v_in = random_array()
    v_in = np.linspace(0, 1, 41)[:, None] * v_in[0]  # in steps, which ngspice needs to converge
    linear = array_circuit(g, Wires(1, 1), Periphery(tia_gain=200.0))
    clipped = solve(array_circuit(g, Wires(1, 1), Periphery(tia_gain=200.0, v_swing=0.2)), v_in)
    real = re.sub(
        r"eout_(\d+) .*",
        r"bout_\1 out_\1 0 v = max(-0.2, min(0.2, -200.0*v(sum_\1)))",
        to_spice(linear, v_in),
    )
    names = tuple(f"out_{j}" for j in range(12))
    found = worker.run(Job(real, "dc", names, 41)).values.T[-1]
    at_rail = np.abs(clipped.v_out[-1]) == 0.2
    assert 1 < at_rail.sum() < 12
    np.testing.assert_allclose(found[at_rail], clipped.v_out[-1, at_rail], rtol=1e-6)
    assert np.abs(found - clipped.v_out[-1])[~at_rail].max() < 0.002 * 0.2


def test_saturated_amplifiers_are_counted_on_the_die():
    torch.manual_seed(0)
    model, x = mlp((9, 7, 4)).eval(), torch.rand(6, 9)
    mapped, analog = on_ideal_die(model, x, periphery=Periphery(v_swing=1e-3))
    assert difference(model, analog, x) > 0.1
    volts = {"fc1": analog.fc1.voltages(x).double().numpy()}
    ends, count = Periphery(v_swing=1e-3), 0
    for tile in mapped.layers[0].tiles:
        circuit = tile_circuit(tile, Wires(), ends)
        count += n_saturated(solve(circuit, volts["fc1"][:, tile.rows]))
    analog.fc1.n_saturated = 0
    analog.fc1(x)
    assert analog.fc1.n_saturated == count > 0


def test_a_tile_reads_what_its_circuit_gives(mapped):
    wires = Wires(2, 2, 10)
    ends = Periphery(tia_gain=1e3, v_offset_sigma=1e-3, r_input=5.0, seed=7)
    v_in = np.random.default_rng(0).uniform(0, 0.2, size=(6, 7))
    assert len(mapped.tiles) > 1
    for tile in mapped.tiles:
        circuit = tile_circuit(tile, wires, ends.for_tile(tile.name))
        wanted = solve(circuit, v_in[:, tile.rows]).v_out
        wanted = wanted[:, tile.n_bit :] - wanted[:, : tile.n_bit]
        for swing in (np.inf, 10.0):
            response = respond(tile, Hardware(wires, replace(ends, v_swing=swing)))
            found, n_saturated = readout(response, v_swing=swing)(torch.from_numpy(v_in).float())
            np.testing.assert_allclose(found, wanted, atol=3e-6 * np.abs(wanted).max())
            assert n_saturated == 0


def test_what_a_tile_shows_without_inputs_is_not_clipped_yet(mapped):
    """Offsets times the noise gain, far beyond the swing, which is applied to the whole output."""
    tile, *_ = mapped.tiles
    ends = Periphery(v_offset=5e-3, v_swing=1e-4)
    g_line = np.concatenate([tile.g_pos, tile.g_neg], axis=1).sum(axis=0)
    found = respond(tile, Hardware(periphery=ends)).rest
    np.testing.assert_allclose(found, 5e-3 * ends.noise_gain(g_line), rtol=1e-9, atol=0)


def test_a_convolution_reads_the_same_by_position_and_at_once():
    torch.manual_seed(0)
    model, x = Strange().eval(), torch.randn(3, 2, 6, 7)
    mapped, analog = on_ideal_die(model, x, wires=Wires(3, 3), converters=Converters(adc_bits=8))
    assert len(mapped.layers) >= 4
    for layer, path in zip(mapped.layers[:4], "abcd"):
        conv = layer.source.conv
        module = analog.get_submodule(path)
        n_channel = layer.source.n_in // int(np.prod(conv.kernel))
        shape = (2, n_channel, 1, 9) if path == "d" else (2, n_channel, 6, 7)
        inputs = torch.rand(shape)
        rows = patches(inputs, conv).flatten(0, -2)
        assert module.parts
        for part in module.parts:
            at_once, _ = part(inputs)
            one_by_one, _ = part.read_lines(rows)
            at_once = at_once.permute(0, 2, 3, 1).flatten(0, -2)
            assert torch.allclose(at_once, one_by_one, atol=1e-6 * float(at_once.abs().max()))


def test_tiles_side_by_side_and_added_up_read_what_each_reads(mapped):
    layer = mapped.layers[0]
    wires, ends = Wires(2, 2), Periphery(v_offset_sigma=1e-3, v_swing=np.inf)
    responses = [respond(tile, Hardware(wires, ends)) for tile in layer.tiles]
    together = respond_all(layer.tiles, Hardware(wires, ends))
    assert list(together) == [tile.name for tile in layer.tiles]
    for one, other in zip(responses, together.values()):
        np.testing.assert_array_equal(one.volts, other.volts)
    x = torch.rand(5, layer.source.n_in)
    alone = torch.zeros(5, layer.source.n_out)
    for response in responses:
        alone[:, response.columns.copy()] += readout(response, n_in=layer.source.n_in)(x)[0]
    beside = torch.zeros_like(alone)
    groups = grouped(responses)
    assert sum(len(group.tiles) for group in groups) == len(responses)
    for response in groups:
        found = readout(response, n_in=layer.source.n_in, v_swing=100.0)(x)[0]
        beside.index_add_(1, torch.from_numpy(response.columns.copy()), found)
    (whole,) = merged(responses, layer.source)
    together = readout(whole, n_in=layer.source.n_in)(x)[0]
    for found in (beside, together):
        assert torch.allclose(found, alone, atol=1e-6 * float(alone.abs().max()))


@pytest.mark.parametrize("tiling", ["in order", "clustered"])
@pytest.mark.parametrize("wires", [Wires(), Wires(2, 2)])
def test_tiles_of_all_groups_are_one_matrix(tiling, wires):
    """Some tiles hold several groups, which no device connects."""
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Conv2d(12, 24, 3, groups=12)).eval(), torch.rand(3, 12, 5, 6)
    mapped = map_network(extract(model, x), Die(PRECISE, seed=1), TileConfig(40, 16), tiling=tiling)
    (layer,) = mapped.layers
    responses = [respond(tile, Hardware(wires)) for tile in layer.tiles]
    parts = merged(responses, layer.source)
    assert [part.volts.shape for part in parts] == [(9, 4)] * 12
    (stack,) = stacked(parts)
    assert stack == parts
    whole = np.zeros((layer.source.n_in, 48))
    for each in responses:
        whole[np.ix_(each.rows, np.concatenate([each.columns, 24 + each.columns]))] += each.volts
    wanted = patches(x, layer.source.conv).double().numpy() @ (whole[:, 24:] - whole[:, :24])
    on_die = to_torch(model, mapped, Hardware(wires), calibration=x)
    volts = (on_die(x) - on_die[0].bias[:, None, None]) / on_die[0].units_per_volt[:, None, None]
    wanted = on_die[0].volts_per_unit * wanted.reshape(3, 3, 4, 24).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(volts, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
    assert float(on_die[0].voltages(x).max()) > 0
    rows = patches(x, layer.source.conv).flatten(0, -2) / on_die[0].input_range.limit
    (part,) = on_die[0].parts
    assert (part.groups, part.pairs.shape) == (12, (24, 9))
    by_position = part.read_lines(rows)[0].reshape(3, 3, 4, 24).permute(0, 3, 1, 2)
    torch.testing.assert_close(by_position, volts, rtol=0, atol=1e-5 * float(volts.abs().max()))


def test_responses_that_reach_other_groups_stay_apart():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Conv2d(12, 24, 3, groups=12)).eval(), torch.rand(3, 12, 5, 6)
    mapped = map_network(extract(model, x), Die(PRECISE, seed=1), TileConfig(40, 16))
    (layer,) = mapped.layers
    found = {tile.name: respond(tile, Hardware()) for tile in layer.tiles}
    plain = to_torch(model, mapped, Hardware(), calibration=x, responses=found)
    leak = 1e-3 * (np.arange(2 * 8) < 8)  # into positive lines, from every word line of the tile
    name = layer.tiles[1].name
    found[name] = replace(found[name], volts=found[name].volts + leak)
    assert len(merged(list(found.values()), layer.source)) == len(layer.tiles) == 3
    apart = to_torch(model, mapped, Hardware(), calibration=x, responses=found)
    rows = patches(x, layer.source.conv)[..., found[name].rows.copy()].sum(dim=-1)
    wanted = torch.zeros_like(apart(x))
    wanted[:, found[name].columns.copy()] = -1e-3 * rows.reshape(3, 1, 3, 4)
    volts = (apart(x) - plain(x)) / apart[0].units_per_volt[:, None, None]
    wanted *= apart[0].volts_per_unit
    torch.testing.assert_close(volts, wanted, rtol=0, atol=1e-4 * float(wanted.abs().max()))


def test_a_model_with_other_groups_is_refused():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Conv2d(12, 24, 3, groups=12)).eval(), torch.rand(3, 12, 5, 6)
    mapped = map_network(extract(model, x), Die(PRECISE, seed=1), TileConfig(12, 8))
    on_die = to_torch(model, mapped, Hardware(), calibration=x)
    torch.testing.assert_close(on_die(x), model(x), rtol=0, atol=1e-2)
    with pytest.raises(
        ValueError, match=r"\(24, 9\), but the mapped one is \(24, 9\) in 12 groups"
    ):
        to_torch(nn.Sequential(nn.Conv2d(1, 24, 3)), mapped, Hardware(), calibration=x)


def test_what_is_beyond_a_range_by_rounding_has_its_gradient():
    x = torch.tensor([0.2, 1.0, 1.0 + 1e-7, 1.1, -1e-7, -0.3], dtype=torch.float64)
    with torch.enable_grad():
        inputs = x.clone().requires_grad_()
        y = quantise(inputs, 8, 1.0, signed=True)
        y.sum().backward()
    assert inputs.grad is not None
    assert inputs.grad.tolist() == [1, 1, 1, 0, 1, 1]
    assert torch.equal(y.detach(), quantise(x.clone(), 8, 1.0, signed=True))


def test_gradients_pass_the_converters_as_if_they_did_not_round():
    torch.manual_seed(0)
    model, x = nn.Sequential(mlp((9, 16)), nn.Tanh(), mlp((16, 5))).eval(), torch.rand(4, 9)
    # Ranges beyond all inputs: what a die's own outputs bring beyond one has no gradient.
    converters = Converters(dac_bits=10, adc_bits=18, dac_range=1.5, adc_range=1.0)
    _, analog = on_ideal_die(model, x, converters=converters)
    labels = torch.tensor([1, 2, 3, 4])
    found = {}
    with torch.enable_grad():
        for name, network in (("digital", model), ("analog", analog)):
            inputs = x.clone().requires_grad_()
            nn.functional.cross_entropy(network(inputs), labels).backward()
            found[name] = inputs.grad
    assert found["digital"].norm() > 0
    apart = (found["analog"] - found["digital"]).norm() / found["digital"].norm()
    assert 1e-6 < apart < 0.02
    assert analog[0].fc1.bias.grad.abs().max() > 0
    assert analog[2].fc1.gain.grad.abs().max() > 0


def test_double_precision_is_kept():
    torch.manual_seed(0)
    model, x = mlp((9, 7, 4)).eval().double(), torch.rand(5, 9, dtype=torch.double)
    bank = ResistorBank(n=19, sigma_local=0.02)
    mapped = map_network(extract(model, x), Die(bank, seed=1), TileConfig(16, 8))
    analog = to_torch(model, mapped, Hardware(), calibration=x)
    assert analog(x).dtype == torch.double
    assert difference(model, analog, x) < 2e-8


def readout(response, conv=None, *, n_in=7, v_swing=np.inf):
    hardware = Hardware(periphery=Periphery(v_swing=v_swing), converters=Converters(v_read=1.0))
    none = Errors(torch.zeros(n_in), torch.zeros(n_in), torch.zeros(n_in, 4))
    return Readout([response], conv, none, hardware, torch.float32)


def test_noise_on_the_die_has_the_computed_size():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(6, 4)).eval(), torch.rand(1, 6)
    noise = Noise(bandwidth=1e12, seed=3)
    mapped, analog = on_ideal_die(model, x, noise=noise)
    many = analog(x.expand(4000, -1)) - model[0].bias
    (tile,) = mapped.tiles
    sigma = output_noise(tile_circuit(tile, Wires()), pairs=True).volts(1e12)
    wanted = sigma * analog[0].units_per_volt[tile.columns.copy()].numpy()
    np.testing.assert_allclose(many.std(dim=0)[tile.columns.copy()], wanted, rtol=0.05)
    _, again = on_ideal_die(model, x, noise=noise)
    _, other = on_ideal_die(model, x, noise=Noise(bandwidth=1e12, seed=4))
    once = again(x.expand(4000, -1)) - model[0].bias
    assert torch.equal(once, many)
    assert not torch.equal(other(x), again(x))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Periphery(v_swing=0.0),
            "v_swing must be 1e-06 … 10000, or inf for an ideal part; got 0.0",
        ),
        (lambda: Periphery(gbw=float("nan")), "gbw must be 1 … 1e.15, or inf"),
        (lambda: Periphery(r_input=-1.0), "r_input must be greater than or equal to 0; got -1.0"),
        (
            lambda: Periphery(v_offset=float("inf")),
            "v_offset must be less than or equal to 100; got inf",
        ),
        (
            lambda: Periphery(v_offset_sigma=-1e-3),
            "v_offset_sigma must be greater than or equal to 0",
        ),
        (lambda: Periphery(v_noise=float("nan")), "v_noise must be .*; got nan"),
        (lambda: Periphery(seed=-1), "seed must be greater than or equal to 0; got -1"),
        (lambda: Wires(c_word=-1e-15), "c_word must be greater than or equal to 0"),
        (lambda: Wires(c_bit=float("inf")), "c_bit must be less than or equal to 1e.30; got inf"),
    ],
)
def test_amplifiers_and_capacitances_that_make_no_sense(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_what_is_no_batch_of_inputs_is_refused_with_the_remedy():
    model, x = mlp((4, 3, 2)), torch.rand(5, 4)
    with pytest.raises(ValueError, match=r"example must be a tensor, .* got ndarray"):
        extract(model, x.numpy())
    mapped = map_network(extract(model, x), Die(ResistorBank(n=4), seed=1), TileConfig(8, 8))
    for images, message in (
        (x.numpy(), "calibration must be a tensor, .* got ndarray"),
        (x[:0], r"at least one; got shape \(0, 4\)"),
        (x.int(), r"cannot run on inputs of shape \(4, 4\) of torch.int32: mat1"),
    ):
        with pytest.raises(ValueError, match=message):
            to_torch(model, mapped, Hardware(), calibration=images)
    on_die = to_torch(model, mapped, Hardware(), calibration=x)
    with pytest.raises(ValueError, match="must be a tensor"):
        crossbar_sim.circuit_inputs(on_die, mapped, x.numpy())
    with pytest.raises(
        ValueError, match="layer 'fc1' is not a circuit; pass a network of to_torch"
    ):
        crossbar_sim.circuit_inputs(model, mapped, x)


def test_a_layer_without_voltages_is_named(tmp_path):
    model, x = mlp((4, 3, 2)), torch.rand(5, 4)
    mapped = map_network(
        extract(model, x), Die(ResistorBank(n=4, r_off=1e9), seed=1), TileConfig(8, 8)
    )
    v_in = crossbar_sim.random_inputs(mapped, v_read=0.2, n_vector=2)
    del v_in["fc2"]
    tiles = crossbar_sim.chosen_tiles(mapped)
    with pytest.raises(ValueError, match=r"v_in has layers \['fc1'\] but no \['fc2'\]"):
        crossbar_sim.verify(mapped, v_in, Wires(), Periphery(), tiles=tiles)
    with pytest.raises(ValueError, match=r"v_in has layers \['fc1'\] but no 'fc2'"):
        write_network(mapped, Wires(), Periphery(), tmp_path / "n", v_in=v_in)


def test_offsets_of_dacs_in_the_matrix_are_those_on_the_lines(mapped):
    """Straight errors are folded into the matrix; the same errors applied to each drive."""
    layer, tile = mapped.layers[0], mapped.tiles[0]
    n = layer.source.n_in
    errors = Errors(0.1 * torch.rand(n), 0.2 * torch.rand(n), torch.zeros(n, 4))
    hardware = Hardware(Wires(2, 2), Periphery(v_offset=1e-3), Converters(v_read=1.0))
    response, x = respond(tile, hardware), torch.rand(5, n)
    folded = Readout([response], None, errors, hardware, torch.float64)(x.double())[0]
    plain = readout(response, n_in=n)(errors.apply(x))[0].double()
    assert torch.allclose(folded, plain, atol=1e-6 * float(plain.abs().max()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("is_conv", [False, True])
@pytest.mark.parametrize(
    ("swing", "converters"),
    [
        (np.inf, Converters(adc_bits=8)),
        (0.02, Converters()),
        (0.02, Converters(dac_bits=5, adc_bits=6, drive="two-phase")),
        (0.02, Converters(adc_bits=4, adc_offset_sigma=2e-3, adc_gain_sigma=0.05, auto_zero=True)),
        (np.inf, Converters(dac_bits=4, adc_bits=5, inputs="bit-serial", adc_range=0.01)),
    ],
)
def test_one_pass_over_memory_gives_the_same(swing, converters, is_conv, dtype, monkeypatch):
    torch.manual_seed(0)
    layer = nn.Conv2d(5, 9, 3, stride=2) if is_conv else nn.Linear(45, 9)
    model = nn.Sequential(layer).eval().to(dtype)
    x = torch.randn(6, 5, 11, 9, dtype=dtype) if is_conv else torch.randn(33, 45, dtype=dtype)
    die = Die(ResistorBank(n=4, sigma_local=0.05, r_on=1e3, r_off=1e9), seed=1)
    mapped = map_network(extract(model, x[:1]), die, TileConfig(16, 4))
    hardware = Hardware(periphery=Periphery(v_swing=swing), converters=converters)
    network = to_torch(model, mapped, hardware, calibration=x[:3])
    circuits = next(iter(circuit_layers(network).values()))

    def outputs() -> tuple[torch.Tensor, int]:
        circuits.restart()
        with torch.no_grad():
            return network(x), circuits.n_saturated

    called, fused = [], circuit_layer.read_layer
    spy = lambda *words, **options: called.append(1) or fused(*words, **options)  # noqa: E731
    monkeypatch.setattr(circuit_layer, "read_layer", spy)
    one_pass = outputs()
    assert called
    ranges = network.state_dict()
    monkeypatch.setattr(CircuitLayer, "_is_fused", lambda *_: False)
    several = outputs()
    # In single precision a voltage may round to the next level, as in any order of sums.
    near = torch.isclose(*(y[0].double() for y in (one_pass, several)), rtol=1e-4, atol=1e-6)
    assert near.double().mean() > (0.98 if dtype is torch.float32 else 1 - 1e-9)
    assert abs(one_pass[1] - several[1]) <= (2 if dtype is torch.float32 else 0)
    again = to_torch(model, mapped, hardware, calibration=x[:3]).state_dict()
    assert again.keys() == ranges.keys()
    pairs = [(tensor, ranges[name]) for name, tensor in again.items()]
    assert all(torch.allclose(a, b, rtol=1e-5, atol=1e-6, equal_nan=True) for a, b in pairs)
    assert several[1] > 0 or swing == np.inf


def test_an_output_does_not_depend_on_the_batch_or_on_threads():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.Flatten(), nn.Linear(600, 5)).eval()
    x = torch.rand(31, 3, 10, 10)
    die = Die(ResistorBank(n=4, sigma_local=0.05, r_on=1e3, r_off=1e9), seed=1)
    mapped = map_network(extract(model, x[:1]), die, TileConfig(16, 4))
    hardware = Hardware(periphery=Periphery(v_swing=0.5), converters=Converters(adc_bits=6))
    network, n_thread = to_torch(model, mapped, hardware, calibration=x), torch.get_num_threads()
    with torch.no_grad():
        together = network(x)
        in_turn = torch.cat([network(x[k : k + 4]) for k in range(0, len(x), 4)])
        torch.set_num_threads(3 - min(n_thread, 2))
        in_threads = network(x)
        torch.set_num_threads(n_thread)
    assert torch.equal(together, in_turn)
    assert torch.equal(together, in_threads)
