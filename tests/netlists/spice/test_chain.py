"""A network as one analog circuit in stock ngspice, and a convolution position by position."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from crossbar_sim import solve
from mapping import Die, MappedLayer, MappedNetwork, ResistorBank, TileConfig, map_network
from netlists import Periphery, Wires, tile_circuit, write_network
from netlists.circuit.size import NetlistTooLarge, free_memory
from netlists.spice.chain import Chain, bias_layer, bias_layers
from netlists.spice.convolution_script import driver
from tinynets.data import Data, digits
from tinynets.networks.extraction import extract
from tinynets.networks.layers import PrunedLayer, PrunedNetwork
from tinynets.networks.models import mlp
from tinynets.networks.training import train

pytestmark = pytest.mark.training

V_READ = 0.2
BANK = ResistorBank(n=6, sigma_local=0.05, meter_error=0.001, r_on=1e3, r_off=1e9)


@pytest.fixture(scope="module")
def data() -> Data:
    return digits(seed=0, flat=True)


@pytest.fixture(scope="module")
def mapped(data: Data) -> MappedNetwork:
    """A perceptron trained on real digits, on tiles of 32 × 16."""
    torch.manual_seed(0)
    model = train(mlp((64, 16, 10)), data, epochs=8, learning_rate=0.01)
    network = extract(model, torch.from_numpy(data.x_test[:1]))
    return map_network(network, Die(BANK, seed=3), TileConfig(32, 16))


@pytest.fixture(scope="module")
def chain(mapped: MappedNetwork, data: Data) -> Chain:
    """The largest input of each layer on the training set stands at V_READ."""
    x, volts = data.x_train.astype(float), {}
    for layer in mapped.layers:
        volts[layer.name] = V_READ / x.max()
        x = np.maximum(x @ layer.source.weight.T + layer.source.bias, 0)
    return Chain(volts)


def inputs(mapped: MappedNetwork, chain: Chain, x: np.ndarray) -> dict[str, np.ndarray]:
    volts = {layer.name: np.zeros((1, layer.source.n_in)) for layer in mapped.layers}
    return volts | {mapped.layers[0].name: x * chain.volts_per_unit[mapped.layers[0].name]}


def run(directory: Path, deck: str, outputs: str) -> np.ndarray:
    done = subprocess.run(
        ["ngspice", "-b", deck], cwd=directory, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "KLU" in done.stdout
    return np.loadtxt(directory / outputs, skiprows=1, ndmin=2)[:, 1:]


def digital_logits(mapped: MappedNetwork, x: np.ndarray) -> np.ndarray:
    """Return the logits of the weights and biases that the banks realise, by plain arithmetic."""
    biases = bias_layers(mapped)
    for layer in mapped.layers:
        x = x @ layer.weight.T + biases[layer.name].weight[:, 0]
        if layer is not mapped.layers[-1]:
            x = np.maximum(x, 0)
    return x


def engine_logits(
    mapped: MappedNetwork, chain: Chain, wires: Wires, ends: Periphery, x: np.ndarray
) -> np.ndarray:
    """Return the logits of the engine, which solves every tile of every layer by itself."""
    biases = bias_layers(mapped)
    for layer in mapped.layers:
        bias, volts = biases[layer.name], x * chain.volts_per_unit[layer.name]
        steady = np.full((len(x), 1), chain.v_bias)
        x = layer_output(layer, wires, ends, volts) / chain.volts_per_unit[layer.name]
        x = x + layer_output(bias, wires, ends, steady) / chain.v_bias
        if layer is not mapped.layers[-1]:
            x = np.maximum(x, 0)
    return x


def layer_output(
    layer: MappedLayer, wires: Wires, ends: Periphery, volts: np.ndarray
) -> np.ndarray:
    total = np.zeros((len(volts), layer.source.n_out))
    for tile in layer.tiles:
        circuit = tile_circuit(tile, wires, ends.for_tile(tile.name))
        v_out = solve(circuit, volts[:, tile.rows]).v_out
        total[:, tile.columns] += v_out[:, tile.n_bit :] - v_out[:, : tile.n_bit]
    return total / (ends.r_feedback * layer.g_per_weight)


def test_real_digits_go_from_voltages_to_logits_in_one_circuit(mapped, chain, data, tmp_path):
    x = data.x_test[:12].astype(float)
    volts, net = inputs(mapped, chain, x), tmp_path / "net"
    write_network(mapped, Wires(), Periphery(), net, v_in=volts, chain=chain)
    found, wanted = run(net, "network.cir", "logits.txt"), digital_logits(mapped, x)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6 * np.abs(wanted).max())
    assert (found.argmax(1) == wanted.argmax(1)).all()
    assert (found.argmax(1) == data.y_test[:12]).mean() > 0.7
    assert "network.cir: " in (net / "README.md").read_text()


def test_with_wires_and_amplifiers_the_logits_are_the_engines(mapped, chain, data, tmp_path):
    x = data.x_test[:12].astype(float)
    wires, ends = Wires(1.0, 1.0, 30.0), Periphery(tia_gain=1e4, v_offset_sigma=1e-4, seed=2)
    volts, net = inputs(mapped, chain, x), tmp_path / "net"
    write_network(mapped, wires, ends, net, v_in=volts, chain=chain)
    found = run(net, "network.cir", "logits.txt")
    largest = np.abs(found).max()
    expected = engine_logits(mapped, chain, wires, ends, x)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-8 * largest)
    ideal = digital_logits(mapped, x)
    assert 1e-3 < np.abs(found - ideal).max() / largest < 0.1, "the wires cost a few per cent"
    assert (found.argmax(1) == ideal.argmax(1)).mean() > 0.9


def test_a_bias_is_a_word_line_of_real_banks(mapped):
    layer = mapped.layers[0]
    bias = bias_layer(layer, mapped.die, mapped.tile)
    assert bias.source.n_in == 1
    error = bias.weight[:, 0] - layer.source.bias
    assert 0 < np.abs(error).max() < 0.01 * np.abs(layer.source.bias).max()
    without = replace(layer, source=replace(layer.source, bias=np.zeros(16)))
    assert bias_layer(without, mapped.die, mapped.tile) is None


def test_a_network_without_biases(mapped, data, tmp_path):
    layers = tuple(replace(part, source=replace(part.source, bias=None)) for part in mapped.layers)
    bare, chain = replace(mapped, layers=layers), Chain({"fc1": 0.1, "fc2": 0.01})
    x = data.x_test[:3].astype(float)
    net = write_network(
        bare, Wires(), Periphery(), tmp_path / "net", v_in=inputs(bare, chain, x), chain=chain
    )
    hidden = np.maximum(x @ bare.layers[0].weight.T, 0)
    wanted = hidden @ bare.layers[1].weight.T
    found = run(net, "network.cir", "logits.txt")
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6 * np.abs(wanted).max())


def dense(name: str, shape: tuple[int, ...] = (3, 4), **options: Any) -> PrunedLayer:
    weight = np.random.default_rng(0).normal(size=shape)
    return PrunedLayer(name, weight, np.ones(shape, dtype=bool), **options)


def mapping_of(*layers: PrunedLayer) -> MappedNetwork:
    return map_network(PrunedNetwork(layers), Die(BANK, seed=0), TileConfig(8, 8))


@pytest.mark.parametrize(
    ("layers", "volts", "message"),
    [
        ([dense("a"), dense("b")], {"a": 1, "b": 1}, "3 outputs, but 'b' has 4 inputs"),
        ([dense("a")], {"b": 1}, "volts_per_unit lacks layer 'a'"),
        (
            [dense("a", bias=np.ones(3)), dense("a_bias", (2, 3))],
            {"a": 1, "a_bias": 1},
            "the name 'a_bias' is reserved",
        ),
    ],
)
def test_what_is_no_chain_is_refused(layers, volts, message, tmp_path):
    net = mapping_of(*layers)
    with pytest.raises(ValueError, match=message):
        write_network(net, Wires(), Periphery(), tmp_path / "net", chain=Chain(volts))
    assert not (tmp_path / "net").exists()


@pytest.mark.parametrize("options", [{"volts_per_unit": {"a": 0.0}}, {"v_bias": -1.0}])
def test_voltages_that_make_no_sense(options):
    with pytest.raises(ValueError, match="must be > 0 V"):
        Chain(**({"volts_per_unit": {"a": 1.0}} | options))


def test_no_name_of_a_model_becomes_a_card(tmp_path):
    hostile = "fc\n.control\nshell touch /tmp/x\n.endc"
    with pytest.raises(ValueError, match="not safe in a netlist"):
        dense(hostile)
    net = mapping_of(dense("fc", module=hostile))
    directory = write_network(net, Wires(), Periphery(), tmp_path / "net", chain=Chain({"fc": 0.1}))
    texts = [path.read_text() for path in directory.rglob("*") if path.is_file()]
    assert len(texts) == 7
    assert not any("shell" in text or "touch" in text for text in texts)


def test_a_network_that_would_exhaust_the_machine_is_refused(mapped, tmp_path):
    """The same tiles, so often that they do not fit into memory."""
    n_copy = int(free_memory() / 50e6)
    layer = replace(mapped.layers[0], tiles=mapped.layers[0].tiles * n_copy)
    large = replace(mapped, layers=(layer,))
    with pytest.raises(NetlistTooLarge, match=r"fc1/run.cir has .* elements, about .* GB and"):
        write_network(large, Wires(), Periphery(), tmp_path / "net")
    assert not (tmp_path / "net").exists()


@pytest.mark.parametrize(
    ("channels", "options"),
    [
        ((1, 3), {"kernel_size": 3, "padding": 1}),
        ((2, 4), {"kernel_size": (2, 3), "stride": (2, 1), "padding": (0, 2), "dilation": (1, 2)}),
        ((4, 4), {"kernel_size": 2, "groups": 2}),
    ],
)
def test_images_go_through_a_convolution_by_its_script(channels, options, tmp_path):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(*channels, bias=False, **options))
    images = np.random.default_rng(0).uniform(-0.2, 0.2, size=(2, channels[0], 6, 7))
    network = extract(model, torch.from_numpy(images[:1]).float())
    net = map_network(network, Die(BANK, seed=1), TileConfig(8, 8))
    (layer,) = net.layers
    directory = write_network(net, Wires(), Periphery(), tmp_path / "net") / layer.name
    np.save(tmp_path / "in.npy", images)
    command = [sys.executable, directory / "run.py", tmp_path / "in.npy", tmp_path / "out.npy"]
    subprocess.run(command, check=True)
    found = np.load(tmp_path / "out.npy") / (20e3 * layer.g_per_weight[:, None, None])
    geometry = {name: options[name] for name in options if name != "kernel_size"}
    weight = torch.from_numpy(layer.weight.reshape(model[0].weight.shape))
    wanted = torch.nn.functional.conv2d(torch.from_numpy(images), weight, **geometry).numpy()
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-9 * np.abs(wanted).max())


def test_a_convolution_is_no_chain_and_a_dense_layer_has_no_script(mapped, tmp_path):
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 2))
    network = extract(model, torch.zeros(1, 1, 4, 4))
    net = map_network(network, Die(BANK, seed=1), TileConfig(8, 8))
    chain = Chain({net.layers[0].name: 1.0})
    with pytest.raises(ValueError, match="is a convolution"):
        write_network(net, Wires(), Periphery(), tmp_path / "net", chain=chain)
    with pytest.raises(ValueError, match="not a convolution"):
        driver(mapped.layers[0])
