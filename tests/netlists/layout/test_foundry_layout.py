"""Layouts of a foundry's devices: the lengths, width and transistor that a branch states."""

from dataclasses import replace

import pytest
from banks import bank_of, full_tile
from foundry_models import IHP, SKY130, rules_of

from approx import approx
from netlists.foundry.branch import FoundryBranch
from netlists.foundry.rule_files import RuleFiles
from netlists.layout.drawing import tile_layout, write_layout
from netlists.layout.drc import check_rules
from netlists.layout.floorplan import drawn_wires, plan_cell
from netlists.layout.foundry_technology import foundry_technology
from netlists.layout.ihp_sg13g2 import ihp_technology
from netlists.layout.lvs import compare_layout, extract_branches
from netlists.layout.technology import DBU

db = pytest.importorskip("klayout.db")

LENGTHS = (2e-6, 5e-6, 5e-6, 30e-6)


def drawn(**options):
    """Return a branch, its bank of 1,000 ohm per micrometre and 100 ohm an end, its technology."""
    branch = FoundryBranch(**({**SKY130, "lengths": LENGTHS} | options))
    ohms = [1e9 * length + 200 for length in branch.lengths]
    return branch, bank_of(*ohms, r_on=1e3, r_off=1e12), foundry_technology(branch, ohms)


def compare(layout, tile, bank, technology):
    return compare_layout(layout, tile, bank, technology, programming="switch").mismatches


KINDS = [
    SKY130,
    SKY130 | {"resistor": "xhigh_po"},
    SKY130 | {"width": 1.41e-6, "w_nmos": 0.42e-6},
    SKY130 | {"width": 5.73e-6, "w_nmos": 10e-6},
    IHP,
    IHP | {"resistor": "rppd", "w_nmos": 0.3e-6},
    IHP | {"resistor": "rsil", "width": 6e-6, "w_nmos": 10e-6},
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_foundrys_devices_are_drawn_by_its_rules(kind):
    if kind["technology"] != "sky130":
        rules_of(kind["technology"])
    branch, bank, technology = drawn(**kind)
    tile = full_tile(bank)
    layout = tile_layout(tile, bank, technology)
    assert check_rules(layout, technology) == []
    assert compare(layout, tile, bank, technology) == ()
    found = extract_branches(layout, technology)
    width = round(branch.drawn_width / DBU)
    stated = sorted(((width, round(length / DBU)),) for length in LENGTHS)
    assert sorted(part.strips for part in found.branches) == sorted(8 * stated)
    length = round(branch.process.nmos.length / DBU)
    assert {part.switch for part in found.branches} == {(round(branch.w_nmos / DBU), length)}


def test_the_line_through_the_ohms_of_a_branch():
    _, bank, technology = drawn()
    assert technology.film.r_sheet == approx(350, rel=1e-9)
    assert technology.r_end == approx(100, rel=1e-6)
    assert technology.ohm(0.35e-6, 30e-6) == approx(bank.r_nominal[-1], rel=1e-9)
    alone = foundry_technology(FoundryBranch(**SKY130, lengths=(2e-6,)), [2200.0])
    assert (alone.film.r_sheet, alone.r_end) == (approx(385, rel=1e-9), 0.0)


def test_the_area_of_a_cell_by_hand():
    # Four branches a side, as wide as a switch: gate 1.26 um, its contact and a space; 0.21 apart.
    _, bank, technology = drawn()
    plan = plan_cell(bank, technology, "switch")
    assert plan.width == 2 * 4 * 1850
    assert plan.height == plan.y_head + 2080 + 200
    assert plan.y_head == plan.y_strip + 2080 + 30_000
    assert plan.area == approx(plan.width * plan.height * 1e-18, rel=1e-12)
    wires = drawn_wires(plan, technology)
    assert wires.r_word == approx(0.125 * 14.8, rel=1e-9)
    assert wires.r_bit == approx(0.047 * plan.height * 1e-3, rel=1e-9)


def test_resistors_in_another_order_are_caught():
    _, bank, technology = drawn(lengths=(2e-6, 5e-6, 30e-6))
    tile = full_tile(bank)
    layout = tile_layout(tile, bank, replace(technology, lengths=(5e-6, 2e-6, 30e-6)))
    found = compare(layout, tile, bank, technology)
    assert found[0] == "branch 0 from in_0 to out_0_p: 2200 ohm expected; got 5200 ohm"
    assert len(found) == 2 * 8


def test_a_length_that_is_five_nanometres_off_is_caught():
    _, bank, technology = drawn()
    tile = full_tile(bank)
    layout = tile_layout(tile, bank, replace(technology, lengths=(*LENGTHS[:3], 30.005e-6)))
    (first, *others) = compare(layout, tile, bank, technology)
    assert first.endswith("strips of 0.35 × 30 um expected; got 0.35 × 30.005 um")
    assert len(others) == 7


def test_a_resistor_that_is_missing_at_its_place_is_caught():
    _, bank, technology = drawn()
    tile = full_tile(bank)
    wide = replace(technology, transistor=replace(technology.transistor, width=1.1e-6))
    found = compare(tile_layout(tile, bank, wide), tile, bank, technology)
    assert "branch 1 from in_0 to out_0_p: no resistor begins at its place" in found


def test_a_wider_switch_is_caught():
    _, bank, technology = drawn()
    tile = full_tile(bank)
    layout = tile_layout(tile, bank, technology)
    shapes = layout.cell("full_0_0_cell_switch").shapes(layout.layer(*technology.layers["diff"]))
    region = db.Region(shapes).sized(10, 0)
    shapes.clear()
    shapes.insert(region)
    found = compare(layout, tile, bank, technology)
    assert found[0].endswith("a switch of 1 × 0.15 um expected; got 1.02 × 0.15 um")


def test_every_rule_of_ihp_finds_something_when_stricter():
    rules_of("ihp-sg13g2")
    found, wanted, more = set(), set(), {"size": 1e-8, "width": 6e-5}
    for resistor in ("rhigh", "rsil"):
        _, bank, technology = drawn(**IHP | {"resistor": resistor, "lengths": (2e-6, 5e-6)})
        technology = replace(technology, pad_pitch=62e-6)
        layout = tile_layout(full_tile(bank, 2, 1), bank, technology)
        strict = tuple(
            replace(rule, value=rule.value + more.get(rule.kind, 6e-6)) for rule in technology.rules
        )
        object.__setattr__(technology, "rules", strict)
        found |= {violation.rule for violation in check_rules(layout, technology)}
        wanted |= {str(rule) for rule in strict}
    assert wanted - found == set()


def test_tiles_of_both_processes_read_into_one_layout(tmp_path):
    rules_of("ihp-sg13g2")
    chip, alone = db.Layout(), {}
    for name, kind in (("a", SKY130), ("b", IHP), ("c", SKY130 | {"w_nmos": 2e-6})):
        _, bank, technology = drawn(**kind)
        tile = replace(full_tile(bank), layer=name)
        layout = tile_layout(tile, bank, technology)
        write_layout(layout, tmp_path / f"{name}.gds")
        chip.read(str(tmp_path / f"{name}.gds"))
        alone[tile.name] = (layout, tile, bank, technology)
    assert [cell.name for cell in chip.top_cells()] == list(alone)
    assert [compare(copied(chip, name), *parts[1:]) for name, parts in alone.items()] == [()] * 3
    assert [differing(chip, parts[0]) for parts in alone.values()] == [[]] * 3


def copied(chip, name):
    """Return one cell of a layout, alone."""
    read = db.Layout()
    read.dbu = chip.dbu
    read.create_cell(name).copy_tree(chip.cell(name))
    return read


def differing(chip, layout):
    """Return the layers on which the top cell of a layout is another in a chip."""
    top, found = layout.top_cell(), []
    for layer in layout.layer_indexes():
        info = layout.get_info(layer)
        here = db.Region(top.begin_shapes_rec(layer))
        there = db.Region(chip.cell(top.name).begin_shapes_rec(chip.layer(info)))
        if here.is_empty() != there.is_empty() or not (here ^ there).is_empty():
            found.append(str(info))
    return found


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"switch": "gate"}, "only an n-channel switch at the bit line .* 'gate' at the bit line"),
        ({"switch_at": "word line"}, "got switch = 'nmos' at the word line"),
        ({"lengths": (2.0011e-6,)}, r"lengths\[0\] must be a multiple of 5 nm"),
        ({"w_nmos": 1.005e-6}, "w_nmos must be a multiple of 10 nm"),
    ],
)
def test_what_cannot_be_drawn_as_it_is(options, told):
    with pytest.raises(ValueError, match=told):
        drawn(**options)


