"""All results of a run, step by step: from a trained network to a simulated die and its scores."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from crossbar_sim.config import RunConfig
from crossbar_sim.energy.inference import network_energy
from crossbar_sim.findings.estimate import RunAmount, run_amount
from crossbar_sim.findings.non_idealities import cost_table, one_change
from crossbar_sim.findings.run_score import accuracy_row, compared, fidelity, metric_of, score_row
from crossbar_sim.findings.selection_rules import compare_rules
from crossbar_sim.findings.sensitivity import Sensitivity, sensitivity
from crossbar_sim.findings.yardstick import yardstick
from crossbar_sim.ngspice.worker import NgspiceWorker
from crossbar_sim.on_die.hardware import Hardware
from crossbar_sim.pipeline.deployment import Deployment, Reads, layers_on_die, reads_of
from crossbar_sim.pipeline.kept import Kept
from crossbar_sim.pipeline.tiles import Questions, Simulated, simulate, solve_tile
from crossbar_sim.pipeline.workspace import Workspace, write_json
from crossbar_sim.solvers.solution import Solution
from mapping.network.mapped_network import MappedNetwork
from mapping.tiling.tiles import Tile
from netlists.fabrication.switch_tables import write_selection
from netlists.spice.chain import Chain
from netlists.spice.deck_directory import write_network
from tinynets.networks.layers import PrunedNetwork
from tinynets.networks.training import predict
from tinynets.progress import Progress

#: The stage whose inputs the circuits are solved for.
WIRED = "mapped, wires and TIA"
#: The stage of all parts but noise.
CONVERTED = "mapped, wires, TIA, DAC and ADC"
#: Largest number of vectors in a layer's own netlist; a convolution has one for each position.
MAX_NETLIST_VECTORS = 64
#: Time that needs no announcement [s].
QUICK = 2.0


@dataclass(frozen=True)
class Outputs:
    """Differential outputs of all tiles, vectors and pairs [V].

    target: products with the weights themselves, without selection error or wires.
    realised: outputs of the circuits.
    largest: largest magnitude of a single TIA's output.
    """

    target: np.ndarray
    realised: np.ndarray
    largest: float


@dataclass(frozen=True)
class Outcome:
    """All results of a run; the report needs nothing else.

    config: of the run.
    mapped: the network on its die.
    network: the layers of the pruned network.
    simulated: the answers of all tiles.
    outputs: target and realised outputs of the tiles.
    accuracies: rows of network and accuracy, None without labels, and of `shares.compared`.
    measure: the metric of the run, and its value for each network, compared likewise.
    fidelity: how near the outputs on the die are to the digital ones, in all and by layer.
    costs: rows of each non-ideality's cost.
    changes: rows of what less of one non-ideality, or of one part, would do.
    sensitivity: what the parts of the tiles cost, None without classes or resistive wires.
    rules: rows of other selection rules.
    calibrated: rows of what the choice against the wires did to each layer.
    yardstick: energy of one dense product.
    all_on: the largest tile, and its circuit's solution with every input at v_read.
    """

    config: RunConfig
    mapped: MappedNetwork
    network: PrunedNetwork
    simulated: Simulated
    outputs: Outputs
    accuracies: list[dict[str, Any]]
    measure: dict[str, Any]
    fidelity: dict[str, Any]
    costs: list[dict[str, Any]]
    changes: list[dict[str, Any]]
    sensitivity: Sensitivity | None
    rules: list[dict[str, Any]]
    calibrated: list[dict[str, Any]]
    yardstick: dict[str, Any]
    all_on: tuple[Tile, Solution]


def find_outcome(
    config: RunConfig,
    work: Workspace,
    worker: NgspiceWorker,
    tell: Progress,
    announce: Callable[[RunAmount], object],
) -> Outcome:
    """Train, prune, map, write netlists, simulate and score.

    announce: called before the mapping, if what follows takes more than `QUICK` seconds.

    Raises OSError if the disk cannot hold what the run writes.
    """
    way = Deployment(config, Kept(work), tell)
    metric_of(config, way.data)  # one that cannot be is refused before the work
    if not work.path("netlists").exists():
        amount = run_amount(config, way.network, MAX_NETLIST_VECTORS)
        amount.files.require_disk(work.directory, "free some, or take fewer weights or branches")
        if amount.seconds > QUICK:
            announce(amount)
    networks = {"digital": way.pruned}
    if config.prune:
        networks = {"float": way.dense, "pruned": way.pruned}
    networks |= {label: way.on_die(parts) for label, parts in stage_parts(config).items()}
    work.once("selection.csv", lambda draft: write_selection(way.mapped, draft))
    images = way.data.x_test[: config.simulation.n_image]
    reads = reads_of(networks[WIRED], way.mapped, images, config.hardware.converters)
    write_netlists(way, networks[WIRED], reads, work)
    names = [tile.name for tile in way.mapped.tiles]
    simulated = simulate(way, reads, Questions(worker, names, limits=True))
    simulated.verification.require()
    accuracies, measure, fidelity = score(way, networks)
    return Outcome(
        config,
        way.mapped,
        way.network,
        simulated,
        tile_outputs(way, reads, simulated),
        accuracies,
        measure,
        fidelity,
        *weigh_costs(way, work, simulated),
        sensitivity(way, networks[CONVERTED]),
        weigh_rules(way, reads, work),
        way.selection.layers if config.calibrate.rounds else [],
        yardstick(config, simulated.t_read),
        all_on(way),
    )


def stage_parts(config: RunConfig) -> dict[str, Hardware]:
    """Return the hardware of each stage between ideal and real, by label."""
    ideal, real = config.ideal_hardware, config.hardware
    wired = replace(ideal, wires=real.wires, periphery=real.periphery, devices=real.devices)
    stages = {"mapped, ideal wires": ideal, WIRED: wired}
    stages[CONVERTED] = replace(wired, converters=real.converters)
    if real.noise:
        stages["mapped, everything and noise"] = real
    return stages


def write_netlists(way: Deployment, on_die: nn.Module, reads: Reads, work: Workspace) -> None:
    """Write the directory of SPICE text, in which each layer's deck has its first real inputs.

    A perceptron is also written as one circuit from input voltages to logits.
    """
    config = way.config
    few = {name: volts[:MAX_NETLIST_VECTORS] for name, volts in reads.v_in.items()}
    parts = config.hardware.wires, config.hardware.periphery
    chain = None
    if config.network.source == "mlp" and config.periphery.drive == "bipolar":
        layers = layers_on_die(on_die, way.mapped)
        chain = Chain({name: layer.volts_per_unit for name, layer in layers.items()})
    way.tell("netlists", 0, 1)
    work.once(
        "netlists", lambda draft: write_network(way.mapped, *parts, draft, v_in=few, chain=chain)
    )
    way.tell("netlists", 1, 1)


def tile_outputs(way: Deployment, reads: Reads, simulated: Simulated) -> Outputs:
    """Return the tiles' outputs beside the products that they should give."""
    r_feedback = way.config.periphery.r_feedback
    target, realised = [], []
    for layer in way.mapped.layers:
        for tile in layer.tiles:
            volts = reads.v_in[layer.name][:, tile.rows]
            target.append((r_feedback * (volts @ layer.target_of(tile))).ravel())
            v_out = simulated.answers[tile.name].v_out
            realised.append((v_out[:, tile.n_bit :] - v_out[:, : tile.n_bit]).ravel())
    largest = max(float(np.abs(answer.v_out).max()) for answer in simulated.answers.values())
    return Outputs(np.concatenate(target), np.concatenate(realised), largest)


