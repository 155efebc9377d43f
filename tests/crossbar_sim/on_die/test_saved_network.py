"""Networks on a die that are kept: the same bits come back, and nothing else is taken for one."""

import hashlib
import json
import pickle
import shutil
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from crossbar_sim import Converters, Hardware, Noise, to_torch
from crossbar_sim.calibration.tune import fine_tune, fit_outputs
from crossbar_sim.on_die.circuit_layer import circuit_layers
from crossbar_sim.on_die.saved_network import load_network, save_network
from crossbar_sim.pipeline.steps import select_on_die
from mapping import Die, ResistorBank, TileConfig, map_network
from netlists import Periphery, Wires
from tinynets.data import digits
from tinynets.networks.extraction import extract
from tinynets.networks.models import digits_cnn, mlp

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def perceptron(digits_mlp):
    """The digits perceptron with all its parts: amplifiers' offsets, auto-zero, noise; tuned."""
    config, data, model = digits_mlp
    mapped = select_on_die(config, model, data)
    images = torch.from_numpy(data.x_train)
    on_die = to_torch(model, mapped, config.hardware, calibration=images)
    on_die = fine_tune(fit_outputs(on_die, model, images[:200]), data, epochs=1)
    return on_die, mapped, mlp((64, 32, 10)), torch.from_numpy(data.x_test)


@pytest.fixture(scope="module")
def convolutional():
    """A convolutional network whose converters all err, on wires; trained through the die."""
    torch.manual_seed(0)
    data = digits(seed=0, flat=False)
    model = nn.Sequential(digits_cnn((4, 6)), nn.BatchNorm1d(10)).eval()
    images = torch.from_numpy(data.x_train[:300])
    die = Die(ResistorBank(n=4, sigma_local=0.05), seed=3)
    mapped = map_network(extract(model, images[:1]), die, TileConfig(16, 16))
    converters = Converters(
        dac_bits=8, adc_bits=8, dac_inl=0.01, adc_gain_sigma=0.02, adc_offset_sigma=1e-3, seed=5
    )
    hardware = Hardware(Wires(2.0, 2.0, 50.0), Periphery(tia_gain=500.0, v_swing=0.5), converters)
    on_die = to_torch(model, mapped, hardware, calibration=images)
    on_die = fine_tune(on_die, data, epochs=1)
    other = nn.Sequential(digits_cnn((4, 6)), nn.BatchNorm1d(10))
    return on_die, mapped, other, torch.from_numpy(data.x_test)


