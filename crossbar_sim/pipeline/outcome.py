"""All that a run finds, step by step: from a trained network to a simulated die and its scores."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from crossbar_sim.config import RunConfig
from crossbar_sim.ngspice.worker import NgspiceWorker
from crossbar_sim.on_die.circuit_layer import CircuitLayer
from crossbar_sim.on_die.hardware import Hardware
from crossbar_sim.on_die.to_torch import circuit_inputs, to_torch
from crossbar_sim.periphery.converters import n_pass
from crossbar_sim.pipeline.non_idealities import OnDie, cost_table
from crossbar_sim.pipeline.selection_rules import compare_rules
from crossbar_sim.pipeline.steps import (
    Progress,
    build_model,
    calibrate_on_die,
    lived,
    load_data,
    select_on_die,
    train_and_prune,
    tuned,
)
from crossbar_sim.pipeline.tiles import Simulated, simulate
from crossbar_sim.pipeline.workspace import Workspace, write_json
from mapping.network.mapped_network import MappedNetwork
from netlists.fabrication.switch_tables import write_selection
from netlists.spice.chain import Chain
from netlists.spice.deck_directory import write_network
from tinynets.networks.data import Data
from tinynets.networks.extraction import extract
from tinynets.networks.layers import PrunedNetwork
from tinynets.networks.training import accuracy

#: The stage whose inputs the circuits are solved for.
WIRED = "mapped, wires and TIA"
#: Vectors that a layer's own netlist sweeps over; a convolution has one for each position.
MAX_NETLIST_VECTORS = 64


@dataclass(frozen=True)
class Outcome:
    """All that a run found; the report is made from it alone."""

    config: RunConfig
    mapped: MappedNetwork
    network: PrunedNetwork
    v_in: dict[str, np.ndarray]
    simulated: Simulated
    accuracies: list[dict[str, Any]]
    costs: list[dict[str, Any]]
    rules: list[dict[str, Any]]
    calibrated: list[dict[str, Any]]


def find_outcome(
    config: RunConfig, work: Workspace, worker: NgspiceWorker, tell: Progress
) -> Outcome:
    """Train, prune, map, write netlists, simulate and score."""
    data = load_data(config)
    dense, pruned = trained_networks(config, data, work, tell)
    network = extract(pruned, torch.from_numpy(data.x_test[:1]))
    mapped, calibrated = choose_switches(config, pruned, data, work, tell)
    on_die = die_maker(config, pruned, mapped, data)
    stages = stage_parts(config)
    networks = {"float": dense, "pruned": pruned}
    networks |= {label: on_die(parts) for label, parts in stages.items()}
    images = torch.from_numpy(data.x_test[: config.simulation.n_image])
    wired = networks[WIRED]
    v_in, passes = circuit_inputs(wired, mapped, images), layer_passes(config, wired, mapped)
    write_netlists(config, mapped, wired, v_in, work, tell)
    simulated = simulate(config, mapped, v_in, passes, work, worker, tell)
    simulated.verification.require()
    accuracies = score(data, networks, tell)
    costs = weigh_costs(config, data, on_die, work, tell)
    rules = weigh_rules(config, pruned, network, mapped, v_in, data, work, tell)
    return Outcome(config, mapped, network, v_in, simulated, accuracies, costs, rules, calibrated)


def die_maker(config: RunConfig, pruned: nn.Module, mapped: MappedNetwork, data: Data) -> OnDie:
    """Return the function that puts a network on its die with given parts, tuned as configured.

    Training images fix the ranges of converters and whatever is tuned, never test images.
    """
    calibration = torch.from_numpy(data.x_train)

    def on_die(parts: Hardware) -> nn.Module:
        network = to_torch(pruned, mapped, parts, calibration=calibration)
        return tuned(config, network, pruned, data)

    return on_die


def stage_parts(config: RunConfig) -> dict[str, Hardware]:
    """Return how real the parts are at each stage from the ideal die to the real one."""
    ideal, real = config.ideal_hardware, config.hardware
    wired = replace(ideal, wires=real.wires, periphery=real.periphery)
    stages = {"mapped, ideal wires": ideal, WIRED: wired}
    stages["mapped, wires, TIA, DAC and ADC"] = replace(wired, converters=real.converters)
    if real.noise:
        stages["mapped, everything and noise"] = real
    return stages


def layer_volts(layer: nn.Module) -> float:
    """Return the voltage of a unit input of a layer on the die."""
    assert isinstance(layer, CircuitLayer)
    return layer.volts_per_unit


def layer_passes(config: RunConfig, on_die: nn.Module, mapped: MappedNetwork) -> dict[str, int]:
    """Return how often each layer's tiles are read for one product."""
    converters, passes = config.hardware.converters, {}
    for layer in mapped.layers:
        module = on_die.get_submodule(layer.source.module)
        assert isinstance(module, CircuitLayer)
        passes[layer.name] = n_pass(converters, signed=module.input_range.signed)
    return passes


