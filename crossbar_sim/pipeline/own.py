"""The user's own network and data: from files, from trusted Python, or given as objects."""

import hashlib
import importlib
import inspect
import sys
import types
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import cloudpickle
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from crossbar_sim.config import ConfigError, RunConfig
from crossbar_sim.config.inputs import OBJECT, file_of, is_python
from crossbar_sim.config.python_files import neighbours, python_sha256
from crossbar_sim.config.run import checked
from tinynets.data import (
    Data,
    from_arrays,
    from_folder,
    from_npz,
    from_safetensors,
    inputs,
    split,
)
from tinynets.data.own import stacked
from tinynets.files.drafts import new_file
from tinynets.formats.readers import read_network
from tinynets.modules.replacing import copied
from tinynets.modules.unpacking import unpacked
from tinynets.networks.passes import call as passed

#: The objects given in Python that still exist, by their SHA-256.
_given: WeakValueDictionary[str, Any] = WeakValueDictionary()


def given(
    model: nn.Module,
    data: Any,
    *,
    settings: Mapping[str, Any] | RunConfig | None = None,
    name: str = "network",
    leave_digital: tuple[str, ...] = (),
) -> RunConfig:
    """Return the configuration of a run of a torch module, for `run`, or as the base of a `Study`.

    model: the network, trained already; it is pruned only if the settings have a table "prune".
    data: see `as_data`.
    settings: tables of a run as in a TOML file, or a run whose network and data are replaced.
    name: of the run and of its directory.
    leave_digital: paths of modules that stay digital.
    """
    before = settings if isinstance(settings, RunConfig) else None
    raw = dict(before.model_dump() if before else settings or {})
    seed = raw.get("seed", RunConfig.model_fields["seed"].default)
    data = as_data(data, "data", seed=seed)
    network = dict(raw.get("network", {})) | {"source": OBJECT, "source_sha256": remember(model)}
    if before:
        network |= {"python": None, "weights": None, "python_sha256": None, "weights_sha256": None}
        raw["prune"] = None if before.network.is_built_in else raw["prune"]
    if leave_digital:
        network["leave_digital"] = leave_digital
    raw |= {"name": name, "network": network}
    raw["data"] = {"source": OBJECT, "source_sha256": remember(data)}
    return checked(raw, RunConfig, "settings").holding((model, data))


def write_objects(config: RunConfig, folder: Path) -> None:
    """Write the objects of a configuration for other processes; see `look_in`.

    What is there already is replaced and never read, since reading it would execute it.
    """
    for value in config.objects:
        path = _file(folder, remember(value))
        folder.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        with new_file(path) as draft:
            draft.write_bytes(cloudpickle.dumps(value))


def look_in(folder: Path) -> None:
    """Let this process find objects that the process of a study has written to a folder."""
    _places[:] = [folder]


_places: list[Path] = []


def _file(folder: Path, key: str) -> Path:
    return folder / f"{key}.pickle"


@cache
def _unpickled(path: Path) -> Any:
    return cloudpickle.loads(path.read_bytes())


def remember(value: nn.Module | Data) -> str:
    """Make a network or data known to this process; return their SHA-256.

    That of a network is of its structure and weights. The caller must keep the object.
    """
    digest = hashlib.sha256()
    if isinstance(value, nn.Module):
        digest.update(repr(value).encode())
        state = value.state_dict()
        if not all(map(torch.is_tensor, state.values())):  # of quantised modules
            state = unpacked(value).state_dict()
        for name, tensor in state.items():
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).numpy().tobytes())
    else:
        for name, array in vars(value).items():
            if isinstance(array, np.ndarray):
                kind = array.dtype if array.dtype.names else ""
                digest.update(f"{name} {array.shape}{kind}".encode() + array.tobytes())
    key = digest.hexdigest()
    _given[key] = value
    return key


