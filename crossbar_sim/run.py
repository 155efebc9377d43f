"""The main job: from a trained network to a simulated die and its report, step by step."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from crossbar_sim.analog import circuit_inputs, to_torch
from crossbar_sim.calibrate import calibrate
from crossbar_sim.config import RunConfig
from crossbar_sim.converters import Converters
from crossbar_sim.moments import second_moments
from crossbar_sim.ngspice import NgspiceWorker
from crossbar_sim.power import TileEnergy, tile_energy
from crossbar_sim.rules import compare_rules
from crossbar_sim.verification import TileCheck, Verification, check_tile
from crossbar_sim.workspace import Workspace, write_json
from mapping.bank import Die
from mapping.design import MappedNetwork
from mapping.place import map_network
from mapping.tiles import Tile
from netlists.circuit import Periphery, Wires
from netlists.fabrication import write_selection
from netlists.network import write_network
from tinynets.data import Data, digits
from tinynets.extraction import extract
from tinynets.layers import PrunedNetwork
from tinynets.models import digits_cnn, mlp
from tinynets.pruning import make_permanent, prune
from tinynets.train import accuracy, train

#: Vectors that a layer's own netlist sweeps over; a convolution has one for each position.
MAX_NETLIST_VECTORS = 64

#: Called with the step's name, what is done and what is to do.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Outcome:
    """All that a run found; the report is made from it alone."""

    config: RunConfig
    mapped: MappedNetwork
    network: PrunedNetwork
    v_in: dict[str, np.ndarray]
    verification: Verification
    tile_energies: dict[str, TileEnergy]
    accuracies: list[dict[str, Any]]
    rules: list[dict[str, Any]]


def run(
    config: RunConfig,
    root: str | Path = "results",
    *,
    resume: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Do the whole job and return the directory `root/<name>` with its report.

    resume: go on where an interrupted run of the same settings stopped. progress: see `Progress`.
    Raises ConfigError, NgspiceError when ngspice cannot be used, VerificationError when the two
    engines disagree. The final directory appears only when everything is done.
    """
    from crossbar_sim.report import write_report

    tell = progress or (lambda step, done, total: None)
    with NgspiceWorker(time_limit=config.simulation.time_limit) as worker, single_thread():
        worker.probe()  # fail before the work, not after it
        work = Workspace(Path(root), config, resume=resume)
        outcome = find_outcome(config, work, worker, tell)
        tell("report", 0, 1)
        write_report(outcome, work.directory)
        tell("report", 1, 1)
        return work.finish()


def find_outcome(
    config: RunConfig, work: Workspace, worker: NgspiceWorker, tell: Progress
) -> Outcome:
    """Train, prune, map, write netlists, simulate and score."""
    data = load_data(config)
    dense, pruned = trained_networks(config, data, work, tell)
    network = extract(pruned, torch.from_numpy(data.x_test[:1]))
    mapped = choose_switches(config, pruned, data, work, tell)
    wires, periphery = config.wires.build(), config.periphery.build()
    converters = config.periphery.converters()
    calibration = torch.from_numpy(data.x_train)

    def on_die(wires: Wires, periphery: Periphery, converters: Converters) -> nn.Module:
        return to_torch(pruned, mapped, wires, periphery, converters, calibration=calibration)

    ideal = Converters(converters.v_read)
    networks = {
        "float": dense,
        "pruned": pruned,
        "mapped, ideal wires": on_die(Wires(), Periphery(periphery.r_feedback), ideal),
        "mapped, wires and TIA": on_die(wires, periphery, ideal),
        "mapped, wires, TIA, DAC and ADC": on_die(wires, periphery, converters),
    }
    images = torch.from_numpy(data.x_test[: config.simulation.n_image])
    v_in = circuit_inputs(networks["mapped, wires and TIA"], mapped, images)
    write_netlists(mapped, wires, periphery, v_in, work, tell)
    verification, energies = simulate(config, mapped, v_in, work, worker, tell)
    verification.require()
    accuracies = score(data, networks, tell)
    rules = weigh_rules(config, pruned, network, mapped, v_in, data, work, tell)
    return Outcome(config, mapped, network, v_in, verification, energies, accuracies, rules)


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


def train_and_prune(
    config: RunConfig, data: Data, tell: Progress = lambda step, done, total: None
) -> tuple[nn.Module, nn.Module]:
    """Train a network on the training set, and prune a copy of it."""
    torch.manual_seed(config.seed)
    model = build_model(config)
    epochs = config.train.epochs
    train(
        model,
        data,
        **config.train.model_dump(),
        seed=config.seed,
        progress=lambda n: tell("train", n, epochs),
    )
    pruned = prune(
        model,
        data,
        sparsity=config.prune.sparsity,
        rounds=config.prune.rounds,
        epochs=config.prune.epochs_per_round,
        learning_rate=config.prune.learning_rate,
        seed=config.seed,
        progress=lambda k, n, _sparsity: tell("prune", k, n),
    )
    return model, make_permanent(pruned)


