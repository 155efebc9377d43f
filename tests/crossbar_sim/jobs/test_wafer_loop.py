"""From a finished run to the fab and back: export, measured wafer, few changes, accuracy."""

import csv
import json
import re
import resource
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from approx import approx
from benchmarks.checks.forging import flip, forge, mutate
from commands import command
from crossbar_sim.cli.commands import app
from crossbar_sim.config import ConfigError
from crossbar_sim.config.study import with_values
from crossbar_sim.jobs.wafer_loop import Readings, export_run, reselect_run
from crossbar_sim.pipeline.finished_run import pruned_model, read_run, score
from crossbar_sim.report.wafer_report import DESIGNED, NEW, OLD
from mapping import MappedNetwork
from mapping.wafer.meter import Meter
from mapping.wafer.reading_plan import weighing_plan
from netlists import read_pack
from netlists.fabrication.plan_file import read_plan, write_plan

pytest.importorskip("pyarrow")
COMMAND = [sys.executable, "-c", "from crossbar_sim.cli import main; main()"]
SMALL = """
name = "small"
[train]
epochs = 6
[prune]
sparsity = 0.7
rounds = 2
epochs_per_round = 4
[simulation]
n_image = 1
"""


@pytest.fixture(scope="module")
def run_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("exchange")
    (root / "small.toml").write_text(SMALL)
    done = command("run", root / "small.toml", "--results", root)
    assert done.returncode == 0, done.stderr
    return root / "small"


