"""The written netlists, run by stock ngspice, and the selection table."""

import csv
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crossbar_sim import solve
from mapping import Die, MappedNetwork, TileConfig, map_network
from netlists import Periphery, Wires, array_circuit, tile_circuit, to_spice, write_network
from netlists.fabrication.switch_tables import write_selection
from netlists.spice.chain import Chain
from netlists.spice.inputs import random_inputs
from netlists.spice.text import MAX_VECTORS, table_source
from tinynets.networks.layers import PrunedLayer, PrunedNetwork

GOLDEN = Path(__file__).parents[2] / "golden"
WIRES, ENDS = Wires(1.0, 2.0, 30.0), Periphery(tia_gain=1e4)


def run_ngspice(deck: Path) -> np.ndarray:
    """Run a deck with stock ngspice in batch mode; return its outputs, one row per vector."""
    done = subprocess.run(
        ["ngspice", "-b", deck.name], cwd=deck.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "KLU" in done.stdout
    return np.loadtxt(deck.parent / "outputs.txt", skiprows=1, ndmin=2)[:, 1:]


def layer_outputs(mapped: MappedNetwork, v_in: np.ndarray) -> np.ndarray:
    """Return what the engine computes for the only layer, summed over its tiles [V]."""
    (layer,) = mapped.layers
    total = np.zeros((len(v_in), layer.source.n_out))
    for tile in layer.tiles:
        v_out = solve(tile_circuit(tile, WIRES, ENDS), v_in[:, tile.rows]).v_out
        total[:, tile.columns] += v_out[:, tile.n_bit :] - v_out[:, : tile.n_bit]
    return total


def test_stock_ngspice_runs_the_directory_to_the_same_outputs(mapped, tmp_path):
    v_in = {"fc": np.random.default_rng(0).uniform(-0.2, 0.2, size=(6, 7))}
    directory = write_network(mapped, WIRES, ENDS, tmp_path / "net", v_in=v_in)
    found = run_ngspice(directory / "fc" / "run.cir")
    wanted = layer_outputs(mapped, v_in["fc"])
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12 * np.abs(wanted).max())
    assert (found[:, 2] == 0).all(), "output 2 has no weight"


def test_the_random_inputs_of_verify_are_the_default(mapped, tmp_path):
    directory = write_network(mapped, WIRES, ENDS, tmp_path / "net", v_read=0.3)
    found = run_ngspice(directory / "fc" / "run.cir")
    wanted = layer_outputs(mapped, random_inputs(mapped, v_read=0.3, n_vector=64)["fc"])
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12 * np.abs(wanted).max())


def test_each_input_alone_leaves_out_those_without_a_weight(mapped, tmp_path):
    directory = write_network(mapped, WIRES, ENDS, tmp_path / "net", each_input=True)
    found = run_ngspice(directory / "fc" / "run.cir")
    wanted = layer_outputs(mapped, 0.1 * np.eye(7)[[0, 1, 2, 4, 5, 6]])
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12 * np.abs(wanted).max())
    v_in = {"fc": np.zeros((1, 7))}
    with pytest.raises(ValueError, match="two ways to say what is swept"):
        write_network(mapped, WIRES, ENDS, tmp_path / "net2", each_input=True, v_in=v_in)


def test_each_word_line_alone_is_in_the_deck_of_a_tile(mapped, tmp_path):
    directory = write_network(mapped, WIRES, ENDS, tmp_path / "net")
    for tile in (mapped.tiles[0], mapped.tiles[-1]):
        deck = directory / "fc" / f"{tile.name}.cir"
        subprocess.run(["ngspice", "-b", deck.name], cwd=deck.parent, check=True)
        found = np.loadtxt(deck.with_suffix(".txt"), skiprows=1, ndmin=2)[:, 1:]
        wanted = solve(tile_circuit(tile, WIRES, ENDS), 0.1 * np.eye(tile.n_word)).i_out
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-11 * np.abs(wanted).max())


@pytest.mark.parametrize("r_on", [0.0, 1e-3])
def test_switches_of_almost_no_resistance_do_not_spoil_a_deck(layer, bank, r_on, tmp_path):
    """ngspice takes 0 ohm for 1e-12, and so rounded voltages for large currents."""
    die, ends = Die(replace(bank, r_on=r_on), seed=3), replace(ENDS, v_offset=0.01)
    mapped = map_network(PrunedNetwork((layer,)), die, TileConfig(8, 8))
    (tile,) = mapped.tiles
    deck = write_network(mapped, WIRES, ends, tmp_path / "net") / "fc" / f"{tile.name}.cir"
    subprocess.run(["ngspice", "-b", deck.name], cwd=deck.parent, check=True)
    found = np.loadtxt(deck.with_suffix(".txt"), skiprows=1, ndmin=2)[:, 1:]
    wanted = solve(tile_circuit(tile, WIRES, ends), 0.1 * np.eye(tile.n_word)).i_out
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-11 * np.abs(wanted).max())


def test_the_deck_of_a_depthwise_layer_stays_small(bank, tmp_path):
    """It has 9 inputs for each of 480 outputs, and most weights are pruned away."""
    weight = np.zeros((480, 4320))
    rng = np.random.default_rng(0)
    for k in range(480):
        weight[k, 9 * k : 9 * k + 9] = rng.normal(size=9) * (rng.random(9) < 0.1)
    network = PrunedNetwork((PrunedLayer("dw", weight, weight != 0),))
    mapped = map_network(network, Die(bank, seed=1), TileConfig(64, 64))
    live = int(weight.any(axis=0).sum())
    directory = write_network(mapped, WIRES, ENDS, tmp_path / "net")
    assert (directory / "dw" / "run.cir").stat().st_size < 1.2e6
    deck = (directory / "dw" / "run.cir").read_text()
    assert len(re.findall(r"^bin_", deck, re.MULTILINE)) == live < 500


