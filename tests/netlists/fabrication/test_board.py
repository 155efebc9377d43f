"""The bench: a board's netlist, parsed again, connects what the tile says."""

import csv
import re
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from banks import bank_of

from mapping import Die, ResistorBank, TileConfig, map_network
from mapping.bank.switches import closed_switches
from mapping.tiling.tiles import Tile
from netlists.fabrication.board import MAX_BRANCHES, shift_bits, tile_board, write_board
from tinynets.networks.layers import PrunedLayer, PrunedNetwork

BANK = ResistorBank.discrete_e24(n=3, r_min=10e3, ratio=1.8)

#: Ends and control of the switches of a 74HC4066, and outputs of a 74HC595, from the data sheets.
SWITCHES = {"13": ("1", "2"), "5": ("4", "3"), "6": ("8", "9"), "12": ("11", "10")}
OUTPUTS = ["15", *"1234567"]


@pytest.fixture(scope="module")
def tile() -> Tile:
    """Three inputs and two outputs; one weight is pruned."""
    weight = np.array([[0.7, -0.4, 0.0], [0.2, 0.5, -1.0]])
    network = PrunedNetwork((PrunedLayer("fc", weight, weight != 0),))
    return map_network(network, Die(BANK, seed=1), TileConfig(3, 2)).tiles[0]


def parse(text: str) -> list:
    """Return an S-expression as nested lists of strings."""
    stack = [[]]
    for quoted, bracket, word in re.findall(r'"([^"]*)"|([()])|([^\s()"]+)', text):
        if bracket == "(":
            stack.append([])
        elif bracket == ")":
            done = stack.pop()
            stack[-1].append(done)
        else:
            stack[-1].append(quoted or word)
    ((root,),) = stack
    return root


def items(node: list, name: str) -> list[list]:
    """Return the children of that name."""
    return [child for child in node if isinstance(child, list) and child[0] == name]


def value(node: list, name: str) -> str:
    return items(node, name)[0][1]


