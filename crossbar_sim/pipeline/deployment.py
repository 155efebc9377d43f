"""From a configuration to its network on the die: the steps that runs and studies share."""

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from crossbar_sim.config import RunConfig
from crossbar_sim.on_die.circuit_layer import CircuitLayer
from crossbar_sim.on_die.hardware import Hardware
from crossbar_sim.on_die.layer_inputs import InputRange, input_ranges
from crossbar_sim.on_die.readout import Response, respond_all
from crossbar_sim.on_die.to_torch import circuit_inputs, to_torch
from crossbar_sim.periphery.converters import Converters, n_pass
from crossbar_sim.pipeline.kept import Kept, OnDisk
from crossbar_sim.pipeline.steps import (
    N_RANGE,
    build_model,
    build_pruned,
    calibrate_on_die,
    layers_of,
    load_data,
    load_validation,
    on_aged_die,
    select_on_die,
    train_and_prune,
    tuned,
)
from crossbar_sim.pipeline.trained import training_part, write_weights
from crossbar_sim.pipeline.workspace import write_json
from mapping.network.mapped_network import MappedNetwork
from tinynets.data import Data, inputs
from tinynets.modules.unpacking import unpacked
from tinynets.networks.layers import PrunedNetwork
from tinynets.networks.passes import Inputs
from tinynets.networks.training import predict
from tinynets.progress import Progress, silent

_MAPPED = OnDisk("mapped.npz", MappedNetwork.save, MappedNetwork.load)


@dataclass(frozen=True)
class Selection:
    """The network on its new die.

    mapped: the network.
    layers: rows of what the choice against the wires did to each layer.
    """

    mapped: MappedNetwork
    layers: list[dict[str, Any]]


@dataclass(frozen=True)
class Reads:
    """The reads of a network's tiles for some images.

    v_in: word-line voltages (n_vector, n_in) [V], by layer.
    n_pass: number of reads per product, by layer.
    """

    v_in: dict[str, np.ndarray]
    n_pass: dict[str, int]

    @property
    def v_rms(self) -> float:
        """Root mean square of all word-line voltages [V]."""
        return float(np.sqrt(np.mean(np.concatenate([v.ravel() for v in self.v_in.values()]) ** 2)))