def write_measurements(
    path: Path, mapped: MappedNetwork, drift: float = 0.2, missing: float = 0.1
) -> Path:
    """Write what a meter would read after the die has aged."""
    rng = np.random.default_rng(0)
    lines = ["layer,input,output,side,branch,ohm"]
    for layer in mapped.layers:
        columns, rows = np.nonzero(layer.source.mask)
        ohm = mapped.die.measured(layer.name, rows, columns)
        ohm = ohm * (1 + drift * rng.standard_normal(ohm.shape))
        for c, s, b in np.ndindex(ohm.shape):
            value = "" if rng.random() < missing else ohm[c, s, b]
            lines.append(f"{layer.name},{rows[c]},{columns[c]},{('pos', 'neg')[s]},{b},{value}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_an_exported_pack_scores_the_same(run_directory, tmp_path):
    pack = export_run(run_directory, tmp_path / "pack")
    config, mapped = read_run(run_directory)
    model = pruned_model(config, run_directory)
    assert score(config, model, read_pack(pack)) == score(config, model, mapped)


def test_the_command_verify_states_currents_and_voltages(run_directory):
    done = CliRunner().invoke(app, ["verify", str(run_directory), "--sample", "2", "--seed", "1"])
    assert done.exit_code == 0
    head, *rows = csv.reader(done.stdout.splitlines())
    told = [f"{name}_{law}" for name in ("ngspice", "fast") for law in ("kirchhoff", "tellegen")]
    assert head == ["tile", "vectors", "current_error", "voltage_error", *told]
    assert len(rows) == 2
    for name, vectors, *errors in rows:
        assert name.startswith("fc")
        assert vectors == "16"
        assert all(0 < float(error) < 1e-9 for error in errors)


def test_a_score_is_of_the_network_that_the_run_tunes(run_directory):
    config, mapped = read_run(run_directory)
    model = pruned_model(config, run_directory)
    offset = with_values(config, {"periphery.v_offset_sigma": 5e-3})
    fitted = with_values(offset, {"tune.n_output": 300})
    assert score(fitted, model, mapped) > score(offset, model, mapped) + 0.1


def test_measured_wafer_reselected_with_few_changes(run_directory, tmp_path):
    config, mapped = read_run(run_directory)
    measured = write_measurements(tmp_path / "aged.csv", mapped)
    found = reselect_run(run_directory, Readings(measured), tmp_path / "new", tolerance=0.005)
    digital = score(config, pruned_model(config, run_directory), mapped)
    assert found["missing"] > 0
    assert found["accuracy_before"] < digital - 0.02
    assert found["accuracy_after"] > found["accuracy_before"]
    assert found["accuracy_after"] > digital - 0.03
    with (tmp_path / "new" / "changes.csv").open() as file:
        changes = list(csv.DictReader(file))
    assert len(changes) == found["switches_changed"]
    before = {tile.name: tile for tile in mapped.tiles}
    after = read_pack(tmp_path / "new" / "pack")
    different = sum(
        int(np.bitwise_count(getattr(before[t.name], name) ^ getattr(t, name)).sum())
        for t in after.tiles
        for name in ("chosen_pos", "chosen_neg")
    )
    assert different == len(changes)


def test_the_report_of_a_measured_wafer(run_directory, tmp_path):
    _, mapped = read_run(run_directory)
    measured = write_measurements(tmp_path / "aged.csv", mapped, drift=0.1, missing=0.05)
    found = reselect_run(run_directory, Readings(measured), tmp_path / "new", tolerance=0.005)
    page = (tmp_path / "new" / "report.html").read_text()
    assert page.count("<figure") == 4
    assert "http" not in re.sub(r"base64,[^\"]*", "", page)
    numbers = json.loads((tmp_path / "new" / "report.json").read_text())

    # Readings about nominal, worked out again from the table as it was handed in.
    with measured.open() as file:
        rows = list(csv.DictReader(file))
    bank = mapped.die.bank
    assert [entry["branch"] for entry in numbers["nominal"]] == list(range(bank.n))
    for entry in numbers["nominal"]:
        nominal = bank.r_nominal[entry["branch"]] + bank.r_on
        ours = [r["ohm"] for r in rows if int(r["branch"]) == entry["branch"]]
        deviation = np.array([float(x) for x in ours if x]) / nominal - 1
        assert entry["n"] == len(deviation)
        assert entry["missing"] == ours.count("")
        assert entry["mean"] == approx(deviation.mean())
        assert entry["sigma"] == approx(deviation.std(ddof=1))
        assert 0.08 < entry["sigma"] < 0.15

    nominal, designed, old, new = numbers["errors"]
    assert designed["rms"] < new["rms"] < old["rms"]
    assert designed["median"] < 0.1 * nominal["median"]
    assert (old["n_off"], new["n_off"]) == (found["cells_off"], found["cells_unmended"])
    assert len(numbers["missed"]) == found["cells_unmended"]
    changes = numbers["changes"]
    assert sum(t["closed"] + t["opened"] for t in changes["tiles"]) == found["switches_changed"]
    assert changes["n"] == found["switches_changed"] > len(changes["listed"]) > 0
    labels = [row["network"] for row in numbers["accuracy"]]
    assert labels == ["pruned, digital", DESIGNED, OLD, NEW]
    old, new = numbers["accuracy"][2:]
    assert old["low"] < old["accuracy"] < old["high"]
    more = new["against_old"]["gained"] - new["against_old"]["lost"]
    assert more / new["n_image"] == approx(new["accuracy"] - old["accuracy"], abs=1e-12)
    assert [row["accuracy"] for row in (old, new)] == [
        found["accuracy_before"],
        found["accuracy_after"],
    ]


def test_a_wafer_as_designed_needs_no_change(run_directory, tmp_path):
    _, mapped = read_run(run_directory)
    measured = write_measurements(tmp_path / "same.csv", mapped, drift=0.0, missing=0.0)
    found = reselect_run(run_directory, Readings(measured), tmp_path / "new", tolerance=0.01)
    assert found["switches_changed"] == found["missing"] == found["out_of_range"] == 0
    assert "None: every cell" in (tmp_path / "new" / "report.html").read_text()


def test_the_commands(run_directory, tmp_path):
    pack = tmp_path / "pack"
    export = ["export", run_directory, "--output", pack]
    export += ["--meter-relative", "0", "--meter-siemens", "2e-9"]
    done = command(*export)
    assert (done.returncode, done.stdout.strip()) == (0, str(pack)), done.stderr
    assert read_plan(pack / "plan.csv", 6)[1] == Meter(absolute=2e-9)
    again = command(*export)
    assert again.returncode == 1
    assert "exists" in again.stderr
    bad = tmp_path / "bad.csv"
    bad.write_text("a,b\n1,2\n")
    done = command("reselect", run_directory, bad, "--output", tmp_path / "r")
    assert done.returncode == 2
    assert "expected layer, input" in done.stderr
    assert not (tmp_path / "r").exists()


def test_composite_readings_need_what_they_follow(run_directory, tmp_path):
    (tmp_path / "w.csv").write_text("layer,input,output,side,reading,ohm\nfc1,0,0,pos,0,1e5\n")
    table, output = tmp_path / "w.csv", tmp_path / "new"

    def run_with(**options):
        reselect_run(run_directory, Readings(table, **options), output, tolerance=0.005)

    with pytest.raises(ConfigError, match="give --plan"):
        run_with()
    with pytest.raises(ConfigError, match=r"plan.csv cannot be read"):
        run_with(plan=tmp_path / "plan.csv")
    with pytest.raises(ConfigError, match="absolute error must be finite and >= 0; got -1"):
        run_with(absolute=-1.0)
    assert not output.exists()


def test_the_meter_of_the_command_comes_before_that_of_the_plan(run_directory, tmp_path):
    write_plan(weighing_plan(6), Meter(relative=1e-3), tmp_path / "plan.csv")
    (tmp_path / "w.csv").write_text("layer,input,output,side,reading,ohm\n")
    words = ["reselect", run_directory, tmp_path / "w.csv", "--output", tmp_path / "new"]
    words += ["--plan", tmp_path / "plan.csv"]
    for more, message in (
        ([], "at least half must be usable"),
        (["--meter-relative", "0"], "give the meter's error"),
    ):
        found = CliRunner().invoke(app, [*map(str, words), *more])
        assert isinstance(found.exception, ConfigError)
        assert message in str(found.exception)


def test_what_is_no_run(tmp_path):
    with pytest.raises(ConfigError, match="not a finished run"):
        read_run(tmp_path)


def test_a_disk_without_room_is_one_line_and_leaves_nothing(run_directory, tmp_path):
    _, mapped = read_run(run_directory)
    measured = write_measurements(tmp_path / "aged.csv", mapped)
    (tmp_path / "out").mkdir()
    for arguments in (["export", run_directory], ["reselect", run_directory, measured]):
        done = subprocess.run(
            [*COMMAND, *map(str, arguments), "--output", str(tmp_path / "out" / "pack")],
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000)),
        )
        assert done.returncode == 1
        assert "File too large" in done.stderr
        assert "Traceback" not in done.stderr
        assert list((tmp_path / "out").iterdir()) == []


