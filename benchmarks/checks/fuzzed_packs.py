"""Changed packs, runs and saved networks: refused, or what they were."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.checks.forging import forge, mutate, renew
from benchmarks.checks.guarded import COMMAND_EVERY, Outcome
from benchmarks.checks.judged import OTHER, UNCHANGED, Case, judged, same
from benchmarks.checks.mutants_of_files import (
    damaged,
    mutated_array,
    mutated_json_numbers,
    mutated_table,
    replaced,
)
from crossbar_sim.config import RunConfig
from crossbar_sim.jobs.source import Source, read_source
from crossbar_sim.on_die.hardware import Hardware
from crossbar_sim.on_die.saved_network import load_network, save_network
from crossbar_sim.on_die.to_torch import to_torch
from crossbar_sim.pipeline.finished_run import pruned_model
from mapping import Die, MappedNetwork, ResistorBank, TileConfig, map_network
from netlists import Periphery, Wires, write_pack
from tinynets import extract
from tinynets.networks.layers import ConvGeometry, PrunedLayer, PrunedNetwork

#: Files whose content is the answer of a saved network; the checksum of one is in another.
_SUMS = {"hardware.json": ("mapped.npz",), "circuits.json": ("mapped.npz", "state.npz")}


def example() -> MappedNetwork:
    """Return a convolution and a dense layer on a die."""
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=s) * (rng.random(s) < 0.6) for s in ((3, 8), (4, 3))]
    sizes = (2, 2), (1, 1), (0, 0), (1, 1)
    conv = PrunedLayer(
        "conv1", weights[0], weights[0] != 0, conv=ConvGeometry(2, *sizes), module="0", n_mvm=9
    )
    dense = PrunedLayer("fc", weights[1], weights[1] != 0, bias=weights[1][:, 0], module="2")
    bank = ResistorBank(n=4, ratio=1.6, sigma_local=0.05, meter_error=1e-3, r_on=1e3, r_off=1e9)
    return map_network(PrunedNetwork((conv, dense)), Die(bank, seed=3), TileConfig(4, 3))


def perceptron() -> torch.nn.Module:
    """Return two layers with weights that a seed fixes."""
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.ReLU(), torch.nn.Linear(4, 3))


def saved(folder: Path) -> Path:
    """Write a directory of `save_network`."""
    model = perceptron()
    bank = ResistorBank(n=4, sigma_local=0.05, r_on=1e3, r_off=1e9)
    mapped = map_network(extract(model, torch.zeros(1, 6)), Die(bank, seed=1), TileConfig(4, 4))
    hardware = Hardware(Wires(r_word=1.0, r_bit=1.0), Periphery(r_feedback=2e4))
    images = torch.rand(8, 6)
    return save_network(to_torch(model, mapped, hardware, calibration=images), mapped, folder)


class Packs:
    """Directories of every kind, each time with something changed in one."""

    def __init__(self, root: Path, seed: int, made: Path) -> None:
        """Keep the files of each directory in memory.

        made: has the directories "mapped" and "results/small", of `crossbar-sim map` and `run`.
        """
        self.seed, self.root, self.model = seed, root, perceptron()
        (root / "outside").mkdir()
        (root / "tmp").mkdir()
        shutil.copytree(made / "mapped", root / "mapped")
        shutil.copytree(made / "results" / "small", root / "small")
        shutil.rmtree(root / "small" / "netlists", ignore_errors=True)
        write_pack(example(), root / "pack", wires=Wires(r_word=2.0), periphery=Periphery(1e4))
        saved(root / "saved")
        (root / "outside" / "file").write_bytes((root / "pack" / "network.npz").read_bytes())
        self.kinds = ("pack", "pack", "pack", "small", "small", "mapped", "saved")
        self.files = {kind: _contents(root / kind) for kind in set(self.kinds)}
        self.read = {kind: self._read(kind) for kind in set(self.kinds)}

    def _read(self, kind: str) -> tuple[Source, Any]:
        source = read_source(self.root / kind)
        model = None
        if source.config is not None:
            model = pruned_model(source.config, source.path)
        elif kind == "saved":
            model = load_network(self.model, source.path)[0]
        return source, model and {k: np.asarray(v) for k, v in model.state_dict().items()}

    def __call__(self, number: int) -> Outcome:
        """Return what became of a directory."""
        rng = np.random.default_rng([self.seed, 2, number])
        kind, folder = self.kinds[rng.integers(len(self.kinds))], self.root
        names = self._names(kind, rng)
        name = names[rng.integers(len(names))]
        path, again = folder / kind / name, bool(rng.integers(2))
        what = self._changed(path, rng)
        if again and path.is_file() and not path.is_symlink():
            what += ", digests re-made" * _renewed(folder / kind, name)
        try:
            return judged(
                Case(
                    number,
                    f"{kind}: {what}",
                    lambda: self._read(kind),
                    lambda found: self._meaning(kind, found),
                    self.root,
                    (str(folder / kind),),
                )
            )
        finally:
            if number % COMMAND_EVERY:
                self.restore(kind)

    def _names(self, kind: str, rng: np.random.Generator) -> list[str]:
        """Return the files of which one is changed: any, or one of those with the answer."""
        names = sorted(self.files[kind])
        main = [n for n in names if n.endswith((".json", ".npz", ".csv", ".pt", ".bin"))]
        read = [n for n in main if kind != "small" or n in _OF_A_RUN]
        return names if rng.random() < 0.2 and kind != "small" else read

    def restore(self, kind: str) -> None:
        """Put every file back as it was."""
        for name, content in self.files[kind].items():
            path = self.root / kind / name
            if path.is_symlink() or not path.is_file() or path.read_bytes() != content:
                if path.is_dir() and not path.is_symlink():
                    path.rmdir()
                path.unlink(missing_ok=True)
                path.write_bytes(content)

    def command(self, number: int) -> tuple[tuple[str, ...], Path]:
        """Return a command that reads the same directory, and the folder that it runs in."""
        rng = np.random.default_rng([self.seed, 2, number])
        kind = self.kinds[rng.integers(len(self.kinds))]
        return ("netlist", kind, "--output", "new", "--sample", "1"), self.root

    def done(self, _number: int) -> None:
        """Forget a command."""
        shutil.rmtree(self.root / "new", ignore_errors=True)
        for kind in self.files:
            self.restore(kind)

    def _changed(self, path: Path, rng: np.random.Generator) -> str:
        kind = rng.integers(20)
        if kind == 0:
            return replaced(path, rng, self.root / "outside" / "file")
        change = _BY_SUFFIX.get(path.suffix)
        if change is None or kind < 5:
            content, what = damaged(path.read_bytes(), rng)
            path.write_bytes(content)
            return f"{path.suffix} {what}"
        return f"{path.suffix} {change(path, rng)}"

    def _meaning(self, kind: str, found: tuple[Source, Any]) -> str:
        (source, state), (before, weights) = found, self.read[kind]
        if same((source.mapped, source.hardware), (before.mapped, before.hardware)):
            if not same(state, weights):
                return "another pruned network" if kind == "small" else OTHER
            if source.config != before.config:
                return _config(source.config)
            return UNCHANGED
        if kind == "pack":
            switches, right = (_without_biases(m) for m in (source.mapped, before.mapped))
            if not same(switches, right):
                return "another network in a pack"
        # What only one file says, nothing contradicts; it must be whole in itself.
        path = self.root / "outside" / "again.npz"
        source.mapped.save(path)
        again = MappedNetwork.load(path)
        path.unlink()
        return OTHER if same(again, source.mapped) else "another network when it is saved again"


def _without_biases(mapped: MappedNetwork) -> list[Any]:
    """Return a network's layers less their biases, which one file of a pack says alone."""
    return [replace(layer, source=replace(layer.source, bias=None)) for layer in mapped.layers]