def test_what_does_not_fit():
    branch, bank, technology = drawn()
    with pytest.raises(ValueError, match=r"ohms must have one value for each of 4 lengths"):
        foundry_technology(branch, [1.0])
    with pytest.raises(ValueError, match=r"has a transistor, which a cell programmed by vias"):
        plan_cell(bank, technology, "via")
    with pytest.raises(ValueError, match=r"has 4 lengths, but the bank has 2 branches"):
        plan_cell(bank_of(1e4, 2e4), technology, "switch")
    _, short, close = drawn(lengths=(0.5e-6, 2e-6))
    with pytest.raises(ValueError, match=r"5e-07 m long is too short .* at least 5\.1e-07 m"):
        plan_cell(short, close, "switch")
    narrow = replace(technology, transistor=replace(technology.transistor, width=0.25e-6))
    with pytest.raises(ValueError, match=r"2\.5e-07 m wide is too narrow .* at least 2\.9e-07 m"):
        plan_cell(bank, narrow, "switch")


def test_wires_of_a_process_that_states_no_metals():
    rules_of("ihp-sg13g2")
    _, bank, technology = drawn(**IHP)
    with pytest.raises(ValueError, match=r"states the sheet resistance of the metals of ihp-sg"):
        drawn_wires(plan_cell(bank, technology, "switch"), technology)


def test_files_of_rules_that_lack_something(tmp_path):
    files = rules_of("ihp-sg13g2")
    fewer = {name: value for name, value in files.rules.items() if name != "Cnt_a"}
    with pytest.raises(ValueError, match=r"has no value of 'Cnt_a'; fetch it again"):
        ihp_technology(RuleFiles(fewer, files.layers, tmp_path), "rhigh", 0.5e-6, 1e3)
    fewer = {name: value for name, value in files.layers.items() if name != "Contdrawing"}
    with pytest.raises(ValueError, match=r"lacks Contdrawing; fetch it again"):
        ihp_technology(RuleFiles(files.rules, fewer, tmp_path), "rhigh", 0.5e-6, 1e3)
