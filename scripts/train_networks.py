"""Train, prune and write the networks that the examples and the tests load.

Each configuration whose [network] names a file of weights is trained as its [train] and [prune] say
and written to that file, with the processor that did it. Run again only to change a network: every
figure that stands on it changes too.
Run: python scripts/train_networks.py [CONFIG.toml ...]  (default: all of them; some minutes)
"""

import sys
from pathlib import Path

from crossbar_sim.config import RunConfig
from crossbar_sim.config.run import read_toml
from crossbar_sim.pipeline.steps import build_model, load_data, single_thread, train_and_prune
from crossbar_sim.pipeline.trained import load_trained, save_trained
from crossbar_sim.system.machine import summary
from tinynets.networks.training import accuracy

ROOT = Path(__file__).parent.parent
EXAMPLES = ("examples/runs/digits.toml", "examples/runs/digits_cnn.toml")
CONFIGS = (*EXAMPLES, "tests/networks/small.toml")


def make(path: Path) -> None:
    """Train the networks of a configuration, write them, read them back and score them."""
    config = read_toml(path, RunConfig)
    if config.network.weights is None:
        sys.exit(f"{path}: [network] names no file of weights to write")
    target = path.parent / config.network.weights
    data = load_data(config)
    with single_thread():
        networks = train_and_prune(config.with_weights(None), data)
    target.parent.mkdir(exist_ok=True)
    save_trained(target, config, *networks, made_on=summary())
    kept = build_model(config), build_model(config)
    load_trained(config.with_weights(target), *kept)
    dense, pruned = (accuracy(model.eval(), data.x_test, data.y_test) for model in kept)
    size = target.stat().st_size
    print(f"{target}: {size:,} bytes, test accuracy {dense:.2%} dense, {pruned:.2%} pruned")


if __name__ == "__main__":
    for name in sys.argv[1:] or CONFIGS:
        make(ROOT / name)