@pytest.fixture
def network(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


@pytest.fixture
def kept(perceptron: tuple, tmp_path: Path) -> Path:
    """The directory of the perceptron, to be damaged."""
    return save_network(perceptron[0], perceptron[1], tmp_path / "kept")


@pytest.fixture
def network_files(convolutional: tuple, tmp_path: Path) -> tuple:
    """The convolutional network on arrays with wires, and a directory of it, to be damaged."""
    on_die, mapped, *_ = convolutional
    return *convolutional, save_network(on_die, mapped, tmp_path / "with")


def files_of(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def rewrite(directory: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the header of a saved network."""
    path = directory / "circuits.json"
    header = json.loads(path.read_text())
    change(header)
    path.write_text(json.dumps(header))


def replace_state(directory: Path, write: Callable[[Path], object]) -> None:
    """Put another state.npz in, with a checksum that matches."""
    path = directory / "state.npz"
    write(path)
    sums = {"state.npz": hashlib.sha256(path.read_bytes()).hexdigest()}
    rewrite(directory, lambda header: header["sha256"].update(sums))


@pytest.mark.parametrize("network", ["perceptron", "convolutional"], indirect=True)
def test_the_same_bits_come_back(network, tmp_path):
    on_die, mapped, model, x = network
    assert save_network(on_die, mapped, tmp_path / "new" / "a") == tmp_path / "new" / "a"
    before = {name: value.clone() for name, value in model.state_dict().items()}
    loaded, found = load_network(model, tmp_path / "new" / "a")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert len(mapped.tiles) == len(found.tiles) > 0
    for tile, same in zip(mapped.tiles, found.tiles):
        assert np.array_equal(tile.g_pos, same.g_pos)
        assert np.array_equal(tile.chosen_neg, same.chosen_neg)
    assert found.die == mapped.die
    layers, again = circuit_layers(on_die), circuit_layers(loaded)
    assert layers.keys() == again.keys() != set()
    for path, layer in layers.items():
        layer.restart()
        assert layer.hardware.noise == again[path].hardware.noise
        assert layer.adc.v_limit == again[path].adc.v_limit
        assert [z.tolist() for z in layer.adc.zeros] == [z.tolist() for z in again[path].adc.zeros]
    with torch.no_grad():
        assert torch.equal(on_die(x), loaded(x))
    assert [a.n_saturated for a in layers.values()] == [a.n_saturated for a in again.values()]
    save_network(loaded, found, tmp_path / "b")
    assert files_of(tmp_path / "b") == files_of(tmp_path / "new" / "a")


def test_what_the_networks_hold(perceptron, convolutional):
    """So that the test above is one of noise, auto-zero, clipping, converters and batch norm."""
    layer = circuit_layers(perceptron[0])["fc1"]
    assert layer.stream is not None
    assert layer.adc.zeros
    assert layer.hardware.noise == Noise(20e6)
    with torch.no_grad():
        first = perceptron[0](perceptron[3])
        assert not torch.equal(first, perceptron[0](perceptron[3])), "noise goes on"
    assert all((layer.gain != 1).any() for layer in circuit_layers(perceptron[0]).values())
    conv = next(iter(circuit_layers(convolutional[0]).values()))
    assert not conv.dac_errors.is_straight
    assert np.isfinite(conv.hardware.periphery.v_swing)
    assert (convolutional[0][1].running_mean != 0).any()


def test_a_model_that_is_one_layer(tmp_path):
    torch.manual_seed(0)
    model, x = nn.Linear(6, 3), torch.rand(9, 6)
    mapped = map_network(extract(model, x), Die(ResistorBank(n=4), seed=1), TileConfig(8, 8))
    on_die = to_torch(model, mapped, Hardware(Wires(1, 1)), calibration=x)
    save_network(on_die, mapped, tmp_path / "a")
    assert set(np.load(tmp_path / "a" / "state.npz").files) == {"gain", "bias", "units_per_volt"}
    loaded, _ = load_network(nn.Linear(6, 3), tmp_path / "a")
    assert torch.equal(on_die(x), loaded(x))


def test_an_existing_directory_is_refused_and_untouched(perceptron, kept):
    before = files_of(kept)
    with pytest.raises(FileExistsError, match="kept exists; name a new directory"):
        save_network(perceptron[0], perceptron[1], kept)
    assert files_of(kept) == before
    assert [path.name for path in kept.parent.iterdir()] == ["kept"]


def test_a_network_is_saved_with_its_own_mapping(perceptron, convolutional, tmp_path):
    with pytest.raises(ValueError, match=r"circuits for \['fc1', 'fc2'\], the mapping for \['0"):
        save_network(perceptron[0], convolutional[1], tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_nothing_behind(perceptron, tmp_path, monkeypatch):
    def full(*_args, **_options):
        raise OSError("no space left")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OSError, match="no space left"):
        save_network(perceptron[0], perceptron[1], tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["mapped.npz", "circuits.json", "state.npz"])
@pytest.mark.parametrize("how", ["missing", "cut", "text", "flipped", "empty"])
def test_damaged_files_are_named(perceptron, kept, name, how):
    path = kept / name
    content = bytearray(path.read_bytes())
    if how == "missing":
        path.unlink()
    elif how == "flipped":
        content[len(content) // 2] ^= 0x80
        path.write_bytes(content)
    else:
        path.write_bytes({"cut": content[: len(content) // 2], "text": b"hello", "empty": b""}[how])
    with pytest.raises(ValueError, match=rf"kept/{name} is (missing; expected|damaged: )"):
        load_network(perceptron[2], kept)


def remove(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda header: header.pop(name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda header: header.update(version=99), "version 99; this program reads 1; use the"),
        (remove("version"), "version None; this program reads 1"),
        (
            lambda header: header.update(format="other"),
            "circuits.json is not a crossbar-sim network on a die",
        ),
        (remove("sha256"), "circuits.json is damaged: sha256"),
        (lambda header: header.update(layers=[]), "circuits.json is damaged"),
        (lambda header: header["sha256"].clear(), "mapped.npz is damaged: its checksum"),
        (lambda header: header["layers"].pop("fc2"), "kept does not fit the model: 'fc2'"),
        (lambda h: h["layers"]["fc1"]["wires"].update(r_what=1), "does not fit .* 'r_what'"),
        (lambda h: h["layers"]["fc1"]["wires"].update(r_word=-1.0), "does not fit .*r_word"),
        (lambda h: h["layers"]["fc1"]["input_range"].update(limit=0.0), "input_range: limit: .*0"),
        (lambda h: h["layers"]["fc1"]["input_range"].update(limit=-1.0), "greater than 0"),
    ],
)
def test_other_headers_are_refused(perceptron, kept, change, message):
    rewrite(kept, change)
    with pytest.raises(ValueError, match=message):
        load_network(perceptron[2], kept)


def test_a_list_is_no_header(perceptron, kept):
    (kept / "circuits.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"circuits\.json is damaged: .*object"):
        load_network(perceptron[2], kept)


def test_files_of_two_networks_do_not_mix(perceptron, convolutional, kept, tmp_path):
    other = save_network(convolutional[0], convolutional[1], tmp_path / "other")
    shutil.copy(other / "state.npz", kept / "state.npz")
    with pytest.raises(ValueError, match=r"state\.npz is damaged: its checksum does not match"):
        load_network(perceptron[2], kept)


class Bomb:
    """Something that, unpickled, would leave a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("kind", ["array of objects", "bare pickle"])
def test_nothing_is_executed(perceptron, kept, tmp_path, kind):
    trace = tmp_path / "trace"
    pickled = pickle.dumps(Bomb(trace))

    def write(path):
        if kind == "bare pickle":
            path.write_bytes(pickled)
            return
        with path.open("wb") as file:
            np.savez(file, allow_pickle=True, bomb=np.array([Bomb(trace)], dtype=object))

    replace_state(kept, write)
    with pytest.raises(ValueError, match=r"state\.npz is .*something other than plain arrays"):
        load_network(perceptron[2], kept)
    assert not trace.exists()
    pickle.loads(pickled).close()
    assert trace.exists(), "the trap works"


def test_a_single_array_is_no_state(perceptron, kept):
    def write(path):
        with path.open("wb") as file:
            np.save(file, np.zeros(3))

    replace_state(kept, write)
    with pytest.raises(ValueError, match=r"state\.npz is .*something other than plain arrays"):
        load_network(perceptron[2], kept)


def test_other_models_are_refused(perceptron, kept):
    for model, message in (
        (mlp((64, 10)), r"'fc1' is Linear\(.*; expected 32 outputs of 64 inputs, dense"),
        (mlp((64, 32, 11)), "'fc2' is Linear.*; expected 10 outputs of 32 inputs, dense"),
        (nn.Sequential(OrderedDict(fc1=nn.Conv1d(64, 32, 1))), "'fc1' is Conv1d"),
        (nn.Sequential(OrderedDict(fc1=mlp((64, 32)))), r"'fc1' is Sequential\(;"),
        (nn.Sequential(OrderedDict(fc1=nn.Linear(64, 32))), "no attribute `fc2`"),
        (mlp((64, 32, 10)).double(), "must be torch.float64; got torch.float32"),
        (nn.Sequential(mlp((64, 32, 10)), nn.BatchNorm1d(10)), "no attribute `fc1`"),
        (nn.Linear(64, 10), "no attribute `fc1`"),
    ):
        with pytest.raises(ValueError, match=f"kept does not fit the model.*(?:{message})"):
            load_network(model, kept)


def test_kept_transfer_matrices_are_used_and_give_the_same(network_files, monkeypatch):
    on_die, mapped, model, images, directory = network_files
    plain = save_network(on_die, mapped, directory.with_name("plain"), transfers=False)
    assert "transfers.npz" not in files_of(plain)
    without, _ = load_network(model, plain)
    monkeypatch.setattr("crossbar_sim.on_die.readout.transfer_matrix", lambda _circuit: None)
    again, _ = load_network(model, directory)
    for one in (without, again):
        assert torch.equal(one(images[:20]), load_network(model, directory)[0](images[:20]))
    with pytest.raises(ValueError, match="does not fit the model"):
        load_network(model, plain)  # it has to solve its circuits


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda flat: flat * np.where(np.arange(flat.size) == 7, 1 + 1e-4, 1.0), "is off by"),
        (lambda flat: np.where(np.arange(flat.size) == 7, np.nan, flat), "is off by nan"),
        (lambda flat: flat[:-1], "has other tiles"),
        (lambda flat: flat.astype(np.float32), "has other tiles"),
    ],
)
def test_a_matrix_that_is_not_its_circuits_is_refused(network_files, change, message):
    *_, model, _images, directory = network_files
    arrays = dict(np.load(directory / "transfers.npz"))
    name = next(iter(arrays))
    np.savez(directory / "transfers.npz", **arrays | {name: change(arrays[name])})
    digest = hashlib.sha256((directory / "transfers.npz").read_bytes()).hexdigest()
    rewrite(directory, lambda header: header["sha256"].update({"transfers.npz": digest}))
    with pytest.raises(ValueError, match=rf"transfers\.npz: .*{message}"):
        load_network(model, directory)


def test_a_file_that_is_not_read_is_refused(network_files):
    *_, model, _images, directory = network_files
    rewrite(directory, lambda header: header["sha256"].update({"more.npz": "0"}))
    with pytest.raises(ValueError, match=r"circuits\.json names 'more\.npz', which is not read"):
        load_network(model, directory)
