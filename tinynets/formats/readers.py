"""The files that a network can be read from: by suffix, what reads it.

A new format is a reader in the table below, written in a file beside this one, and a line of
`tinynets/files/suffixes.py` with its kind and the extra (of pyproject.toml) that it needs;
commands, configurations and messages know it from there. A reader of a graph returns a module in
evaluation mode whose `shapes` holds the shape of each input by name. A format of weights is a line
of `WEIGHT_READERS` in `weights.py` instead.
"""

from collections.abc import Callable
from pathlib import Path

from torch import nn

from tinynets.files.checks import said_of
from tinynets.formats.linear_stack import linear_stack
from tinynets.formats.onnx.network import from_onnx
from tinynets.formats.weights import WEIGHT_READERS, load_weights, read_weights


def _graph(path: Path, _model: nn.Module | None) -> nn.Module:
    return from_onnx(path)


def _weights(path: Path, model: nn.Module | None) -> nn.Module:
    if model is None:
        return linear_stack(read_weights(path))
    return load_weights(model, path).eval()


#: By suffix: takes the path, and the network that the file's weights are put into, if any.
READERS: dict[str, Callable[[Path, nn.Module | None], nn.Module]] = {
    ".onnx": _graph,
    **dict.fromkeys(WEIGHT_READERS, _weights),
}


def read_network(path: str | Path, model: nn.Module | None = None) -> nn.Module:
    """Return the network of a file, in evaluation mode.

    model: takes the weights of a file that holds nothing else; without one they must be those of a
        stack of Linear layers.

    Raises ValueError naming the file for another suffix, and as `from_onnx`, `linear_stack` and
    `load_weights` do.
    """
    path = Path(path)
    if path.suffix not in READERS:
        raise ValueError(f"expected a file of {', '.join(READERS)}; got {path}")
    with said_of(path):
        return READERS[path.suffix](path, model)
