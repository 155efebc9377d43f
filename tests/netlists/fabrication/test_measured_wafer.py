"""Measured wafers: what a laboratory hands in becomes the die, and bad tables are refused."""

import warnings
from contextlib import suppress
from dataclasses import fields

import numpy as np
import pytest

from approx import approx
from mapping import Die, MappedNetwork, ResistorBank, TileConfig, map_network
from mapping.network.repair import reselect
from netlists import read_pack, write_pack
from netlists.fabrication.measured_wafer import DEFECTIVE_OHM, WaferError, read_wafer
from tinynets.networks.layers import ConvGeometry, PrunedLayer, PrunedNetwork

arrow = pytest.importorskip("pyarrow")
BANK = ResistorBank(n=5, sigma_local=0.05, meter_error=1e-3, r_on=1e3, r_off=1e9)


def mapped_on(bank: ResistorBank) -> MappedNetwork:
    """Two small layers on a die of the bank; both have a weight at (0, 0)."""
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=s) * (rng.random(s) < 0.4) for s in ((5, 7), (4, 5))]
    layers = []
    for name, weight in zip(("fc1", "fc2"), weights):
        weight[0, :2] = 0.5, 0.0
        layers.append(PrunedLayer(name, weight, weight != 0))
    return map_network(PrunedNetwork(tuple(layers)), Die(bank, seed=3), TileConfig(4, 3))


@pytest.fixture(scope="module")
def network() -> MappedNetwork:
    return mapped_on(BANK)


def measurements(network, path, *, skip=(), change=None, unit="ohm"):
    """Write what a meter reads of every branch, as a laboratory would hand it in."""
    lines = [f"layer,input,output,side,branch,{unit}"]
    k = 0
    for layer in network.layers:
        rows, columns = layer.source.cells
        ohm = network.die.measured(layer.name, rows, columns)
        for c, s, b in np.ndindex(ohm.shape):
            value = (change or {}).get(k, ohm[c, s, b] if unit == "ohm" else 1 / ohm[c, s, b])
            if k not in skip:
                side = ("pos", "neg")[s]
                lines.append(f"{layer.name},{rows[c]},{columns[c]},{side},{b},{value}")
            k += 1
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("unit", ["ohm", "siemens"])
def test_a_measured_wafer_becomes_the_die(network, tmp_path, unit):
    found = read_wafer(measurements(network, tmp_path / "w.csv", unit=unit), network)
    assert (found.n_missing, found.n_out_of_range) == (0, 0)
    layer = network.layers[0]
    columns, rows = np.nonzero(layer.source.mask)
    wanted = network.die.measured("fc1", rows, columns)
    np.testing.assert_allclose(found.die.measured("fc1", rows, columns), wanted, rtol=1e-9)
    again = map_network(
        PrunedNetwork(tuple(x.source for x in network.layers)), found.die, network.tile
    )
    assert np.abs(again.layers[0].error).max() < 0.05


def test_a_wafer_of_a_grouped_convolution(tmp_path):
    conv = ConvGeometry(4, (2, 2), (1, 1), (0, 0), (1, 1), groups=4)
    weight = np.random.default_rng(0).normal(size=(8, 4))
    layer = PrunedLayer("conv", weight, weight != 0, conv=conv)
    mapped = map_network(PrunedNetwork((layer,)), Die(BANK, seed=1), TileConfig(8, 8))
    found = read_wafer(measurements(mapped, tmp_path / "w.csv"), mapped)
    assert (found.n_branch, found.n_missing) == (2 * BANK.n * 8 * 4, 0)
    wanted = mapped.die.measured("conv", *layer.cells)
    measured = found.die.measured("conv", *layer.cells)
    np.testing.assert_allclose(measured, wanted, rtol=1e-9)


