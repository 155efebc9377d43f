"""The arrays of the golden set, from a seed, to the same bit on every machine.

All random numbers are bits of SHAKE-256 (FIPS 202) of a text, and all numbers are made of them by
whole numbers and powers of two. No generator of numpy and no function of a libm is involved.
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from crossbar_sim.golden.arrays import GoldenArray

#: In the text of every random number.
SEED = "crossbar-sim golden set 1"
#: Sides of most arrays.
SIDES = (2, 3, 4, 5, 6, 8, 10, 12, 16, 16, 20, 24, 32, 48)


@dataclass(frozen=True)
class Recipe:
    """How the arrays of a kind are drawn; powers of two are given by their exponents.

    count: number of arrays.
    shapes: (n_word, n_bit) in turn; drawn from SIDES if there are none.
    n_side: banks of bit lines.
    cells: exponents of the cells' resistances, low … high [log2 ohm].
    wires: of the resistances of a segment, low … high; None for ideal wires.
    unequal: whether word and bit lines differ, and every fourth has no resistance.
    driver: of the drivers' resistances; None for ideal ones.
    missing: the fractions of devices that are missing, in turn.
    empty: whether whole rows and columns are missing.
    shorts: fraction of devices that are shorts of 2 µohm … 1 mohm.
    gain: whether amplifiers have a gain of 2^4 - 1 … 2^20 - 1 and, every other time, a resistance.
    offsets: whether amplifiers have offsets of up to 4 mV of both signs.
    inputs: which inputs the vectors have: "+" above zero, "±" of both signs, "0" none,
        "1" a single one.
    """

    count: int
    shapes: tuple[tuple[int, int], ...] = ()
    n_side: int = 1
    cells: tuple[int, int] = (13, 19)
    wires: tuple[int, int] | None = (-3, 6)
    unequal: bool = False
    driver: tuple[int, int] | None = None
    missing: tuple[float, ...] = (0.0,)
    empty: bool = False
    shorts: float = 0.0
    gain: bool = False
    offsets: bool = False
    inputs: str = "+±"


_BIG = ((128, 128), (200, 100), (128, 256), (256, 256))
_LINES = ((1, 1), (1, 2), (2, 1), (1, 16), (16, 1), (1, 64), (64, 1), (1, 256), (256, 1), (2, 256))
_TEN_DECADES = (7, 39)
#: 2^-10 … 2^20 ohm per segment are 1 mohm … 1 Mohm; cells of 2^13 … 2^19 ohm are 1 … 122 µS, and
#: those of 2^7 … 2^39 ohm are ten decades.
RECIPES = {
    "wires": Recipe(112),
    "no wires": Recipe(50, wires=None),
    "tiny wires": Recipe(50, wires=(-19, -7)),
    "resistive wires": Recipe(90, wires=(7, 19)),
    "unequal wires": Recipe(60, wires=(-10, 12), unequal=True),
    "drivers": Recipe(60, driver=(3, 14), unequal=True),
    "lines": Recipe(60, shapes=_LINES, wires=(-10, 14)),
    "missing devices": Recipe(60, missing=(0.05, 0.5, 0.9, 0.99)),
    "empty lines": Recipe(50, missing=(0.0, 0.5), empty=True),
    "ten decades": Recipe(80, cells=_TEN_DECADES, wires=(-10, 10)),
    "shorts": Recipe(50, shorts=0.03),
    "signed inputs": Recipe(30, inputs="±±"),
    "zero inputs": Recipe(20, inputs="01"),
    "finite gain": Recipe(60, gain=True),
    "offsets": Recipe(40, gain=True, offsets=True, inputs="0±"),
    "pairs": Recipe(60, n_side=2, missing=(0.0, 0.5)),
    "large": Recipe(12, shapes=_BIG, wires=(-3, 3), inputs="±"),
    "everything": Recipe(
        56,
        n_side=2,
        cells=_TEN_DECADES,
        wires=(-10, 19),
        unequal=True,
        driver=(0, 14),
        missing=(0.0, 0.3, 0.9),
        gain=True,
        offsets=True,
        inputs="±1",
    ),
}


class Draws:
    """Random numbers for one array; each name gives its own, whatever else is drawn."""

    def __init__(self, key: str) -> None:
        self.key = f"{SEED}: {key}"

    def words(self, name: str, n: int) -> np.ndarray:
        """Return n whole numbers 0 … 65535."""
        found = hashlib.shake_256(f"{self.key}: {name}".encode()).digest(2 * n)
        return np.frombuffer(found, "<u2").astype(np.int64)

    def below(self, limit: int, name: str, n: int = 1) -> np.ndarray:
        """Return n whole numbers 0 … limit - 1."""
        return self.words(name, n) * limit >> 16

    def ohms(self, octaves: tuple[int, int], name: str, n: int = 1) -> np.ndarray:
        """Return n resistances of eight significant bits, 2^low … 2^(high + 1) [ohm]."""
        low, high = octaves
        exponent = low + self.below(high - low + 1, f"{name}, exponents", n)
        return np.ldexp(1.0 + self.below(128, f"{name}, digits", n) / 128, exponent)


def generated() -> Iterator[GoldenArray]:
    """Yield the arrays of the set in their order, without currents."""
    number = 0
    for kind, recipe in RECIPES.items():
        for turn in range(recipe.count):
            yield one_array(f"{number:04d}", kind, recipe, turn)
            number += 1


def one_array(name: str, kind: str, recipe: Recipe, turn: int) -> GoldenArray:
    """Return one array without currents."""
    draws = Draws(f"{kind} {turn}")
    shape = (recipe.n_side, *_shape(draws, recipe, turn))
    n_line, n_vector = shape[0] * shape[2], len(recipe.inputs)
    offsets = (draws.below(129, "offsets", n_line) - 64) / 2**14
    unknown = np.full((n_vector, n_line), math.nan)
    return GoldenArray(
        name=name,
        kind=kind,
        ohm=_cells(draws, recipe, turn, shape),
        v_in=np.array([_inputs(draws, how, k, shape[1]) for k, how in enumerate(recipe.inputs)]),
        **_wires(draws, recipe, turn),
        **_amplifiers(draws, recipe, turn),
        v_offset=offsets if recipe.offsets else np.zeros(n_line),
        low=unknown,
        high=unknown,
    )


def _shape(draws: Draws, recipe: Recipe, turn: int) -> tuple[int, int]:
    if recipe.shapes:
        return recipe.shapes[turn % len(recipe.shapes)]
    n_word, n_bit = (SIDES[k] for k in draws.below(len(SIDES), "shape", 2))
    return n_word, n_bit


def _cells(draws: Draws, recipe: Recipe, turn: int, shape: tuple[int, ...]) -> np.ndarray:
    n = math.prod(shape)
    ohm = draws.ohms(recipe.cells, "cells", n)
    short = draws.words("shorts", n) < recipe.shorts * 65536
    ohm[short] = draws.ohms((-19, -11), "shorts", n)[short]
    fraction = recipe.missing[turn % len(recipe.missing)]
    ohm[draws.words("missing", n) < fraction * 65536] = math.inf
    ohm = ohm.reshape(shape)
    if recipe.empty:
        ohm[:, draws.below(3, "empty rows", shape[1]) == 0] = math.inf
        ohm[:, :, draws.below(3, "empty columns", shape[2]) == 0] = math.inf
    return ohm


def _inputs(draws: Draws, how: str, k: int, n_word: int) -> np.ndarray:
    """Return the voltages of a vector: whole numbers of 1/1024 V, up to 0.5 V."""
    volts = (1 + draws.below(512, f"inputs {k}", n_word)) / 1024
    if how == "±":
        return volts * (1 - 2 * draws.below(2, f"signs {k}", n_word))
    only = np.arange(n_word) == draws.below(n_word, f"input {k}")
    return {"+": volts, "0": 0.0 * volts, "1": volts * only}[how]


def _wires(draws: Draws, recipe: Recipe, turn: int) -> dict[str, float]:
    word, bit = draws.ohms(recipe.wires, "wires", 2).tolist() if recipe.wires else (0.0, 0.0)
    if not recipe.unequal:
        bit = word
    elif turn % 4 == 2:
        word = 0.0
    elif turn % 4 == 3:
        bit = 0.0
    driver = draws.ohms(recipe.driver, "driver").item() if recipe.driver else 0.0
    return {"r_word": word, "r_bit": bit, "r_driver": driver}


def _amplifiers(draws: Draws, recipe: Recipe, turn: int) -> dict[str, float]:
    """Return amplifiers whose input resistance, and offset times gain / (1 + gain), are doubles."""
    if not recipe.gain:
        return {"r_feedback": 2.0**14, "r_input": 0.0, "gain": math.inf}
    gain = 2.0 ** (4 + draws.below(17, "gain").item()) - 1
    r_input = draws.ohms((0, 7), "input resistance").item() if turn % 2 else 0.0
    feedback = draws.ohms((10, 19), "feedback").item()
    return {"r_feedback": feedback, "r_input": r_input, "gain": gain}
