"""A configuration's network: its data, its training and pruning, its place on the die."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from crossbar_sim.calibrate import calibrate
from crossbar_sim.config import RunConfig
from crossbar_sim.moments import second_moments
from mapping.bank import Die
from mapping.design import MappedNetwork
from mapping.place import map_network
from tinynets.data import Data, digits
from tinynets.extraction import extract
from tinynets.models import digits_cnn, mlp
from tinynets.pruning import make_permanent, prune
from tinynets.train import train

#: Called with the step's name, what is done and what is to do.
Progress = Callable[[str, int, int], None]


def load_data(config: RunConfig) -> Data:
    """Return the data set of a configuration."""
    return digits(seed=config.seed, flat=config.model.kind == "mlp")


def build_model(config: RunConfig) -> nn.Sequential:
    """Return the untrained network of a configuration."""
    if config.model.kind == "mlp":
        return mlp((64, *config.model.hidden, 10))
    return digits_cnn(config.model.channels)


def train_and_prune(
    config: RunConfig, data: Data, tell: Progress = lambda step, done, total: None
) -> tuple[nn.Module, nn.Module]:
    """Train a network on the training set, and prune a copy of it."""
    torch.manual_seed(config.seed)
    model = build_model(config)
    epochs = config.train.epochs
    train(
        model,
        data,
        **config.train.model_dump(),
        seed=config.seed,
        progress=lambda n: tell("train", n, epochs),
    )
    pruned = prune(
        model,
        data,
        sparsity=config.prune.sparsity,
        rounds=config.prune.rounds,
        epochs=config.prune.epochs_per_round,
        learning_rate=config.prune.learning_rate,
        seed=config.seed,
        progress=lambda k, n, _sparsity: tell("prune", k, n),
    )
    return model, make_permanent(pruned)


def map_on_die(
    config: RunConfig,
    model: nn.Module,
    data: Data,
    tell: Progress = lambda step, done, total: None,
) -> MappedNetwork:
    """Map a network onto the die of a configuration, calibrated against its wires if it says so."""
    network = extract(model, torch.from_numpy(data.x_test[:1]))
    names = [layer.name for layer in network.layers]
    calibration = torch.from_numpy(data.x_train[: config.select.n_calibration])
    mapped = map_network(
        network,
        Die(config.bank.build(), seed=config.die.seed),
        config.tile.build(),
        rule=config.select.build(),
        tiling=config.tile.tiling,
        second_moment=second_moments(model, network, calibration),
        progress=lambda name: tell("select", names.index(name) + 1, len(names)),
    )
    if not config.calibrate.rounds:
        return mapped
    return calibrate(
        mapped,
        config.build_wires(),
        config.periphery.build(),
        rounds=config.calibrate.rounds,
        progress=lambda done, total: tell("calibrate", done, total),
    ).mapped


@contextmanager
def single_thread() -> Iterator[None]:
    """Run torch on one thread: these networks are small, and sums keep their order."""
    n_thread = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_thread)
