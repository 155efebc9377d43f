"""Map the user's own network onto a die; neither training nor data are needed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from crossbar_sim.calibration.switches import reselect_for_wires
from crossbar_sim.config import ConfigError, RunConfig, load_config
from crossbar_sim.jobs.prune import read_model
from crossbar_sim.pipeline.steps import load_data, on_aged_die
from mapping.network.map_network import map_layers
from mapping.network.mapped_network import MappedNetwork
from tinynets.data import inputs
from tinynets.files.suffixes import FORMATS, WEIGHTS
from tinynets.formats.linear_stack import LinearStack
from tinynets.networks.extraction import extract
from tinynets.networks.layers import PrunedNetwork
from tinynets.networks.passes import Inputs, call, tensors
from tinynets.progress import Progress, silent


@dataclass(frozen=True)
class OwnNetwork:
    """A network of a file, to be mapped.

    network: its layers, and what stays digital.
    config: the die and everything around it.
    """

    network: PrunedNetwork
    config: RunConfig

    def mapped(self, tell: Progress = silent) -> MappedNetwork:
        """Return the network on the die of the configuration, after [calibrate] and [life].

        Raises ConfigError for a choice of switches that needs calibration data.
        """
        config, layers = self.config, []
        if config.select.needs_inputs:
            raise ConfigError(
                '[select] with objective = "aware" or fit_scale needs data, which `map` does not '
                'take; set objective = "error" and fit_scale = false, or map it in a run'
            )
        die, tile, n = config.chip, config.tile.size, len(self.network.layers)
        rule = {"rule": config.select, "tiling": config.tile.tiling}
        tell("select", 0, n)
        for layer in map_layers(self.network, die, tile, **rule):
            layers.append(layer)
            tell("select", len(layers), n)
        mapped = MappedNetwork(tuple(layers), die, tile)
        if rounds := config.calibrate.rounds:
            circuits = config.hardware.wires, config.hardware.periphery
            mapped = reselect_for_wires(mapped, *circuits, rounds=rounds, progress=tell).mapped
        return on_aged_die(config, mapped)


def read_own(
    source: Path,
    config: Path | None = None,
    *,
    trust: bool = False,
    shape: tuple[int, ...] | None = None,
    leave_digital: tuple[str, ...] = (),
) -> OwnNetwork:
    """Return the network of an ONNX file or a file of weights.

    config: TOML file of a run with the die and its circuits, by default those of a run; its
        [network], if it has one, is the architecture of a file of weights. Without it they must be
        those of Linear layers.
    trust: whether Python that the configuration names may run.
    shape: of one input without the batch; by default that of the file or of the run's data.
    leave_digital: paths of modules that stay digital; by default those of [network].

    Raises ConfigError for another file, or an input whose shape is not known or does not fit;
    ValueError as the readers and `extract` do.
    """
    if source.suffix not in FORMATS:
        raise ConfigError(f"expected a file of {', '.join(FORMATS)}; got {str(source)!r}")
    if not source.is_file():
        raise ConfigError(f"{source} does not exist; give a file")
    settings = load_config(config, trust=trust) if config else RunConfig(name="own")
    described = source.suffix in WEIGHTS and "network" in settings.model_fields_set
    model = read_model(source, settings if described else None).eval()
    example = _example(source, model, settings, shape)
    try:
        with torch.no_grad():
            call(model, example)
    except ValueError as error:
        sizes = ", ".join(str(tuple(tensor.shape[1:])) for tensor in tensors(example))
        raise ConfigError(
            f"{source} does not take an input of shape {sizes}: {str(error).splitlines()[0]}; "
            "pass --shape, or --config with [data]"
        ) from error
    left = leave_digital or settings.network.leave_digital
    return OwnNetwork(extract(model, example, leave_digital=left), settings)


def _example(
    source: Path, model: nn.Module, settings: RunConfig, shape: tuple[int, ...] | None
) -> Inputs:
    """Return one sample: the first of [data] if it has several inputs, else random numbers."""
    described = source.suffix in WEIGHTS and "network" in settings.model_fields_set
    several = len(getattr(model, "shapes", ())) > 1
    if shape is None and (described or (several and "data" in settings.model_fields_set)):
        network = settings.network.model_copy(update={"source": str(source)} if several else {})
        samples = load_data(settings.model_copy(update={"network": network})).x_test[:1]
        if samples.dtype.names:
            return inputs(samples)
        shape = samples.shape[1:]
    shape = shape or _shape(source, model)
    generator = torch.Generator().manual_seed(0)
    return torch.rand((1, *shape), generator=generator, dtype=next(model.parameters()).dtype)


def _shape(source: Path, model: nn.Module) -> tuple[int, ...]:
    """Return the shape of one input without the batch."""
    if isinstance(model, LinearStack):
        first: Any = model.get_submodule(model.order[0])
        return (first.in_features,)
    shapes: Any = model.shapes  # of the inputs that an ONNX file declares
    (name, declared), *others = shapes.items()
    if others:
        raise ConfigError(
            f"{source} has inputs {list(shapes)}; pass --config with a file whose [data] holds "
            f"arrays of these names, such as {next(iter(shapes))}_train"
        )
    sizes = tuple(declared or ())[1:]
    if not sizes or not all(sizes):
        raise ConfigError(
            f"{source} does not fix the size of its input {name!r}; pass --shape, such as "
            "--shape 3,32,32 for colour images of 32 × 32"
        )
    return sizes


def rows(network: PrunedNetwork, mapped: MappedNetwork) -> list[dict[str, Any]]:
    """Return what becomes of each layer."""
    return [
        {
            "layer": layer.name,
            "module": source.module,
            "inputs": source.n_in,
            "outputs": source.n_out,
            "products": source.n_mvm,
            "weights": source.n_remaining,
            "pruned": source.n_weight - source.n_remaining,
            "tiles": len(layer.tiles),
            "branches": 2 * mapped.die.bank.n * source.n_remaining,
        }
        for source, layer in zip(network.layers, mapped.layers, strict=True)
    ]
