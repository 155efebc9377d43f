"""Find a classifier inside a random network: no weight is ever trained."""

import torch

import tinynets
from tinynets.data import digits
from tinynets.networks.models import digits_cnn, mlp
from tinynets.networks.training import accuracy

torch.set_num_threads(1)  # for networks this small, threads cost more than they save
NETWORKS = {"dense": mlp((64, 200, 10)), "convolutional": digits_cnn((16, 32))}

for name, model in NETWORKS.items():
    data = digits(seed=0, flat=name == "dense")
    for init in ("signed_constant", "kaiming_normal"):
        masked = tinynets.edge_popup(
            model, data, sparsity=0.5, init=init, epochs=5, learning_rate=0.02, seed=0
        )
        network = tinynets.extract(masked, torch.from_numpy(data.x_test[:1]))
        top1 = accuracy(masked, data.x_test, data.y_test)
        print(f"{name:14s} {init:16s} {network.sparsity:.0%} masked, top-1 {top1:.1%}")
