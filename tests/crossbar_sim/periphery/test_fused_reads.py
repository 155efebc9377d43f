"""Reads in one pass over memory: what torch gives in many, to the last tie but rounding."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from crossbar_sim import Converters, Hardware, Noise, to_torch
from crossbar_sim.on_die.circuit_layer import CircuitLayer
from crossbar_sim.periphery.fused_drives import DacLevels, drive_images, drive_vectors, shares
from mapping import Die, ResistorBank, TileConfig, map_network
from netlists import Periphery, Wires
from tinynets.networks.extraction import extract

BITS = Converters(dac_bits=8, adc_bits=8)
#: Of the most that is seen; one level of an ADC is far more.
_ROUNDING = 3e-6
#: Values so close to a limit that rounding decides on which side they are.
_AT_LIMITS = 2

LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "dense": (nn.Linear(40, 24), (70, 40)),
    "padded": (nn.Conv2d(5, 6, 3, padding=(2, 1)), (3, 5, 9, 8)),
    "strided": (nn.Conv2d(3, 20, (3, 2), stride=(2, 3), dilation=(1, 2)), (2, 3, 11, 13)),
    "depthwise": (nn.Conv2d(8, 16, 3, padding=1, groups=8), (2, 8, 7, 7)),
    "one by one": (nn.Conv2d(40, 70, 1), (2, 40, 6, 5)),
}
CONVERTERS: dict[str, dict[str, Any]] = {
    "8 bits": {"dac_bits": 8, "adc_bits": 8, "auto_zero": True},
    "narrow ADCs": {"adc_bits": 6, "adc_range": 0.01},
    "errors": {"dac_bits": 8, "adc_bits": 8, "adc_offset_sigma": 1e-3, "adc_gain_sigma": 0.01},
    "two phases": {"dac_bits": 8, "adc_bits": 8, "drive": "two-phase"},
    "bits in turn": {"dac_bits": 4, "adc_bits": 8, "inputs": "bit-serial"},
    "narrow DACs": {"dac_bits": 8, "dac_range": 0.5},
}


@pytest.fixture(autouse=True)
def _no_grad() -> Iterator[None]:
    with torch.no_grad():
        yield


def on_die(layer: nn.Module, x: torch.Tensor, hardware: Hardware) -> CircuitLayer:
    model = nn.Sequential(layer).eval()
    bank = ResistorBank(n=4, sigma_local=0.05, r_on=1e3, r_off=1e8)
    mapped = map_network(extract(model, x), Die(bank, seed=1), TileConfig(16, 12))
    return to_torch(model, mapped, hardware, calibration=x)[0]  # pyright: ignore[reportIndexIssue]


def by_torch(layer: CircuitLayer, x: torch.Tensor) -> tuple[torch.Tensor, int]:
    layer.restart()
    images = x if layer.conv is None or x.ndim == 4 else x.unsqueeze(2)
    y = layer._digital(layer._read(images, layer.stream and layer.stream.read(len(x))))
    return y, layer.n_saturated


def at_once(layer: CircuitLayer, x: torch.Tensor) -> tuple[torch.Tensor, int]:
    assert layer._is_fused(x)
    assert not layer._is_product()
    layer.restart()
    return layer(x), layer.n_saturated


@pytest.mark.parametrize("converters", CONVERTERS)
@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("swing", [0.02, 0.1])
def test_all_layers_and_converters_read_as_torch_does(kind, converters, swing):
    torch.manual_seed(0)
    layer, shape = LAYERS[kind]
    x = torch.randn(shape) if converters == "two phases" else torch.rand(shape)
    ends = Periphery(tia_gain=1e4, v_offset_sigma=1e-4, v_swing=swing, seed=2)
    circuits = on_die(layer, x, Hardware(Wires(1, 1), ends, Converters(**CONVERTERS[converters])))
    x = 1.2 * x  # beyond the range of some DACs
    (wanted, n_wanted), (found, n_found) = by_torch(circuits, x), at_once(circuits, x)
    assert n_wanted > 0
    assert abs(n_found - n_wanted) <= _AT_LIMITS
    # A sum within rounding of a tie may be rounded either way; then it is off by a whole level.
    error = (found - wanted).abs() / wanted.abs().max()
    assert float((error > _ROUNDING).float().mean()) < 2e-3


@pytest.mark.parametrize("kind", LAYERS)
def test_layers_whose_tiles_are_added_up_read_as_torch_does(kind):
    torch.manual_seed(0)
    layer, shape = LAYERS[kind]
    x = torch.rand(shape)
    circuits = on_die(layer, x, Hardware(Wires(1, 1), converters=Converters(dac_bits=6)))
    assert len(circuits.parts) == 1
    found, wanted = at_once(circuits, 1.2 * x), by_torch(circuits, 1.2 * x)
    limit = _ROUNDING * float(wanted[0].abs().max())
    torch.testing.assert_close(found[0], wanted[0], rtol=0, atol=limit)
    assert found[1] == wanted[1] > 0  # inputs alone, which are compared as they are


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("auto_zero", [True, False])
def test_layers_that_are_one_product_subtract_what_they_show_at_rest(kind, auto_zero):
    torch.manual_seed(0)
    layer, shape = LAYERS[kind]
    x, ends = torch.rand(shape), Periphery(v_offset_sigma=5e-3, seed=2)
    hardware = Hardware(Wires(1, 1), ends, Converters(auto_zero=auto_zero))
    circuits = on_die(layer, x, hardware)
    assert circuits._is_product()
    wanted, _ = by_torch(circuits, x)
    limit = 10 * _ROUNDING * float(wanted.abs().max())
    torch.testing.assert_close(circuits(x), wanted, rtol=0, atol=limit)
    quiet = on_die(layer, x, replace(hardware, periphery=Periphery()))(x)
    off = float((circuits(x) - quiet).abs().max() / quiet.abs().max())
    assert off < 1e-4 if auto_zero else off > 1e-2


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("converters", [{}, {"dac_bits": 8, "adc_bits": 8, "drive": "two-phase"}])
def test_noise_is_that_of_torch(kind, converters):
    torch.manual_seed(0)
    layer, shape = LAYERS[kind]
    x, noise = torch.randn(shape), Noise(bandwidth=1e11, seed=3)
    ends = Periphery(tia_gain=1e4, v_swing=0.3)
    hardware = Hardware(Wires(1, 1), ends, Converters(**converters), noise)
    circuits = on_die(layer, x, hardware)
    (wanted, n_wanted), (found, n_found) = by_torch(circuits, x), at_once(circuits, x)
    assert abs(n_found - n_wanted) <= _AT_LIMITS
    error = (found - wanted).abs() / wanted.abs().max()
    assert float((error > 5 * _ROUNDING).float().mean()) < 2e-3
    quiet = on_die(layer, x, replace(hardware, noise=None))(x)
    assert float((found - quiet).abs().mean() / quiet.abs().max()) > 1e-3


def test_lines_are_clipped_one_by_one_also_if_few_of_them_are():
    """Some pairs of a group clip, most are known not to; all outputs are those of the circuit."""
    torch.manual_seed(0)
    model, x = nn.Linear(60, 50), torch.rand(90, 60)
    model.weight.mul_(torch.logspace(-2, 0, 50)[:, None])
    ends = Periphery(v_swing=0.3)
    circuits = on_die(model, x, Hardware(Wires(1, 1), ends, Converters(adc_bits=12)))
    lines = torch.cat([torch.cat(list(part.lines(x)), dim=1) for part in circuits.parts], dim=1)
    assert 0 < float((lines.abs() > ends.v_swing).any(dim=0).float().mean()) < 1
    (wanted, n_wanted), (found, n_found) = by_torch(circuits, x), at_once(circuits, x)
    assert n_wanted > 0
    assert abs(n_found - n_wanted) <= _AT_LIMITS
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-3 * float(wanted.abs().max()))


@pytest.mark.parametrize("swing", [np.inf, 0.05, 10.0])
def test_what_is_no_number_stays_none_and_spoils_no_other(swing):
    torch.manual_seed(0)
    x = torch.rand(2, 5, 9, 8)
    hardware = Hardware(
        periphery=Periphery(v_swing=swing), converters=Converters(dac_bits=8, adc_bits=8)
    )
    circuits = on_die(nn.Conv2d(5, 6, 3), x, hardware)
    wanted = at_once(circuits, x)[0]
    x[1, 2, 4, 4] = torch.nan
    found = at_once(circuits, x)[0]
    reached = torch.zeros(found.shape, dtype=torch.bool)
    reached[1, :, 2:5, 2:5] = True
    assert torch.equal(found.isnan(), reached)
    torch.testing.assert_close(found[~reached], wanted[~reached], rtol=1e-6, atol=1e-6)


def test_the_circuits_are_held_once_and_read_anew_when_they_change():
    torch.manual_seed(0)
    x = torch.rand(30, 40)
    hardware = Hardware(
        periphery=Periphery(v_swing=0.1), converters=Converters(dac_bits=8, adc_bits=8)
    )
    circuits = on_die(nn.Linear(40, 24), x, hardware)
    before = at_once(circuits, x)[0]
    storages = {part.pairs.untyped_storage().data_ptr() for part in circuits.parts}
    assert len(storages) == 1 < len(circuits.parts)
    for part in circuits.parts:
        part.pairs.mul_(0.5)
        part.positive.mul_(0.5)
    changed = at_once(circuits, x)[0]
    assert float((changed - before).abs().max()) > 1e-2 * float(before.abs().max())
    torch.testing.assert_close(changed, by_torch(circuits, x)[0], rtol=1e-5, atol=1e-5)
    circuits.double()
    in_double = at_once(circuits, x.double())[0].float()
    torch.testing.assert_close(in_double, changed, rtol=1e-5, atol=1e-5)


def test_a_network_that_inferred_can_be_trained_after_all():
    torch.manual_seed(0)
    x = torch.rand(30, 40)
    hardware = Hardware(periphery=Periphery(v_swing=0.1), converters=BITS)
    circuits, x = on_die(nn.Linear(40, 24), x, hardware).double(), x.double()
    with torch.inference_mode():
        circuits.restart()
        inferred = circuits(x).clone()
    with torch.enable_grad():
        inputs = x.clone().requires_grad_()
        y = circuits(inputs)
        y.square().sum().backward()
    assert float(inputs.grad.abs().max()) > 0
    assert float(circuits.gain.grad.abs().max()) > 0
    limit = 1e-5 * float(inferred.abs().max())
    torch.testing.assert_close(y.detach(), inferred, rtol=0, atol=limit)


def test_the_sums_are_the_same_for_any_number_of_threads(monkeypatch):
    torch.manual_seed(0)
    layer, shape = LAYERS["padded"]
    x = torch.rand(20, *shape[1:])
    hardware = Hardware(
        periphery=Periphery(v_swing=0.1), converters=Converters(dac_bits=8, adc_bits=8)
    )
    circuits = on_die(layer, x, hardware)
    monkeypatch.setattr("torch.get_num_threads", lambda: 1)
    one = at_once(circuits, x)
    monkeypatch.setattr("torch.get_num_threads", lambda: 3)
    three = at_once(circuits, x)
    assert torch.equal(one[0], three[0])
    assert one[1] == three[1]


@pytest.mark.parametrize("n_thread", [1, 3])
def test_drives_are_padded_clipped_rounded_and_counted(n_thread):
    x = np.random.default_rng(0).normal(size=(3, 4, 5, 7))
    levels = DacLevels(1.0, -1.0, 1.0, 1 / 127, -1.1, 1.1)
    wanted = np.rint(127 * x.clip(-1, 1)) / 127
    for padding in ((0, 0), (2, 1)):
        found, n_beyond = drive_images(x, levels, padding, n_thread)
        around = [(0, 0), (0, 0), *((p, p) for p in padding)]
        np.testing.assert_allclose(found, np.pad(wanted, around), rtol=1e-12, atol=0)
        assert n_beyond == (np.abs(x) > 1.1).sum() > 0
    vectors = x.reshape(60, 7)
    found, n_beyond = drive_vectors(vectors, levels, n_thread)
    np.testing.assert_allclose(found[0, :, 0], wanted.reshape(60, 7).T, rtol=1e-12, atol=0)
    assert n_beyond == (np.abs(x) > 1.1).sum()


def test_shares_are_whole_blocks_that_follow_each_other():
    assert shares(10, 3, 4) == [slice(0, 4), slice(4, 8), slice(8, 10)]
    assert shares(10, 8, 4) == shares(10, 3, 4)
    assert shares(5, 1) == [slice(0, 5)]
