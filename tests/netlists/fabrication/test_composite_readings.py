"""Tables of composite readings: solved, checked, and what a single-reading table is to them."""

import json
from dataclasses import replace

import numpy as np
import pytest

from mapping import Die, MappedNetwork, ResistorBank, TileConfig, map_network
from mapping.network.repair import on_die, reselect
from mapping.wafer.meter import Meter
from mapping.wafer.reading_plan import Plan, best_plan, one_at_a_time, weighing_plan
from netlists import read_pack, write_pack
from netlists.fabrication.measured_wafer import Wafer, WaferError, read_wafer
from netlists.fabrication.plan_file import read_plan
from tinynets.networks.layers import PrunedLayer, PrunedNetwork

pytest.importorskip("pyarrow")
BANK = ResistorBank(n=5, sigma_local=0.05, meter_error=1e-3, r_on=1e3, r_off=1e9)
METER = Meter(absolute=1e-9)


def mapped_on(bank: ResistorBank, shape: tuple[int, int] = (5, 7)) -> MappedNetwork:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=shape) * (rng.random(shape) < 0.6)
    weight[0, :2] = 0.5, 0.0
    network = PrunedNetwork((PrunedLayer("fc1", weight, weight != 0),))
    return map_network(network, Die(bank, seed=3), TileConfig(4, 3))


@pytest.fixture(scope="module")
def network() -> MappedNetwork:
    return mapped_on(BANK)


def read(network, path, plan, meter=METER, *, die=None, lost=(), change=None, unit="siemens"):
    """Write what a meter shows of the banks of a die, one row a reading."""
    rng = np.random.default_rng(5)
    lines, k = [f"layer,input,output,side,reading,{unit}"], 0
    for layer in network.layers:
        columns, rows = np.nonzero(layer.source.mask)
        true = (die or network.die).branches(layer.name, rows, columns, measured=False)
        g = (true.g_closed - true.g_open) @ plan.closed.T + true.g_open.sum(-1, keepdims=True)
        g = g + meter.sigma(g) * rng.standard_normal(g.shape)
        for c, s, r in np.ndindex(g.shape):
            shown = g[c, s, r] if unit == "siemens" else 1 / g[c, s, r]
            value = (change or {}).get(k, float(shown))
            if k not in lost:
                place = f"{layer.name},{rows[c]},{columns[c]},{('pos', 'neg')[s]},{r}"
                lines.append(f"{place},{value}")
            k += 1
    path.write_text("\n".join(lines) + "\n")
    return path


def true_conductance(network: MappedNetwork, die: Die | None = None) -> np.ndarray:
    columns, rows = np.nonzero(network.layers[0].source.mask)
    return (die or network.die).branches("fc1", rows, columns, measured=False).g_closed


def believed(network: MappedNetwork, wafer: Wafer) -> np.ndarray:
    columns, rows = np.nonzero(network.layers[0].source.mask)
    return wafer.die.branches("fc1", rows, columns, measured=True).g_closed


@pytest.mark.parametrize("unit", ["siemens", "ohm"])
def test_composite_readings_become_the_die(network, tmp_path, unit):
    plan, exact = weighing_plan(5), Meter(absolute=1e-14)
    path = read(network, tmp_path / "w.csv", plan, exact, unit=unit)
    found = read_wafer(path, network, plan=plan, meter=exact)
    np.testing.assert_allclose(
        believed(network, found), true_conductance(network), rtol=1e-5, atol=0
    )
    assert (found.n_missing, found.n_out_of_range, found.n_unread, found.n_disagree) == (0,) * 4


def test_parquet_and_the_name_of_the_die(network, tmp_path):
    csv, parquet = pytest.importorskip("pyarrow.csv"), pytest.importorskip("pyarrow.parquet")
    plan = weighing_plan(5)
    head, *rows = read(network, tmp_path / "w.csv", plan).read_text().splitlines()
    lines = [f"{head},die", *(f"{row},{network.die.id}" for row in rows)]
    (tmp_path / "w.csv").write_text("\n".join(lines) + "\n")
    parquet.write_table(csv.read_csv(tmp_path / "w.csv"), tmp_path / "w.parquet")
    dies = [
        read_wafer(tmp_path / name, network, plan=plan, meter=METER).die
        for name in ("w.csv", "w.parquet")
    ]
    assert dies[0] == dies[1]


