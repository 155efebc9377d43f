"""The input vectors that decks sweep over: given ones, random ones, or each input alone."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from mapping.network.mapped_layer import MappedLayer
from mapping.network.mapped_network import MappedNetwork
from mapping.tiling.tiles import Tile
from netlists.spice.text import MAX_VECTORS

#: Random vectors in the deck of a layer, unless told otherwise.
N_RANDOM = 64
#: Voltage of an input alone [V].
V_ALONE = 0.1


def random_inputs(
    mapped: MappedNetwork, *, v_read: float, n_vector: int, seed: int = 0
) -> dict[str, np.ndarray]:
    """Return for each layer voltages (n_vector, n_in) [V], uniform in -v_read … v_read."""
    rng = np.random.default_rng(seed)
    return {
        layer.name: rng.uniform(-v_read, v_read, size=(n_vector, layer.source.n_in))
        for layer in mapped.layers
    }


def live_inputs(layer: MappedLayer) -> np.ndarray:
    """Return the inputs of a layer that its tiles have a word line for, in order."""
    return np.unique(np.concatenate([tile.rows for tile in layer.tiles]))


@dataclass(frozen=True)
class Sweep:
    """The input vectors of all decks.

    given: voltages (n_batch, n_in) [V] by layer, or None.
    biases: those of layers of biases, in the same form.
    random: for the decks of layers where none are given, in the same form; None for each input
        alone at V_ALONE, without inputs that have no weight. The deck of a tile then always has
        each word line alone.
    """

    given: Mapping[str, np.ndarray] | None
    random: Mapping[str, np.ndarray] | None
    biases: Mapping[str, np.ndarray] = field(default_factory=dict)

    def with_biases(self, layers: Iterable[MappedLayer], v_bias: float) -> "Sweep":
        """Return the same vectors, and one of v_bias [V] for each layer of biases."""
        return replace(self, biases={layer.name: np.array([[v_bias]]) for layer in layers})

    def of_layer(self, layer: MappedLayer) -> np.ndarray:
        """Return the vectors of a layer's deck; ValueError for voltages that do not fit."""
        if layer.name in self.biases:
            return self.biases[layer.name]
        if self.given is not None:
            return _checked(layer, self.given)
        if self.random is not None:
            return self.random[layer.name]
        live = live_inputs(layer)
        volts = np.zeros((len(live), layer.source.n_in))
        volts[np.arange(len(live)), live] = V_ALONE
        return volts

    def of_tile(self, layer: MappedLayer, tile: Tile) -> np.ndarray:
        """Return the vectors (n_batch, n_word) [V] of a tile's deck.

        Vectors that drive none of its word lines are left out; if none drives one, the first stays.
        """
        if self.given is None and layer.name not in self.biases:
            return V_ALONE * np.eye(tile.n_word)
        volts = self.of_layer(layer)[:, tile.rows]
        driven = volts[volts.any(axis=1)]
        return driven if len(driven) else volts[:1]


def _checked(layer: MappedLayer, v_in: Mapping[str, np.ndarray]) -> np.ndarray:
    if layer.name not in v_in:
        raise ValueError(f"v_in has layers {sorted(v_in)} but no {layer.name!r}; pass its voltages")
    volts = np.asarray(v_in[layer.name], dtype=np.float64)
    if volts.ndim != 2 or volts.shape[1] != layer.source.n_in or not np.isfinite(volts).all():
        raise ValueError(
            f"layer {layer.name!r}: v_in has shape {volts.shape}; expected finite voltages of "
            f"shape (n_batch, {layer.source.n_in})"
        )
    if not 0 < len(volts) <= MAX_VECTORS:
        raise ValueError(
            f"layer {layer.name!r}: {len(volts)} input vectors; pass 1 … {MAX_VECTORS}"
        )
    return volts
