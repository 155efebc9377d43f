"""Shared small networks, dies and one running ngspice."""

from pathlib import Path

import numba
import numpy as np
import pytest
import torch

from crossbar_sim.config import load_config
from crossbar_sim.network import load_data, train_and_prune
from crossbar_sim.ngspice import NgspiceWorker
from mapping import Die, ResistorBank, TileConfig, map_network
from tinynets.layers import PrunedLayer, PrunedNetwork


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Sums keep their order, and two test processes do not fight for two cores."""
    numba.get_num_threads()  # the first time, this puts torch's number up
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def worker():
    """A running ngspice."""
    with NgspiceWorker(time_limit=120) as running:
        yield running


@pytest.fixture(scope="session")
def digits_mlp():
    """The configuration of examples/digits.toml, its data, and its network, trained and pruned."""
    config = load_config(Path(__file__).parent.parent / "examples" / "digits.toml")
    data = load_data(config)
    return config, data, train_and_prune(config, data)[1]


@pytest.fixture
def bank():
    """The bank of the examples, with four branches."""
    return ResistorBank(n=4, sigma_local=0.05, meter_error=0.001, r_on=1e3, r_off=1e9)


@pytest.fixture
def layer():
    """A sparse layer of 5 outputs and 7 inputs; output 2 and input 3 have no weight."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(5, 7)) * (rng.random((5, 7)) < 0.5)
    weight[2], weight[:, 3] = 0, 0
    return PrunedLayer("fc", weight, weight != 0, bias=rng.normal(size=5), module="fc")


@pytest.fixture
def mapped(layer, bank):
    """That layer on tiles of 4 × 3."""
    return map_network(PrunedNetwork((layer,)), Die(bank, seed=3), TileConfig(4, 3))
