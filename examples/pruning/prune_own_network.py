"""Bring your own network: load weights safely, prune it, fold its batch norm and extract it."""

import tempfile
from pathlib import Path

import torch
from torch import nn

import tinynets
from tinynets.data import digits
from tinynets.networks.training import accuracy, train


def build() -> nn.Module:
    """Return a network. Any module works; this one has groups, dilation and batch norm."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, padding=2, dilation=2, groups=4),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(1024, 10),
    )


torch.set_num_threads(1)  # for networks this small, threads cost more than they save
data = digits(seed=0, flat=False)
with tempfile.TemporaryDirectory() as folder:
    weights = Path(folder) / "weights.pt"
    torch.save(train(build(), data, epochs=3, learning_rate=0.01).state_dict(), weights)
    model = tinynets.load_weights(build(), weights)  # never executes code in the file
pruned = tinynets.prune(model, data, method="activation", sparsity=0.8, epochs=3)
small = tinynets.fold_batch_norm(pruned)
network = tinynets.extract(small, torch.from_numpy(data.x_test[:1]))
print(f"top-1 {accuracy(small, data.x_test, data.y_test):.1%}, digital: {network.digital}")
for layer in network.layers:
    print(f"{layer.name}: {layer.weight.shape}, {layer.n_remaining} of {layer.n_weight} left")
