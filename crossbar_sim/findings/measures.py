"""How well a network works on its die: the metric asked for, and how near it is to the digital one.

Outputs are those of a whole test set, (n_sample, n_output, ...).
"""

from typing import Any

import numpy as np
import torch
from torch import nn

from crossbar_sim.config import ConfigError, RunConfig
from crossbar_sim.config.inputs import is_python
from crossbar_sim.pipeline.deployment import Deployment, layers_on_die
from crossbar_sim.pipeline.own import call
from tinynets.data import Data
from tinynets.networks.passes import watching
from tinynets.networks.training import predict

#: Metrics that are fractions of the samples.
SHARES = ("accuracy", "top-5", "agreement")


def metric_of(config: RunConfig, data: Data) -> str:
    """Return the metric of a run; ConfigError for one that needs labels, which the data lack."""
    metric = config.measure.metric or ("accuracy" if data.has_labels else "agreement")
    if metric in ("accuracy", "top-5") and not data.has_labels:
        raise ConfigError(
            f"measure.metric = {metric!r} needs labels, and data {data.name!r} have none; choose "
            "agreement, relative error, mse or cosine"
        )
    return metric


def measured(config: RunConfig, data: Data, outputs: np.ndarray, digital: np.ndarray) -> float:
    """Return the metric of a run for a network's outputs.

    digital: outputs of the digital network that was mapped.
    """
    metric, labels = metric_of(config, data), data.y_test if data.has_labels else None
    if is_python(metric):
        value: Any = call(config, metric, config.measure.metric_sha256, outputs, digital, labels)
        if np.ndim(value) or isinstance(value, str | None):
            raise ConfigError(f"{metric} must return one number; got {type(value).__name__}")
        return float(value)
    if labels is not None and metric == "accuracy":
        return float((outputs.argmax(1) == labels).mean())
    if labels is not None and metric == "top-5":
        five = np.argsort(outputs, axis=1, kind="stable")[:, -5:]
        return float((five == labels[:, None]).any(1).mean())
    if metric == "mse":
        return float(((outputs - digital) ** 2).mean())
    if metric == "cosine":
        size = np.linalg.norm(outputs) * np.linalg.norm(digital)
        return float((outputs * digital).sum() / size) if size else 0.0
    return fidelity(outputs, digital)[metric.replace(" ", "_")]


def accuracy_of(outputs: np.ndarray, data: Data) -> float | None:
    """Return the fraction of the test samples classified correctly; None without labels."""
    return float((outputs.argmax(1) == data.y_test).mean()) if data.has_labels else None


def fidelity(outputs: np.ndarray, digital: np.ndarray) -> dict[str, float]:
    """Return how near outputs are to those of the digital network.

    agreement: fraction of the samples with the same largest output.
    relative_error: rms difference, as a fraction of the rms of the digital outputs.
    """
    return {
        "agreement": float((outputs.argmax(1) == digital.argmax(1)).mean()),
        "relative_error": relative_error(
            float(((outputs - digital) ** 2).mean()), float((digital**2).mean())
        ),
    }


def relative_error(difference: float, size: float) -> float:
    """Return the root of a ratio of mean squares; infinite if only the second is zero."""
    if size == 0:
        return 0.0 if difference == 0 else float("inf")
    return float((difference / size) ** 0.5)


def compared(way: Deployment, on_die: nn.Module) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the outputs of a network on its die, its fidelity, and that of each layer.

    The error of a layer is that of its own outputs, for the inputs that it gets on the die.
    """
    layers, squares = layers_on_die(on_die, way.mapped), {}
    paths = {layer.source.module: layer.name for layer in way.mapped.layers}

    def see(path: str, _module: nn.Module, x: torch.Tensor, y: torch.Tensor) -> None:
        wanted = way.pruned.get_submodule(path)(x)
        change, size = squares.get(path, (0.0, 0.0))
        squares[path] = (
            change + float(((y - wanted).double() ** 2).sum()),
            size + float((wanted.double() ** 2).sum()),
        )

    for layer in layers.values():
        layer.restart()
    with watching({path: layers[name] for path, name in paths.items()}, see):
        outputs = predict(on_die, way.data.x_test)
    rows = [
        {
            "name": name,
            "relative_error": relative_error(*squares[path]),
            "n_saturated": layers[name].n_saturated,
        }
        for path, name in paths.items()
    ]
    return outputs, fidelity(outputs, way.digital_outputs) | {"layers": rows}


def shown(value: float, metric: str) -> str:
    """Return the value of a metric as text: a fraction of the samples in percent."""
    return f"{value:.2%}" if metric in SHARES else f"{value:.4g}"