def test_defects_are_marked_and_never_closed(network, tmp_path):
    path = measurements(network, tmp_path / "w.csv", skip={0}, change={1: "", 2: 1e12, 3: 1.0})
    found = read_wafer(path, network)
    assert (found.n_missing, found.n_out_of_range) == (2, 2)
    columns, rows = np.nonzero(network.layers[0].source.mask)
    ohm = found.die.resistances("fc1", rows, columns)
    assert (ohm[0, 0, :4] == DEFECTIVE_OHM).all()
    # Whatever it was before, and even where its cell is near enough: nobody knows what it conducts.
    assert any(t.chosen_pos[0, 0] & 0b1111 for t in network.tiles if t.layer == "fc1")
    for tolerance in (0.005, 10.0):
        for mapped in (
            reselect(network, found.die, tolerance=tolerance, unknown=found.defective).mapped,
            map_network(
                PrunedNetwork(tuple(x.source for x in network.layers)), found.die, network.tile
            ),
        ):
            tile = next(t for t in mapped.tiles if rows[0] in t.rows and columns[0] in t.columns)
            cell = np.argmax(tile.rows == rows[0]), np.argmax(tile.columns == columns[0])
            assert tile.chosen_pos[cell] & 0b1111 == 0


def test_parquet_is_read_too(network, tmp_path):
    csv = pytest.importorskip("pyarrow.csv")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = measurements(network, tmp_path / "w.csv")
    parquet.write_table(csv.read_csv(path), tmp_path / "w.parquet")
    a, b = read_wafer(path, network), read_wafer(tmp_path / "w.parquet", network)
    assert a.die == b.die


HEAD = "layer,input,output,side,branch,ohm\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "expected layer, input"),
        (
            HEAD.replace("ohm", "ohm,siemens") + "fc1,0,0,pos,0,1,1\n",
            "one of ohm, measured_ohm, siemens",
        ),
        (HEAD + "nope,0,0,pos,0,1e5\n", "layer = nope"),
        (HEAD + "fc1,0,0,up,0,1e5\n", "side = up"),
        (HEAD + "fc1,99,0,pos,0,1e5\n", "input = 99"),
        (HEAD + "fc1,0,-1,pos,0,1e5\n", "output = -1"),
        (HEAD + "fc1,0,0,pos,9,1e5\n", "branch = 9"),
        (HEAD + "fc1,0.5,0,pos,0,1e5\n", "expected whole numbers"),
        (HEAD + "fc1,0,0,pos,0,-5\n", "ohm = -5"),
        (HEAD + "fc1,0,0,pos,0,abc\n", "numbers in the column of values"),
        (HEAD + "fc1,0,0,pos,0,1e5\nfc1,0,0,pos,0,1e5\n", "given twice"),
        (HEAD + "fc1,0,0,pos,0,1e5\n", "at least half must be usable"),
        (HEAD.replace("side", "output") + "fc1,0,0,0,0,1e5\n", "expected layer, input"),
        (HEAD.replace("ohm", "ohm,ohm") + "fc1,0,0,pos,0,1,1\n", "one of ohm"),
        (HEAD.replace("ohm", "ohm,layer") + "fc1,0,0,pos,0,1,fc1\n", "each of them once"),
        (HEAD.replace("ohm", "ohm,die") + "fc1,0,0,pos,0,1e5,abc\n", "row 2 has die = abc"),
        (HEAD + "fc1,0,0,pos,0\n", "cannot be read at row 2"),
        (HEAD + "fc1,0,0,pos,,1e5\n", "row 2 has no branch; every row needs one"),
        (HEAD + "fc1,0,0,pos,0,0\n", "ohm = 0"),
        ("", "cannot be read"),
    ],
)
def test_bad_measurements(network, tmp_path, text, message):
    path = tmp_path / "w.csv"
    path.write_text(text)
    with pytest.raises(WaferError, match=message):
        read_wafer(path, network)


def test_cells_without_devices_are_unknown(network, tmp_path):
    (tmp_path / "w.csv").write_text(HEAD + "fc1,0,0,pos,0,1e5\nfc1,1,0,pos,0,1e5\n")
    with pytest.raises(WaferError, match="row 3 has output = 0; expected a cell that has devices"):
        read_wafer(tmp_path / "w.csv", network)


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_a_table_in_another_unit_is_refused(network, tmp_path, factor):
    path = measurements(network, tmp_path / "w.csv")
    head, *rows = path.read_text().splitlines()
    scaled = [f"{place},{factor * float(ohm)!r}" for place, ohm in (r.rsplit(",", 1) for r in rows)]
    path.write_text("\n".join([head, *scaled]) + "\n")
    with pytest.raises(WaferError, match="check the unit"):
        read_wafer(path, network)


@pytest.mark.parametrize("name", ["none.csv", "none.parquet"])
def test_a_table_that_is_not_there(network, tmp_path, name):
    with pytest.raises(WaferError, match=r"cannot be read: .*No such file"):
        read_wafer(tmp_path / name, network)


