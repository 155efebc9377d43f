"""Layouts: drawn by the rules, and read back from their polygons as what was mapped."""

import errno
import re
import resource
import subprocess
import sys
from dataclasses import replace
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from banks import bank_of, full_tile

from approx import approx
from mapping import Die, MappedNetwork, ResistorBank, TileConfig, map_network
from mapping.tiling.tiles import Tile
from netlists import Periphery, Wires, write_network
from netlists.layout.drawing import (
    cell_layout,
    tile_layout,
    write_layout,
    write_picture,
)
from netlists.layout.drc import check_rules
from netlists.layout.floorplan import drawn_wires, plan_cell
from netlists.layout.lvs import OPEN, compare_layout, extract_branches, extract_netlist
from netlists.layout.mask_set import write_masks
from netlists.layout.technology import DBU, HIGH_PO, TECHNOLOGIES, XHIGH_PO, Rule
from tinynets.networks.layers import PrunedLayer, PrunedNetwork

db = pytest.importorskip("klayout.db")

BANK = bank_of(20e3, 31e3, 47e3, r_on=1e3, r_off=1e12)


@pytest.fixture(scope="module")
def mapped() -> MappedNetwork:
    """Two outputs of three inputs without any scatter; one weight is pruned."""
    weight = np.array([[0.7, -0.4, 0.0], [0.2, 0.5, -1.0]])
    network = PrunedNetwork((PrunedLayer("fc", weight, weight != 0),))
    return map_network(network, Die(BANK, seed=1), TileConfig(3, 2))


@pytest.fixture
def tile(mapped: MappedNetwork) -> Tile:
    """Its only tile."""
    return mapped.tiles[0]


def compare(layout, tile, programming="switch", bank=BANK, technology=HIGH_PO):
    return compare_layout(layout, tile, bank, technology, programming=programming)


def read_back(path):
    layout = db.Layout()
    layout.read(str(path))
    return layout


def drawn_ohm(n_strip: int, length: float, technology: Any) -> float:
    """Return the resistance of strips in series: their squares and their ends."""
    squares = length * DBU / technology.film.width
    return n_strip * (squares * technology.film.r_sheet + 2 * technology.r_end)


#: The drawing of one weight in the layout of the tile of `mapped`.
CELL = "fc_0_0_cell"


def shapes(layout, cell, layer):
    return layout.cell(cell).shapes(layout.layer(*HIGH_PO.layers[layer]))


@pytest.mark.parametrize("programming", ["switch", "via"])
@pytest.mark.parametrize(
    ("technology", "bank"),
    [
        (HIGH_PO, BANK),
        (XHIGH_PO, ResistorBank(n=1, r_min=6000.0)),
        (
            replace(HIGH_PO, word_width=3e-6, bit_width=2.5e-6, pad=90e-6, pad_pitch=95e-6),
            ResistorBank(n=4, ladder="equal", r_min=1e5),
        ),
        (
            replace(
                HIGH_PO,
                film=replace(HIGH_PO.film, width=0.69e-6),
                word_width=0.29e-6,
                bit_width=0.33e-6,
            ),
            BANK,
        ),
    ],
)
def test_every_layout_keeps_its_rules_and_is_what_was_mapped(technology, bank, programming):
    tile = full_tile(bank)
    layout = tile_layout(tile, bank, technology, programming=programming)
    assert check_rules(layout, technology) == []
    found = compare(layout, tile, programming, bank, technology)
    assert found.mismatches == ()
    assert found.n_branch == tile.present.size * 2 * bank.n
    assert found.n_switch == (found.n_branch if programming == "switch" else 0)


def test_drawn_resistors_follow_the_published_table():
    # Measured P+ poly, 0.35 um wide: 1, 2, 4 and 20 squares.
    for squares, ohm in ((1, 964.2), (2, 1326), (4, 2054), (20, 7888)):
        assert drawn_ohm(1, 350 * squares, HIGH_PO) == approx(ohm, rel=3e-3)


