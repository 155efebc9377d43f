"""Modules that hold several matrices: on the die, in ngspice, saved, calibrated and pruned."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.ao import quantization
from torch.ao.quantization import DeQuantStub, QuantStub

from crossbar_sim import Hardware, load_network, save_network, to_torch
from crossbar_sim.calibration.tune import fit_outputs
from crossbar_sim.ngspice.verification import random_inputs, verify
from crossbar_sim.on_die.circuit_layer import circuit_layers
from crossbar_sim.on_die.input_moments import second_moments, write_weight
from crossbar_sim.periphery.converters import Converters
from mapping import Die, ResistorBank, TileConfig, map_network
from netlists.circuit import Periphery, Wires
from tinynets import extract
from tinynets.modules.unpacking import unpacked

#: A range that the die's errors do not leave.
WIDE = Hardware(converters=Converters(dac_range=100.0))
COARSE = Die(ResistorBank(n=1, sigma_local=0.2, r_off=1e12), seed=3)


class First(nn.Module):
    """Gives the first thing that a module gives."""

    def __init__(self, module: nn.Module, repeat: int = 1) -> None:
        super().__init__()
        self.inner, self.repeat = module, repeat

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(*[x] * self.repeat)[0]


def dynamic(model: nn.Module) -> nn.Module:
    return quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)


def static() -> nn.Module:
    """Return a small quantised network; its last layer takes what the first has rounded."""
    parts = [nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(108, 4)]
    model: Any = nn.Sequential(QuantStub(), *parts, DeQuantStub()).eval()
    model.qconfig = quantization.get_default_qconfig("x86")
    quantization.fuse_modules(model, [["1", "2"]], inplace=True)
    ready = quantization.prepare(model)
    ready(torch.randn(50, 2, 6, 6))
    return quantization.convert(ready)


#: By kind: the network, the shape of a batch, and a layer of it that is a child of its own.
KINDS: dict[str, tuple[Any, tuple[int, ...], str]] = {
    "attention": (
        lambda: First(nn.MultiheadAttention(8, 2, batch_first=True), 3),
        (6, 5, 8),
        "inner.q_proj",
    ),
    "encoder layer": (
        lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
        (6, 5, 8),
        "self_attn.v_proj",
    ),
    "encoder": (
        lambda: nn.TransformerEncoder(
            nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0), 2
        ),
        (6, 5, 8),
        "layers.1.self_attn.k_proj",
    ),
    "lstm": (
        lambda: First(nn.LSTM(4, 3, 2, bidirectional=True, batch_first=True)),
        (6, 5, 4),
        "inner.hh_l1_reverse",
    ),
    "gru": (lambda: First(nn.GRU(4, 6, batch_first=True)), (6, 5, 4), "inner.ih_l0"),
    "transposed": (
        lambda: nn.Sequential(nn.ConvTranspose2d(4, 6, 3, 2, 1, output_padding=1, groups=2)),
        (6, 4, 3, 3),
        "0.matrix",
    ),
    "transposed in 1-D": (
        lambda: nn.Sequential(nn.ConvTranspose1d(3, 4, 4, 2)),
        (6, 3, 5),
        "0.matrix",
    ),
    "conv3d": (lambda: nn.Sequential(nn.Conv3d(2, 6, 2)), (6, 2, 3, 3, 3), "0.matrix"),
    "dynamic": (lambda: dynamic(nn.Sequential(nn.Linear(8, 6))), (6, 8), "0.matrix"),
    "quantised": (static, (6, 2, 6, 6), "1.matrix"),
    "rnn": (lambda: First(nn.RNN(4, 6, batch_first=True)), (6, 5, 4), "inner.hh_l0"),
}


@pytest.mark.filterwarnings(
    "ignore:torch.ao",
    "ignore:Please use quant_min",
    "ignore:torch.quantize",
    "ignore:TypedStorage",
)
@pytest.mark.parametrize("kind", KINDS)
def test_all_its_matrices_are_on_the_die(kind, tmp_path: Path):
    torch.manual_seed(0)
    make, shape, path = KINDS[kind]
    model, x = make().eval(), torch.randn(shape)
    state = {name: value for name, value in model.state_dict().items() if torch.is_tensor(value)}
    kept = copy.deepcopy(state)
    network = extract(model, x)
    mapped = map_network(network, COARSE, TileConfig(8, 8))
    analog = to_torch(model, mapped, WIDE, calibration=x)
    wanted = unpacked(model)
    wanted = wanted if wanted is not model else unpacked(make()).eval()
    for layer in mapped.layers:
        write_weight(wanted, layer.source, layer.weight)
    with torch.no_grad():
        y, y_wanted, y_digital = analog(x), wanted(x), model(x)
        size = y_wanted.abs().max()
        assert float((y - y_wanted).abs().max() / size) < 1e-4
        assert float((y_wanted - y_digital).abs().max() / size) > 1e-3  # a die so coarse shows
    assert path in circuit_layers(analog)
    assert set(circuit_layers(analog)) == {layer.module for layer in network.layers}
    now = model.state_dict()
    assert all(torch.equal(now[name], value) for name, value in kept.items())

    again, _ = load_network(make(), save_network(analog, mapped, tmp_path / "saved"))
    assert torch.equal(again(x), y)
    moment = second_moments(model, network, x, whole=True)(mapped.layers[0].name, {})
    assert moment.shape == (network.layers[0].n_in,) * 2
    fitted = fit_outputs(analog, model, x)
    with torch.no_grad():
        assert ((fitted(x) - y_digital) ** 2).mean() < ((y - y_digital) ** 2).mean()

    tile = next(
        tile for layer in mapped.layers for tile in layer.tiles if path == layer.source.module
    )
    voltages = random_inputs(mapped, v_read=1, n_vector=2)
    found = verify(mapped, voltages, Wires(), Periphery(), tiles=[tile], n_worker=1)
    assert not found.failures
    assert found.passed


def test_another_model_is_refused_by_name():
    model, x = nn.MultiheadAttention(8, 2, batch_first=True), torch.randn(6, 5, 8)
    model = First(model, 3).eval()
    mapped = map_network(extract(model, x), COARSE, TileConfig(8, 8))
    with torch.no_grad():
        model.inner.get_parameter("in_proj_weight")[9] += 0.5  # a key's
    with pytest.raises(ValueError, match=r"'inner\.k_proj' has another weight"):
        to_torch(model, mapped, Hardware(), calibration=x)