def test_one_at_a_time_is_a_table_of_single_readings(tmp_path):
    """The same readings as either table give the same die, uncertainty and selection."""
    network, meter = mapped_on(replace(BANK, r_off=np.inf)), Meter(1e-3, 1e-9)
    composite = read(network, tmp_path / "c.csv", one_at_a_time(5), meter)
    rows = [row.split(",") for row in composite.read_text().splitlines()[1:]]
    single = ["layer,input,output,side,branch,siemens"]
    single += [",".join(row) for row in rows if row[4] != "5"]
    (tmp_path / "s.csv").write_text("\n".join(single) + "\n")
    found = [
        read_wafer(composite, network, plan=one_at_a_time(5), meter=meter),
        read_wafer(tmp_path / "s.csv", network, meter=meter),
    ]
    columns, cells = np.nonzero(network.layers[0].source.mask)
    dies = [believed(network, wafer) for wafer in found]
    np.testing.assert_allclose(*dies, rtol=1e-12)
    doubts = [wafer.covariance("fc1", cells, columns) for wafer in found]
    np.testing.assert_allclose(*doubts, rtol=1e-9, atol=1e-30)
    assert doubts[0].any()


def test_lost_readings_are_solved_or_their_branches_are_defective(network, tmp_path):
    plan = weighing_plan(5)
    path = read(network, tmp_path / "w.csv", plan, lost={2, 8, 9, 10, 11}, change={20: ""})
    found = read_wafer(path, network, plan=plan, meter=METER)
    assert found.n_unread == 6
    assert found.n_missing == 5  # only the bank that lost four readings
    assert found.defective["fc1"].sum() == 5
    columns, rows = np.nonzero(network.layers[0].source.mask)
    assert found.defective["fc1"][rows[0], columns[0], 1].all()
    good = believed(network, found)[0, 0]
    np.testing.assert_allclose(good, true_conductance(network)[0, 0], atol=1e-8)
    # Their switches are opened, and nothing is said of how well they are known.
    repair = reselect(network, found.die, unknown=found.defective, doubt=found.covariance)
    tile = next(t for t in repair.mapped.tiles if rows[0] in t.rows and columns[0] in t.columns)
    at = np.argmax(tile.rows == rows[0]), np.argmax(tile.columns == columns[0])
    assert tile.chosen_neg[at] == 0
    assert not found.covariance("fc1", rows[:1], columns[:1])[0, 1].any()


def test_switches_that_fail_show_in_the_readings(tmp_path):
    network = mapped_on(replace(BANK, p_stuck_open=0.03, p_stuck_closed=0.03), shape=(9, 12))
    plan = weighing_plan(5)
    path = read(network, tmp_path / "w.csv", plan)
    found = read_wafer(path, network, plan=plan, meter=METER)
    columns, rows = np.nonzero(network.layers[0].source.mask)
    true = network.die.branches("fc1", rows, columns, measured=False)
    seen = found.die.branches("fc1", rows, columns, measured=True)
    assert found.n_stuck > 10
    assert found.n_disagree == 0
    fine = true.g_closed > 2 * true.g_open
    np.testing.assert_allclose(seen.g_closed[fine], true.g_closed[fine], atol=1e-8)
    total = [part.g_open.sum(axis=-1) for part in (true, seen)]
    np.testing.assert_allclose(*total, atol=2e-8)  # open branches, stuck ones among them


def test_banks_that_contradict_themselves(network, tmp_path):
    plan = weighing_plan(5)
    path = read(network, tmp_path / "w.csv", plan, change={3: 9e-5})
    found = read_wafer(path, network, plan=plan, meter=METER)
    assert (found.n_disagree, found.n_missing) == (1, 5)
    other = Plan(plan.closed[::-1])
    with pytest.raises(WaferError, match=r"contradict each other.*check the plan"):
        read_wafer(path, network, plan=other, meter=METER)
    with pytest.raises(ValueError, match="give the meter's error"):
        read_wafer(path, network, plan=plan, meter=Meter())