def test_a_resistor_by_hand():
    plan = plan_cell(bank_of(8e3), HIGH_PO, "via")
    squares = (8e3 - 2 * 299.884) / 364.411
    (branch,) = plan.branches[0]
    assert branch.n_strip == 1
    assert branch.length == approx(350 * squares, abs=3)


def test_a_large_resistor_is_folded_into_an_odd_number_of_strips():
    plan = plan_cell(bank_of(10e3, 1e6), HIGH_PO, "switch")
    small, large = plan.branches[1]
    assert small.n_strip == 1
    assert large.n_strip > 1
    assert large.n_strip % 2 == 1
    assert drawn_ohm(large.n_strip, large.length, HIGH_PO) == approx(1e6, rel=1e-3)
    assert 0.5 < plan.width / plan.height < 2


def test_extracted_branches_are_those_of_the_spice_netlist(mapped, tile, tmp_path):
    net = write_network(mapped, Wires(), Periphery(), tmp_path / "net")
    text = (net / "fc" / f"{tile.name}.inc").read_text()
    lines = re.findall(r"^Xc_(\d+)_(\d+) .* cell (.*)$", text, re.MULTILINE)
    wanted = {True: [], False: []}
    for i, j, values in lines:
        given = dict(pair.split("=") for pair in values.split())
        for s in "pn":
            for k in range(BANK.n):
                closed = float(given[f"s_{s}_{k}"]) == BANK.r_on
                place = f"in_{i}", f"out_{j}_{s}" if closed else OPEN
                wanted[closed].append((*place, float(given[f"r_{s}_{k}"])))
    layout = tile_layout(tile, BANK, programming="via")
    found = extract_branches(layout, HIGH_PO)
    assert found.problems == ()
    for closed in (True, False):
        drawn = sorted((b.start, b.end, b.ohm) for b in found.branches if (b.end != OPEN) == closed)
        assert len(drawn) > 3
        for a, b in zip(drawn, sorted(wanted[closed]), strict=True):
            assert a[:2] == b[:2]
            assert a[2] == approx(b[2], rel=1e-3)


def reference_netlist(tile, bank):
    """Return a netlist in KLayout's own terms of a resistor and a switch for each branch."""
    netlist, circuit = db.Netlist(), db.Circuit()
    classes = db.DeviceClassResistor(), db.DeviceClassMOS3Transistor()
    for made, name in zip(classes, ("strip", "switch")):
        made.name = name
        netlist.add(made)
    circuit.name = tile.name
    netlist.add(circuit)
    lines = [f"in_{i}" for i in range(tile.n_word)]
    lines += [f"out_{j}_{s}" for j in range(tile.n_bit) for s in "pn"]
    nets = {name: circuit.create_net(name) for name in lines}
    for name, net in nets.items():
        circuit.connect_pin(circuit.create_pin(name), net)
    for i, j in np.argwhere(tile.present).tolist():
        for side in "pn":
            for ohm in bank.r_nominal.tolist():
                middle, gate = circuit.create_net(), circuit.create_net()
                resistor, switch = (circuit.create_device(made) for made in classes)
                resistor.set_parameter("R", ohm)
                switch.set_parameter("L", 0.15)
                switch.set_parameter("W", 0.42)
                for device, terminal, net in (
                    (resistor, "A", nets[f"in_{i}"]),
                    (resistor, "B", middle),
                    (switch, "S", middle),
                    (switch, "D", nets[f"out_{j}_{side}"]),
                    (switch, "G", gate),
                ):
                    device.connect_terminal(terminal, net)
    return netlist


