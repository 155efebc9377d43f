"""Every example runs as it is and does what it says; settings that are examples are valid."""

import csv
import itertools
import json
import runpy
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from approx import approx
from crossbar_sim.cli.commands import app
from crossbar_sim.config import ConfigError, load_config
from crossbar_sim.config.study import Range, load_study, with_values
from crossbar_sim.jobs.run import run
from crossbar_sim.pipeline.finished_run import pruned_model, read_run, score
from crossbar_sim.study.runner import Study
from crossbar_sim.study.store import Store
from mapping import Die, MappedNetwork
from mapping.network.repair import on_die
from mapping.wafer.meter import Meter
from netlists import read_pack
from netlists.fabrication.plan_file import read_plan

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
SCRIPTS = sorted(EXAMPLES.rglob("*.py"))
RUNS = sorted((EXAMPLES / "runs").glob("*.toml"))
#: "mnist" is the run that the studies vary.
STUDIES = sorted(path for path in (EXAMPLES / "studies").glob("*.toml") if path.stem != "mnist")
#: Extras that some scripts need.
NEEDS = {"prune_filters": "torch_pruning", "layout": "klayout", "wafer_readings": "pyarrow"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the small network, for scripts that begin with one."""
    config = load_config(ROOT / "tests" / "networks" / "small.toml")
    few = with_values(config, {"simulation.n_image": 1})
    return run(few, tmp_path_factory.mktemp("runs"))


def printed_numbers(said: str) -> dict[str, float]:
    """Return the figures of a script that prints a name and a number a line."""
    return {name: float(number) for name, number in (x.split(": ") for x in said.splitlines())}


def loop_was_closed(said: str, output: Path, _: Path) -> None:
    """A laboratory's loop: what was lost to age comes back."""
    found = printed_numbers(said)
    assert found["accuracy_before"] < found["accuracy_after"]
    assert (output / "new" / "report.html").exists()


def readings_were_read(said: str, output: Path, finished: Path) -> None:
    """Composite readings: all are used, told of and handed on, and the network is better for it."""
    found = printed_numbers(said)
    assert (found["unread"], found["disagree"]) == (0, 0)
    numbers = json.loads((output / "new" / "report.json").read_text())["readings"]
    assert (numbers["composite"], numbers["per_bank"]) == (True, 8)
    assert numbers["meter"] == {"relative": 0.0, "siemens": 1e-8}
    known = [row["median"] for row in numbers["uncertainty"]]
    assert known == sorted(known) != []  # a fixed error is more of a smaller branch
    assert all(row["worst"] > row["median"] > 0 for row in numbers["uncertainty"])
    page = (output / "new" / "report.html").read_text()
    assert "The readings were composite: a plan gave 8 readings per bank" in " ".join(page.split())
    # The new pack carries the plan on, and what the die truly is now is nearer its targets.
    config, mapped = read_run(finished)
    plan, meter = read_plan(output / "new" / "pack" / "plan.csv", mapped.die.bank.n)
    assert meter == Meter(absolute=1e-8)
    assert len(plan.closed) == 8
    true = Die(replace(mapped.die.bank, drift_sigma=0.2), mapped.die.seed).aged(1000)
    networks = [on_die(m, true) for m in (mapped, read_pack(output / "new" / "pack"))]
    before, after = (np.concatenate([x.error for x in m.layers]).std() for m in networks)
    assert after < 0.02 * before
    model = pruned_model(config, finished)
    scores = [score(config, model, network) for network in networks]
    assert scores[1] > scores[0] + 0.02
    assert found["accuracy_after"] == approx(scores[1], abs=0.01)

    command = ["reselect", finished, output / "readings.csv", "--tolerance", 0.002]
    command += ["--plan", output / "pack" / "plan.csv", "--output", output / "nearer"]
    freer = CliRunner().invoke(app, [*map(str, command), "--extra", "1"])
    assert freer.exit_code == 0, freer.output
    lines = dict(line.split(",") for line in freer.stdout.splitlines())
    with (output / "new" / "changes.csv").open() as file:
        changes = list(csv.DictReader(file))
    assert int(lines["switches_changed"]) > len(changes) > 0
    mended = on_die(read_pack(output / "nearer" / "pack"), true)
    assert np.concatenate([x.error for x in mended.layers]).std() < after


def masks_and_a_board_are_there(said: str, output: Path, _: Path) -> None:
    """Both programmings of a tile in two formats with a picture each, and a board with its bill."""
    written = Counter(path.suffix for path in output.iterdir())
    assert written == {".gds": 2, ".oas": 2, ".png": 2, ".net": 1, ".csv": 1}


def says(text: str) -> Callable[[str, Path, Path], None]:
    """Return a check that a script has printed some text."""

    def check(said: str, output: Path, finished: Path) -> None:
        assert text in said

    return check


def own_network_is_done(said: str, output: Path, _: Path) -> None:
    """A good network on every die, netlists that ngspice has checked, and a pack of the same."""
    assert float(said.partition("accuracy on 2 dies: ")[2].partition("%")[0]) > 85
    numbers = json.loads((output / "own" / "report.json").read_text())
    assert {layer["name"] for layer in numbers["layers"]} == {
        "stem",
        "depthwise",
        "dilated",
        "head",
    }
    assert numbers["verification"]["passed"]
    assert numbers["fidelity"]["agreement"] > 0.9
    assert list((output / "own" / "netlists").rglob("*.cir"))
    mapped = MappedNetwork.load(output / "own" / "mapped.npz")
    for a, b in zip(read_pack(output / "pack").tiles, mapped.tiles, strict=True):
        assert np.array_equal(a.g_pos, b.g_pos)


CHECKS = {
    "own_network": own_network_is_done,
    "compaction": says("fc1, clustered: "),
    "flyhash": says("crossbar: "),
    "strong_lottery": says("one_extra_layer, n = 12: 3 layers"),
    "layout": masks_and_a_board_are_there,
    "wafer_loop": loop_was_closed,
    "wafer_readings": readings_were_read,
}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_runs(path, request, monkeypatch, capsys, tmp_path):
    if path.stem in NEEDS:
        pytest.importorskip(NEEDS[path.stem])
    source, arguments, done = path.read_text(), [str(tmp_path)], tmp_path
    if path.stem == "own_network":
        arguments = [*arguments, "2"]
    if path.stem.startswith("wafer"):
        done = request.getfixturevalue("finished")
        arguments = [str(done), *arguments]
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", [str(path), *arguments])
    runpy.run_path(str(path), run_name="__main__")
    CHECKS.get(path.stem, says("%"))(capsys.readouterr().out, tmp_path, done)
    assert len(source.splitlines()) < 60
    assert "python examples" not in source or f"python {path.relative_to(ROOT)}" in source


def test_every_check_is_of_a_script():
    assert set(CHECKS) | set(NEEDS) <= {path.stem for path in SCRIPTS}
    assert len(SCRIPTS) >= 12


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_a_run_is_valid(path):
    config = load_config(path)
    assert config.name == path.stem
    if path.stem == "own_network":
        with pytest.raises(ConfigError, match="say so with --trust"):
            config.ready()
    quick = config.made_quick()
    assert quick.simulation.n_image < config.simulation.n_image
    assert quick.digest != config.digest


@pytest.mark.training
def test_one_file_and_own_arrays_lead_to_a_pack_and_to_ten_dies(tmp_path):
    """Batch norm, a sum, a depthwise and a dilated convolution, all the way by two TOML files."""
    arrays = runpy.run_path(str(EXAMPLES / "own_network.py"))["arrays"]()
    np.savez(tmp_path / "mine.npz", **arrays)
    config, base = load_study(EXAMPLES / "studies" / "own_network.toml", trust=True)
    own = {"data.source": str(tmp_path / "mine.npz"), "train.epochs": 6, "simulation.n_image": 1}
    base = with_values(base, own)
    store = Store(tmp_path / "dies.sqlite")
    (point,) = Study(config, base, store).run(n_jobs=1).summary()
    assert (point.n_die, point.metric("n_tile").value > 3) == (10, True)
    assert point.metric("accuracy").value > 0.8
    finished = run(base, tmp_path)
    done = CliRunner().invoke(app, ["export", str(finished), "--output", str(tmp_path / "pack")])
    assert done.exit_code == 0, done.output
    tiles = MappedNetwork.load(finished / "mapped.npz").tiles
    pack = read_pack(tmp_path / "pack").tiles
    assert all(np.array_equal(a.g_pos, b.g_pos) for a, b in zip(pack, tiles, strict=True))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_study_is_valid(path):
    """Every trial has a configuration that holds, and different ones have different trials."""
    config, base = load_study(path, trust=True)
    comments = path.read_text().splitlines()[1]
    assert str(path.relative_to(ROOT)) in comments, "its comment says how to run it"
    points = config.points()
    if config.optimise:
        ends = [
            [c.value(0.0), c.value(1.0)] if isinstance(c, Range) else c
            for c in config.optimise.range.values()
        ]
        points = [dict(zip(config.optimise.range, p)) for p in itertools.product(*ends)]
        assert "--optimise" in comments
    study = Study(config.model_copy(update={"dies": 2, "trainings": 1}), base, None, points)
    assert len(study.trials) == 2 * len(points) > 0
    assert {trial.config.die.seed for trial in study.trials} == {1, 2}
    for point in points:
        keys = config.drawn(point, base)
        assert {key for key in (config.x, *config.panel) if key} <= keys.keys()
    distinct = {trial.config.digest for trial in study.trials}
    # In the law of few branches a single resistor is all that a bank of one has.
    assert len(distinct) >= 2 * len(points) - 8
