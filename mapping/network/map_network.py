"""The facade: from a pruned network and a die to every switch of every cell."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, TypedDict, Unpack

import numpy as np
from pydantic import ConfigDict, InstanceOf
from pydantic.json_schema import SkipJsonSchema

from mapping.bank import Cells, Die
from mapping.bank.switches import realise
from mapping.network.mapped_layer import MappedLayer
from mapping.network.mapped_network import MappedNetwork
from mapping.selection.encode import g_lsb, g_per_weight
from mapping.selection.program_verify import program_verify
from mapping.selection.select import (
    CellSelection,
    layer_aware_scale,
    select_layer_aware,
    select_on_die,
)
from mapping.tiling.compact import Block, Tiling, split
from mapping.tiling.tiles import Tile, TileConfig
from mapping.wafer.survey import Survey, select_surveyed
from tinynets.networks.layers import GroupedMatrix, PrunedLayer, PrunedNetwork
from tinynets.settings import LARGEST, TABLE, Flag, Share, check_fields, within

#: Returns the second moment of a layer's inputs on calibration data, (n_in, n_in) or one a group,
#: given its name and the weights that the layers mapped so far are believed to realise.
SecondMoment = Callable[[str, Mapping[str, np.ndarray]], np.ndarray]


@dataclass(frozen=True)
class SelectionRule:
    """How the switches of a cell are chosen.

    Raises ValueError for options that do not go together.
    """

    __pydantic_config__: ClassVar[ConfigDict] = TABLE

    objective: Literal["error", "power", "aware"] = "error"
    """"error", the subset nearest to the target; "power", the least conducting subset within
    tolerance_lsb of it; "aware", subsets whose errors cancel in each output on calibration
    inputs (needs a second moment)."""
    scale_per: Literal["layer", "output"] = "layer"
    """What shares one g_per_weight: a "layer" or an "output" line."""
    tolerance_lsb: Annotated[float, within(1 / LARGEST, 1e9)] = 0.5
    """Largest error of the "power" objective [steps of lsb_bits]."""
    lsb_bits: Annotated[int, within(1, 24)] = 8
    """Bits of the converter whose steps, over the dense band, count in tolerance_lsb."""
    max_closed: Annotated[int, within(1, 40)] | None = None
    """Most switches that a cell may close; "none" for no limit."""
    n_candidate: Annotated[int, within(1, 100_000)] = 1
    """Subsets of each cell that are set and read as a whole; the best is kept (program-verify)."""
    composite_error: Share = 0.0
    """Standard error of such a reading of a whole bank, as a fraction of the reading."""
    # A survey holds arrays, so that no file says one.
    survey: Annotated[InstanceOf[Survey] | None, SkipJsonSchema()] = None  # pyright: ignore[reportCallIssue]
    """Readings of several branches together, from which branches are estimated; the choice weighs
    how uncertain the estimates are. None where the die's meter reads every branch alone."""
    fit_scale: Flag = False
    """With the "error" objective, take of several scales the one of least error at the outputs
    (needs a second moment); "aware" always does so."""

    @property
    def needs_inputs(self) -> bool:
        """True if the choice needs the second moment of a layer's inputs."""
        return self.objective == "aware" or self.fit_scale

    def __post_init__(self) -> None:
        check_fields(self)
        if self.n_candidate > 1 and (self.objective != "error" or self.max_closed is not None):
            raise ValueError("n_candidate > 1 goes with objective='error' and no max_closed only")
        if self.objective == "aware" and self.max_closed is not None:
            raise ValueError("objective='aware' has no max_closed; leave it out")
        alone = self.objective == "error" and self.max_closed is None and self.n_candidate == 1
        if self.survey is not None and not alone:
            raise ValueError(
                "survey goes with objective='error', no max_closed and n_candidate = 1 only"
            )
        if self.fit_scale and not (alone and self.survey is None):
            raise ValueError(
                "fit_scale goes with objective='error', no max_closed, no survey and "
                "n_candidate = 1 only; 'aware' always fits its scale"
            )


class MapOptions(TypedDict, total=False):
    """Keywords of `map_network` that leave the rule as it is.

    tiling: see `mapping.tiling.compact.split`; "in order" by default.
    device: that torch searches subsets on, such as "cuda", for a rule of objective "error" alone;
        None, the default, for compiled code on the CPU. The switches are the same.
    """

    tiling: Tiling
    device: Any


def map_network(
    network: PrunedNetwork,
    die: Die,
    tile: TileConfig,
    *,
    rule: SelectionRule | None = None,
    second_moment: SecondMoment | None = None,
    **options: Unpack[MapOptions],
) -> MappedNetwork:
    """Choose the switches that make a die multiply by a network's weights.

    Each remaining weight becomes a differential pair of banks: by default the subset of branches,
    as measured, whose g_pos - g_neg comes closest to g_per_weight * weight. The tiles hold the
    true conductances of those subsets. A pruned weight has no device.

    rule: how switches are chosen.
    second_moment: of each layer's inputs, for a rule that needs it.
    options: `tiling`, how layers are cut, "in order" or "clustered"; `device`, what torch searches
        the nearest subsets on, such as "cuda", with the same switches. See `MapOptions`.

    Raises ValueError for a layer without any remaining weight, a rule without what it needs, or a
    device with a rule that only the CPU follows.
    """
    how: dict[str, Any] = {"rule": rule, "second_moment": second_moment, **options}
    return MappedNetwork(tuple(map_layers(network, die, tile, **how)), die, tile)