HEAD = "layer,input,output,side,reading,siemens\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + "fc1,0,0,pos,8,1e-5\n", "row 2 has reading = 8; expected 0 … 7"),
        (HEAD + "fc1,0,0,pos,-1,1e-5\n", "row 2 has reading = -1; expected 0 … 7"),
        (HEAD + "fc1,0,0,pos,x,1e-5\n", "expected whole numbers in input, output, reading"),
        (HEAD + "fc1,0,0,pos,,1e-5\n", "row 2 has no reading; every row needs one"),
        (HEAD + "fc1,0,0,pos,1,1e-5\n" * 2, "row 3 has reading = 1; expected each reading once"),
        (HEAD + "fc1,1,0,pos,0,1e-5\n", "row 2 has output = 0; expected a cell that has devices"),
        (HEAD + "fc9,0,0,pos,0,1e-5\n", "row 2 has layer = fc9"),
        (HEAD + "fc1,0,0,pos,0,-1e-5\n", "row 2 has siemens = -1e-05; expected a positive"),
        (HEAD + "fc1,0,0,pos,0,inf\n", "row 2 has siemens = inf; expected a positive"),
        (HEAD + "fc1,0,0,pos,7,-1e-8\n", "row 2 has siemens = -1e-08; expected a positive"),
        (HEAD.replace("siemens", "ohm") + "fc1,0,0,pos,7,-1e9\n", "ohm = -1000000000.0"),
        (HEAD.replace("siemens", "ohm") + "fc1,0,0,pos,7,1e-320\n", "ohm = 1e-320; expected"),
        (
            HEAD.replace("siemens", "siemens,ohm") + "fc1,0,0,pos,0,1,1\n",
            "and one of ohm, measured",
        ),
        (HEAD.replace("siemens", "S") + "fc1,0,0,pos,0,1e-5\n", "and one of ohm, measured"),
        (HEAD.replace("siemens", "siemens,stuck") + "fc1,0,0,pos,0,1,\n", "has a column stuck"),
        (HEAD.replace("reading", "branch") + "fc1,0,0,pos,0,1\n", "column branch; .*leave out"),
        (HEAD.replace("reading", "reading,branch") + "fc1,0,0,pos,0,0,1\n", "has a column branch"),
        (HEAD + "fc1,0,0,pos,0,1e-5\n", "of 240 branches 240 have no reading"),
    ],
)
def test_bad_tables_of_readings(network, tmp_path, text, message):
    (tmp_path / "w.csv").write_text(text)
    with pytest.raises(WaferError, match=message):
        read_wafer(tmp_path / "w.csv", network, plan=weighing_plan(5), meter=METER)


def test_readings_without_their_plan(network, tmp_path):
    (tmp_path / "w.csv").write_text(HEAD + "fc1,0,0,pos,0,1e-5\n")
    with pytest.raises(WaferError, match=r"has a column reading; .*give --plan"):
        read_wafer(tmp_path / "w.csv", network)


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_another_unit_is_refused(network, tmp_path, factor):
    head, *rows = read(network, tmp_path / "w.csv", weighing_plan(5)).read_text().splitlines()
    scaled = [f"{place},{factor * float(g)!r}" for place, g in (r.rsplit(",", 1) for r in rows)]
    (tmp_path / "w.csv").write_text("\n".join([head, *scaled]) + "\n")
    with pytest.raises(WaferError, match=r"check the .*unit"):
        read_wafer(tmp_path / "w.csv", network, plan=weighing_plan(5), meter=METER)


def test_a_pack_has_the_best_plan_its_meter(network, tmp_path):
    pack = write_pack(network, tmp_path / "p", meter=METER)
    plan, meter = read_plan(pack / "plan.csv", 5)
    assert meter == METER
    np.testing.assert_array_equal(plan.closed, best_plan(BANK, METER).closed)
    manifest = json.loads((pack / "manifest.json").read_text())
    assert manifest["plan"] == {
        "file": "plan.csv",
        "n_reading": len(plan.closed),
        "composite": True,
        "meter": {"relative": 0.0, "siemens": 1e-9},
    }
    assert "plan.csv" in manifest["files"]
    # Without a word of the meter it is that of the bank, for which one at a time is best.
    plain = write_pack(network, tmp_path / "q")
    plan, meter = read_plan(plain / "plan.csv", 5)
    assert meter == Meter(relative=BANK.meter_error)
    assert plan.closed.sum() == 5
    # A pack from before there were plans is read as ever; one that lost its plan is not.
    (plain / "plan.csv").unlink()
    manifest = json.loads((plain / "manifest.json").read_text())
    del manifest["files"]["plan.csv"]
    (plain / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=r"no checksum for .*plan.csv"):
        read_pack(plain)
    del manifest["plan"]
    (plain / "manifest.json").write_text(json.dumps(manifest))
    assert read_pack(plain).die == network.die


def test_reading_together_errs_less_than_as_many_readings_apart(tmp_path):
    """Measured: 0.138 % of the largest weight one at a time, 0.081 % together, with 8 readings."""
    network = mapped_on(replace(BANK, n=7), shape=(12, 20))
    ageing = replace(BANK, n=7, drift=0.01, drift_sigma=0.05)
    true = Die(ageing, seed=3).aged(1000)  # hours
    meter, rms = Meter(absolute=1e-8), []
    assert best_plan(network.die.bank, meter).closed.sum() == weighing_plan(7).closed.sum()
    for plan in (one_at_a_time(7), best_plan(network.die.bank, meter)):
        assert len(plan.closed) == 8
        path = read(network, tmp_path / "w.csv", plan, meter, die=true)
        wafer = read_wafer(path, network, plan=plan, meter=meter)
        options = {"unknown": wafer.defective, "doubt": wafer.covariance}
        repair = reselect(network, wafer.die, tolerance=5e-4, **options)
        error = on_die(repair.mapped, true).layers[0].error
        rms.append(float(np.sqrt(np.mean(error**2))))
    assert rms[1] < 0.75 * rms[0]
