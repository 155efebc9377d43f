"""Shared small networks, dies and one running ngspice."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import numba
import numpy as np
import pytest
import torch
from torch import nn

from crossbar_sim.config import RunConfig, load_config
from crossbar_sim.ngspice.worker import NgspiceWorker
from crossbar_sim.pipeline.steps import load_data, train_and_prune
from mapping import Die, MappedNetwork, ResistorBank, TileConfig, map_network
from tinynets.data import Data, digits
from tinynets.networks.layers import PrunedLayer, PrunedNetwork
from tinynets.networks.models import mlp
from tinynets.networks.training import train

ROOT = Path(__file__).parent.parent
#: The same examples every time, and as long as they take: other work may run beside the tests.
hypothesis.settings.register_profile(
    "repeatable",
    derandomize=True,
    deadline=None,
    max_examples=60,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("repeatable")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("any machine")
    group.addoption(
        "--other-seeds",
        type=int,
        default=0,
        metavar="K",
        help="add K to every seed of initial weights: what is trained comes out differently, as "
        "on another processor",
    )
    group.addoption("--threads", type=int, default=1, metavar="N", help="threads of torch")


@pytest.fixture(scope="session", autouse=True)
def _threads(request: pytest.FixtureRequest) -> None:
    """One thread by default, so that two test processes do not fight for two cores."""
    numba.get_num_threads()  # the first time, this puts torch's number up
    n_thread: Any = request.config.getoption("threads")
    torch.set_num_threads(n_thread)


@pytest.fixture(scope="session", autouse=True)
def _other_seeds(request: pytest.FixtureRequest) -> Iterator[None]:
    """Shift the seeds of `torch.manual_seed`, which initial weights are drawn from."""
    shift, plain = request.config.getoption("other_seeds"), torch.manual_seed
    with pytest.MonkeyPatch.context() as patch:
        if shift:
            patch.setattr(torch, "manual_seed", lambda seed: plain(seed + shift))
        yield


@pytest.fixture(scope="module")
def worker() -> Iterator[NgspiceWorker]:
    """A running ngspice."""
    with NgspiceWorker(time_limit=120) as running:
        yield running


@pytest.fixture(scope="session")
def digits_mlp() -> tuple[RunConfig, Data, nn.Module]:
    """The hardware of the example "digits" for a smaller perceptron, read from its file; its data.

    Nothing is trained here, so the network is the same on every processor.
    """
    config = load_config(ROOT / "examples" / "runs" / "digits.toml")
    small = load_config(ROOT / "tests" / "networks" / "small.toml")
    trained = {name: getattr(small, name) for name in ("network", "train", "prune")}
    config = config.model_copy(update=trained)
    data = load_data(config)
    return config, data, train_and_prune(config, data)[1]


@pytest.fixture(scope="session")
def data() -> Data:
    """The digits of scikit-learn, 64 numbers each."""
    return digits(seed=0, flat=True)


@pytest.fixture(scope="session")
def images() -> Data:
    """The same digits as images of 8 × 8."""
    return digits(seed=0, flat=False)


@pytest.fixture(scope="module")
def trained(data: Data) -> nn.Module:
    """A perceptron of 64-32-10 trained on those digits, another on another processor."""
    torch.manual_seed(0)
    return train(mlp((64, 32, 10)), data, epochs=15, learning_rate=0.01)


@pytest.fixture
def bank() -> ResistorBank:
    """The bank of the examples, with four branches."""
    return ResistorBank(n=4, sigma_local=0.05, meter_error=0.001, r_on=1e3, r_off=1e9)


@pytest.fixture
def layer() -> PrunedLayer:
    """A sparse layer of 5 outputs and 7 inputs; output 2 and input 3 have no weight."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(5, 7)) * (rng.random((5, 7)) < 0.5)
    weight[2], weight[:, 3] = 0, 0
    return PrunedLayer("fc", weight, weight != 0, bias=rng.normal(size=5), module="fc")


@pytest.fixture
def mapped(layer: PrunedLayer, bank: ResistorBank) -> MappedNetwork:
    """That layer on tiles of 4 × 3."""
    return map_network(PrunedNetwork((layer,)), Die(bank, seed=3), TileConfig(4, 3))
