"""What commands start from after mapping: a finished run, a saved network, a mapping, a pack."""

import hashlib
import json
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from crossbar_sim.config import ConfigError, RunConfig
from crossbar_sim.on_die.hardware import Hardware, built_hardware
from crossbar_sim.on_die.saved_network import load_mapping
from crossbar_sim.pipeline.finished_run import read_run
from crossbar_sim.pipeline.workspace import left_behind
from mapping.network.mapped_network import MappedNetwork
from netlists.fabrication.file_names import MANIFEST
from netlists.fabrication.pack_reader import read_circuits, read_pack
from netlists.layout.technology import TECHNOLOGIES, XHIGH_PO, Technology
from tinynets.files.drafts import new_directory
from tinynets.files.suffixes import FORMATS

FORMAT, VERSION = "crossbar-sim mapping", 1
_WANTED = (
    "a finished run, a directory of save_network or of `crossbar-sim map`, or a pack of "
    "`crossbar-sim export`"
)
#: What a file is that no command after mapping takes, by suffix.
_FILES = {
    **{
        suffix: f"{format.text}, which `crossbar-sim map` and `crossbar-sim prune` take"
        for suffix, format in FORMATS.items()
    },
    ".toml": "a configuration, which `crossbar-sim run` and `crossbar-sim study` take",
    ".csv": "a table, which `crossbar-sim reselect` takes as its second argument",
    ".parquet": "a table, which `crossbar-sim reselect` takes as its second argument",
    ".npz": "one file of several; give the directory that it lies in",
    ".cir": "a SPICE deck, which `ngspice -b` takes",
    ".sqlite": "the results of a study, which `crossbar-sim study` takes as --store",
}
#: What a directory is that holds such a file; the first that fits counts.
_DIRECTORIES = {
    "changes.csv": "what `crossbar-sim reselect` wrote; give the pack in it, {path}/pack",
    "cell.inc": "a directory of SPICE decks, which `ngspice -b` takes",
    "layer.inc": "a directory of SPICE decks, which `ngspice -b` takes",
    "config.json": "an unfinished run; `crossbar-sim run CONFIG --resume` completes it",
    "*.gds": "a directory of masks",
    "*.net": "a directory of a board",
}


@dataclass(frozen=True)
class Source:
    """A mapped network and what is known of where it came from.

    name: of the run, or of the directory.
    path: the directory.
    hardware: everything around the cells; None where the directory does not say.
    config: the settings of a run; None for anything else.
    """

    name: str
    path: Path
    mapped: MappedNetwork
    hardware: Hardware | None
    config: RunConfig | None = None

    @property
    def parts(self) -> dict[str, Any]:
        """Wires and periphery; ideal ones where they are not known."""
        hardware = self.hardware or Hardware()
        return {"wires": hardware.wires, "periphery": hardware.periphery}

    @property
    def v_read(self) -> float:
        """Voltage of the largest input [V]."""
        return (self.hardware or Hardware()).converters.v_read


def read_source(path: Path) -> Source:
    """Return the mapped network of a directory, and what is known of it.

    Warns that circuits are ideal where the directory does not state them, as in an older pack.
    Raises ConfigError that says what anything else is and which command takes it; ConfigError or
    ValueError that names a file that is missing or damaged.
    """
    for marker, read in _READERS.items():
        if (path / marker).is_file() and not (path / "changes.csv").exists():
            source = read(path)
            if source.hardware is None:
                message = "does not say which wires and amplifiers it has; they are taken as ideal"
                warnings.warn(f"{path} {message}", stacklevel=2)
            return source
    raise ConfigError(f"{path} {_described(path)}{left_behind(path)}")


def mask_technology(source: Source, name: str | None = None) -> Technology:
    """Return the technology in which the masks of a source are drawn.

    name: of one of TECHNOLOGIES; by default that of the run's own cell.

    Raises ConfigError for a name that does not exist, or that does not fit a foundry's devices;
    ModelsMissing without the foundry's design rules, and ValueError for devices that are not drawn.
    """
    config = source.config
    if config is not None and config.foundry is not None:
        if name is not None:
            raise ConfigError(
                f"--technology {name} does not fit {source.path}, whose resistors are those of "
                "[foundry]; leave it out"
            )
        return config.geometry.technology(config.foundry, source.mapped.die.bank.r_nominal)
    if name is None:
        return XHIGH_PO if config is None else config.geometry.technology()
    if name not in TECHNOLOGIES:
        known = ", ".join(TECHNOLOGIES)
        raise ConfigError(f"--technology must be one of {known}; got {name!r}")
    return TECHNOLOGIES[name]


def save_mapping(mapped: MappedNetwork, hardware: Hardware, directory: Path) -> None:
    """Write a mapped network and its hardware into a new directory, as mapped.npz, hardware.json.

    Raises FileExistsError for an existing directory.
    """
    with new_directory(directory) as draft:
        mapped.save(draft / "mapped.npz")
        header = {"format": FORMAT, "version": VERSION, "sha256": _digest(draft / "mapped.npz")}
        text = json.dumps(header | {"hardware": asdict(hardware)}, indent=1)
        (draft / "hardware.json").write_text(text + "\n", encoding="utf-8")


def _of_run(path: Path) -> Source:
    config, mapped = read_run(path)
    return Source(config.name, path, mapped, config.hardware, config)


def _of_network(path: Path) -> Source:
    return Source(path.resolve().name, path, *load_mapping(path))


def _of_mapping(path: Path) -> Source:
    file = path / "hardware.json"
    try:
        header = json.loads(file.read_bytes())
        if not isinstance(header, dict) or header.get("format") != FORMAT:
            raise ValueError(f"it is not of a {FORMAT}")
        if header.get("version") != VERSION:
            raise ValueError(f"version {VERSION} expected; got {str(header.get('version'))[:20]}")
        hardware = built_hardware(header.get("hardware"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: {str(error)[:300]}; map the network again") from error
    if not (path / "mapped.npz").is_file():
        raise ConfigError(f"{path / 'mapped.npz'} is missing; map the network again")
    if _digest(path / "mapped.npz") != header.get("sha256"):
        raise ConfigError(f"{path / 'mapped.npz'} is damaged: its checksum does not match")
    return Source(path.resolve().name, path, MappedNetwork.load(path / "mapped.npz"), hardware)


def _of_pack(path: Path) -> Source:
    mapped, circuits = read_pack(path), read_circuits(path)
    return Source(path.resolve().name, path, mapped, circuits and Hardware(*circuits))


#: By a file that only such a directory has: its reader.
_READERS: dict[str, Callable[[Path], Source]] = {
    "report.json": _of_run,
    "circuits.json": _of_network,
    "hardware.json": _of_mapping,
    MANIFEST: _of_pack,
}


def _described(path: Path) -> str:
    """Return what is wrong with a path that is no source, as the end of a sentence."""
    if not path.exists():
        return f"does not exist; give {_WANTED}"
    if path.is_file():
        what = _FILES.get(path.suffix.lower(), "a file")
    else:
        found = (text for name, text in _DIRECTORIES.items() if any(path.glob(name)))
        what = next(found, "a directory with none of " + ", ".join(_READERS)).format(path=path)
    return f"is not a finished run, a network or a pack but {what}; here, give {_WANTED}"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
