"""Remove whole channels in multiples of a tile's side, then fine-tune the rest."""

import torch

import tinynets
from tinynets.data import digits
from tinynets.networks.models import digits_cnn
from tinynets.networks.training import train

torch.set_num_threads(1)  # for networks this small, threads cost more than they save
data = digits(seed=0, flat=False)
torch.manual_seed(0)
model = train(digits_cnn((16, 32)), data, epochs=5, learning_rate=0.01)
example = torch.from_numpy(data.x_test[:1])
before = tinynets.measure(model, example, data)

for sparsity in (0.25, 0.5, 0.75):
    small = tinynets.prune_filters(model, example, sparsity=sparsity, round_to=8)
    train(small, data, epochs=5, learning_rate=0.01)
    report = tinynets.compare(before, tinynets.measure(small, example, data))
    shapes = [tuple(p.shape) for p in small.parameters() if p.ndim > 1]
    print(f"sparsity {sparsity:.0%}: weights {shapes}")
    print(
        f"  {report['compression_ratio']:.1f} x smaller, {report['theoretical_speedup']:.1f} x "
        f"fewer MACs, top-1 {report['top1_before']:.1%} -> {report['top1_after']:.1%}"
    )
