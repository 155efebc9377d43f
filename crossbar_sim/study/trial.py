"""One trial of a study: a configuration on one die, with a network trained once and kept."""

import hashlib
import json
from functools import cache
from multiprocessing.util import Finalize
from pathlib import Path

from torch import nn

from crossbar_sim.config import RunConfig
from crossbar_sim.ngspice.verification import chosen_tiles
from crossbar_sim.ngspice.worker import NgspiceWorker
from crossbar_sim.pipeline.deployment import Deployment, reads_of, training_text
from crossbar_sim.pipeline.kept import Kept
from crossbar_sim.pipeline.own import look_in
from crossbar_sim.pipeline.steps import load_data, single_thread, train_and_prune
from crossbar_sim.pipeline.tiles import Questions, Simulated, simulate
from crossbar_sim.pipeline.trained import write_weights
from crossbar_sim.study.metrics import found_metrics
from crossbar_sim.system import machine
from tinynets.files.drafts import new_file
from tinynets.networks.training import predict

#: Number of vectors that ngspice solves on a tile.
N_CHECKED = 8
#: Source files that training and pruning depend on.
_TRAINING_CODE = (
    "tinynets/**/*.py",
    "crossbar_sim/pipeline/steps.py",
    "crossbar_sim/pipeline/own.py",
    "crossbar_sim/calibration/tune.py",
)
#: Results that the trials of this process share.
KEPT = Kept()
#: Number of weights of a network above which only the last die stays in memory.
LARGE = 3_000_000


@cache
def source_digest(*patterns: str) -> str:
    """Return twelve hexadecimal digits that change with the matching source files.

    patterns: relative to the directory of the packages; "**" stands for any folders.
    """
    root, digest = Path(__file__).parents[2], hashlib.sha256()
    for pattern in patterns:
        for path in sorted(root.glob(pattern)):
            digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def training_key(config: RunConfig) -> str:
    """Return the hash of the settings and the code that the pruned network depends on."""
    parts = json.dumps([training_text(config), source_digest(*_TRAINING_CODE)])
    return hashlib.sha256(parts.encode()).hexdigest()[:16]


def trained_path(config: RunConfig, cache: Path) -> Path:
    """Return the file of a configuration's pruned network, trained now if there is none.

    A network that another kind of machine trained is not used, since its weights may differ.
    """
    look_in(cache)
    path = cache / f"{training_key(config)}-{machine.key()}.pt"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with single_thread():
            _, pruned = train_and_prune(config, load_data(config))
        with new_file(path) as draft:
            write_weights(pruned, draft)
    return path


def run_trial(config: RunConfig, network: Path) -> dict[str, float]:
    """Return the metrics of a configuration on its die.

    network: file of the pruned network's weights.

    `crossbar_sim.study.metrics` says what they are.
    """
    look_in(network.parent)
    with single_thread():
        way = Deployment(config, KEPT, weights=network)
        on_die = way.on_die(config.hardware)
        outputs = predict(on_die, way.data.x_test)
        if sum(layer.source.n_remaining for layer in way.mapped.layers) > LARGE:
            KEPT.trim(1)
        simulated = _simulated(way, on_die) if config.simulation.n_power else None
        return found_metrics(way, on_die, outputs, simulated)


def _simulated(way: Deployment, on_die: nn.Module) -> Simulated:
    """Solve the tiles for a few real images, some of them with ngspice too."""
    config, simulation = way.config, way.config.simulation
    images = way.data.x_test[: simulation.n_power]
    reads = reads_of(on_die, way.mapped, images, config.hardware.converters)
    if not simulation.check_tiles:
        return simulate(way, reads, Questions())
    tiles = chosen_tiles(way.mapped, n_sample=simulation.check_tiles, seed=config.die.seed)
    names = [tile.name for tile in tiles]
    worker = _worker(simulation.time_limit)
    worker.forget()  # so that no digit depends on the trials that this process ran before
    simulated = simulate(way, reads, Questions(worker, names, N_CHECKED))
    simulated.verification.require()
    return simulated


@cache
def _worker(time_limit: float) -> NgspiceWorker:
    """Return the ngspice that the trials of this process share; starting one takes long."""
    worker = NgspiceWorker(time_limit=time_limit)
    # Before a process waits for its children, which it does before anything of `atexit`: joblib
    # replaces a process whose memory has grown, and the old one would wait for ngspice for ever.
    Finalize(None, worker.close, exitpriority=10)
    return worker