def test_some_tiles_alone(mapped, tmp_path):
    told: list[tuple[str, int, int]] = []
    tiles = mapped.tiles[1:3]
    directory = write_network(
        mapped, WIRES, ENDS, tmp_path / "net", tiles=tiles, progress=lambda *step: told.append(step)
    )
    assert told == [("netlists", k, 2) for k in range(3)]
    written = {path.stem for path in (directory / "fc").glob("fc_*.inc")}
    assert written == {tile.name for tile in tiles}
    assert "Not all tiles are here: the outputs of fc" in (directory / "README.md").read_text()
    found = run_ngspice(directory / "fc" / "run.cir")
    v_in = random_inputs(mapped, v_read=0.2, n_vector=64)["fc"]
    wanted = layer_outputs(mapped.part(tiles), v_in)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12 * np.abs(wanted).max())
    with pytest.raises(ValueError, match="a chain needs every tile"):
        write_network(mapped, WIRES, ENDS, tmp_path / "b", tiles=tiles, chain=Chain({"fc": 0.1}))


def test_every_branch_is_an_element_and_pruned_weights_are_none(mapped, tmp_path):
    directory = write_network(mapped, WIRES, ENDS, tmp_path / "net")
    text = "".join(path.read_text() for path in (directory / "fc").glob("fc_*.inc"))
    cells = [line for line in text.splitlines() if line.startswith("Xc_")]
    assert len(cells) == mapped.layers[0].source.n_remaining
    n = mapped.die.bank.n
    assert all(line.count(" r_") == line.count(" s_") == 2 * n for line in cells)
    switches = [float(p.split("=")[1]) for line in cells for p in line.split() if p[:2] == "s_"]
    assert set(switches) == {1e3, 1e9}
    assert switches.count(1e3) == mapped.layers[0].n_closed
    assert "README.md" in {path.name for path in directory.iterdir()}


def test_what_write_network_refuses(mapped, layer, bank, tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(FileExistsError, match="there"):
        write_network(mapped, WIRES, ENDS, tmp_path / "there")
    with pytest.raises(ValueError, match=r"expected finite voltages of shape \(n_batch, 7\)"):
        write_network(mapped, WIRES, ENDS, tmp_path / "net", v_in={"fc": np.zeros((2, 6))})
    with pytest.raises(ValueError, match=f"pass 1 … {MAX_VECTORS}"):
        write_network(mapped, WIRES, ENDS, tmp_path / "net", v_in={"fc": np.zeros((0, 7))})
    with pytest.raises(ValueError, match="finite"):
        write_network(mapped, WIRES, ENDS, tmp_path / "net", v_in={"fc": np.full((2, 7), np.nan)})
    perfect = Die(replace(bank, r_off=np.inf), seed=0)
    other = map_network(PrunedNetwork((layer,)), perfect, mapped.tile)
    with pytest.raises(ValueError, match="finite r_off"):
        write_network(other, WIRES, ENDS, tmp_path / "net")
    assert not (tmp_path / "net").exists()


def test_flat_netlist_against_a_golden_file():
    g = np.array([[1e-6, 0.0], [2e-6, 4e-6]])
    circuit = array_circuit(g, Wires(1.0, 2.0, 5.0), Periphery(tia_gain=1e4))
    text = to_spice(circuit, np.array([[0.1, 0.2], [0.3, -0.4]]), title="two by two")
    assert text == (GOLDEN / "two_by_two.cir").read_text()


def test_a_title_cannot_add_a_card():
    circuit = array_circuit(np.array([[1e-6]]), Wires())
    text = to_spice(circuit, np.array([0.1]), title="x\n.control\nshell rm")
    assert text.splitlines()[0] == "* x .control shell rm"
    assert ".control" not in text.splitlines()


def test_too_many_vectors():
    circuit = array_circuit(np.array([[1e-6]]), Wires())
    with pytest.raises(ValueError, match=f"at most {MAX_VECTORS}"):
        to_spice(circuit, np.zeros((MAX_VECTORS + 1, 1)))


def test_tables_are_flat_outside_the_sweep():
    assert table_source("b", "n", [1.0, 2.0]) == (
        "b n 0 v = pwl(v(sel), -9000000000.0, 1.0, 0, 1.0, 1, 2.0, 9000000000.0, 2.0)"
    )


def test_selection_table(mapped, tmp_path):
    write_selection(mapped, tmp_path / "selection.csv")
    with (tmp_path / "selection.csv").open() as file:
        rows = list(csv.DictReader(file))
    where = "layer tile word_line bit_line input output side branch"
    assert list(rows[0]) == [*where.split(), "nominal_ohm", "measured_ohm", "closed"]
    layer = mapped.layers[0]
    assert len(rows) == layer.source.n_remaining * 2 * mapped.die.bank.n
    assert sum(int(row["closed"]) for row in rows) == layer.n_closed
    # The table alone gives the conductances that the selection expected.
    predicted = np.zeros(layer.predicted.shape)
    for row in rows:
        place = int(row["output"]), int(row["input"])
        ohm = float(row["measured_ohm"])
        ohm += 0 if row["closed"] == "1" else 1e9 - 1e3  # the switch of the bank, r_off for r_on
        predicted[place] += (1 if row["side"] == "pos" else -1) / ohm
    np.testing.assert_allclose(
        predicted, layer.predicted, rtol=0, atol=1e-12 * np.abs(layer.predicted).max()
    )