READERS = {
    "mapped.npz": lambda directory: read_run(directory),
    "config.json": lambda directory: read_run(directory),
    "model/pruned.pt": lambda directory: pruned_model(read_run(directory)[0], directory),
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("how", ["missing", "empty", "cut", "flipped", "other", "a directory"])
def test_a_damaged_file_of_a_run_is_named(run_directory, tmp_path, name, how):
    copy = Path(shutil.copytree(run_directory, tmp_path / "copy"))
    path = copy / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x80
    path.unlink()
    if how == "a directory":
        path.mkdir()
    elif how != "missing":
        texts = {"empty": b"", "cut": content[: len(content) // 3], "flipped": content}
        path.write_bytes(texts.get(how, b'{"a": [1]}'))
    with pytest.raises(ConfigError, match=rf"(?s){re.escape(str(path))}.*; repeat the run"):
        READERS[name](copy)


def test_a_network_of_another_run_is_refused(run_directory, tmp_path):
    copy = Path(shutil.copytree(run_directory, tmp_path / "copy"))
    text = (copy / "config.json").read_text()
    assert '"die": {\n  "seed": 1\n }' in text
    (copy / "config.json").write_text(
        text.replace('"die": {\n  "seed": 1', '"die": {\n  "seed": 2')
    )
    with pytest.raises(ConfigError, match=r"mapped\.npz has another die or tile size than"):
        read_run(copy)


def test_mutations_of_a_run_are_refused_or_change_nothing_it_can_tell(run_directory, tmp_path):
    """Not told twice in a run: the module of a layer, its geometry and its products."""
    rng = np.random.default_rng(1)
    _, mapped = read_run(run_directory)
    copy = Path(shutil.copytree(run_directory, tmp_path / "copy"))
    refused = 0
    for k in range(60):
        for name in ("mapped.npz", "config.json"):
            shutil.copy(run_directory / name, copy / name)
        if k % 3:
            forge(copy / "mapped.npz", lambda header, arrays: mutate(header, rng))
        else:
            flip(copy / ("mapped.npz", "config.json")[k % 2], rng)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of ladders with gaps
            try:
                found = read_run(copy)[1]
            except ConfigError:
                refused += 1
                continue
        assert (found.die, found.tile) == (mapped.die, mapped.tile)
        assert mapped.tiles
        for a, b in zip(mapped.tiles, found.tiles, strict=True):
            np.testing.assert_array_equal(a.chosen_pos, b.chosen_pos)
            np.testing.assert_array_equal(a.g_neg, b.g_neg)
    assert refused > 30
