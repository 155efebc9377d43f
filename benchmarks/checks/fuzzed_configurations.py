"""Changed configurations of runs and studies: refused, or exactly what their text says."""

import os
import shutil
import tomllib
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.checks.guarded import Outcome
from benchmarks.checks.judged import UNCHANGED, Case, judged
from benchmarks.checks.mutants_of_files import mutated_toml
from benchmarks.common import ROOT
from crossbar_sim.config import ConfigError, RunConfig, load_config
from crossbar_sim.config.study import StudyConfig, load_study, with_values
from crossbar_sim.foundry import measured

#: Python that leaves a file if anything runs it.
CANARY = "open('canary ran', 'w')\nimport os\nos.system('touch canary')\ndef make(): return None\n"
#: What a reader loads when it comes to a foundry; a first import makes folders for compiled code,
#: which is none of the file's doing.
LOADED = (measured,)
#: Points of a study that are made into runs.
POINTS = 3


class Configurations:
    """The configurations of `examples`, each time with something changed in one."""

    words = ("run", "study")

    def __init__(self, root: Path, seed: int) -> None:
        self.root, self.seed = root, seed
        shutil.copytree(ROOT / "examples", root / "examples")
        self.texts = {
            path.relative_to(root): path.read_text()
            for folder in ("runs", "studies", "foundry")
            for path in sorted((root / "examples" / folder).glob("*.toml"))
        }
        for folder in ("runs", "studies", "foundry"):
            place = root / "examples" / folder
            (place / "canary.py").write_text(CANARY)
            os.mkfifo(place / "pipe.safetensors")
            os.mkfifo(place / "pipe.npz")
            os.mkfifo(place / "pipe.toml")
            (place / "loop.npz").symlink_to("loop.npz")
            (place / "folder.pt").mkdir()

    def __call__(self, number: int) -> Outcome:
        """Return what became of a configuration."""
        rng = np.random.default_rng([self.seed, 1, number])
        names = list(self.texts)
        name = names[rng.integers(len(names))]
        other = self.texts[names[rng.integers(len(names))]]
        content, what = mutated_toml(self.texts[name], other, rng)
        path = self.root / name.parent / "mutant.toml"
        path.write_bytes(content)
        is_study = "\nbase" in self.texts[name]
        read = (lambda: load_study(path)) if is_study else (lambda: load_config(path))
        meaning = _study if is_study else _run
        named = ("mutant.toml", *_bases(path))
        asks = b"foundry" in content
        return judged(
            Case(number, what, read, lambda found: meaning(found, path), self.root, named, asks)
        )

    def command(self, number: int) -> tuple[tuple[str, ...], Path]:
        """Return a command that reads the same file, and the folder that it runs in."""
        rng = np.random.default_rng([self.seed, 1, number])
        name = list(self.texts)[rng.integers(len(self.texts))]
        word = "study" if "\nbase" in self.texts[name] else "run"
        return (word, str(name.parent / "mutant.toml")), self.root


def _bases(path: Path) -> tuple[str, ...]:
    """Return the run that a study names, which a message may be about."""
    try:
        base = tomllib.loads(path.read_bytes().decode()).get("base")
    except (ValueError, RecursionError):
        return ()
    return (base, repr(base)[1:-1]) if isinstance(base, str) else ()


def _run(config: RunConfig, path: Path) -> str:
    raw = tomllib.loads(path.read_bytes().decode().replace("\r\n", "\n"))
    if wrong := unlike(raw, config.model_dump(), path.parent):
        return f"read as something else: {wrong}"
    if RunConfig.model_validate_json(config.model_dump_json()) != config:
        return "another configuration when it is read back"
    _ = config.hardware, config.ideal_hardware, config.chip, config.digest, config.cell()
    config.life.later(config.chip)
    python = any(":" in str(v) for v in (config.network.source, config.measure.metric))
    try:
        config.require_trust()
    except ConfigError:
        return UNCHANGED if python or ".py:" in str(config.model_dump()) else "trust asked for"
    return "Python without trust" if ".py:" in str(config.model_dump()) else UNCHANGED


def _study(found: tuple[StudyConfig, RunConfig], path: Path) -> str:
    study, base = found
    raw = tomllib.loads(path.read_bytes().decode().replace("\r\n", "\n"))
    if wrong := unlike(raw, study.model_dump(), path.parent):
        return f"read as something else: {wrong}"
    if StudyConfig.model_validate(study.model_dump()).points() != study.points():
        return "another study when it is read back"
    for point in study.points()[:POINTS]:
        try:
            _ = with_values(base, study.values(point)).digest
        except ConfigError as error:
            if max(map(len, str(error).splitlines())) > 2000:
                return f"a long message: {str(error)[:200]}"
    return UNCHANGED


def unlike(raw: dict[str, Any], dumped: dict[str, Any], folder: Path) -> str:
    """Return the first key whose value is not what the text says; "" if all are."""
    for key, value in raw.items():
        key = "network" if key == "model" and key not in dumped else key
        inside = {"source": value} if key == "data" and isinstance(value, str) else value
        if key == "kind" and key not in dumped:
            key = "source"
        if key not in dumped:
            return f"{key!r} is gone"
        if isinstance(inside, dict):
            if not isinstance(dumped[key], dict):
                return f"{key!r} is no table"
            if wrong := unlike(inside, dumped[key], folder):
                return f"{key}.{wrong}"
        elif not _equal(inside, dumped[key], folder):
            return f"{key} = {str(inside)[:80]!r} became {str(dumped[key])[:80]!r}"
    return ""


def _equal(given: Any, found: Any, folder: Path) -> bool:
    if isinstance(given, list):
        return isinstance(found, tuple | list) and all(
            _equal(a, b, folder) for a, b in zip(given, found, strict=True)
        )
    if isinstance(given, str):
        if str(found) == given:
            return True
        file, colon, name = given.partition(".py:")
        place = (folder / Path(file).expanduser()).resolve()
        return str(found) == (f"{place}{colon}{name}" if colon else str(place))
    if isinstance(given, bool) or isinstance(found, bool):
        return given is found
    if isinstance(given, int) and isinstance(found, float):
        return float(given) == found  # beyond 2**53 they are not equal
    return given == found or (given != given and found != found)
