"""The cells that a page embeds are those of the tiles, and few enough."""

import json

import numpy as np

from approx import approx
from crossbar_sim.report.tile_view import tile_view


def test_a_cell_has_its_weight_conductances_and_switches(mapped):
    view = tile_view(mapped)
    assert view["left_out"] == []
    (layer,) = mapped.layers
    (told,) = view["layers"]
    assert [tile["name"] for tile in told["tiles"]] == [tile.name for tile in mapped.tiles]
    for found, tile in zip(told["tiles"], layer.tiles, strict=True):
        assert len(found["cells"]) == tile.present.sum() > 0
        for i, j, weight, target, plus, minus, chosen_pos, chosen_neg in found["cells"]:
            column, row = found["columns"][j], found["rows"][i]
            assert weight == approx(layer.source.weight[column, row], rel=1e-4)
            assert target == approx(1e6 * layer.target[column, row], rel=1e-4)
            assert (plus, minus) == approx((1e6 * tile.g_pos[i, j], 1e6 * tile.g_neg[i, j]), 1e-4)
            assert chosen_pos == tile.chosen_pos[i, j]
            assert chosen_neg == tile.chosen_neg[i, j]
    assert json.loads(json.dumps(view)) == view


def test_too_many_cells_leave_tiles_out_but_not_those_that_matter(mapped):
    sizes = {tile.name: int(tile.present.sum()) for tile in mapped.tiles}
    wanted = min(sizes, key=lambda name: sizes[name])
    view = tile_view(mapped, [wanted], limit=sizes[wanted])
    assert [tile["name"] for layer in view["layers"] for tile in layer["tiles"]] == [wanted]
    assert sorted([wanted, *view["left_out"]]) == sorted(sizes)
    assert tile_view(mapped, limit=0)["layers"] == []


def test_the_tile_with_the_largest_error_comes_first(mapped):
    (layer,) = mapped.layers
    errors = {
        t.name: float(np.abs(t.g_pos - t.g_neg - layer.target_of(t)).max()) for t in layer.tiles
    }
    worst = max(errors, key=lambda name: errors[name])
    size = next(int(tile.present.sum()) for tile in mapped.tiles if tile.name == worst)
    view = tile_view(mapped, limit=size)
    assert worst in [tile["name"] for tile in view["layers"][0]["tiles"]]
