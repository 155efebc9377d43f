"""Check a layout against the rules of its technology, with KLayout's own engine."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netlists.layout.technology import DBU, GRID, Rule, Technology, klayout, to_dbu

if TYPE_CHECKING:
    import klayout.db as db


@dataclass(frozen=True)
class Violation:
    """A rule that a layout breaks, or "grid": how often, and the first position (x, y) [m]."""

    rule: str
    count: int
    place: tuple[float, float]


def check_rules(layout: "db.Layout", technology: Technology) -> list[Violation]:
    """Return every rule that a layout breaks; the list is empty for a clean layout.

    A cell is checked once, however often it is used. Raises ImportError without KLayout and
    ValueError for a layout without exactly one top cell.
    """
    store = klayout().DeepShapeStore()
    regions = _regions(layout, technology, store)
    breaks = [(str(rule), _breaks(rule, regions)) for rule in technology.rules]
    for name in technology.layers:
        if not name.endswith(("text", "names")):
            breaks.append((f"grid of {name}", regions[name].grid_check(GRID, GRID).polygons(1)))
    return [
        Violation(name, region.count(), _place(region, layout.dbu))
        for name, region in breaks
        if not region.is_empty()
    ]


def top_cell(layout: "db.Layout") -> "db.Cell":
    """Return the top cell of a layout; raises ValueError unless there is exactly one."""
    tops = layout.top_cells()
    if len(tops) != 1:
        names = sorted(cell.name for cell in tops)
        raise ValueError(f"a layout must have one top cell; got {names}")
    return tops[0]


def _regions(layout: Any, technology: Technology, store: Any) -> dict[str, Any]:
    top, db = top_cell(layout), klayout()
    regions = {
        name: db.Region(top.begin_shapes_rec(layout.layer(*numbers)), store)
        for name, numbers in technology.layers.items()
    }
    return regions | derived_layers(regions, technology)


def derived_layers(drawn: Mapping[str, Any], technology: Technology) -> dict[str, Any]:
    """Return the layers that rules and devices need, derived from those that are drawn."""
    poly, diff, licon = drawn["poly"], drawn["diff"], drawn["licon"]
    marked = drawn["poly_res"]
    resistor = marked & poly if "poly" in technology.body else marked - poly
    slots = licon & drawn[technology.implant]
    derived = {
        "strip": resistor + poly.interacting(resistor),
        "resistor": resistor,
        "implant": drawn[technology.implant],
        "gate": poly & diff,
        "poly or diff": poly | diff,
        "plain poly": poly.not_interacting(resistor),
        "poly licon": licon & poly,
        "diff licon": licon & diff,
        "slot licon": slots,
        "square licon": licon - slots,
    }
    if technology.block:
        # Its ends are those of the bodies, where nothing is enclosed.
        derived["lengthened block"] = drawn[technology.block].sized(0, 1000, 2)
    return derived


def _breaks(rule: Rule, regions: Mapping[str, Any]) -> Any:
    """Return the places where a rule is broken, as polygons."""
    layer, value = regions[rule.layer], to_dbu(rule.value)
    if rule.kind == "width":
        return layer.width_check(value).polygons(1)
    if rule.kind == "space":
        return layer.space_check(value).polygons(1)
    if rule.kind == "area":
        return layer.merged().with_area(0, round(rule.value / DBU**2), False)
    if rule.kind == "size":
        length = to_dbu(rule.length)
        merged = layer.merged()
        wrong = merged.with_bbox_min(value, True) + merged.with_bbox_max(length, True)
        return wrong + merged.non_rectangles()
    other = regions[rule.other]
    if rule.kind == "separation":
        return layer.separation_check(other, value).polygons(1) + (layer & other)
    return other.enclosing_check(layer, value).polygons(1) + (layer - other)


def _place(region: Any, dbu: float) -> tuple[float, float]:
    box = region.bbox() if region.count() > 1 else next(region.each()).bbox()
    return box.left * dbu * 1e-6, box.bottom * dbu * 1e-6