def all_on(way: Deployment) -> tuple[Tile, Solution]:
    """Solve the largest tile with every input at v_read."""
    hardware = way.config.hardware
    tile = max(way.mapped.tiles, key=lambda tile: int(tile.present.sum()))
    all_high = np.full((1, tile.n_word), way.config.periphery.v_read)
    return tile, solve_tile(hardware, way.mapped.die, tile, all_high)


def score(
    way: Deployment, networks: Mapping[str, nn.Module]
) -> tuple[list[dict[str, Any]], dict[str, Any], dict[str, Any]]:
    """Return the accuracy and the metric of each network on all test samples.

    The third is the fidelity of the last network, on its die, by the same pass. With noise it has
    a pass of its own, in which the noise starts anew.
    """
    data, rows, scores, near = way.data, [], [], None
    way.tell("accuracy", 0, len(networks))
    for k, (label, network) in enumerate(networks.items()):
        if network is way.pruned:
            outputs = way.digital_outputs
        elif k + 1 < len(networks) or way.config.hardware.noise:
            outputs = predict(network, data.x_test)
        else:
            outputs, near = compared(way, network)
        digital = way.digital_outputs
        row = {"network": label, "n_image": len(data.x_test)}
        row |= {"relative_error": fidelity(outputs, digital)["relative_error"]}
        rows.append(row | accuracy_row(outputs, digital, data))
        scores.append({"network": label} | score_row(way.config, data, outputs, digital))
        way.tell("accuracy", k + 1, len(networks))
    near = near or compared(way, list(networks.values())[-1])[1]
    metric = metric_of(way.config, data)
    return rows, {"metric": Path(metric).name, "scores": scores}, near


def weigh_costs(
    way: Deployment, work: Workspace, simulated: Simulated
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the cost of each non-ideality in accuracy, and what a change of one would do."""
    way.tell("costs", 0, 2)
    path = work.once("costs.json", lambda draft: write_json(draft, cost_table(way)))
    costs = json.loads(path.read_text(encoding="utf-8"))
    way.tell("costs", 1, 2)
    energy = network_energy(way.mapped, simulated.energies)["analog"]
    path = work.once(
        "changes.json", lambda draft: write_json(draft, one_change(way, costs, energy))
    )
    way.tell("costs", 2, 2)
    return costs, json.loads(path.read_text(encoding="utf-8"))


def weigh_rules(way: Deployment, reads: Reads, work: Workspace) -> list[dict[str, Any]]:
    """Return the results of other selection rules on the same die."""
    way.tell("rules", 0, 1)
    path = work.once("rules.json", lambda draft: write_json(draft, compare_rules(way, reads.v_rms)))
    way.tell("rules", 1, 1)
    return json.loads(path.read_text(encoding="utf-8"))
