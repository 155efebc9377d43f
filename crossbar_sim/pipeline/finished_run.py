"""A finished run, read back: its settings, what it found, its network and its die."""

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError
from torch import nn

from crossbar_sim.config import ConfigError, RunConfig
from crossbar_sim.pipeline.steps import build_pruned, load_data, network_on_die
from crossbar_sim.pipeline.workspace import left_behind
from mapping.bank import Die
from mapping.network.header import first_problem
from mapping.network.mapped_network import MappedNetwork
from tinynets.files.checks import check_file
from tinynets.formats.weights import load_weights
from tinynets.networks.training import predict
from tinynets.version import VERSION

#: Of report.json, as `major.minor`: a new key changes the minor one, anything else the major one.
REPORT_VERSION = "1.1"


def read_run(directory: Path) -> tuple[RunConfig, MappedNetwork]:
    """Return the configuration and the mapped network of a finished run.

    Raises ConfigError that names a file that is missing, damaged, or of another run.
    """
    if not (directory / "report.json").exists():
        raise ConfigError(
            f"{directory} is not a finished run; give a directory that `crossbar-sim run` has "
            f"written{left_behind(directory)}"
        )
    config = _config(directory / "config.json")
    try:
        mapped = MappedNetwork.load(directory / "mapped.npz")
    except (ValueError, OSError) as error:
        raise ConfigError(f"{error}; repeat the run") from error
    if mapped.die != _die(config) or mapped.tile != config.tile.size:
        raise ConfigError(
            f"{directory / 'mapped.npz'} has another die or tile size than config.json; repeat the "
            "run"
        )
    return config, mapped


def read_numbers(directory: Path) -> dict[str, Any]:
    """Return what a finished run's report states; `crossbar-sim schema report` describes it.

    Raises ConfigError for a file that is missing, damaged, or of another major version.
    """
    path = directory / "report.json"
    try:
        numbers = json.loads(path.read_text(encoding="utf-8"))
        versions = dict(numbers["versions"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); do the run again") from error
    found = str(versions.get("report.json", "0"))
    if found.partition(".")[0] != REPORT_VERSION.partition(".")[0]:
        raise ConfigError(
            f"{path} has version {found[:20]}, written by crossbar-sim "
            f"{str(versions.get('crossbar-sim'))[:20]}; crossbar-sim {VERSION} reads version "
            f"{REPORT_VERSION}; do the run again"
        )
    return numbers


def _config(path: Path) -> RunConfig:
    try:
        check_file(path)
        return RunConfig.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); repeat the run") from error
    except ValidationError as error:
        raise ConfigError(f"{path}: {first_problem(error)}; repeat the run") from error
    except ValueError as error:
        raise ConfigError(f"{error}; repeat the run") from error


def _die(config: RunConfig) -> Die:
    """Return the die of a run after [life]."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the run itself has shown them
        return config.life.later(config.chip)


def pruned_model(config: RunConfig, directory: Path) -> nn.Module:
    """Return the pruned network of a finished run.

    Raises ConfigError that names a file that is missing, damaged, or of another model.
    """
    path = directory / "model" / "pruned.pt"
    try:
        return load_weights(build_pruned(config), path).eval()
    except (ValueError, OSError) as error:
        named = "" if str(path) in str(error) else f"{path}: "
        raise ConfigError(f"{named}{error}; repeat the run") from error


def score(config: RunConfig, model: nn.Module, mapped: MappedNetwork) -> float:
    """Return the test accuracy of a mapped network; see `right_answers`."""
    return float(right_answers(config, model, mapped).mean())


def right_answers(config: RunConfig, model: nn.Module, mapped: MappedNetwork) -> np.ndarray:
    """Return which test samples (n_sample,) bool a mapped network classifies correctly.

    It has the run's wires, TIAs and converters, without noise, and is tuned by [tune], as on the
    run's own die.
    """
    data = load_data(config)
    quiet = replace(config.hardware, noise=None)
    on_chip = network_on_die(config, model, mapped, quiet, data)
    return predict(on_chip, data.x_test).argmax(1) == data.y_test
