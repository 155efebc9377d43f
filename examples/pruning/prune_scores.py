"""Prune a trained network by every score, and print its compression and accuracy."""

import torch

import tinynets
from tinynets.data import digits
from tinynets.networks.models import mlp
from tinynets.networks.training import train
from tinynets.pruning import METHODS

torch.set_num_threads(1)  # for networks this small, threads cost more than they save
data = digits(seed=0, flat=True)
torch.manual_seed(0)
model = train(mlp((64, 64, 10)), data, epochs=15, learning_rate=0.01)
example = torch.from_numpy(data.x_test[:1])
before = tinynets.measure(model, example, data)

print(
    f"{'method':20s} {'compression':>11s} {'speed-up':>9s} {'top-1':>7s}   (was {before.top1:.1%})"
)
for method in METHODS:
    small = tinynets.prune(
        model, data, method=method, sparsity=0.9, epochs=5, learning_rate=5e-3, seed=1
    )
    report = tinynets.compare(before, tinynets.measure(small, example, data))
    print(
        f"{method:20s} {report['compression_ratio']:10.1f}x {report['theoretical_speedup']:8.1f}x "
        f"{report['top1_after']:7.1%}"
    )