def test_wrong_rows_are_named_in_parquet(network, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    row = {"layer": "fc1", "input": 0, "output": 0, "side": "pos", "branch": 0, "ohm": 1e5}
    table = {name: [value] * 2 for name, value in row.items()}
    parquet.write_table(arrow.table(table), tmp_path / "twice.parquet")
    with pytest.raises(WaferError, match="row 2 has branch = 0; expected each branch once"):
        read_wafer(tmp_path / "twice.parquet", network)
    parquet.write_table(arrow.table(table | {"branch": [0.0, 0.5]}), tmp_path / "half.parquet")
    with pytest.raises(WaferError, match="expected whole numbers"):
        read_wafer(tmp_path / "half.parquet", network)
    (tmp_path / "no.parquet").write_text("layer,input\n")
    with pytest.raises(WaferError, match="cannot be read"):
        read_wafer(tmp_path / "no.parquet", network)


def test_a_branch_that_comes_again_in_a_later_batch(network, tmp_path, monkeypatch):
    monkeypatch.setattr("netlists.fabrication.wafer_table._BATCH", 16)
    csv, parquet = pytest.importorskip("pyarrow.csv"), pytest.importorskip("pyarrow.parquet")
    path = measurements(network, tmp_path / "w.csv")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, lines[1]]) + "\n")
    parquet.write_table(csv.read_csv(path), tmp_path / "w.parquet")
    with pytest.raises(WaferError, match=f"row {len(lines)} has branch = 0.*given twice"):
        read_wafer(tmp_path / "w.parquet", network)


def test_the_table_of_a_pack_can_be_filled_in_and_handed_back(network, tmp_path):
    pack = write_pack(network, tmp_path / "p")
    for name in ("branches.csv", "branches.parquet"):
        found = read_wafer(pack / name, network)
        columns, rows = np.nonzero(network.layers[0].source.mask)
        wanted = network.die.measured("fc1", rows, columns)
        np.testing.assert_allclose(found.die.measured("fc1", rows, columns), wanted, rtol=1e-12)


def test_the_table_may_name_its_die(network, tmp_path):
    path = measurements(network, tmp_path / "w.csv")
    head, *rows = path.read_text().splitlines()
    named = [f"{head},die", *(f"{row},{network.die.id}" for row in rows)]
    path.write_text("\n".join(named) + "\n")
    assert read_wafer(path, network).n_missing == 0


#: What other fields of a bank need so as to act, and spreads of all kinds.
_ACTIVE = {
    "n": 5,
    "ratio": 1.5,
    "r_min": 1e4,
    "sigma_local": 0.05,
    "r_on": 2e4,
    "sigma_on": 0.2,
    "r_off": 1e9,
}
_ACTIVE |= {"temperature": 350.0, "tc1": 1e-3, "age": 2000.0, "drift": 0.01, "meter_error": 1e-3}
_VALUES = (1e-3, 0.01, 1.9, 3, 340.0, 1e8, "uniform", "equal")


@pytest.mark.parametrize("name", [field.name for field in fields(ResistorBank)])
def test_a_measured_die_reads_what_was_measured_whatever_its_bank(name, tmp_path):
    """Whatever field acts is in the readings and does not come again; defects are not read."""
    banks = []
    for value in _VALUES:
        with suppress(ValueError, TypeError), warnings.catch_warnings(action="ignore"):
            banks.append(ResistorBank(**(_ACTIVE | {name: value})))
    network = mapped_on(banks[0])
    found = read_wafer(measurements(network, tmp_path / "w.csv"), network)
    cells = network.layers[0].source.cells
    wanted, read = network.die.measured("fc1", *cells), found.readings["fc1"][cells]
    assert np.count_nonzero(read == wanted) > 0
    good = ~found.defective["fc1"][cells]
    for measured in (True, False):
        g = found.die.branches("fc1", *cells, measured=measured).g_closed
        np.testing.assert_allclose(1 / g[good], wanted[good], rtol=1e-9)


