"""A first configuration of a run, for the network and the data of the user's own files."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossbar_sim.config import ConfigError, RunConfig
from crossbar_sim.config.inputs import file_of, is_python
from crossbar_sim.config.run import checked
from crossbar_sim.config.schema import toml_value
from crossbar_sim.pipeline.steps import build_model, layers_of, load_data
from tinynets.data import Data
from tinynets.files.drafts import new_file
from tinynets.files.outputs import one_line
from tinynets.files.templates import rendered
from tinynets.networks.layers import PrunedLayer

#: Sides of tiles that are compared.
SIDES = (16, 32, 64, 128)


@dataclass(frozen=True)
class Fit:
    """How the dense layers fill square tiles.

    side: number of word lines, and of outputs, of a tile.
    tiles: number of tiles.
    filled: fraction of their cells that hold a weight.
    """

    side: int
    tiles: int
    filled: float


@dataclass(frozen=True)
class NewRun:
    """What a new configuration says.

    name: of the run.
    network, python, data: as the configuration names them, relative to its folder; python may be
        None.
    size: height and width of a folder's images, or None.
    output: the file.
    layers: of the network, as they go onto the die.
    described: the samples, in one line.
    metric: "accuracy", or "agreement" for data without labels.
    fits: of each of SIDES.
    side: of the suggested tile, the largest that is half full; the smallest if none is.
    """

    name: str
    network: str
    python: str | None
    data: str
    size: tuple[int, int] | None
    output: Path
    layers: tuple[PrunedLayer, ...]
    described: str
    metric: str
    fits: tuple[Fit, ...]

    @property
    def needs_trust(self) -> bool:
        """Whether the run executes Python of the user."""
        return self.python is not None or is_python(self.network) or is_python(self.data)

    @property
    def side(self) -> int:
        """Side of the suggested tile."""
        return max((fit.side for fit in self.fits if fit.filled >= 0.5), default=SIDES[0])


def new_run(
    network: str,
    data: str,
    output: Path,
    *,
    python: str | None = None,
    size: tuple[int, int] | None = None,
    trust: bool = False,
) -> NewRun:
    """Read a network and data, and write a commented configuration that runs them.

    network: file of a network or of weights, or "net.py:make".
    data: file of arrays, folder of images, name of a data set, or "data.py:make".
    output: TOML file to write.
    python: function that builds the network of a file of weights.
    size: height and width to which a folder's images are scaled.
    trust: whether Python that is named may run.

    Raises FileExistsError for an existing output; ConfigError or ValueError for files that cannot
    be read, or do not fit each other; ImportError for an optional package that is missing.
    """
    if os.path.lexists(output):
        raise FileExistsError(f"{output} exists; choose another file with --output")
    named: dict[str, Any] = {"name": _name(network)}
    named["network"] = {"source": network} | ({"python": python} if python else {})
    named["data"] = {"source": data} | ({"size": size} if size else {})
    config = checked(named, RunConfig, "new run").located(Path())
    config = (config.trusting() if trust else config).ready()
    if config.network.is_built_in:
        raise ConfigError(
            f"--network must be a file of yours; got {network!r}; for a network of this program, "
            "begin with `crossbar-sim config`"
        )
    samples = load_data(config)
    layers = layers_of(config, build_model(config).eval(), samples).layers
    paths = [value and _relative(value, output) for value in (network, python, data)]
    about = {"described": _described(samples), "layers": layers}
    about["metric"] = "accuracy" if samples.y_test.size else "agreement"
    fits = tuple(_fit(layers, side) for side in SIDES)
    names = dict(zip(("network", "python", "data"), paths, strict=True))
    made = NewRun(**names, name=config.name, size=size, output=output, fits=fits, **about)
    text = rendered("crossbar_sim.jobs", "run.toml.j2", n=made, toml=toml_value, line=one_line)
    output.parent.mkdir(parents=True, exist_ok=True)
    with new_file(output) as draft:
        draft.write_text(text, encoding="utf-8")
    return made


def _name(network: str) -> str:
    """Return a name of a run that is made from that of a file."""
    stem = Path(network.rpartition(":")[0] or network).stem
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", stem).lstrip("_.-")[:64] or "run"


def _relative(value: str, output: Path) -> str:
    """Return what names a file relative to the folder of the output; a data set as it is."""
    file, function = file_of(value)
    if not file:
        return value
    path = Path(os.path.relpath(Path(file).expanduser().resolve(), output.parent.resolve()))
    return f"{path.as_posix()}:{function}" if function else path.as_posix()


def _described(data: Data) -> str:
    """Return the samples in one line."""
    kind = data.x_train.dtype
    parts = kind.names or ("",)
    shapes = [kind[name].shape if name else data.x_train.shape[1:] for name in parts]
    each = [f"{name} {' × '.join(map(str, s)) or '1'}".strip() for name, s in zip(parts, shapes)]
    labels = f"{data.n_class} classes" if data.y_test.size else "no labels"
    return one_line(
        f"{len(data.x_train):,} samples for training and calibration, {len(data.x_test):,} for "
        f"tests; each {', '.join(each)}; {labels}"
    )


def _fit(layers: Sequence[PrunedLayer], side: int) -> Fit:
    tiles = sum(-(-layer.n_in // side) * -(-layer.n_out // side) for layer in layers)
    cells = sum(layer.n_in * layer.n_out for layer in layers)
    return Fit(side, tiles, cells / (tiles * side**2) if tiles else 0.0)