def _config(config: RunConfig | None) -> str:
    assert config is not None
    again = RunConfig.model_validate_json(config.model_dump_json())
    return OTHER if again == config else "another configuration when it is read back"


_OF_A_RUN = ("report.json", "config.json", "mapped.npz", "model/pruned.pt")


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _json(path: Path, rng: np.random.Generator) -> str:
    value = json.loads(path.read_text())
    if rng.integers(2):
        path.write_text(mutated_json_numbers(value, rng))
        return "number"
    path.write_text(json.dumps(mutate(value, rng)))
    return "value"


def _npz(path: Path, rng: np.random.Generator) -> str:
    with np.load(path) as file:
        names = file.files
    if "header" not in names:
        with np.load(path) as file:
            arrays = dict(file)
        name = names[rng.integers(len(names))]
        np.savez(path, **arrays | {name: mutated_array(arrays[name], rng)})
        return "array"
    if rng.integers(2):
        forge(path, lambda header, arrays: mutate(header, rng))
        return "header"

    def change(_header: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        name = list(arrays)[rng.integers(len(arrays))]
        arrays[name] = mutated_array(arrays[name], rng)

    forge(path, change)
    return "array"


def _csv(path: Path, rng: np.random.Generator) -> str:
    path.write_text(mutated_table(path.read_text(), rng))
    return "cell"


_BY_SUFFIX: dict[str, Callable[[Path, np.random.Generator], str]] = {
    ".json": _json,
    ".npz": _npz,
    ".csv": _csv,
}


def _renewed(folder: Path, name: str) -> bool:
    """Renew the checksums of a directory, if it has some and they can be read."""
    try:
        if (folder / "manifest.json").exists() and name != "manifest.json":
            renew(folder)
            return True
        for holder, files in _SUMS.items():
            if (folder / holder).exists() and name in files:
                _resum(folder, folder / holder, name)
                return True
    except (ValueError, RecursionError):
        return False
    return False


def _resum(folder: Path, holder: Path, name: str) -> None:
    header = json.loads(holder.read_text())
    digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    if isinstance(header["sha256"], dict):
        header["sha256"][name] = digest
    else:
        header["sha256"] = digest
    holder.write_text(json.dumps(header))
