"""Find similar digits by FlyHash, ideal and through crossbars of unprogrammed resistors.

Run: python examples/pruning/flyhash.py
"""

import torch

from crossbar_sim.on_die.flyhash_projection import crossbar_projection
from mapping import Die, ResistorBank, TileConfig
from netlists import Wires
from tinynets.data import digits
from tinynets.flyhash import FlyHash, nearest_codes, nearest_exact, recall, sparse_projection


def main() -> None:
    """Print the recall of the ten nearest neighbours for both."""
    data = digits(seed=0, flat=True)
    x, queries = torch.from_numpy(data.x_train), torch.from_numpy(data.x_test)
    exact = nearest_exact(x, queries, 10)
    projection = sparse_projection(x.shape[1], 640, share=0.1, seed=0)
    die = Die(ResistorBank(n=1, r_min=100e3, sigma_local=0.1), seed=0)
    wires, tile = Wires(r_word=1.0, r_bit=1.0), TileConfig(64, 64)
    realised = crossbar_projection(projection.numpy(), die, wires, tile=tile)
    for name, matrix in (("ideal", projection), ("crossbar", torch.from_numpy(realised))):
        hash_of = FlyHash(matrix, 32)
        nearest = nearest_codes(hash_of(x), hash_of(queries), 10)
        print(f"{name}: {recall(nearest, exact):.1%} of the ten nearest neighbours found")


if __name__ == "__main__":
    main()