def recalled(config: RunConfig, table: str) -> Any:
    """Return the network or the data given in Python; ConfigError if this process lacks it."""
    key = getattr(config, table).source_sha256 or ""
    if key in _given:
        return _given[key]
    for path in (_file(folder, key) for folder in _places):
        if config.is_trusted and path.exists():
            return _unpickled(path)
    raise ConfigError(
        f"{table}.source is an object that was given in Python, which is not here; give the same "
        "one to crossbar_sim.simulate again"
    )


def own_network(config: RunConfig) -> nn.Module:
    """Return the network of a file, of a function, or given in Python.

    Raises ConfigError for Python that is not trusted or that fails, ValueError as the readers do.
    """
    network = config.network
    if network.source == OBJECT:
        return copied(recalled(config, "network"))
    if is_python(network.source):
        return _module(config, network.source, network.source_sha256)
    frame = network.python and _module(config, network.python, network.python_sha256)
    return read_network(network.source, frame or None)


def own_data(config: RunConfig) -> Data:
    """Return the data of a file, a folder, a function, or given in Python; see `own_network`."""
    data = config.data
    if data.source == OBJECT:
        return recalled(config, "data")
    if is_python(data.source):
        found = call(config, data.source, data.source_sha256)
        return as_data(found, Path(data.source).name, seed=config.seed)
    if Path(data.source).is_dir():
        assert data.size is not None  # checked when the configuration is read
        return from_folder(data.source, size=data.size, seed=config.seed)
    reader = from_safetensors if Path(data.source).suffix == ".safetensors" else from_npz
    return reader(data.source, seed=config.seed)


def as_data(found: Any, name: str, *, seed: int) -> Data:
    """Return samples of any usual kind as data.

    found: `Data`; a dictionary of arrays as `from_arrays` takes; (x_train, y_train, x_test,
        y_test); (x, y) or x, which are split; a torch `Dataset` or `DataLoader`, which is split; or
        a pair of them, for training and for tests. An array may be a tensor; x may be a dictionary
        of the network's inputs.
    seed: of the split.
    """
    names: tuple[str, ...] = ()
    if isinstance(found, Data):
        return found
    if isinstance(found, Dataset | DataLoader):
        return split(name, *stacked(name, _dataset(found)), seed=seed, test_share=0.2)
    if isinstance(found, tuple | list):
        if len(found) == 2 and all(isinstance(x, Dataset | DataLoader) for x in found):
            found = [array for x in found for array in stacked(name, _dataset(x))]
        names = {4: ("x_train", "y_train", "x_test", "y_test"), 2: ("x", "y")}.get(len(found), ())
        found = dict(zip(names, found)) if names else found
    elif isinstance(found, np.ndarray | torch.Tensor):
        found = {"x": found}
    if not isinstance(found, Mapping):
        raise ConfigError(
            f"data {name!r}: expected a Data, arrays or tensors (x_train, y_train, x_test, y_test) "
            f"or (x, y), a Dataset or a DataLoader; got {type(found).__name__}"
        )
    arrays = {key: _array(value) for key, value in found.items() if value is not None}
    return from_arrays(name, arrays, seed=seed)


def _dataset(found: Any) -> Any:
    """Return what a loader loads, in its own order."""
    return found.dataset if isinstance(found, DataLoader) else found


def _array(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _array(part) for key, part in value.items()}
    return value.detach().cpu().numpy() if torch.is_tensor(value) else np.asarray(value)


def _module(config: RunConfig, function: str, sha256: str | None) -> nn.Module:
    model = call(config, function, sha256)
    if not isinstance(model, nn.Module):
        raise ConfigError(
            f"{function} returned a {type(model).__name__}; expected a torch.nn.Module"
        )
    return model.eval()