def test_stuck_switches_are_told_and_kept(network, tmp_path):
    path = measurements(network, tmp_path / "w.csv")
    head, *rows = path.read_text().splitlines()
    state = ["closed", "open", *[""] * (len(rows) - 2)]
    lines = [f"{head},stuck", *(f"{row},{s}" for row, s in zip(rows, state))]
    path.write_text("\n".join(lines) + "\n")
    found = read_wafer(path, network)
    assert found.n_stuck == 2
    columns, rows = np.nonzero(network.layers[0].source.mask)
    g = found.die.branches("fc1", rows[:1], columns[:1], measured=True)
    assert g.g_open[0, 0, 0] == g.g_closed[0, 0, 0] > 1e-7
    assert g.g_open[0, 0, 1] == g.g_closed[0, 0, 1] < 1e-8
    plain = found.die.branches("fc1", rows[1:], columns[1:], measured=True)
    assert (plain.g_open < 0.1 * plain.g_closed).all()

    # Reselection works round them, and a pack brings them back.
    repair = reselect(network, found.die)
    pack = write_pack(repair.mapped, tmp_path / "p")
    again = read_pack(pack)
    assert again.die == found.die != network.die
    assert len(again.tiles) == len(repair.mapped.tiles) > 0
    for a, b in zip(again.tiles, repair.mapped.tiles):
        np.testing.assert_array_equal(a.g_pos, b.g_pos)

    path.write_text("\n".join([f"{head},stuck", f"{lines[1].rsplit(',', 2)[0]},,closed"]) + "\n")
    with pytest.raises(WaferError, match="row 2 has ohm = None; expected a reading above"):
        read_wafer(path, network)
    # A short that is stuck closed conducts what it reads, out of range or not.
    path.write_text("\n".join([lines[0], f"{lines[1].rsplit(',', 2)[0]},5e3,closed", *lines[2:]]))
    shorted = read_wafer(path, network)
    assert shorted.n_out_of_range == 0
    g = shorted.die.branches("fc1", rows[:1], columns[:1], measured=True)
    assert 1 / g.g_open[0, 0, 0] == approx(5e3)

    path.write_text("\n".join([f"{head},stuck", f"{lines[1]}d"]) + "\n")
    with pytest.raises(WaferError, match="stuck = closedd; expected one of nothing, open, closed"):
        read_wafer(path, network)


def test_readings_and_defects_are_kept_for_the_report(network, tmp_path):
    path = measurements(network, tmp_path / "w.csv", change={1: "", 2: 1e12})
    found = read_wafer(path, network)
    cells = network.layers[0].source.mask.T
    assert sum(int(d.sum()) for d in found.defective.values()) == 2
    assert np.isnan(found.readings["fc1"][~cells]).all()
    assert np.isfinite(found.readings["fc1"][cells]).sum() == cells.sum() * 10 - 1


def test_a_block_in_another_unit_is_hinted_at(network, tmp_path):
    n_branch = sum(2 * BANK.n * int(layer.source.mask.sum()) for layer in network.layers)
    right = [
        float(line.rsplit(",", 1)[1])
        for line in measurements(network, tmp_path / "w.csv").read_text().splitlines()[1:]
    ]
    block = {k: right[k] / 1e3 for k in range(n_branch // 3)}
    found = read_wafer(measurements(network, tmp_path / "w.csv", change=block), network)
    assert found.n_prefix == found.n_out_of_range == len(block)
    assert f"{len(block)} of {n_branch} branches" in found.hint
    assert "another unit, such as kilohm" in found.hint
    assert read_wafer(measurements(network, tmp_path / "w.csv"), network).hint == ""
    with pytest.raises(WaferError, match=r"check the unit, .*such as kilohm"):
        read_wafer(
            measurements(
                network, tmp_path / "w.csv", change={k: r / 1e3 for k, r in enumerate(right)}
            ),
            network,
        )


@pytest.mark.parametrize("value", ["inf", "1e309"])
@pytest.mark.parametrize("unit", ["ohm", "siemens"])
def test_a_reading_without_end_is_refused(network, tmp_path, value, unit):
    path = measurements(network, tmp_path / "w.csv", change={4: value}, unit=unit)
    with pytest.raises(
        WaferError, match=rf"row 6 has {unit} = inf; expected a positive and finite"
    ):
        read_wafer(path, network)


def test_the_row_of_what_is_no_number_is_named(network, tmp_path):
    for k in (3, 70):
        path = measurements(network, tmp_path / "w.csv", change={k: "abc"})
        with pytest.raises(
            WaferError, match=rf"at row {k + 2}; expected .*: .*invalid value 'abc'"
        ):
            read_wafer(path, network)
