"""The network of a configuration: its data, its training and pruning, its mapping to the die."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numba
import numpy as np
import torch
from torch import nn

from crossbar_sim.calibration.switches import Calibration, reselect_for_wires
from crossbar_sim.calibration.tune import fine_tune, fit_outputs, train_noise_aware
from crossbar_sim.config import ConfigError, RunConfig
from crossbar_sim.on_die.hardware import Hardware
from crossbar_sim.on_die.input_moments import second_moments
from crossbar_sim.on_die.readout import Response
from crossbar_sim.on_die.to_torch import to_torch
from crossbar_sim.pipeline.own import fitted, flattened, own_data, own_network
from crossbar_sim.pipeline.trained import load_trained
from mapping.network.map_network import SecondMoment, map_layers
from mapping.network.mapped_network import MappedNetwork
from mapping.network.repair import on_die, reselect
from tinynets.data import Data, digits, inputs, mnist, mnist5000
from tinynets.modules.replacing import copied
from tinynets.modules.unpacking import unpacked
from tinynets.networks.batch_norm import fold_batch_norm
from tinynets.networks.extraction import check_paths, extract
from tinynets.networks.layers import PrunedNetwork
from tinynets.networks.masks import make_permanent
from tinynets.networks.models import digits_cnn, lenet5, mlp
from tinynets.networks.training import train
from tinynets.progress import Progress, silent
from tinynets.pruning import prune
from tinynets.pruning.compression import quantise
from tinynets.pruning.for_tiles import prune_for_tiles

#: Largest number of training images that fix the ranges of converters.
N_RANGE = 4096


def load_data(config: RunConfig) -> Data:
    """Return the data set of a configuration without the images held out for validation.

    Raises ImportError, which names the missing extra.
    """
    whole = _whole_data(config)
    part = _for_selection(config, whole)
    return replace(whole, x_train=part.x_train, y_train=part.y_train) if part else whole


def load_validation(config: RunConfig) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the samples and labels that are held out for validation, or None.

    Raises ConfigError if the data bring their own, and the configuration holds out others.
    """
    whole = _whole_data(config)
    if whole.x_validation is not None and whole.y_validation is not None:
        if config.validation:
            raise ConfigError(
                f"data {whole.name!r} bring x_validation, so validation must be 0; got "
                f"{config.validation}"
            )
        return whole.x_validation, whole.y_validation
    part = _for_selection(config, whole)
    return (part.x_test, part.y_test) if part else None


def _whole_data(config: RunConfig) -> Data:
    """Return the data with samples of the shape that the network takes."""
    data = _data(config)
    if config.network.is_built_in:
        if names := data.x_train.dtype.names:
            raise ConfigError(
                f"network.source = {config.network.source!r} has one input; data {data.name!r} "
                f"have {', '.join(names)}; give a network of yours, or data x"
            )
        return flattened(data) if config.network.source == "mlp" else data
    return fitted(build_model(config), data)


def _data(config: RunConfig) -> Data:
    load = {"digits": digits, "mnist": mnist, "mnist5000": mnist5000}.get(config.data.source)
    return load(seed=config.seed, flat=False) if load else own_data(config)


def _for_selection(config: RunConfig, whole: Data) -> Data | None:
    if not config.validation:
        return None
    return whole.for_selection(share=config.validation, seed=config.seed)


def build_model(config: RunConfig) -> nn.Module:
    """Return the network of a configuration before it is trained or pruned in the run."""
    network, data = config.network, config.data.source
    size = {"digits": 8, "mnist": 28, "mnist5000": 28}.get(data, 0)
    if network.source == "mlp":
        sizes = (size**2, 10) if size else _sizes(_data(config))
        return mlp((sizes[0], *network.hidden, sizes[1]))
    if network.source == "lenet5":
        return lenet5()
    return digits_cnn(network.channels, size) if network.source == "cnn" else own_network(config)


def _sizes(data: Data) -> tuple[int, int]:
    return int(np.prod(data.x_train.shape[1:])), data.n_class


def build_pruned(config: RunConfig) -> nn.Module:
    """Return a network with the modules that the pruned one has."""
    model = make_permanent(build_model(config))
    model = unpacked(model, leave=config.network.leave_digital)
    return fold_batch_norm(model) if config.network.fold_batch_norm else model


def train_and_prune(
    config: RunConfig, data: Data, tell: Progress = silent
) -> tuple[nn.Module, nn.Module]:
    """Return a trained network and a pruned copy of it, or read both from their file.

    A network of the user's own is trained and pruned only if the configuration says so.
    """
    if config.network.weights:
        dense, pruned = build_model(config), build_model(config)
        load_trained(config, dense, pruned)
        return dense.eval(), pruned.eval()
    torch.manual_seed(config.seed)
    model = build_model(config)
    left = config.network.leave_digital
    known = dict(unpacked(model, leave=left).named_modules())
    check_paths("network.leave_digital", left, known)
    if config.network.is_trained:
        options = config.train.model_dump()
        train(model, data, **options, seed=config.seed, progress=tell)
    return model, pruned_copy(config, model, data, tell)