def trained_networks(
    config: RunConfig, data: Data, work: Workspace, tell: Progress
) -> tuple[nn.Module, nn.Module]:
    """Return the dense network and its pruned copy, trained unless an earlier try has."""

    def make(draft: Path) -> None:
        dense, pruned = train_and_prune(config, data, tell)
        draft.mkdir()
        torch.save(dense.state_dict(), draft / "dense.pt")
        torch.save(pruned.state_dict(), draft / "pruned.pt")

    path = work.once("model", make)
    dense, pruned = build_model(config), build_model(config)
    dense.load_state_dict(torch.load(path / "dense.pt", weights_only=True))
    pruned.load_state_dict(torch.load(path / "pruned.pt", weights_only=True))
    return dense.eval(), pruned.eval()


def choose_switches(
    config: RunConfig, pruned: nn.Module, data: Data, work: Workspace, tell: Progress
) -> tuple[MappedNetwork, list[dict[str, Any]]]:
    """Map the network onto the die; the selection is also written as a table.

    Returns also what calibration against the wires did to each layer, nothing without it.
    """
    calibrated: list[dict[str, Any]] = []
    name = "selected.npz" if config.calibrate.rounds else "mapped.npz"

    def select(draft: Path) -> None:
        mapped = select_on_die(config, pruned, data, tell)
        (mapped if config.calibrate.rounds else lived(config, mapped)).save(draft)

    mapped = MappedNetwork.load(work.once(name, select))
    if config.calibrate.rounds:

        def make(draft: Path) -> None:
            draft.mkdir()
            found = calibrate_on_die(config, pruned, data, mapped, tell)
            lived(config, found.mapped).save(draft / "mapped.npz")
            rows = [asdict(layer) | {"lost": layer.out_of_reach} for layer in found.layers]
            write_json(draft / "layers.json", rows)

        path = work.once("calibrated", make)
        calibrated = json.loads((path / "layers.json").read_text(encoding="utf-8"))
        mapped = MappedNetwork.load(path / "mapped.npz")
        work.once("mapped.npz", mapped.save)
    work.once("selection.csv", lambda draft: write_selection(mapped, draft))
    return mapped, calibrated


def write_netlists(
    config: RunConfig,
    mapped: MappedNetwork,
    on_die: nn.Module,
    v_in: dict[str, np.ndarray],
    work: Workspace,
    tell: Progress,
) -> None:
    """Write the directory of SPICE text, each layer's deck with its first real inputs.

    A perceptron is also written as one circuit from input voltages to logits.
    """
    few = {name: volts[:MAX_NETLIST_VECTORS] for name, volts in v_in.items()}
    parts = config.hardware.wires, config.hardware.periphery
    chain = None
    if config.model.kind == "mlp" and config.periphery.drive == "bipolar":
        layers = {x.name: on_die.get_submodule(x.source.module) for x in mapped.layers}
        chain = Chain({name: layer_volts(layer) for name, layer in layers.items()})
    tell("netlists", 0, 1)
    work.once("netlists", lambda draft: write_network(mapped, *parts, draft, v_in=few, chain=chain))
    tell("netlists", 1, 1)


def score(data: Data, networks: dict[str, nn.Module], tell: Progress) -> list[dict[str, Any]]:
    """Return the accuracy of each network on the whole test set."""
    rows = []
    tell("accuracy", 0, len(networks))
    for k, (label, network) in enumerate(networks.items()):
        found = accuracy(network, data.x_test, data.y_test)
        rows.append({"network": label, "accuracy": found, "n_image": len(data.x_test)})
        tell("accuracy", k + 1, len(networks))
    return rows


def weigh_costs(
    config: RunConfig, data: Data, on_die: OnDie, work: Workspace, tell: Progress
) -> list[dict[str, Any]]:
    """Return what each non-ideality costs in accuracy."""
    tell("costs", 0, 1)
    path = work.once(
        "costs.json", lambda draft: write_json(draft, cost_table(config, data, on_die))
    )
    tell("costs", 1, 1)
    return json.loads(path.read_text(encoding="utf-8"))


def weigh_rules(
    config: RunConfig,
    pruned: nn.Module,
    network: PrunedNetwork,
    mapped: MappedNetwork,
    v_in: dict[str, np.ndarray],
    data: Data,
    work: Workspace,
    tell: Progress,
) -> list[dict[str, Any]]:
    """Return what other rules of selection would give on the same die."""
    v_rms = float(np.sqrt(np.mean(np.concatenate([v.ravel() for v in v_in.values()]) ** 2)))
    options = {"v_rms": v_rms, "n_calibration": config.select.n_calibration}

    def make(draft: Path) -> None:
        tell("rules", 0, 1)
        write_json(draft, compare_rules(pruned, network, mapped.die, mapped.tile, data, **options))

    rows = json.loads(work.once("rules.json", make).read_text(encoding="utf-8"))
    tell("rules", 1, 1)
    return rows
