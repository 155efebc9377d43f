"""Prune a network for its tiles, and count the cost of each way to split it.

Run: python examples/pruning/compaction.py
"""

import torch

from mapping import TileConfig
from mapping.tiling.compact import compare
from tinynets import extract, prune
from tinynets.data import digits
from tinynets.networks.models import mlp
from tinynets.networks.training import accuracy, train
from tinynets.pruning.for_tiles import prune_for_tiles


def main() -> None:
    """Compare pruning of single weights and of whole bit lines at the same sparsity."""
    data, tile = digits(seed=0, flat=True), TileConfig(16, 16)
    torch.manual_seed(0)
    model = train(mlp((64, 128, 10)), data, epochs=15)
    options = {"sparsity": 0.7, "rounds": 3, "epochs": 8}
    networks = {
        "single weights": prune(model, data, **options),
        "bit lines": prune_for_tiles(model, data, n_word=16, n_bit=16, **options),
    }
    for name, pruned in networks.items():
        print(f"{name}: accuracy {accuracy(pruned, data.x_test, data.y_test):.1%}")
        for layer in extract(pruned, torch.from_numpy(data.x_train[:1])).layers:
            for way, counts in compare(layer.pattern, tile).items():
                print(
                    f"  {layer.name}, {way}: {counts.n_tile} tiles, {counts.n_word_line} word "
                    f"lines, {counts.n_conversion} conversions"
                )


if __name__ == "__main__":
    main()