class Deployment:
    """The network of a configuration on its way to the die; a step is done when it is asked for.

    kept: results of steps, shared with other configurations.
    tell: see `Progress`.
    weights: file of the pruned network, if it is trained already.
    """

    def __init__(
        self,
        config: RunConfig,
        kept: Kept,
        tell: Progress = silent,
        *,
        weights: Path | None = None,
    ) -> None:
        self.config, self.kept, self.tell, self.weights = config, kept, tell, weights

    @property
    def data(self) -> Data:
        """The data set without the images held out for validation."""
        return self.kept.once("data", self._training, lambda: load_data(self.config))

    @property
    def validation(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Samples and labels held out for choosing settings, or None."""
        return self.kept.once("validation", self._training, lambda: load_validation(self.config))

    @property
    def dense(self) -> nn.Module:
        """The trained network before pruning."""
        return self._trained[0]

    @property
    def pruned(self) -> nn.Module:
        """The pruned network, digital."""
        return self._trained[1] if self.weights is None else self._loaded

    @property
    def digital_outputs(self) -> np.ndarray:
        """Outputs of the pruned network for the test samples."""
        x = self.data.x_test
        return self.kept.once("outputs", self._training, lambda: predict(self.pruned, x))

    @property
    def network(self) -> PrunedNetwork:
        """The layers of the pruned network."""
        return self.kept.once(
            "layers", self._training, lambda: layers_of(self.config, self.pruned, self.data)
        )

    @property
    def selection(self) -> Selection:
        """The switches chosen on the new die."""
        if not self.config.calibrate.rounds:
            unwired = self._unwired
            return self.kept.once("selection", self._selecting, lambda: Selection(unwired(), []))
        wired = OnDisk("calibrated", _save_selection, _load_selection)
        return self.kept.once("selection", self._selecting, self._wired, wired)

    @property
    def mapped(self) -> MappedNetwork:
        """The network on its die after [life]."""

        def make() -> MappedNetwork:
            return on_aged_die(self.config, self.selection.mapped)

        return self.kept.once("mapped", self._living, make, _MAPPED)

    def responses(self, hardware: Hardware) -> dict[str, Response]:
        """Return the responses of all tiles, by name."""
        parts = hardware.wires, hardware.periphery, hardware.noise, hardware.devices

        def make() -> dict[str, Response]:
            return respond_all(self.mapped.tiles, hardware, self.mapped.die)

        return self.kept.once("responses", (self._living, *parts), make)

    def on_die(self, hardware: Hardware) -> nn.Module:
        """Return the network on its die with given hardware, tuned as configured."""
        network = to_torch(
            self.pruned,
            self.mapped,
            hardware,
            calibration=self._seen,
            responses=self.responses(hardware),
            ranges=self._ranges,
        )
        return tuned(self.config, network, self.pruned, self.data)

    @property
    def _seen(self) -> Inputs:
        """The training images that fix the ranges of converters."""
        return inputs(self.data.x_train[:N_RANGE])

    @property
    def _ranges(self) -> dict[str, InputRange]:
        """The ranges of the inputs of the pruned network's layers, the same on all dies."""
        paths = [layer.module for layer in self.network.layers]

        def make() -> dict[str, InputRange]:
            return input_ranges(unpacked(self.pruned, only=paths), paths, self._seen)

        return self.kept.once("ranges", self._training, make)

    @property
    def _trained(self) -> tuple[nn.Module, nn.Module]:
        def make() -> tuple[nn.Module, nn.Module]:
            dense, pruned = train_and_prune(self.config, self.data, self.tell)
            return dense.eval(), pruned.eval()

        def load(path: Path) -> tuple[nn.Module, nn.Module]:
            dense = build_model(self.config)
            return _filled(dense, path / "dense.pt"), self._read(path / "pruned.pt")

        return self.kept.once("train", self._training, make, OnDisk("model", _save_models, load))

    @property
    def _loaded(self) -> nn.Module:
        path = self.weights
        assert path is not None
        return self.kept.once("load", self._training, lambda: self._read(path))

    def _read(self, path: Path) -> nn.Module:
        return _filled(build_pruned(self.config), path)

    def _unwired(self) -> MappedNetwork:
        return select_on_die(self.config, self.pruned, self.data, self.tell)

    def _wired(self) -> Selection:
        """Choose the switches for the weights, then again against the wires."""
        unwired = OnDisk("selected.npz", MappedNetwork.save, MappedNetwork.load)
        first = self.kept.once("unwired", self._selecting, self._unwired, unwired)
        result = calibrate_on_die(self.config, self.pruned, self.data, first, self.tell)
        rows = [asdict(layer) | {"lost": layer.out_of_reach} for layer in result.layers]
        return Selection(result.mapped, rows)

    @cached_property
    def _settings(self) -> dict[str, Any]:
        return self.config.as_json()

    def _tables(self, names: set[str]) -> str:
        """Return the settings in the tables of these names as text."""
        kept = {name: value for name, value in self._settings.items() if name in names}
        return json.dumps(kept, sort_keys=True)

    @cached_property
    def _training(self) -> tuple[str, Path | None]:
        """Everything that the trained and pruned network depends on."""
        return training_text(self.config), self.weights

    @cached_property
    def _selecting(self) -> tuple[object, str]:
        """Everything that the selection on the new die depends on."""
        wired = {"wires", "geometry", "periphery"} if self.config.calibrate.rounds else set()
        names = {"bank", "die", "tile", "select", "calibrate"} | wired
        return self._training, self._tables(names)

    @cached_property
    def _living(self) -> tuple[object, str]:
        """Everything that the network on its die after [life] depends on."""
        return self._selecting, self._tables({"life"})


def training_text(config: RunConfig) -> str:
    """Return the settings that the trained and pruned network depends on, as text."""
    return json.dumps(training_part(config), sort_keys=True)


def layers_on_die(on_die: nn.Module, mapped: MappedNetwork) -> dict[str, CircuitLayer]:
    """Return the circuit layers of a network, by name of the mapped layer."""
    layers = {}
    for layer in mapped.layers:
        module = on_die.get_submodule(layer.source.module)
        assert isinstance(module, CircuitLayer)
        layers[layer.name] = module
    return layers


def reads_of(
    on_die: nn.Module, mapped: MappedNetwork, images: np.ndarray, converters: Converters
) -> Reads:
    """Return the reads of the tiles for images (n_image, ...)."""
    signed = {k: layer.input_range.signed for k, layer in layers_on_die(on_die, mapped).items()}
    return Reads(
        circuit_inputs(on_die, mapped, inputs(images)),
        {name: n_pass(converters, signed=sign) for name, sign in signed.items()},
    )


def _filled(model: nn.Module, path: Path) -> nn.Module:
    model.load_state_dict(torch.load(path, weights_only=True))
    return model.eval()


def _save_models(models: tuple[nn.Module, nn.Module], draft: Path) -> None:
    draft.mkdir()
    for name, model in zip(("dense", "pruned"), models):
        write_weights(model, draft / f"{name}.pt")


def _save_selection(selection: Selection, draft: Path) -> None:
    draft.mkdir()
    selection.mapped.save(draft / "mapped.npz")
    write_json(draft / "layers.json", selection.layers)


def _load_selection(path: Path) -> Selection:
    rows = json.loads((path / "layers.json").read_text(encoding="utf-8"))
    return Selection(MappedNetwork.load(path / "mapped.npz"), rows)
