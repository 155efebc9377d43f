"""A whole network of dense layers as one analog circuit, from input voltages to logits.

Each layer is a stage: its tiles, a bias word line, and for each output an ideal amplifier. The
amplifier adds both, scales the sum to the next layer's input voltages and rectifies it (ReLU).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mapping.bank import Die
from mapping.network.map_network import map_layer
from mapping.network.mapped_layer import MappedLayer
from mapping.network.mapped_network import MappedNetwork
from mapping.tiling.tiles import TileConfig
from netlists.circuit import Periphery
from netlists.spice.text import OPTIONS, input_tables, numbered, run_cards
from tinynets.networks.layers import PrunedLayer

#: A rectifier is linear on either side, so Newton's method converges to rounding error.
_ACCURATE = f"{OPTIONS} reltol=1e-9 abstol=1e-15 vntol=1e-12"


@dataclass(frozen=True)
class Chain:
    """States that a network consists of dense layers with a ReLU between them.

    volts_per_unit: word-line voltage of an input of 1, by layer name. Choose it for the largest
        input, so that the drivers can supply the voltages.
    v_bias: voltage of the bias word lines [V].
    """

    volts_per_unit: Mapping[str, float]
    v_bias: float = 0.1

    def __post_init__(self) -> None:
        for name, value in [*self.volts_per_unit.items(), ("v_bias", self.v_bias)]:
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"the voltage of {name!r} must be > 0 V; got {value}")

    def check(self, mapped: MappedNetwork) -> None:
        """Raise ValueError unless a network is such a chain."""
        for layer in mapped.layers:
            if layer.source.conv:
                raise ValueError(
                    f"layer {layer.name!r} is a convolution; only dense layers can be written as "
                    "one circuit from inputs to logits, so leave out `chain`"
                )
            if layer.name not in self.volts_per_unit:
                raise ValueError(f"volts_per_unit lacks layer {layer.name!r}")
        for first, second in pairwise(mapped.layers):
            if first.source.n_out != second.source.n_in:
                raise ValueError(
                    f"layer {first.name!r} has {first.source.n_out} outputs, but {second.name!r} "
                    f"has {second.source.n_in} inputs; in a chain these numbers must be equal"
                )


def bias_layer(layer: MappedLayer, die: Die, tile: TileConfig) -> MappedLayer | None:
    """Return the biases of a layer as a layer with one word line, or None without biases.

    Its weights are the biases and its input is 1. Each bias is a differential pair of banks on the
    same die, in its own cell; the property `weight` (n_out, 1) holds the realised biases.
    """
    bias = layer.source.bias
    if bias is None or not bias.any():
        return None
    column = bias[:, None]
    return map_layer(PrunedLayer(f"{layer.name}_bias", column, column != 0), die, tile)


def bias_layers(mapped: MappedNetwork) -> dict[str, MappedLayer]:
    """Return the bias layer of each layer with biases, by the name of that layer.

    Raises ValueError if another layer already has the name of a bias layer.
    """
    names = {layer.name.lower() for layer in mapped.layers}
    biases = {}
    for layer in mapped.layers:
        bias = bias_layer(layer, mapped.die, mapped.tile)
        if bias:
            if bias.name.lower() in names:
                raise ValueError(
                    f"the name {bias.name!r} is reserved for the bias of {layer.name!r}; rename "
                    "the layer that has it"
                )
            biases[layer.name] = bias
    return biases


def network_deck(
    mapped: MappedNetwork,
    biases: Mapping[str, MappedLayer],
    periphery: Periphery,
    chain: Chain,
    v_in: np.ndarray,
) -> Iterator[str]:
    """Yield the lines of a deck that sweeps over v_in (n_batch, n_in) [V] and writes logits.txt."""
    layers = mapped.layers
    inputs = numbered("in", layers[0].source.n_in)
    logits = numbered("logit", layers[-1].source.n_out)
    yield f"* from input voltages to logits: {len(layers)} layers, {len(v_in)} input vectors"
    yield ".include cell.inc"
    for part in [*layers, *biases.values()]:
        yield f".include {part.name}/layer.inc"
    for k, layer in enumerate(layers):
        after = chain.volts_per_unit[layers[k + 1].name] if k + 1 < len(layers) else None
        yield from _stage(layer, biases.get(layer.name), periphery, chain, after)
    yield from ("vsel sel 0 0", f"vbias bias 0 {float(chain.v_bias)!r}")
    yield from input_tables(inputs, v_in)
    nodes = inputs
    for k, layer in enumerate(layers):
        last = k == len(layers) - 1
        outputs = logits if last else numbered(f"h{k + 1}", layer.source.n_out)
        yield f"Xs_{k} bias {' '.join([*nodes, *outputs])} stage_{layer.name}"
        nodes = outputs
    written = [f"v({name})" for name in logits]
    yield from run_cards(len(v_in), "logits.txt", written, option=_ACCURATE)


def _stage(
    layer: MappedLayer,
    bias: MappedLayer | None,
    periphery: Periphery,
    chain: Chain,
    volts_after: float | None,
) -> Iterator[str]:
    """Yield the subcircuit of a stage.

    volts_after: volts per unit in the next layer, None for the last layer.
    """
    n_in, n_out = layer.source.n_in, layer.source.n_out
    sums = numbered("y", n_out)
    inputs, outputs = " ".join(numbered("in", n_in)), " ".join(numbered("out", n_out))
    here, after = float(chain.volts_per_unit[layer.name]), float(volts_after or 1.0)
    yield f"* an input of 1 is {here!r} V, an output of 1 is {after!r} V"
    yield f".subckt stage_{layer.name} bias {inputs} {outputs}"
    yield f"Xl {inputs} {' '.join(sums)} layer_{layer.name}"
    scale = after / (periphery.r_feedback * here * layer.g_per_weight)
    terms = [f"{factor!r} * v({node})" for factor, node in zip(scale.tolist(), sums)]
    if bias:
        extra = numbered("b", n_out)
        yield f"Xb bias {' '.join(extra)} layer_{bias.name}"
        scale = after / (periphery.r_feedback * chain.v_bias * bias.g_per_weight)
        terms = [
            f"{term} + {factor!r} * v({node})"
            for term, factor, node in zip(terms, scale.tolist(), extra)
        ]
    for j, term in enumerate(terms):
        yield f"bact_{j} out_{j} 0 v = {term if volts_after is None else f'uramp({term})'}"
    yield from (".ends", "")