def read_netlist(path: Path) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Return value of each reference, and the net on each pin of each reference."""
    root = parse(path.read_text())
    assert root[:2] == ["export", ["version", "E"]]
    values = {
        value(c, "ref"): value(c, "value") for c in items(items(root, "components")[0], "comp")
    }
    pins = defaultdict(dict)
    for net in items(items(root, "nets")[0], "net"):
        for node in items(net, "node"):
            assert value(node, "pin") not in pins[value(node, "ref")]
            pins[value(node, "ref")][value(node, "pin")] = value(net, "name")
    return values, pins


def ohms(text: str) -> float:
    return float(text[:-1]) * 1e3 if text.endswith("k") else float(text)


def closed_by(bits, values, pins):
    """Return the nets that are high once the bits are shifted in, first bit first."""
    state = {}
    chain = [ref for ref in pins if values[ref] == "74HC595D" and pins[ref]["14"] == "SER"]
    while chain[-1] and pins[chain[-1]]["9"] != pins["J3"]["7"]:
        (following,) = (r for r in pins if pins[r].get("14") == pins[chain[-1]]["9"])
        chain.append(following)
    assert len(bits) == 8 * len(chain)
    for ref, byte in zip(chain, np.reshape(bits[::-1], (-1, 8))):
        for pin, bit in zip(OUTPUTS, byte):
            state[pins[ref].get(pin)] = bool(bit)
    return {net for net, high in state.items() if high}


def test_the_netlist_connects_what_the_tile_says(tile, tmp_path):
    netlist, _ = write_board(tile_board(tile, BANK), tmp_path)
    values, pins = read_netlist(netlist)
    high = closed_by(shift_bits(tile, BANK), values, pins)
    switch = {
        pins[ref][a]: (pins[ref][b], pins[ref][control] in high)
        for ref in values
        if values[ref] == "74HC4066D"
        for control, (a, b) in SWITCHES.items()
        if pins[ref][a] != "GND"
    }
    found = Counter()
    for ref in values:
        if ref.startswith("R"):
            line, closed = switch[pins[ref]["2"]]
            found[pins[ref]["1"], line, ohms(values[ref]), closed] += 1
    wanted = Counter()
    for side, chosen in (("p", tile.chosen_pos), ("n", tile.chosen_neg)):
        closed = closed_switches(chosen, BANK.n)
        for i, j in np.argwhere(tile.present).tolist():
            for k, r in enumerate(BANK.r_nominal.tolist()):
                wanted[f"in_{i}", f"out_{j}_{side}", r, bool(closed[i, j, k])] += 1
    assert found == wanted
    assert sum(found.values()) == 30


def test_headers_and_supplies(tile, tmp_path):
    values, pins = read_netlist(write_board(tile_board(tile, BANK), tmp_path)[0])
    headers = {ref: [pins[ref][pin] for pin in sorted(pins[ref], key=int)] for ref in ("J1", "J2")}
    assert headers["J1"] == ["in_0", "in_1", "in_2", "GND"]
    assert headers["J2"] == ["out_0_p", "out_0_n", "out_1_p", "out_1_n", "GND"]
    chips = Counter(values[ref] for ref in values if ref.startswith("U"))
    assert chips == {"74HC4066D": 8, "74HC595D": 4}
    assert set(pins) <= set(values)
    for ref, part in values.items():
        if part == "74HC4066D":
            assert (pins[ref]["14"], pins[ref]["7"], len(pins[ref])) == ("VCC", "GND", 14)
        if part == "74HC595D":
            assert (pins[ref]["16"], pins[ref]["8"], pins[ref]["13"]) == ("VCC", "GND", "GND")
    single = [net for net, on in tile_board(tile, BANK).nets.items() if len(on) < 2]
    assert single == [], "no net ends nowhere"


def test_bill_of_materials(tile, tmp_path):
    _, bill = write_board(tile_board(tile, BANK), tmp_path)
    with bill.open() as file:
        rows = {row["value"]: row for row in csv.DictReader(file)}
    for name in ("10k", "18k", "33k"):
        assert (rows[name]["count"], rows[name]["tolerance"]) == ("10", "5%")
        assert rows[name]["package"] == "R_0603_1608Metric"
    assert rows["74HC4066D"]["count"] == "8"
    assert rows["100n"]["count"] == "12"
    assert len(rows["10k"]["references"].split()) == 10
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fc_0_0.net", "fc_0_0_bom.csv"]


def test_the_same_board_gives_the_same_files(tile, tmp_path):
    first = [path.read_bytes() for path in write_board(tile_board(tile, BANK), tmp_path / "a")]
    again = [path.read_bytes() for path in write_board(tile_board(tile, BANK), tmp_path / "b")]
    assert first == again


def test_small_and_large_values(tile):
    board = tile_board(tile, bank_of(91.0, 1e3, 2.2e6))
    assert {part.value for part in board.parts if part.ref[0] == "R"} == {"91", "1k", "2.2M"}


def big_tile(n_word: int, n_bit: int) -> Tile:
    zero, g = np.zeros((n_word, n_bit), np.uint32), np.zeros((n_word, n_bit))
    present = np.ones((n_word, n_bit), bool)
    return Tile("fc", (0, 0), np.arange(n_word), np.arange(n_bit), present, zero, zero, g, g)


def test_what_is_refused(tile):
    with pytest.raises(ValueError, match=f"has 1536 branches; a board takes 1 … {MAX_BRANCHES}"):
        tile_board(big_tile(16, 16), BANK)
    with pytest.raises(ValueError, match="has 0 branches"):
        tile_board(replace(big_tile(2, 2), present=np.zeros((2, 2), bool)), BANK)
    with pytest.raises(ValueError, match="has 40 word lines; a header takes 39"):
        tile_board(big_tile(40, 1), BANK)
    with pytest.raises(ValueError, match="has 40 bit lines"):
        tile_board(big_tile(1, 20), BANK)
    with pytest.raises(ValueError, match="10500 ohm is not an E24 value"):
        tile_board(tile, bank_of(10.5e3, 20e3, 30e3))
    with pytest.raises(ValueError, match="branches that the bank of 1 does not have"):
        tile_board(tile, ResistorBank.discrete_e24(n=1))
    with pytest.raises(ValueError, match="is not safe in a netlist"):
        tile_board(replace(big_tile(1, 1), layer='x") (evil "'), BANK)