def call(config: RunConfig, function: str, sha256: str | None, *arguments: Any) -> Any:
    """Return what a function of the user's Python returns.

    function: file and name, such as "net.py:make".
    sha256: of the file and its neighbours, None for any content.

    Torch's random numbers begin at the run's seed. Raises ConfigError if the configuration is not
    trusted, if the file has changed, or if its code fails.
    """
    config.require_trust()
    path, name = file_of(function)
    try:
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)
            return _function(path, name, sha256)(*arguments)
    except ConfigError:
        raise
    except Exception as error:
        line = inspect.getinnerframes(error.__traceback__)[-1] if error.__traceback__ else None
        where = f" ({Path(line.filename).name}, line {line.lineno})" if line else ""
        raise ConfigError(f"{function} failed: {type(error).__name__}: {error}{where}") from error


@cache
def _function(path: str, name: str, sha256: str | None) -> Callable[..., Any]:
    """Execute a file of Python and return one of its functions."""
    code, folder = Path(path).read_bytes(), str(Path(path).parent)
    if sha256 not in (None, python_sha256(Path(path))):
        raise ConfigError(
            f"{path}, or a file beside it that it imports, has changed since the configuration was "
            "read; start again"
        )
    _forget_others(neighbours(Path(path)))
    module = types.ModuleType(f"own_{Path(path).stem}")
    module.__file__ = path
    sys.modules[module.__name__] = module
    sys.path.insert(0, folder)  # it may import its neighbours
    importlib.invalidate_caches()
    try:
        exec(compile(code, path, "exec"), module.__dict__)
    finally:
        sys.path.remove(folder)
    found = getattr(module, name, None)
    if not callable(found):
        raise ConfigError(f"{path} has no function {name!r}")
    return found


#: The neighbours that files of Python have brought along: their SHA-256, by path.
_brought: dict[str, str] = {}


def _forget_others(beside: Mapping[str, Path]) -> None:
    """Let neighbours be imported anew if another file, or an older one, goes by one of their names.

    beside: files by module.
    """
    now = {name: (str(f), hashlib.sha256(f.read_bytes()).hexdigest()) for name, f in beside.items()}
    held = {name: getattr(sys.modules.get(name), "__file__", None) for name in now}
    ours = {name: file for name, file in held.items() if file in _brought}
    if any(now[name] != (file, _brought[file]) for name, file in ours.items()):
        for name in ours:
            del sys.modules[name]
    _brought.update(now.values())


def fitted(model: nn.Module, data: Data) -> Data:
    """Return the data in the shape that a network takes: unchanged, or with flat samples.

    Raises ConfigError if it takes neither, or has fewer outputs than the data have classes.
    """
    problem, names = "", data.x_test.dtype.names
    for flat in (False,) if names else (False, True):
        found = flattened(data) if flat else data
        try:
            with torch.no_grad():
                y = passed(model.eval(), inputs(found.x_test[:2]))
        except ValueError as error:
            problem = problem or str(error).splitlines()[0]
            continue
        if _fits(y, data, n=len(data.x_test[:2])):
            return found
        what = f"of shape {tuple(y.shape)}" if torch.is_tensor(y) else f"a {type(y).__name__}"
        wanted = "(n_sample, n_class)" if data.has_labels else "(n_sample, n_output, ...)"
        problem = problem or f"outputs must be one tensor {wanted}; got {what}"
    what = f"with inputs {', '.join(names)}" if names else f"of shape {data.x_test.shape[1:]}"
    raise ConfigError(
        f"the network does not take the samples of data {data.name!r}, {what}: {problem}"
    )


def _fits(y: Any, data: Data, *, n: int) -> bool:
    """Return whether outputs are scores of a classifier, or any without labels."""
    if not torch.is_tensor(y) or y.ndim < 2 or len(y) != n or (data.has_labels and y.ndim != 2):
        return False
    if data.has_labels and y.shape[1] < data.n_class:
        raise ConfigError(
            f"data {data.name!r} have {data.n_class} classes, but the network has {y.shape[1]} "
            "outputs; give other data"
        )
    return True


def flattened(data: Data) -> Data:
    """Return the same data with flat samples."""
    flat = {
        name: array.reshape(len(array), -1)
        for name, array in vars(data).items()
        if name.startswith("x_") and array is not None
    }
    return replace(data, **flat)
