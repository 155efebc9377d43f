"""What no energy of this project counts, on either side of a comparison, with its size.

If a published figure fits, the energy that it would add is given too.
"""

import math
from typing import Any

from crossbar_sim.energy.digital import NODES, memory
from mapping.network.mapped_network import MappedNetwork
from tinynets.networks.flops import count
from tinynets.networks.layers import PrunedLayer

#: Node whose figures turn sizes into joules: 45 nm int8.
_NODE = NODES[0]


def uncounted(mapped: MappedNetwork) -> list[dict[str, Any]]:
    """Return what is not counted, as rows of what, side, size and energy.

    "side" is "die", "digital" or "both"; "energy" is that of one inference at 45 nm int8 [J], or
    None without a published figure.
    """
    layers = [layer.source for layer in mapped.layers]
    n_cell = sum(layer.n_remaining for layer in layers)
    n_read = sum(len(layer.tiles) * layer.source.n_mvm for layer in mapped.layers)
    n_mac = sum(count(layer).n_mac_nonzero for layer in layers)
    rows = [
        ("memory of the switches, its leakage", "die", f"{2 * mapped.die.bank.n * n_cell} bits"),
        ("control, clock and references of the tiles", "die", f"{n_read} tile reads"),
        ("control, clock and registers", "digital", f"{n_mac} MACs"),
    ]
    free = [{"what": w, "side": side, "size": size, "energy": None} for w, side, size in rows]
    repeated = [_repeated(layers)] if any(layer.n_mvm > 1 for layer in layers) else []
    return [*free, _index(layers), *repeated, *_both(layers)]


def _index(layers: list[PrunedLayer]) -> dict[str, Any]:
    """Return the index of sparse weights, which holds the input of each."""
    bits = sum(layer.n_remaining * math.ceil(math.log2(max(layer.n_in, 2))) for layer in layers)
    words = -(-bits // _NODE.bits)
    read = memory(_NODE, words)[1]
    return _sized("index of the non-zero weights", "digital", f"{bits} bits", bits / 64 * read)


def _repeated(layers: list[PrunedLayer]) -> dict[str, Any]:
    """Return the weights of convolutions, read again at each position after the first."""
    n = sum((layer.n_mvm - 1) * layer.n_remaining for layer in layers)
    read = memory(_NODE, sum(layer.n_remaining for layer in layers))[1]
    size = f"{n} readings"
    return _sized("weights of convolutions, read anew", "digital", size, n * _NODE.bits / 64 * read)


def _both(layers: list[PrunedLayer]) -> list[dict[str, Any]]:
    """Return the activations, each written or read once, and the scaling of outputs."""
    n_out = sum(layer.n_out * layer.n_mvm for layer in layers)
    n_moved = n_out + sum(layer.n_in * layer.n_mvm for layer in layers)
    read = memory(_NODE, max(layer.n_out * layer.n_mvm for layer in layers))[1]
    moved = n_moved * _NODE.bits / 64 * read
    return [
        _sized("activations, to and from memory", "both", f"{n_moved} values", moved),
        _sized("scaling of outputs", "both", f"{n_out} products", n_out * _NODE.multiply),
    ]


def _sized(what: str, side: str, size: str, energy: float) -> dict[str, Any]:
    return {"what": what, "side": side, "size": size, "energy": energy}
