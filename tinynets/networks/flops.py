"""Count the arithmetic of one inference, dense and after pruning."""

from dataclasses import dataclass

from tinynets.networks.layers import PrunedLayer


@dataclass(frozen=True)
class Counts:
    """Work of one inference. A MAC is one multiplication and one addition, thus two FLOPs.

    n_weight, n_remaining: weights before and after pruning.
    n_mac, n_mac_nonzero: MACs before and after pruning; a transposed convolution has none with the
        zeros between its inputs.
    n_flop, n_flop_nonzero: multiplications and additions before and after pruning. The first
        product of an output needs no addition, a bias needs one.
    """

    n_weight: int
    n_remaining: int
    n_mac: int
    n_mac_nonzero: int
    n_flop: int
    n_flop_nonzero: int

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(a + b for a, b in zip(vars(self).values(), vars(other).values())))


def count(layer: PrunedLayer) -> Counts:
    """Return the counts of one layer."""
    n_mac, n_mac_nonzero = layer.n_mac, layer.n_mac_remaining
    biases = layer.n_out * layer.n_mvm if layer.bias is not None else 0
    n_out_used = int(layer.mask.any(axis=1).sum()) * layer.n_mvm
    return Counts(
        n_weight=layer.n_weight,
        n_remaining=layer.n_remaining,
        n_mac=n_mac,
        n_mac_nonzero=n_mac_nonzero,
        n_flop=2 * n_mac - layer.n_out * layer.n_mvm + biases,
        n_flop_nonzero=2 * n_mac_nonzero - n_out_used + biases,
    )