def test_klayouts_own_comparer_agrees(tile):
    # Its resistors have no ends, so the film is drawn without any.
    technology = replace(HIGH_PO, r_end=0.0)
    extractor = extract_netlist(tile_layout(tile, BANK, technology), technology)
    netlist = extractor.netlist()
    netlist.combine_devices()
    netlist.make_top_level_pins()
    netlist.purge()
    netlist.device_class_by_name("strip").equal_parameters = db.EqualDeviceParameters(0, 0, 5e-3)
    assert db.NetlistComparer().compare(netlist, reference_netlist(tile, BANK))
    other = bank_of(20e3, 31e3, 48e3)
    assert not db.NetlistComparer().compare(netlist, reference_netlist(tile, other))
    fewer = replace(tile, present=tile.present & (tile.rows != 0)[:, None], **cleared(tile))
    assert not db.NetlistComparer().compare(netlist, reference_netlist(fewer, BANK))


def cleared(tile: Tile) -> dict[str, np.ndarray]:
    """Return the arrays of a tile with its first word line emptied."""
    keep = (tile.rows != 0)[:, None]
    names = ("chosen_pos", "chosen_neg", "g_pos", "g_neg")
    return {name: np.where(keep, getattr(tile, name), 0) for name in names}


def test_pruned_cells_are_not_drawn(tile):
    layout = tile_layout(tile, BANK)
    cells = list(layout.cell(tile.name).each_inst())
    assert len(cells) == tile.present.sum() == 5
    assert len(extract_branches(layout, HIGH_PO).branches) == 5 * 2 * BANK.n


