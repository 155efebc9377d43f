"""Two alternatives to pruning, compared by the same report: fewer bits and low rank."""

import torch

import tinynets
from tinynets.data import digits
from tinynets.networks.models import mlp
from tinynets.networks.training import train
from tinynets.pruning.metrics import Metrics

torch.set_num_threads(1)  # for networks this small, threads cost more than they save
data = digits(seed=0, flat=True)
torch.manual_seed(0)
model = train(mlp((64, 64, 64, 10)), data, epochs=15, learning_rate=0.01)
example = torch.from_numpy(data.x_test[:1])
before = tinynets.measure(model, example, data)


def show(name: str, after: Metrics) -> None:
    """Print the figures of one network."""
    report = tinynets.compare(before, after)
    print(
        f"{name:14s} {report['bits_ratio']:5.1f} x fewer bits, "
        f"{report['theoretical_speedup']:4.1f} x fewer MACs, top-1 {report['top1_after']:.1%}"
    )


for bits in (8, 6, 4, 3, 2):
    small = tinynets.quantise(model, bits)
    show(f"{bits} bits", tinynets.measure(small, example, data, bits=bits))
for energy in (0.99, 0.9, 0.8, 0.6):
    small = tinynets.low_rank(model, energy)
    show(f"energy {energy:.0%}", tinynets.measure(small, example, data))
sparse = tinynets.prune(model, data, sparsity=0.8, epochs=5)
show("80 % pruned", tinynets.measure(sparse, example, data))