def pruned_copy(config: RunConfig, model: nn.Module, data: Data, tell: Progress) -> nn.Module:
    """Return a copy of a model, pruned, folded and then quantised as configured.

    With a sparsity of 0 no weight is removed, but the rounds of training stay, so that a dense
    network is trained as long as the pruned ones that it is compared with.
    """
    rule, own = config.prune, config.network
    pruned = make_permanent(_pruned(config, model, data, tell) if rule else copied(model)).eval()
    pruned = unpacked(pruned, leave=own.leave_digital)
    if own.fold_batch_norm:
        pruned = fold_batch_norm(pruned)
    if rule and rule.noise:
        options = {"epochs": rule.epochs_per_round, "learning_rate": rule.learning_rate}
        pruned = train_noise_aware(
            pruned, data, sigma=rule.noise, exclude=own.leave_digital, seed=config.seed, **options
        )
    return quantise(pruned, rule.bits, exclude=own.leave_digital) if rule and rule.bits else pruned


def _pruned(config: RunConfig, model: nn.Module, data: Data, tell: Progress) -> nn.Module:
    rule = config.prune
    assert rule is not None
    options: dict[str, Any] = {
        "sparsity": rule.sparsity,
        "rounds": rule.rounds,
        "epochs": rule.epochs_per_round,
        "learning_rate": rule.learning_rate,
        "exclude": config.network.leave_digital,
        "seed": config.seed,
        "progress": tell,
    }
    if rule.method == "tiles":
        size = {"n_word": config.tile.n_word, "n_bit": config.tile.n_bit}
        return prune_for_tiles(model, data, **size, **options)
    return prune(model, data, method=rule.method, **options)


def layers_of(config: RunConfig, model: nn.Module, data: Data) -> PrunedNetwork:
    """Return the layers of a network that go onto the die."""
    image = inputs(data.x_test[:1])
    return extract(model, image, leave_digital=config.network.leave_digital)


def map_on_die(
    config: RunConfig, model: nn.Module, data: Data, tell: Progress = silent
) -> MappedNetwork:
    """Return a network mapped onto the die of a configuration, after [life]."""
    mapped = select_on_die(config, model, data, tell)
    if config.calibrate.rounds:
        mapped = calibrate_on_die(config, model, data, mapped, tell).mapped
    return on_aged_die(config, mapped)


def select_on_die(
    config: RunConfig,
    model: nn.Module,
    data: Data,
    tell: Progress = silent,
) -> MappedNetwork:
    """Select the switches for the weights alone, as if wires were ideal."""
    network = layers_of(config, model, data)
    n, layers = len(network.layers), []
    tell("select", 0, n)
    die, tile = config.chip, config.tile.size
    for layer in map_layers(
        network,
        die,
        tile,
        rule=config.select,
        tiling=config.tile.tiling,
        second_moment=_moments(config, model, network, data),
    ):
        layers.append(layer)
        tell("select", len(layers), n)
    return MappedNetwork(tuple(layers), die, tile)


def calibrate_on_die(
    config: RunConfig,
    model: nn.Module,
    data: Data,
    mapped: MappedNetwork,
    tell: Progress = silent,
) -> Calibration:
    """Re-select the switches for the matrices that the tiles realise with their wires."""
    network = layers_of(config, model, data)
    aware = config.select.objective == "aware"
    return reselect_for_wires(
        mapped,
        config.hardware.wires,
        config.hardware.periphery,
        rounds=config.calibrate.rounds,
        second_moment=_moments(config, model, network, data, whole=True) if aware else None,
        progress=tell,
    )


def _moments(
    config: RunConfig, model: nn.Module, network: PrunedNetwork, data: Data, *, whole: bool = False
) -> SecondMoment:
    images = inputs(data.x_train[: config.select.n_calibration])
    return second_moments(model, network, images, whole=whole)


def network_on_die(
    config: RunConfig,
    model: nn.Module,
    mapped: MappedNetwork,
    hardware: Hardware,
    data: Data,
    responses: Mapping[str, Response] | None = None,
) -> nn.Module:
    """Return a network on a die with given hardware, tuned as configured.

    Training images, never test images, fix the ranges of converters (the first N_RANGE) and all
    that is tuned.
    """
    images = inputs(data.x_train[:N_RANGE])
    on_die = to_torch(model, mapped, hardware, calibration=images, responses=responses)
    return tuned(config, on_die, model, data)


def tuned(config: RunConfig, on_die: nn.Module, digital: nn.Module, data: Data) -> nn.Module:
    """Return a network on the die, tuned by [tune]."""
    rule = config.tune
    if rule.n_output:
        on_die = fit_outputs(on_die, digital, inputs(data.x_train[: rule.n_output]))
    if rule.epochs:
        options = {"epochs": rule.epochs, "learning_rate": rule.learning_rate}
        on_die = fine_tune(on_die, data, **options, seed=config.seed)
    return on_die


def on_aged_die(config: RunConfig, mapped: MappedNetwork) -> MappedNetwork:
    """Return a network on its die after [life]: aged, hotter, with defects, repaired."""
    life = config.life
    if not life.happens:
        return mapped
    die = life.later(mapped.die)
    if life.repair:
        return reselect(mapped, die, tolerance=life.tolerance).mapped
    return on_die(mapped, die)


@contextmanager
def single_thread() -> Iterator[None]:
    """Run torch on one thread: the networks are small, and sums keep their order."""
    # The first such call to numba in a process resets torch's number of threads, so it comes first.
    numba.get_num_threads()
    n_thread = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_thread)