def map_layers(
    network: PrunedNetwork,
    die: Die,
    tile: TileConfig,
    *,
    rule: SelectionRule | None = None,
    second_moment: SecondMoment | None = None,
    **options: Unpack[MapOptions],
) -> Iterator[MappedLayer]:
    """Yield the layers of `map_network`, each when it is mapped."""
    rule = rule or SelectionRule()
    believed: dict[str, np.ndarray] = {}
    for layer in network.layers:
        moment = None
        if rule.needs_inputs and second_moment is not None:
            moment = second_moment(layer.name, believed)
        mapped = map_layer(layer, die, tile, rule=rule, second_moment=moment, **options)
        believed[layer.name] = mapped.predicted / mapped.g_per_weight[:, None]
        yield mapped


def map_layer(
    layer: PrunedLayer,
    die: Die,
    config: TileConfig,
    *,
    rule: SelectionRule | None = None,
    second_moment: np.ndarray | None = None,
    **options: Unpack[MapOptions],
) -> MappedLayer:
    """Map one layer; see `map_network`. second_moment: see `select_layer_aware`."""
    rule = rule or SelectionRule()
    tiling, device = _options(rule, **options)
    second_moment = second_moment if rule.needs_inputs else None
    if rule.needs_inputs and second_moment is None:
        raise ValueError(
            "objective='aware' and fit_scale need second_moment; see calibration inputs"
        )
    if not layer.n_remaining:
        raise ValueError(
            f"layer {layer.name!r} has no weight left, so its outputs are its bias; pass "
            f"leave_digital=({layer.module or layer.name!r},) to `extract`, or prune it less"
        )
    # A cell is (word line, bit line) = (input, output): transposed against the weight.
    rows, columns = layer.cells
    scale = np.broadcast_to(_scale(layer, die, rule, second_moment), layer.n_out).copy()
    target = scale[columns] * layer.weight[layer.mask]
    cells = Cells(layer.name, rows, columns)
    chosen, g_pos, g_neg = _choose(cells, target, die, rule, second_moment, device)
    blocks = split(layer.pattern, config, tiling)
    devices = (chosen.chosen_pos, chosen.chosen_neg, g_pos, g_neg)
    cut = [_cut(layer.pattern, blocks)]
    cut += [_cut(layer.grouped(_spread(values, layer)), blocks) for values in devices]
    tiles = tuple(Tile(layer.name, b.index, b.rows, b.columns, *p) for b, *p in zip(blocks, *cut))
    return MappedLayer(layer, scale, _spread(chosen.predicted, layer), tiles)


def _options(
    rule: SelectionRule, tiling: Tiling = "in order", device: Any = None
) -> tuple[Tiling, Any]:
    """Return the keywords of `MapOptions`; ValueError for a device that the rule cannot use."""
    nearest = SelectionRule()
    names = ("objective", "max_closed", "n_candidate", "survey", "fit_scale")
    others = [name for name in names if getattr(rule, name) != getattr(nearest, name)]
    if device is not None and others:
        raise ValueError(
            f"device={str(device)!r} searches the nearest subset of each cell, but the rule sets "
            f"{', '.join(others)}; leave device out, or pass a rule without "
            f"{'it' if len(others) == 1 else 'them'}"
        )
    return tiling, device


def _scale(
    layer: PrunedLayer, die: Die, rule: SelectionRule, second_moment: np.ndarray | None
) -> float | np.ndarray:
    """Return the conductance of a unit weight [S], one or (n_out,)."""
    if second_moment is None:
        weight = layer.grouped(layer.weight)
        return g_per_weight(weight, die, rule.scale_per, layer=layer.name)
    aware = rule.objective == "aware"
    return layer_aware_scale(layer, die, second_moment, per=rule.scale_per, aware=aware)


def _choose(
    cells: Cells,
    target: np.ndarray,
    die: Die,
    rule: SelectionRule,
    second_moment: np.ndarray | None,
    device: Any,
) -> tuple[CellSelection, np.ndarray, np.ndarray]:
    """Return the selection of every cell and the true conductance of its banks [S]."""
    if rule.objective != "aware" and rule.n_candidate == 1 and rule.survey is None:
        limits = {"objective": rule.objective, "max_closed": rule.max_closed}
        options: dict[str, Any] = limits | {"device": device}
        if rule.objective == "power":
            options["tolerance"] = rule.tolerance_lsb * g_lsb(die, rule.lsb_bits)
        return select_on_die(die, cells, target, **options)
    if second_moment is not None:
        measured = cells.branches(die, measured=True)
        chosen = select_layer_aware(measured, target, cells.rows, cells.columns, second_moment)
    elif rule.survey is not None:
        chosen = select_surveyed(die, cells, target, rule.survey)
    else:
        options = {"n_candidate": rule.n_candidate, "composite_error": rule.composite_error}
        chosen = program_verify(die, cells, target, **options)
    true = cells.branches(die, measured=False)
    return chosen, *realise(true, chosen.chosen_pos, chosen.chosen_neg)


def _spread(values: np.ndarray, layer: PrunedLayer) -> np.ndarray:
    """Return the values (n_remaining,) of a layer's cells in the shape of its weight."""
    matrix = np.zeros(layer.weight.shape, dtype=values.dtype)
    matrix[layer.mask] = values
    return matrix


def _cut(matrix: GroupedMatrix, blocks: list[Block]) -> list[np.ndarray]:
    """Cut the blocks' tiles (n_word, n_bit) out of a layer's matrix."""
    return [matrix.part(block.columns, block.rows).T.copy() for block in blocks]
