"""Whatever holds a mapped network goes into every command after mapping; the rest is named."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from crossbar_sim import Converters, Hardware, Noise, save_network, to_torch
from crossbar_sim.cli.commands import app
from crossbar_sim.config import ConfigError
from crossbar_sim.jobs.source import read_source, save_mapping
from crossbar_sim.pipeline.steps import select_on_die
from mapping import MappedNetwork
from netlists import Periphery, Wires, read_pack, write_network, write_pack

pytest.importorskip("pyarrow")
pytest.importorskip("jsonschema")
WIRES, ENDS = Wires(1.0, 2.0, 30.0), Periphery(tia_gain=1e4)
HARDWARE = Hardware(WIRES, ENDS, Converters(v_read=0.3, dac_bits=8), Noise(bandwidth=1e6))


def make(kind: str, mapped: MappedNetwork, path: Path) -> Path:
    """Write the network as a pack or as a mapping."""
    if kind == "pack":
        return write_pack(mapped, path, wires=WIRES, periphery=ENDS)
    save_mapping(mapped, HARDWARE, path)
    return path


def same_switches(a: MappedNetwork, b: MappedNetwork) -> bool:
    return all(x.n_different(y) == 0 for x, y in zip(a.layers, b.layers, strict=True))


@pytest.mark.parametrize("kind", ["pack", "mapping"])
def test_a_source_holds_network_and_hardware(kind, mapped, tmp_path):
    source = read_source(make(kind, mapped, tmp_path / "s"))
    assert same_switches(source.mapped, mapped)
    assert source.mapped.die == mapped.die
    assert source.parts == {"wires": WIRES, "periphery": ENDS}
    assert source.name == "s"
    assert source.v_read == (0.3 if kind == "mapping" else 0.2)
    if kind == "mapping":
        assert source.hardware == HARDWARE


def test_a_saved_network_is_a_source(digits_mlp, tmp_path):
    config, data, model = digits_mlp
    mapped = select_on_die(config, model, data)
    hardware = replace(config.hardware, noise=None)
    images = torch.from_numpy(data.x_train[:50])
    on_die = to_torch(model, mapped, hardware, calibration=images)
    path = save_network(on_die, mapped, tmp_path / "saved")
    source = read_source(path)
    assert source.hardware == hardware
    assert source.v_read == config.periphery.v_read
    assert same_switches(source.mapped, mapped)
    header = json.loads((path / "circuits.json").read_text())
    first = next(iter(header["layers"].values()))
    first["wires"]["r_word"] = 7.0
    (path / "circuits.json").write_text(json.dumps(header))
    with pytest.raises(ValueError, match="same hardware"):
        read_source(path)
    first["converters"]["v_read"] = -1
    (path / "circuits.json").write_text(json.dumps(header))
    with pytest.raises(ValueError, match=r"circuits.json: converters: v_read"):
        read_source(path)
    (path / "state.npz").write_bytes(b"")
    with pytest.raises(ValueError, match=r"state.npz is damaged"):
        read_source(path)
    (path / "state.npz").unlink()
    with pytest.raises(ValueError, match=r"state.npz is missing"):
        read_source(path)


def test_an_older_pack_has_ideal_circuits_and_says_so(mapped, tmp_path):
    path = make("pack", mapped, tmp_path / "s")
    manifest = json.loads((path / "manifest.json").read_text())
    circuits = manifest.pop("circuits")
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.warns(UserWarning, match="does not say which wires"):
        source = read_source(path)
    assert source.hardware is None
    assert source.parts == {"wires": Wires(), "periphery": Periphery()}
    circuits["wires"]["r_word"] = -1.0
    (path / "manifest.json").write_text(json.dumps(manifest | {"circuits": circuits}))
    with pytest.raises(ValueError, match=r"circuits.wires: r_word"):
        read_source(path)


def call(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})


@pytest.mark.parametrize("kind", ["pack", "mapping"])
def test_verify_export_and_reselect_take_any_source(kind, mapped, tmp_path):
    path = make(kind, mapped, tmp_path / "s")
    done = call("verify", path, "--vectors", 3)
    assert done.exit_code == 0, done.output
    assert len(done.stdout.splitlines()) == 1 + len(mapped.tiles)
    done = call("verify", path, "--vectors", 3, "--solvers", "fast,ngspice")
    assert re.search(r"nodal.* against ngspice", done.stderr), done.output
    done = call("verify", path, "--vectors", 3, "--sample", 1, "--certify", tmp_path / "proofs")
    header, row = done.stdout.splitlines()
    assert header.endswith(",certified_width,outside")
    assert (tmp_path / "proofs" / f"{row.split(',')[0]}.npz").exists()
    proved = re.search(r"selections: (\d+) of (\d+) proved nearest", done.stderr)
    assert proved is not None
    assert proved[1] == proved[2] != "0"
    assert (tmp_path / "proofs" / "selections.npz").exists()
    done = call("export", path, "--output", tmp_path / "again")
    assert done.exit_code == 0, done.output
    assert read_source(tmp_path / "again").parts == {"wires": WIRES, "periphery": ENDS}

    wafer = tmp_path / "wafer.csv"
    rng = np.random.default_rng(0)
    with (tmp_path / "again" / "branches.csv").open() as file, wafer.open("w") as target:
        target.write("layer,input,output,side,branch,ohm\n")
        for row in csv.DictReader(file):
            ohm = float(row["measured_ohm"]) * (1 + 0.2 * rng.standard_normal())
            place = (row[name] for name in ("layer", "input", "output", "side", "branch"))
            target.write(",".join((*place, f"{ohm}")) + "\n")
    done = call("reselect", path, wafer, "--output", tmp_path / "new")
    assert done.exit_code == 0, done.output
    assert "accuracy is left out" in done.stderr
    assert "accuracy" not in done.stdout
    found = dict(line.split(",", 1) for line in done.stdout.splitlines())
    new = read_pack(tmp_path / "new" / "pack")
    changed = sum(a.n_different(b) for a, b in zip(mapped.layers, new.layers, strict=True))
    assert changed == int(found["switches_changed"]) > 0
    assert read_source(tmp_path / "new" / "pack").parts == {"wires": WIRES, "periphery": ENDS}
    page = (tmp_path / "new" / "report.html").read_text()
    assert "Left out: s has no test data" in page


def test_what_is_no_source_is_named_with_its_command(mapped, tmp_path):
    write_network(mapped, WIRES, ENDS, tmp_path / "decks")
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "config.json").write_text("{}")
    (tmp_path / "empty").mkdir()
    (tmp_path / "new").mkdir()
    for name in ("report.json", "changes.csv"):
        (tmp_path / "new" / name).write_text("")
    for name in ("a.onnx", "a.toml", "a.pt", "a.npz", "a.txt"):
        (tmp_path / name).write_text("")
    messages = {
        "a.onnx": "an ONNX network, which `crossbar-sim map`",
        "a.toml": "a configuration, which `crossbar-sim run`",
        "a.pt": "a file of weights, which `crossbar-sim map`",
        "a.npz": "give the directory that it lies in",
        "a.txt": "but a file; here, give",
        "decks": "a directory of SPICE decks, which `ngspice -b` takes",
        "decks/fc": "a directory of SPICE decks",
        "part": "an unfinished run; `crossbar-sim run CONFIG --resume`",
        "new": "give the pack in it, .*new/pack",
        "empty": "a directory with none of report.json, circuits.json",
        "absent": "does not exist; give a finished run",
    }
    for name, message in messages.items():
        with pytest.raises(ConfigError, match=message):
            read_source(tmp_path / name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("crossbar-sim mapping", "x"), "is not of a crossbar-sim"),
        (lambda text: text.replace('"version": 1', '"version": 9'), "version 1 expected; got 9"),
        (lambda text: text.replace('"r_word": 1.0', '"r_word": -1.0'), "wires: r_word"),
        (lambda text: text.replace('"noise"', '"nose"'), "must be an object of wires, periphery"),
        (lambda text: text.replace('"sha256": "', '"sha256": "0'), "checksum does not match"),
        (lambda text: text[:50], "map the network again"),
    ],
)
def test_a_damaged_mapping_is_named(change, message, mapped, tmp_path):
    path = make("mapping", mapped, tmp_path / "s")
    file = path / "hardware.json"
    file.write_text(change(file.read_text()))
    with pytest.raises(ConfigError, match=message):
        read_source(path)


def test_a_mapping_without_its_network_is_named(mapped, tmp_path):
    path = make("mapping", mapped, tmp_path / "s")
    (path / "mapped.npz").unlink()
    with pytest.raises(ConfigError, match=r"mapped.npz is missing"):
        read_source(path)
    with pytest.raises(FileExistsError, match="choose another"):
        save_mapping(mapped, HARDWARE, path)


@pytest.mark.parametrize("kind", ["pack", "mapping"])
def test_netlist_writes_decks_of_any_source(kind, mapped, tmp_path):
    path = make(kind, mapped, tmp_path / "s")
    done = call("netlist", path, "--output", tmp_path / "all")
    assert done.exit_code == 0, done.output
    v_read = 0.3 if kind == "mapping" else 0.2
    wanted = write_network(mapped, WIRES, ENDS, tmp_path / "wanted", v_read=v_read)
    files = [p.relative_to(wanted) for p in wanted.rglob("*") if p.is_file()]
    assert len(files) > 2 * len(mapped.tiles)
    for name in files:
        assert (tmp_path / "all" / name).read_bytes() == (wanted / name).read_bytes()


@pytest.mark.parametrize(
    ("words", "n_tile"),
    [
        (("--sample", "2", "--seed", "1"), 2),
        (("--tiles", "fc_0_0, fc_1_0"), 2),
        (("--layers", "fc", "--sample", "1"), 1),
    ],
)
def test_some_tiles_are_written_alone(words, n_tile, mapped, tmp_path):
    path = make("mapping", mapped, tmp_path / "s")
    assert call("netlist", path, "--output", tmp_path / "n", *words).exit_code == 0
    names = {p.stem for p in (tmp_path / "n" / "fc").glob("fc_*.cir")}
    assert len(names) == n_tile < len(mapped.tiles)
    less = ("--no-pictures", "--no-tables")
    done = call("export", path, "--output", tmp_path / "p", *words, *less)
    assert done.exit_code == 0, done.output
    pack = tmp_path / "p"
    assert {p.stem for p in (pack / "bitstreams").glob("*.bin")} == names
    assert {p.stem for p in (pack / "netlists" / "fc").glob("fc_*.cir")} == names
    absent = ("pictures", "branches.csv", "branches.parquet", "cells.csv")
    assert not any((pack / name).exists() for name in absent)
    with (pack / "pins.csv").open() as file:
        assert {row["tile"] for row in csv.DictReader(file)} == names
    assert same_switches(read_pack(pack), mapped)
    text = (pack / "README.md").read_text()
    assert f"These are {n_tile} of the network's {len(mapped.tiles)} tiles" in text
    assert "pictures/" not in text
    manifest = json.loads((pack / "manifest.json").read_text())
    assert manifest["part"] == {"pictures": False, "tables": False, "tiles": sorted(names)}
    bare = call("export", path, "--output", tmp_path / "bare", *words, "--no-netlists")
    assert bare.exit_code == 0, bare.output
    assert not (tmp_path / "bare" / "netlists").exists()
    assert (tmp_path / "bare" / "pictures").exists()
    assert same_switches(read_pack(tmp_path / "bare"), mapped)
    manifest["part"]["tiles"] = ["fc_9_9"]
    (pack / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="names tile 'fc_9_9', which"):
        read_pack(pack)


def test_what_is_not_there_cannot_be_chosen(mapped, tmp_path):
    path = make("mapping", mapped, tmp_path / "s")
    for words, message in (
        (("--tiles", "fc_7_7"), "expected a tile of fc_0_0, .*; got 'fc_7_7'"),
        (("--layers", "conv"), "expected a layer of fc; got 'conv'"),
    ):
        done = call("netlist", path, "--output", tmp_path / "n", *words)
        with pytest.raises(ValueError, match=message):
            raise done.exception
    assert not (tmp_path / "n").exists()
