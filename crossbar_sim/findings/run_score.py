"""The score of a run: the metric of [measure], and how near a die is to the digital network.

Outputs are those of a whole test set, (n_sample, n_output, ...).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from crossbar_sim.config import ConfigError, RunConfig
from crossbar_sim.config.inputs import is_python
from crossbar_sim.findings.shares import compared as compared_shares
from crossbar_sim.pipeline.deployment import Deployment, layers_on_die
from crossbar_sim.pipeline.own import call
from tinynets.data import Data
from tinynets.networks.passes import watching
from tinynets.networks.training import predict


def metric_of(config: RunConfig, data: Data) -> str:
    """Return the metric of a run; ConfigError for one that needs labels, which the data lack."""
    metric = config.measure.metric or ("accuracy" if data.has_labels else "agreement")
    if metric in SCORES and SCORES[metric].needs_labels and not data.has_labels:
        *others, last = (name for name, score in SCORES.items() if not score.needs_labels)
        raise ConfigError(
            f"measure.metric = {metric!r} needs labels, and data {data.name!r} have none; choose "
            f"{', '.join(others)} or {last}"
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
    return SCORES[metric].of(outputs, digital, labels)


def counted(
    config: RunConfig, data: Data, outputs: np.ndarray, digital: np.ndarray
) -> np.ndarray | None:
    """Return the samples (n_sample,) bool of which the metric of a run is the share.

    None if it is no share of samples, or a sample has several answers.
    """
    score = SCORES.get(metric_of(config, data))
    if score is None or score.each is None or outputs.ndim != 2:
        return None
    return score.each(outputs, digital, data.y_test if data.has_labels else None)


def score_row(
    config: RunConfig, data: Data, outputs: np.ndarray, digital: np.ndarray
) -> dict[str, Any]:
    """Return the metric of a run, with the columns of `shares.compared`.

    It is compared with the digital network, unless that has the whole share by definition; then
    the digital network itself has no interval either.
    """
    right = counted(config, data, outputs, digital)
    reference = counted(config, data, digital, digital)
    if metric_of(config, data) == "agreement":
        right, reference = None if outputs is digital else right, None
    return {"score": measured(config, data, outputs, digital)} | compared_shares(right, reference)


def accuracy_row(outputs: np.ndarray, digital: np.ndarray, data: Data) -> dict[str, Any]:
    """Return the accuracy with the columns of `shares.compared`; None without labels."""
    right, reference = right_of(outputs, data), right_of(digital, data)
    return {"accuracy": accuracy_of(outputs, data)} | compared_shares(right, reference)


def _right(outputs: np.ndarray, _: Any, labels: np.ndarray) -> np.ndarray:
    return outputs.argmax(1) == labels


def _in_five(outputs: np.ndarray, _: Any, labels: np.ndarray) -> np.ndarray:
    five = np.argsort(outputs, axis=1, kind="stable")[:, -5:]
    return (five == labels[:, None]).any(1)


def _agrees(outputs: np.ndarray, digital: np.ndarray, _: Any) -> np.ndarray:
    return outputs.argmax(1) == digital.argmax(1)


def _cosine(outputs: np.ndarray, digital: np.ndarray, _: Any) -> float:
    size = np.linalg.norm(outputs) * np.linalg.norm(digital)
    return float((outputs * digital).sum() / size) if size else 0.0


class Score(NamedTuple):
    """A metric of a run.

    of: the function of outputs, digital outputs and labels (None without) that returns it.
    each: the function that says which samples count, if it is their share.
    """

    of: Callable[[np.ndarray, np.ndarray, Any], float]
    needs_labels: bool = False
    each: Callable[[np.ndarray, np.ndarray, Any], np.ndarray] | None = None


def _share(each: Callable[[np.ndarray, np.ndarray, Any], np.ndarray], needs_labels: bool) -> Score:
    """Return the metric that is the share of the samples of which a function is true."""
    return Score(lambda *given: float(each(*given).mean()), needs_labels, each)


#: The metrics that `measure.metric` may name; `config.inputs` has their names without torch.
SCORES = {
    "accuracy": _share(_right, needs_labels=True),
    "top-5": _share(_in_five, needs_labels=True),
    "agreement": _share(_agrees, needs_labels=False),
    "relative error": Score(lambda y, digital, _: fidelity(y, digital)["relative_error"]),
    "mse": Score(lambda y, digital, _: float(((y - digital) ** 2).mean())),
    "cosine": Score(_cosine),
}
#: Those that are fractions of the samples.
SHARES = tuple(name for name, score in SCORES.items() if score.each)


def accuracy_of(outputs: np.ndarray, data: Data) -> float | None:
    """Return the fraction of the test samples classified correctly; None without labels."""
    right = right_of(outputs, data)
    return None if right is None else float(right.mean())


def right_of(outputs: np.ndarray, data: Data) -> np.ndarray | None:
    """Return which test samples (n_sample,) are classified correctly; None without labels."""
    return _right(outputs, None, data.y_test) if data.has_labels else None


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
