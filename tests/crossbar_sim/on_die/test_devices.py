"""Networks on the die run on any device, with all that they hold, and give the same there."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from approx import approx
from benchmarks.circuits import gpu
from crossbar_sim import Converters, Hardware, Noise, to_torch
from crossbar_sim.calibration.tune import fit_outputs
from crossbar_sim.on_die.circuit_layer import CircuitLayer, circuit_layers
from crossbar_sim.on_die.saved_network import load_network, save_network
from crossbar_sim.on_die.to_torch import put_on_die
from elsewhere import GPU, device_named
from mapping import Die, MappedNetwork, ResistorBank, TileConfig, map_network
from netlists import Periphery, Wires
from tinynets.networks.extraction import extract

pytestmark = pytest.mark.filterwarnings("ignore:.*copying from a non-meta parameter")

#: What the digital parts of a CPU and a GPU may differ by, over the largest output.
ROUNDING = 2e-6
PERIPHERY = Periphery(tia_gain=400.0, r_input=5.0, v_offset_sigma=1e-3, v_swing=0.05)
ERRORS: dict[str, Any] = {"dac_gain_sigma": 0.01, "dac_offset_sigma": 1e-3, "adc_gain_sigma": 0.01}
#: Everything that a layer holds, in turn; ADCs of 20 bits show rounding alone.
HARDWARE = {
    "ideal": Hardware(),
    "wires": Hardware(Wires(2.0, 1.0, 20.0), PERIPHERY),
    "rounded": Hardware(Wires(1.0, 1.0), converters=Converters(dac_bits=6, adc_bits=20)),
    "clipped": Hardware(converters=Converters(dac_bits=8, adc_range=0.01, dac_range=0.8)),
    "errors": Hardware(converters=Converters(adc_bits=20, auto_zero=True, **ERRORS)),
    "bent": Hardware(
        Wires(1.0, 2.0), PERIPHERY, Converters(dac_inl=0.01, adc_inl=0.02, auto_zero=True)
    ),
    "pulses": Hardware(converters=Converters(dac_bits=4, inputs="bit-serial", adc_bits=20)),
    "phases": Hardware(converters=Converters(dac_bits=5, drive="two-phase", adc_bits=20)),
}
#: Those that clip voltages in many places.
CLIPPED = ("wires", "clipped", "bent")


@pytest.fixture(params=["elsewhere", pytest.param("cuda", marks=GPU)])
def device(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    """A device beside the CPU: the one of `elsewhere`, and a GPU where there is one."""
    with device_named(request.param) as found:
        yield found


class Network(nn.Module):
    """A convolution with groups, a 1-D convolution and a dense layer, batch norm beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(2, 6, 3, stride=2, padding=1, groups=2)
        self.norm = nn.BatchNorm2d(6)
        self.b = nn.Conv1d(6, 5, 3)
        self.c = nn.Linear(35, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.a(x))).flatten(2)
        return self.c(self.b(x).flatten(1))


def model_and_inputs() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    return Network().eval(), torch.randn(7, 2, 5, 6)


def mapped_of(model: nn.Module, x: torch.Tensor) -> MappedNetwork:
    die = Die(ResistorBank(n=8, sigma_local=0.05), seed=2)
    return map_network(extract(model, x), die, TileConfig(8, 4))


def on_die_of(hardware: Hardware) -> tuple[nn.Module, nn.Module, MappedNetwork, torch.Tensor]:
    """Return a model on the CPU, its network on the die, its mapping and inputs."""
    model, x = model_and_inputs()
    mapped = mapped_of(model, x)
    return model, to_torch(model, mapped, hardware, calibration=x), mapped, x


def restarted(network: nn.Module) -> nn.Module:
    for layer in circuit_layers(network).values():
        layer.restart()
    return network


def saturated(network: nn.Module) -> list[int]:
    return [layer.n_saturated for layer in circuit_layers(network).values()]


def assert_same(found: torch.Tensor, expected: torch.Tensor, limit: float = ROUNDING) -> None:
    scale = float(expected.abs().max())
    found, expected = found.detach().cpu(), expected.detach().cpu()
    np.testing.assert_allclose(found, expected, rtol=0, atol=limit * scale)


@pytest.mark.parametrize("kind", HARDWARE)
def test_a_network_that_is_moved_gives_the_same(kind, device):
    """Against the compiled kernel, where the CPU has one; a step of 20 bits is 2e-6 of a range."""
    _, analog, _, x = on_die_of(HARDWARE[kind])
    moved = restarted(copy.deepcopy(analog)).to(device)
    with torch.no_grad():
        expected = restarted(analog)(x)
        found = moved(x.to(device))
    assert found.device.type == device.type
    assert_same(found, expected, 2e-5)
    assert saturated(moved) == approx(saturated(analog), abs=2), "one on its limit may be rounded"
    assert (sum(saturated(moved)) > 20) == (kind in CLIPPED)


@pytest.mark.parametrize("kind", ["wires", "rounded", "errors", "bent"])
def test_a_model_on_a_device_gives_a_network_there(kind, device):
    """Its ranges and zeros are measured there too."""
    model, analog, mapped, x = on_die_of(HARDWARE[kind])
    model, inputs = model.to(device), x.to(device)
    assert mapped_of(model, inputs).layers[0].g_per_weight == approx(
        mapped.layers[0].g_per_weight, rel=1e-12
    )
    there = to_torch(model, mapped, HARDWARE[kind], calibration=inputs)
    tensors = [*there.parameters(), *there.buffers()]
    for layer in circuit_layers(there).values():
        tensors += [layer.dac_errors.gain, *layer.adc.zeros, layer.adc.errors[0].bend]
    assert {tensor.device.type for tensor in tensors} == {device.type}
    with torch.no_grad():
        assert_same(restarted(there)(inputs), restarted(analog)(x), 2e-5)
    limits = [[x.adc.v_limit or 0.0 for x in circuit_layers(y).values()] for y in (there, analog)]
    assert limits[0] == approx(limits[1], rel=1e-5)


