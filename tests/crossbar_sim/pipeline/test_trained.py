"""Networks that are read from a file instead of trained: the same on every processor."""

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from crossbar_sim.config import ConfigError, RunConfig, load_config
from crossbar_sim.config.run import checked
from crossbar_sim.config.study import with_values
from crossbar_sim.pipeline.steps import build_model, load_data, train_and_prune
from crossbar_sim.pipeline.trained import (
    load_trained,
    save_trained,
    training_settings,
    write_weights,
)
from tinynets.networks.training import accuracy

ROOT = Path(__file__).parents[3]
SMALL = ROOT / "tests" / "networks" / "small.toml"
CONFIGS = [SMALL, *sorted((ROOT / "examples" / "runs").glob("digits*.toml"))]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_networks_of_the_repository_are_sparse_and_good(path):
    config = load_config(path)
    data = load_data(config)
    dense, pruned = train_and_prune(config, data)
    dense_score, score = (accuracy(m, data.x_test, data.y_test) for m in (dense, pruned))
    assert dense_score > 0.95
    assert dense_score - score < (0.03 if path == SMALL else 0.02)
    weights = [p for name, p in pruned.named_parameters() if name.endswith("weight")]
    zeros = sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)
    assert abs(zeros - config.prune.sparsity) < 1e-3
    assert all(torch.equal(p, p.half().float()) for p in pruned.parameters())


def test_all_files_together_are_small():
    files = [config.network.weights for config in map(load_config, CONFIGS)]
    assert sum(Path(file or "").stat().st_size for file in files) < 200e3


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    """The small configuration in a directory of its own."""
    (tmp_path / "small.toml").write_text(SMALL.read_text())
    (tmp_path / "small.safetensors").write_bytes((SMALL.parent / "small.safetensors").read_bytes())
    return load_config(tmp_path / "small.toml")


def test_what_is_written_is_read(config, tmp_path):
    networks = train_and_prune(config, load_data(config))
    save_trained(tmp_path / "again.safetensors", config, *networks, made_on="a machine")
    again = config.with_weights(None).with_weights(tmp_path / "again.safetensors")
    read = build_model(config), build_model(config)
    assert load_trained(again, *read) == "a machine"
    for a, b in zip(networks, read):
        assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters()))
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize(
    ("key", "value"), [("seed", 2), ("prune.sparsity", 0.5), ("train.epochs", 31)]
)
def test_a_network_made_with_other_settings_is_refused(config, key, value):
    other = with_values(config, {key: value})
    with pytest.raises(ConfigError, match=rf"trained with {key} = .* instead of {value}; give"):
        train_and_prune(other, load_data(config))


def test_hardware_may_differ_from_what_the_network_was_trained_for(config):
    other = with_values(config, {"bank.n": 3, "tile.n_word": 8})
    assert training_settings(other) == training_settings(config)


def test_the_file_is_part_of_what_a_run_is(config):
    assert config.digest != config.with_weights(None).digest
    path = Path(config.network.weights or "")
    tensors = safetensors.torch.load_file(path)
    tensors["pruned.fc1.bias"] += 1
    with safetensors.safe_open(path, framework="pt") as file:
        about = file.metadata()
    safetensors.torch.save_file(tensors, path, about)
    with pytest.raises(ConfigError, match="has changed: its SHA-256 is"):
        config.with_weights(path)


def test_a_checksum_of_no_file_is_refused():
    with pytest.raises(ConfigError, match="weights_sha256 needs weights; got none"):
        checked({"name": "a", "model": {"weights_sha256": "0" * 64}}, RunConfig, "a.toml")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda t, about: (t, {}), "does not say how its network was trained"),
        (lambda t, about: (t, about | {"settings": "[1"}), "does not say how its network"),
        (lambda t, about: (t | {"pruned.fc1.bias": torch.full((32,), torch.nan)}, about), "NaN"),
        (lambda t, about: (t | {"dense.fc1.bias": torch.zeros(3)}, about), "do not fit"),
        (lambda t, about: ({n: v for n, v in t.items() if "fc2" not in n}, about), "do not fit"),
    ],
)
def test_damaged_files(config, damage, message):
    path = Path(config.network.weights or "")
    with safetensors.safe_open(path, framework="pt") as file:
        about = file.metadata()
    tensors, about = damage(safetensors.torch.load_file(path), about)
    safetensors.torch.save_file(tensors, path, about)
    with pytest.raises(ConfigError, match=message):
        train_and_prune(config.with_weights(None).with_weights(path), load_data(config))


def test_files_that_are_no_safetensors_or_not_there(config, tmp_path):
    path = tmp_path / "small.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ConfigError, match="cannot be read as a safetensors file"):
        train_and_prune(config.with_weights(None).with_weights(path), load_data(config))
    path.unlink()
    with pytest.raises(ConfigError, match=r"network\.weights: .*small\.safetensors cannot be read"):
        load_config(tmp_path / "small.toml")


def test_a_quick_run_takes_the_network_as_it_is(config):
    quick = config.made_quick()
    assert quick.train == config.train
    assert quick.prune == config.prune
    trained_now = config.with_weights(None).made_quick()
    assert trained_now.train.epochs == 10
    assert json.dumps(quick.as_json())


def test_a_full_disk_is_told_as_one_by_weights_too():
    with pytest.raises(OSError, match="No space left"):
        write_weights(nn.Linear(300, 300), Path("/dev/full"))