def test_a_moved_via_is_caught(tile):
    layout = tile_layout(tile, BANK, programming="via")
    vias = shapes(layout, tile.name, "via")
    plan = plan_cell(BANK, HIGH_PO, "via")
    moved = next(via for via in vias.each() if via.bbox().left > 0)
    vias.transform(moved, db.Trans(plan.width // 2, 0))
    found = compare(layout, tile, "via")
    assert not found.clean
    assert any("resistors expected" in text for text in found.mismatches)


def test_a_via_on_another_branch_of_the_same_value_is_caught():
    bank = bank_of(20e3, 20e3, 20e3)
    tile = full_tile(bank)  # branches 0 and 2 are closed
    moved = replace(tile, chosen_pos=np.full((2, 2), 0b0011, np.uint32))
    layout = tile_layout(moved, bank, programming="via")
    found = compare(layout, tile, "via", bank)
    assert found.mismatches[:2] == (
        "branch 1 from in_0 to out_0_p: must end at nothing; got out_0_p",
        "branch 2 from in_0 to out_0_p: must end at out_0_p; got nothing",
    )
    assert len(found.mismatches) == 8
    assert compare(layout, moved, "via", bank).clean


def test_a_missing_via_and_one_too_many_are_caught(tile):
    for chosen in (tile.chosen_pos ^ tile.present, tile.chosen_pos ^ (2 * tile.present)):
        other = replace(tile, chosen_pos=chosen.astype(np.uint32))
        found = compare(tile_layout(other, BANK, programming="via"), tile, "via")
        assert any("out_0_p: " in text for text in found.mismatches)


def test_a_missing_resistor_is_caught(tile):
    layout = tile_layout(tile, BANK)
    layout.flatten(layout.cell(tile.name).cell_index(), -1, True)
    strips = shapes(layout, tile.name, "poly")
    strips.erase(next(strip for strip in strips.each() if strip.bbox().height() > 4000))
    assert re.search("resistors expected|on no branch", "".join(compare(layout, tile).mismatches))
    layout = tile_layout(tile, BANK)
    cell = layout.cell(tile.name)
    cell.erase(next(cell.each_inst()))
    found = compare(layout, tile)
    assert found.n_branch == 4 * 2 * BANK.n
    assert f"{found.n_switch} switches expected" not in found.mismatches
    assert any("3 resistors expected; got 0" in text for text in found.mismatches)


def test_bridged_lines_are_caught(tile):
    layout = tile_layout(tile, BANK)
    plan = plan_cell(BANK, HIGH_PO, "switch")
    x = plan.x_bit[0]
    shapes(layout, tile.name, "met3").insert(db.Box(x, -2500, plan.x_bit[1], -2000))
    found = compare(layout, tile)
    assert "net out_0_p does not exist as a separate net" in found.mismatches
    assert any("lines are shorted" in text for text in found.mismatches)


@pytest.mark.parametrize(
    ("layer", "gap", "message"),
    [
        ("met3", (-1e6, -1500, 1e6, -500), "tied together before they reach a bit line"),
        ("met1", (-3000, -1e6, -2000, 1e6), "devices are on no branch of a word line"),
    ],
)
def test_a_cut_line_is_caught(tile, layer, gap, message):
    layout = tile_layout(tile, BANK)
    lines = shapes(layout, tile.name, layer)
    thin = (shape for shape in lines.each() if min(shape.box_width, shape.box_height) == 1000)
    line = max(thin, key=lambda shape: shape.box.area())
    box = line.box
    lines.erase(line)
    lines.insert(db.Region(box) - db.Region(db.Box(*gap)))
    assert message in "".join(compare(layout, tile).mismatches)


def strap(layer, *box):
    """Return an edit that draws one box in the cell, [database units]."""
    return lambda layout: shapes(layout, CELL, layer).insert(db.Box(*box))


def remove(cell, layer):
    """Return an edit that removes all shapes of a layer from a cell."""
    return lambda layout: shapes(layout, cell, layer).clear()


def widen_resistors(layout):
    for layer in ("poly", "poly_res"):
        found = shapes(layout, CELL, layer)
        region = db.Region(found).sized(10, 0)
        found.clear()
        found.insert(region)


PLAN = plan_cell(BANK, HIGH_PO, "switch")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (widen_resistors, "20000 ohm expected; got 18"),
        (remove(f"{CELL}_switch", "diff"), "30 .* expected; got 0"),
        (remove(CELL, "via"), "30 resistors expected; got 0|got 0"),
        (strap("li1", 0, PLAN.y_head + 500, PLAN.width // 2, PLAN.y_head + 900), "expected; got"),
        (strap("met1", 0, 1150, PLAN.width // 2, 1300), "tied together"),
        (strap("met1", 240, 0, 590, PLAN.y_head), "shorted|tied|expected; got"),
        (
            strap("li1", 800, 835, PLAN.width // 2, 1035),
            "gates of .* switches are tied",
        ),
    ],
)
def test_wrong_cells_are_caught(tile, edit, message):
    layout = tile_layout(tile, BANK)
    edit(layout)
    found = compare(layout, tile)
    assert re.search(message, "\n".join(found.mismatches)), found.mismatches


def test_a_long_list_of_mismatches_is_cut_short():
    tile = full_tile(BANK, 6, 6)
    layout = tile_layout(tile, BANK)
    remove(f"{tile.name}_cell", "mcon")(layout)
    found = compare(layout, tile)
    assert len(found.mismatches) == 21
    assert re.fullmatch(r"and \d+ more", found.mismatches[-1])


BROKEN = [
    ("met1", (0, 50_000, 130, 60_000), "width of met1"),
    ("met2", (0, 50_003, 1000, 51_000), "grid of met2"),
    ("met3", (0, 50_000, 1000, 51_000), ""),
    ("met3", (1300, 50_000, 2300, 51_000), "space of met3"),
    ("via", (5000, 50_000, 5155, 50_150), "size of via"),
    ("via", (6000, 50_000, 6150, 50_150), "enclosure of via by met1"),
    ("licon", (7000, 50_000, 7170, 50_170), "enclosure of licon by li1"),
    ("diff", (300, 10_000, 2000, 11_000), "separation of resistor from diff"),
]


def test_each_kind_of_rule_finds_what_breaks_it():
    layout = cell_layout(bank_of(20e3))
    assert check_rules(layout, HIGH_PO) == []
    for layer, box, _ in BROKEN:
        shapes(layout, "cell", layer).insert(db.Box(*box))
    found = check_rules(layout, HIGH_PO)
    text = "\n".join(violation.rule for violation in found)
    for _, _, rule in BROKEN:
        assert rule in text
    assert all(violation.count >= 1 for violation in found)
    (narrow,) = (violation for violation in found if "width of met1" in violation.rule)
    assert narrow.place == approx((0, 50e-6), abs=1e-8)


def test_every_rule_is_found_somewhere_when_it_is_made_stricter():
    # Each rule, raised far above what was drawn, must find something: none looks at nothing.
    bank, technology = bank_of(20e3), replace(HIGH_PO, pad_pitch=62e-6)
    layout = tile_layout(full_tile(bank, 2, 1), bank, technology)
    strict = tuple(
        replace(rule, value=rule.value + (4e-6 if rule.kind != "size" else 1e-8))
        for rule in HIGH_PO.rules
    )
    object.__setattr__(technology, "rules", strict)
    found = {violation.rule for violation in check_rules(layout, technology)}
    assert found == {str(rule) for rule in strict}


@pytest.mark.parametrize("suffix", [".gds", ".oas", ".png"])
def test_a_full_disk_is_told_as_one_and_leaves_no_file(suffix, tmp_path):
    write = write_picture if suffix == ".png" else write_layout
    layout, before = cell_layout(BANK), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with pytest.raises(OSError, match=f"cell{suffix}") as raised:
            write(layout, tmp_path / f"cell{suffix}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert raised.value.errno == errno.EFBIG
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".gds", ".oas"])
def test_files_hold_the_same_layout(tile, suffix, tmp_path):
    layout = tile_layout(tile, BANK, programming="via")
    path = tmp_path / f"tile{suffix}"
    write_layout(layout, path)
    first = path.read_bytes()
    write_layout(layout, path)
    assert path.read_bytes() == first
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    back = read_back(path)
    assert back.dbu == approx(DBU * 1e6)
    assert [cell.name for cell in back.top_cells()] == [tile.name]
    assert compare(back, tile, "via").clean
    assert check_rules(back, HIGH_PO) == []


def test_pictures_of_a_cell_and_a_tile(tile, tmp_path):
    layout = tile_layout(tile, BANK)
    for name, box in (("whole", None), ("part", (0.0, 0.0, 10e-6, 10e-6))):
        write_picture(layout, tmp_path / f"{name}.png", box=box, size=(300, 200))
        image = matplotlib.image.imread(tmp_path / f"{name}.png")
        assert image.shape[:2] == (200, 300)
        drawn = np.any(image[..., :3] < 0.9, axis=-1).mean()
        assert 0.005 < drawn < 0.98
    assert compare(layout, tile).clean, "the picture has left the layout alone"


def bad_tile(chosen: int = 1) -> Tile:
    one = np.ones((1, 1))
    mask = np.full((1, 1), chosen, np.uint32)
    line = np.zeros(1, int)
    return Tile("fc", (0, 0), line, line, one > 0, mask, mask.copy(), one, one.copy())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tile_layout(bad_tile(chosen=8), BANK), "branches that the bank of 3 does not"),
        (lambda: tile_layout(bad_tile(), BANK, programming="fuse"), "got 'fuse'"),
        (lambda: cell_layout(bank_of(500.0)), "use at least 1131 ohm"),
        (lambda: cell_layout(bank_of(1e12)), "the limit is 0.002 m"),
        (lambda: write_layout(cell_layout(BANK), "x.dxf"), "a layout must be .gds or .oas"),
        (lambda: check_rules(db.Layout(), HIGH_PO), r"one top cell; got \[\]"),
        (lambda: replace(HIGH_PO, word_width=1e-9), "word_width must be 2.9e-07 … 0.001 m"),
        (lambda: replace(HIGH_PO, pad_pitch=60e-6), "pad_pitch must be 6.04e-05"),
        (lambda: replace(HIGH_PO, r_end=-1.0), "r_end must be >= 0"),
        (
            lambda: replace(HIGH_PO, film=replace(HIGH_PO.film, width=0.2e-6)),
            "cannot hold its contacts; use at least 3.5e-07 m",
        ),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_an_unknown_rule():
    with pytest.raises(KeyError, match="no rule of width for 'gold'"):
        HIGH_PO.rule("width", "gold")


def test_technologies():
    assert set(TECHNOLOGIES) == {"sky130_high_po", "sky130_xhigh_po"}
    rule = Rule("enclosure", "via", 0.085e-6, "via.5a", other="met1")
    assert str(rule) == "enclosure of via by met1 0.085 um (via.5a)"
    assert str(Rule("area", "met1", 0.083e-12, "m1.6")) == "area of met1 0.083 um² (m1.6)"


def test_wires_as_drawn():
    # 1 um wide: met1 of 0.125 and met3 of 0.047 ohm per square, 0.2 fF/um where 0.14 and 0.3 wide.
    plan = replace(PLAN, width=40_000, height=30_000)
    found = drawn_wires(plan, HIGH_PO, r_driver=5.0)
    assert vars(found) == approx(
        vars(Wires(40 * 0.125, 30 * 0.047, 5.0, 8e-15 / 0.14, 6e-15 / 0.3))
    )


def test_masks_are_written_when_they_are_clean(tile, tmp_path):
    paths = write_masks(tile, BANK, tmp_path / "new", programming="via")
    names = ["fc_0_0_via.gds", "fc_0_0_via.oas", "fc_0_0_via.png"]
    assert (
        [path.name for path in paths] == names == sorted(p.name for p in paths[0].parent.iterdir())
    )
    assert compare(read_back(paths[1]), tile, "via").clean
    narrow = replace(HIGH_PO, film=replace(HIGH_PO.film, space=0.4e-6))
    with pytest.raises(ValueError, match=r"is not written, .* the first: space of resistor"):
        write_masks(tile, BANK, tmp_path / "bad", narrow)
    assert not (tmp_path / "bad").exists()


def test_tiles_keep_their_geometry_on_one_chip(tmp_path):
    """A layout that is read into another shares the cells of the same name with it."""
    other = bank_of(30e3, 60e3, r_on=1e3, r_off=1e12)
    kinds, drawn = (("a", BANK, "switch"), ("b", BANK, "via"), ("c", other, "switch")), {}
    for name, bank, programming in kinds:
        tile = replace(full_tile(bank), layer=name)
        drawn[tile.name] = tile_layout(tile, bank, programming=programming)
        write_layout(drawn[tile.name], tmp_path / f"{tile.name}.gds")
    chip = db.Layout()
    for name in drawn:
        chip.read(str(tmp_path / f"{name}.gds"))
    assert [cell.name for cell in chip.top_cells()] == list(drawn)
    for name, layout in drawn.items():
        alone, together = (
            {
                str(one.get_info(k)): db.Region(one.cell(name).begin_shapes_rec(k)).merged().area()
                for k in one.layer_indexes()
            }
            for one in (layout, chip)
        )
        assert {k: together.get(k) for k in alone} == alone


def test_a_tile_whose_weights_are_all_pruned(tile):
    nothing = np.zeros((3, 2))
    none = nothing.astype(np.uint32)
    empty = Tile("fc", (0, 0), tile.rows, tile.columns, none > 0, none, none, nothing, nothing)
    layout = tile_layout(empty, BANK)
    assert check_rules(layout, HIGH_PO) == []
    assert compare(layout, empty).clean


def test_without_klayout_the_error_names_the_extra():
    code = "import sys; sys.modules['klayout'] = None\n"
    code += "from netlists.layout.technology import klayout\n"
    done = subprocess.run(
        [sys.executable, "-c", code + "klayout()"], capture_output=True, text=True, check=False
    )
    assert "ImportError: this needs the package 'klayout'" in done.stderr
    assert "crossbar-sim[layout]" in done.stderr