def test_a_layer_is_put_on_the_die_where_its_network_is(device):
    model, x = model_and_inputs()
    mapped, found = mapped_of(model, x), []
    for place in ("cpu", device):
        network, inputs = copy.deepcopy(model).to(place), x.to(place)
        for layer in mapped.layers:
            network = put_on_die(network, layer, HARDWARE["wires"], calibration=inputs)
        with torch.no_grad():
            found.append(network(inputs))
    assert_same(found[1], found[0], 2e-5)


NOISY = Hardware(Wires(1.0, 1.0), PERIPHERY, noise=Noise(bandwidth=1e9, seed=4))


def test_noise_is_the_same_on_a_device(device):
    """Ten times above what differs; without noise the outputs differ far more."""
    model, analog, mapped, x = on_die_of(NOISY)
    quiet = to_torch(model, mapped, replace(NOISY, noise=None), calibration=x)
    moved = copy.deepcopy(analog).to(device)
    with torch.no_grad():
        first, second = analog(x), analog(x)
        assert float((first - quiet(x)).abs().max() / first.abs().max()) > 1e-3
        assert not np.allclose(first, second, rtol=1e-4, atol=1e-4)
        assert_same(moved(x.to(device)), first, 2e-5)
        assert_same(moved(x.to(device)), second, 2e-5)


def test_there_and_back_is_the_same_network(device):
    _, analog, _, x = on_die_of(HARDWARE["errors"])
    with torch.no_grad():
        expected = analog(x)
        assert torch.equal(copy.deepcopy(analog).to(device).to("cpu")(x), expected)


@pytest.mark.parametrize("kind", ["errors", "bent"])
def test_a_state_is_loaded_across_devices(kind, device):
    """With the ranges, and with zeros that are measured again."""
    model, analog, mapped, x = on_die_of(HARDWARE[kind])
    other = to_torch(model, mapped, HARDWARE[kind], calibration=0.1 * x).to(device)
    with torch.no_grad():
        expected = restarted(analog)(x)
        assert not np.allclose(other(x.to(device)).cpu(), expected, rtol=1e-3, atol=1e-3)
        other.load_state_dict(analog.state_dict())
        assert_same(other(x.to(device)), expected, 2e-5)


def test_a_range_that_is_set_on_a_device_stays_there(device):
    _, analog, _, _ = on_die_of(HARDWARE["bent"])
    layer = circuit_layers(analog)["c"].to(device)
    layer.adc.set_range(0.02)
    assert layer.adc.errors[0].gain.device.type == device.type
    assert layer.adc.v_limit == 0.02


def test_a_network_is_saved_from_a_device_and_loaded_onto_it(device, tmp_path):
    model, analog, mapped, x = on_die_of(HARDWARE["errors"])
    with torch.no_grad():
        expected = analog(x)
        save_network(analog.to(device), mapped, tmp_path / "kept")
        loaded, _ = load_network(model, tmp_path / "kept")
        assert torch.equal(loaded(x), expected)
        there, _ = load_network(model.to(device), tmp_path / "kept")
        assert_same(there(x.to(device)), expected, 2e-5)


def test_outputs_are_fitted_and_trained_on_a_device(device):
    model, analog, _, x = on_die_of(HARDWARE["wires"])
    found = []
    for place in ("cpu", device):
        network, inputs = copy.deepcopy(analog).to(place), x.to(place)
        network = fit_outputs(network, copy.deepcopy(model).to(place), inputs)
        network(inputs).square().sum().backward()
        layer: Any = network.get_submodule("c")
        assert isinstance(layer, CircuitLayer)
        found.append((layer.gain.detach(), layer.gain.grad, layer.bias.grad))
    for here, there in zip(*found):
        assert_same(there, here, 1e-4)
    assert len(found[0]) == 3


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_a_pickled_network_is_loaded_for_the_cpu(tmp_path):
    _, analog, _, x = on_die_of(HARDWARE["errors"])
    torch.save(analog.to("cuda"), tmp_path / "whole.pt")
    loaded = torch.load(tmp_path / "whole.pt", map_location="cpu", weights_only=False)
    loaded.c.adc.set_range(0.02)
    with torch.no_grad():
        assert loaded(x).device.type == "cpu"


def test_convolutions_of_circuits_use_all_bits(monkeypatch):
    """Where torch's default for a GPU is fewer; afterwards it is as it was."""
    _, analog, _, x = on_die_of(HARDWARE["wires"])
    seen, convolve = [], nn.functional.conv2d

    def see(*args: Any) -> torch.Tensor:
        seen.append(torch.backends.cudnn.allow_tf32)
        return convolve(*args)

    monkeypatch.setattr(nn.functional, "conv2d", see)
    before = torch.backends.cudnn.allow_tf32
    analog(x)
    assert before
    assert torch.backends.cudnn.allow_tf32
    assert len(seen) > 1
    assert not any(seen)


def test_the_script_of_a_gpu_runs_on_the_cpu_and_says_if_there_is_none(monkeypatch, capsys):
    """It compares masks, matrices and reads itself, and fails if they differ."""
    monkeypatch.setattr("sys.argv", ["gpu", "--device", "cpu"])
    gpu.main()
    assert "transfer matrices" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["gpu"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    gpu.main()
    assert "there is no GPU here: nothing was measured" in capsys.readouterr().out
    assert gpu.Size().n_weight == 1_130_364_928