def load_data(config: RunConfig) -> Data:
    """Return the data set of a configuration."""
    return digits(seed=config.seed, flat=config.model.kind == "mlp")


def build_model(config: RunConfig) -> nn.Sequential:
    """Return the untrained network of a configuration."""
    if config.model.kind == "mlp":
        return mlp((64, *config.model.hidden, 10))
    return digits_cnn(config.model.channels)


def choose_switches(
    config: RunConfig, pruned: nn.Module, data: Data, work: Workspace, tell: Progress
) -> MappedNetwork:
    """Map the network onto the die; the selection is also written as a table."""
    path = work.once("mapped.npz", lambda draft: map_on_die(config, pruned, data, tell).save(draft))
    mapped = MappedNetwork.load(path)
    work.once("selection.csv", lambda draft: write_selection(mapped, draft))
    return mapped


def map_on_die(
    config: RunConfig,
    model: nn.Module,
    data: Data,
    tell: Progress = lambda step, done, total: None,
) -> MappedNetwork:
    """Map a network onto the die of a configuration, calibrated against its wires if it says so."""
    network = extract(model, torch.from_numpy(data.x_test[:1]))
    names = [layer.name for layer in network.layers]
    calibration = torch.from_numpy(data.x_train[: config.select.n_calibration])
    mapped = map_network(
        network,
        Die(config.bank.build(), seed=config.die.seed),
        config.tile.build(),
        rule=config.select.build(),
        second_moment=second_moments(model, network, calibration),
        progress=lambda name: tell("select", names.index(name) + 1, len(names)),
    )
    if not config.calibrate.rounds:
        return mapped
    return calibrate(
        mapped,
        config.wires.build(),
        config.periphery.build(),
        rounds=config.calibrate.rounds,
        progress=lambda done, total: tell("calibrate", done, total),
    ).mapped


def write_netlists(
    mapped: MappedNetwork,
    wires: Wires,
    periphery: Periphery,
    v_in: dict[str, np.ndarray],
    work: Workspace,
    tell: Progress,
) -> None:
    """Write the directory of SPICE text, each layer's deck with its first real inputs."""
    few = {name: volts[:MAX_NETLIST_VECTORS] for name, volts in v_in.items()}
    tell("netlists", 0, 1)
    work.once("netlists", lambda draft: write_network(mapped, wires, periphery, draft, v_in=few))
    tell("netlists", 1, 1)


def simulate(
    config: RunConfig,
    mapped: MappedNetwork,
    v_in: dict[str, np.ndarray],
    work: Workspace,
    worker: NgspiceWorker,
    tell: Progress,
) -> tuple[Verification, dict[str, TileEnergy]]:
    """Solve every tile with ngspice and the engine; return how they agree, and the energies."""
    wires, periphery = config.wires.build(), config.periphery.build()
    tiles, checks, energies, solvers = mapped.tiles, [], {}, ("", "")
    work.path("tiles").mkdir(exist_ok=True)
    for k, tile in enumerate(tiles):

        def make(draft: Path, tile: Tile = tile) -> None:
            volts = v_in[tile.layer][:, tile.rows]
            check, spice, fast = check_tile(tile, volts, wires, periphery, worker)
            used = tile_energy(tile, fast, config.periphery.converters(), config.energy.build())
            found = {"check": asdict(check), "solvers": [spice.solver, fast.solver]}
            write_json(draft, found | {"energy": asdict(used)})

        found = json.loads(work.once(f"tiles/{tile.name}.json", make).read_text())
        checks.append(TileCheck(**found["check"]))
        energies[tile.name] = TileEnergy(**found["energy"])
        solvers = (found["solvers"][0], found["solvers"][1])
        tell("ngspice", k + 1, len(tiles))
    return Verification(tuple(checks), config.simulation.tolerance, solvers), energies


def score(data: Data, networks: dict[str, nn.Module], tell: Progress) -> list[dict[str, Any]]:
    """Return the accuracy of each network on the whole test set."""
    rows = []
    for k, (label, network) in enumerate(networks.items()):
        found = accuracy(network, data.x_test, data.y_test)
        rows.append({"network": label, "accuracy": found, "n_image": len(data.x_test)})
        tell("accuracy", k + 1, len(networks))
    return rows


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

    rows = json.loads(work.once("rules.json", make).read_text())
    tell("rules", 1, 1)
    return rows


@contextmanager
def single_thread() -> Iterator[None]:
    """Run torch on one thread: these networks are small, and sums keep their order."""
    n_thread = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_thread)
