"""A network of tokens and a mask goes from its files through the commands."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from typer.testing import CliRunner

from crossbar_sim.cli.commands import app
from crossbar_sim.config import ConfigError, load_config
from crossbar_sim.pipeline.steps import load_data, network_on_die, select_on_die, train_and_prune
from tinynets.networks.training import predict

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.fc = nn.Embedding(9, 6), nn.Linear(6, 3)

    def forward(self, ids, mask):
        return self.fc((self.table(ids) * mask[..., None]).sum(1))
"""
TABLES = """
name = "words"
[network]
source = "weights.safetensors"
python = "net.py:Net"
[data]
source = "words.npz"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(NET)
    torch.manual_seed(2)
    table, fc = nn.Embedding(9, 6), nn.Linear(6, 3)
    weights = {"table.weight": table.weight, "fc.weight": fc.weight, "fc.bias": fc.bias}
    save_file(
        {name: w.detach().clone() for name, w in weights.items()}, tmp_path / "weights.safetensors"
    )
    rng = np.random.default_rng(0)
    ids, mask = rng.integers(0, 9, (60, 4)), rng.random((60, 4)) < 0.7
    np.savez(tmp_path / "words.npz", ids=ids, mask=mask, y=np.arange(60) % 3)
    (tmp_path / "words.toml").write_text(TABLES)
    return tmp_path


def test_tokens_and_masks_reach_the_network_and_its_die(folder):
    config = load_config(folder / "words.toml", trust=True)
    data = load_data(config)
    _, network = train_and_prune(config, data)
    tensors = {name: torch.from_numpy(data.x_test[name].copy()) for name in ("ids", "mask")}
    with torch.no_grad():
        wanted = network(**tensors).double().numpy()
    assert np.array_equal(predict(network, data.x_test), wanted)
    mapped = select_on_die(config, network, data)
    on_die = network_on_die(config, network, mapped, config.ideal_hardware, data)
    error = np.abs(predict(on_die, data.x_test) - wanted).max() / np.abs(wanted).max()
    assert 0 < error < 0.02


def test_map_takes_its_example_from_the_data(folder):
    words = ["map", folder / "weights.safetensors", "--config", folder / "words.toml"]
    words += ["--output", folder / "m"]
    refused = CliRunner().invoke(app, [str(word) for word in words])
    assert isinstance(refused.exception, ConfigError)
    assert "trust" in str(refused.exception)
    done = CliRunner().invoke(app, [*map(str, words), "--trust"])
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert [(row["layer"], row["weights"]) for row in rows] == [("fc", "18")]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"ids": 1}, "with inputs ids: .*missing 1 required positional argument: 'mask'"),
        ({"ids": 1, "mask": 1, "labels": 1}, "unexpected keyword argument 'labels'"),
    ],
)
def test_other_inputs_are_refused_by_name(folder, arrays, message):
    with np.load(folder / "words.npz") as file:
        np.savez(folder / "words.npz", **dict.fromkeys(arrays, file["ids"]))
    with pytest.raises(ConfigError, match=message):
        load_data(load_config(folder / "words.toml", trust=True))


def test_a_built_in_network_has_one_input(folder):
    (folder / "own.toml").write_text('name = "o"\n[data]\nsource = "words.npz"')
    with pytest.raises(ConfigError, match=r"'mlp' has one input; data .* have ids, mask"):
        load_data(load_config(folder / "own.toml"))
