"""A small random network on a random die, with everything around it, from one whole number."""

import math
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mapping import Die, MappedNetwork, ResistorBank, TileConfig, map_network
from netlists import Periphery, Wires
from tinynets.networks.layers import ConvGeometry, PrunedLayer, PrunedNetwork


@dataclass(frozen=True)
class Shape:
    """The shape of a layer.

    n_out, n_in: outputs and inputs, or channels of a convolution.
    kernel: side of the kernel of a convolution; 0 for a dense layer.
    groups: of a convolution.
    """

    n_out: int
    n_in: int
    kernel: int = 0
    groups: int = 1

    @property
    def weights(self) -> tuple[int, int]:
        """Shape of the matrix of weights."""
        return self.n_out, self.n_in // self.groups * max(self.kernel, 1) ** 2

    @property
    def geometry(self) -> ConvGeometry | None:
        """How the kernel slides; None for a dense layer."""
        if not self.kernel:
            return None
        side = (self.kernel, self.kernel)
        return ConvGeometry(self.n_in, side, (1, 1), (0, 0), (1, 1), self.groups)


@dataclass(frozen=True)
class Case:
    """What is put to the test; it is written as Python in the test that a failure leaves.

    seed: of the weights, the die and the inputs.
    shapes: of the layers, each on tiles of its own.
    density: fraction of the weights that remain.
    empty: whether whole lines of inputs and outputs are pruned.
    n_vector: number of input vectors, within `v_read` [V] of zero.
    """

    seed: int = 0
    shapes: tuple[Shape, ...] = (Shape(1, 1),)
    density: float = 1.0
    empty: bool = False
    n_vector: int = 1
    v_read: float = 0.2
    bank: ResistorBank = field(default_factory=lambda: ResistorBank(n=1))
    tile: TileConfig = field(default_factory=TileConfig)
    wires: Wires = field(default_factory=Wires)
    periphery: Periphery = field(default_factory=Periphery)

    @cached_property
    def mapped(self) -> MappedNetwork:
        """The network on its die."""
        layers = tuple(self._layer(k, shape) for k, shape in enumerate(self.shapes))
        return map_network(PrunedNetwork(layers), Die(self.bank, self.seed), self.tile)

    def _layer(self, k: int, shape: Shape) -> PrunedLayer:
        """Return a layer with at least one weight."""
        rng = np.random.default_rng([self.seed, k])
        mask = rng.random(shape.weights) < self.density
        if self.empty:
            mask[rng.random(len(mask)) < 0.3] = False
            mask[:, rng.random(mask.shape[1]) < 0.3] = False
        mask[rng.integers(len(mask)), rng.integers(mask.shape[1])] = True
        weight = np.where(mask, rng.normal(size=mask.shape), 0.0)
        return PrunedLayer(f"l{k}", weight, mask, conv=shape.geometry)

    def as_code(self) -> str:
        """Return the expression that makes this case."""
        return _code(self)


#: Of each part, one with defaults alone.
_PLAIN = {kind: kind() for kind in (ResistorBank, TileConfig, Wires, Periphery)}


def _code(value: Any) -> str:
    """Return a value as Python, without the fields that have their defaults."""
    if is_dataclass(value):
        plain = type(value)() if type(value) is not Shape else None
        names = [item.name for item in fields(value)]
        given = [
            f"{name}={_code(getattr(value, name))}"
            for name in names
            if plain is None or getattr(value, name) != getattr(plain, name)
        ]
        return f"{type(value).__name__}({', '.join(given)})"
    if isinstance(value, tuple):
        return f"({', '.join(map(_code, value))},)"
    return f'float("{value}")' if value in (math.inf, -math.inf) else repr(value)


def drawn(seed: int) -> Case:
    """Return the case of a whole number, the same one on every machine."""
    rng = np.random.default_rng(seed)
    return Case(
        seed=seed,
        shapes=tuple(_shape(rng) for _ in range(rng.integers(1, 4))),
        density=float(rng.choice([1.0, 0.7, 0.3, 0.1])),
        empty=bool(rng.random() < 0.3),
        n_vector=int(rng.integers(1, 5)),
        bank=_bank(rng),
        tile=TileConfig(*(int(n) for n in rng.integers(1, 13, size=2))),
        wires=Wires(*(_ohm(rng, -3, 5) for _ in range(3))),
        periphery=_periphery(rng),
    )


def _shape(rng: np.random.Generator) -> Shape:
    kind = rng.choice(["dense", "convolution", "grouped"], p=[0.5, 0.3, 0.2])
    n_out, n_in = (int(n) for n in rng.integers(1, 13, size=2))
    if kind == "dense":
        return Shape(n_out, n_in)
    kernel, groups = int(rng.integers(1, 4)), int(rng.integers(2, 4))
    if kind == "convolution":
        return Shape(n_out, (n_in + 3) // 4, kernel)
    return Shape(groups * ((n_out + 2) // 3), groups * ((n_in + 5) // 6), kernel, groups)


def _bank(rng: np.random.Generator) -> ResistorBank:
    return ResistorBank(
        n=int(rng.integers(1, 9)),
        ladder=str(rng.choice(["geometric", "binary", "equal", "E24"])),  # pyright: ignore[reportArgumentType]
        r_min=_power(rng, 3, 6),
        ratio=float(rng.uniform(1.1, 2.5)),
        sigma_local=_or_zero(rng, 0.2),
        meter_error=_or_zero(rng, 0.01),
        r_on=_ohm(rng, 0, 4),
        sigma_on=_or_zero(rng, 0.1),
        r_off=math.inf if rng.random() < 0.2 else _power(rng, 7, 12),
        p_stuck_open=_or_zero(rng, 0.1),
        p_stuck_closed=_or_zero(rng, 0.1),
    )


def _periphery(rng: np.random.Generator) -> Periphery:
    return Periphery(
        r_feedback=_power(rng, 3, 6),
        tia_gain=math.inf if rng.random() < 0.4 else _power(rng, 1, 6),
        r_input=_ohm(rng, 0, 3),
        v_offset=_or_zero(rng, 0.01),
        v_offset_sigma=_or_zero(rng, 0.01),
        v_swing=math.inf if rng.random() < 0.5 else float(rng.uniform(0.01, 2)),
        seed=int(rng.integers(100)),
    )


def _power(rng: np.random.Generator, low: float, high: float) -> float:
    """Return a number 10**low … 10**high."""
    return float(10 ** rng.uniform(low, high))


def _or_zero(rng: np.random.Generator, most: float) -> float:
    return 0.0 if rng.random() < 0.5 else float(rng.uniform(0, most))


def _ohm(rng: np.random.Generator, low: float, high: float) -> float:
    """Return a resistance of 10**low … 10**high ohm, or zero [ohm]."""
    return 0.0 if rng.random() < 0.4 else _power(rng, low, high)
