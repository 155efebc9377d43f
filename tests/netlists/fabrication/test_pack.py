"""Fabrication packs: complete, checkable, and they come back as they left."""

import csv
import errno
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.checks.forging import renew
from crossbar_sim.certificates.selection_checker import check
from mapping import Die, MappedNetwork, ResistorBank, TileConfig, map_network
from netlists import Wires, read_pack, write_pack
from netlists.fabrication.pack import FORMAT, SCHEMA, VERSION, PackError
from netlists.fabrication.switch_tables import bitstream, switches_from_bits
from netlists.fabrication.tables import check_tables
from tinynets import version
from tinynets.networks.layers import PrunedLayer, PrunedNetwork

arrow_csv = pytest.importorskip("pyarrow.csv")
parquet = pytest.importorskip("pyarrow.parquet")
jsonschema = pytest.importorskip("jsonschema")


@pytest.fixture(scope="module")
def network() -> MappedNetwork:
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=s) * (rng.random(s) < 0.4) for s in ((5, 7), (4, 5))]
    names = ("fc1", "fc2")
    layers = tuple(
        PrunedLayer(n, w, w != 0, bias=w[:, 0], module=n) for n, w in zip(names, weights)
    )
    bank = ResistorBank(n=5, sigma_local=0.05, meter_error=1e-3, r_on=1e3, r_off=1e9)
    return map_network(PrunedNetwork(layers), Die(bank, seed=3), TileConfig(4, 3))


@pytest.fixture(scope="module")
def pack(network: MappedNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pack(network, tmp_path_factory.mktemp("pack") / "p", wires=Wires(1, 1))


@pytest.fixture
def copied(pack: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pack, tmp_path / "copy"))


def test_a_pack_comes_back_the_same(network, pack):
    found = read_pack(pack)
    assert found.die == network.die
    assert {tile.layer for tile in network.tiles} == {layer.name for layer in network.layers}
    for a, b in zip(network.tiles, found.tiles, strict=True):
        np.testing.assert_array_equal(a.chosen_pos, b.chosen_pos)
        np.testing.assert_array_equal(a.chosen_neg, b.chosen_neg)
        np.testing.assert_allclose(a.g_pos, b.g_pos, rtol=1e-12)
        np.testing.assert_allclose(a.g_neg, b.g_neg, rtol=1e-12)
    for a, b in zip(network.layers, found.layers, strict=True):
        np.testing.assert_array_equal(a.source.weight, b.source.weight)
        np.testing.assert_array_equal(a.source.bias, b.source.bias)


def test_what_is_in_a_pack(network, pack):
    manifest = json.loads((pack / "manifest.json").read_text())
    schema = json.loads((pack / "manifest.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(manifest, schema)
    assert schema == SCHEMA
    constants = [SCHEMA["properties"][name]["const"] for name in ("format", "version")]
    assert constants == [FORMAT, VERSION]
    n_cell = sum(layer.source.n_remaining for layer in network.layers)
    assert manifest["counts"] == {
        "tiles": len(network.tiles),
        "cells": n_cell,
        "branches": 10 * n_cell,
    }
    files = {p.relative_to(pack).as_posix() for p in pack.rglob("*") if p.is_file()}
    assert files == manifest["files"].keys() | {"manifest.json"}
    with (pack / "branches.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10 * n_cell
    assert sum(int(r["closed"]) for r in rows) == sum(x.n_closed for x in network.layers)
    with (pack / "bom.csv").open() as file:
        parts = list(csv.DictReader(file))
    assert sum(int(p["count"]) for p in parts if p["part"] == "resistor") == 10 * n_cell
    assert manifest["versions"]["crossbar-sim"] == version.VERSION
    with (pack / "cells.csv").open() as file:
        cells = list(csv.DictReader(file))
    errors = np.concatenate([layer.error for layer in network.layers])
    np.testing.assert_allclose(
        sorted(float(cell["error"]) for cell in cells), sorted(errors), atol=1e-12
    )
    text = (pack / "README.md").read_text()
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", text)
    assert len(pictures) == len(network.tiles)
    assert all((pack / name).exists() for name in pictures)
    with (pack / "pins.csv").open() as file:
        pins = list(csv.DictReader(file))
    assert len(pins) == sum(t.n_word + 2 * t.n_bit for t in network.tiles)
    assert (pack / "netlists" / "fc1" / "run.cir").exists()
    for tile in network.tiles:
        text = (pack / "bitstreams" / f"{tile.name}.hex").read_text().strip()
        assert bytes.fromhex(text) == (pack / "bitstreams" / f"{tile.name}.bin").read_bytes()


def test_many_tiles_are_drawn_only_if_asked_for(network, tmp_path, monkeypatch):
    monkeypatch.setattr("netlists.fabrication.pack.MOST_PICTURES", len(network.tiles) - 1)
    few = write_pack(network, tmp_path / "few", netlists=False)
    asked = write_pack(network, tmp_path / "asked", netlists=False, pictures=True)
    assert not (few / "pictures").exists()
    assert len(list((asked / "pictures").iterdir())) == len(network.tiles)
    part = json.loads((few / "manifest.json").read_text())["part"]
    assert part == {"pictures": False, "netlists": False}


def test_large_tables_are_binary_alone(network, pack, tmp_path, monkeypatch):
    n_cell = sum(layer.source.n_remaining for layer in network.layers)
    monkeypatch.setattr("netlists.fabrication.file_names.MOST_ROWS", n_cell)
    assert read_pack(pack).die == network.die, "an older pack with text of any length is read"
    some = write_pack(network, tmp_path / "some")
    assert {p.name for p in some.iterdir() if p.stem in ("branches", "cells")} == {
        "branches.parquet",
        "cells.csv",
    }
    monkeypatch.setattr("netlists.fabrication.file_names.MOST_ROWS", n_cell - 1)
    assert read_pack(pack).die == network.die
    large = write_pack(network, tmp_path / "large")
    assert "`cells.parquet`" in (large / "README.md").read_text()
    for name in ("branches", "cells"):
        assert not (large / f"{name}.csv").exists()
        text = arrow_csv.read_csv(pack / f"{name}.csv")
        binary = parquet.read_table(large / f"{name}.parquet")
        assert binary.column_names == text.column_names
        assert binary["tile"].to_pylist() == text["tile"].to_pylist()
    changed = binary.set_column(6, "weight", [np.roll(binary["weight"], 1)])
    parquet.write_table(changed, large / "cells.parquet")
    with pytest.raises(PackError, match=r"cells\.parquet: row \d+ has weight"):
        check_tables(network, large)


def test_the_table_and_the_bits_have_one_order(network, pack):
    pyarrow = pytest.importorskip("pyarrow.parquet")
    table = pyarrow.read_table(pack / "branches.parquet").to_pydict()
    assert len(network.tiles) > 1
    for tile in network.tiles:
        closed = [c for c, name in zip(table["closed"], table["tile"]) if name == tile.name]
        assert closed
        bits = np.unpackbits(np.frombuffer(bitstream(tile, 5), np.uint8), count=len(closed))
        assert bits.tolist() == closed


def test_bits_and_masks_are_inverse(network):
    assert len(network.tiles) > 1
    for tile in network.tiles:
        pos, neg = switches_from_bits(bitstream(tile, 5), tile.present, 5)
        np.testing.assert_array_equal(pos, tile.chosen_pos)
        np.testing.assert_array_equal(neg, tile.chosen_neg)
    with pytest.raises(ValueError, match="bytes"):
        switches_from_bits(b"", network.tiles[0].present, 5)


def test_bits_behind_the_last_switch_are_refused(network, copied):
    tile = next(tile for tile in network.tiles if int(tile.present.sum()) * 10 % 8)
    path = copied / "bitstreams" / f"{tile.name}.bin"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] | 1]))
    renew(copied)
    with pytest.raises(
        PackError, match=rf"{tile.name}\.bin: .* must have zeros after its last switch"
    ):
        read_pack(copied)


#: Names the version of the pack, who wrote it, and what this program reads.
OF_ANOTHER = (
    rf"is a pack of version 7, written by crossbar-sim {version.VERSION}; crossbar-sim "
    rf"{version.VERSION} reads version 1; use the program that wrote it"
)


def edit_manifest(directory: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = directory / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(version=7), OF_ANOTHER),
        (lambda m: m.update(format="x"), "not the manifest"),
        (lambda m: m.pop("tiles"), "'tiles' is a required property"),
        (lambda m: m["tiles"][0].update(name="a b"), "does not match"),
        (lambda m: m["files"].update({"../evil": "0" * 64}), r"manifest\.json names .* outside"),
        (lambda m: m["files"].update({"/etc/passwd": "0" * 64}), "outside the pack"),
        (lambda m: m["files"].pop("network.npz"), "no checksum for network.npz"),
        (lambda m: m["tiles"].pop(), "lists 5 tiles; network.npz holds 6"),
        (lambda m: m["die"].update(id="0" * 12), "another die"),
    ],
)
def test_altered_manifests_are_refused(copied, change, message):
    edit_manifest(copied, change)
    with pytest.raises(PackError, match=message):
        read_pack(copied)


def edit_certificate(directory: Path, name: str, change: Callable[[np.ndarray], object]) -> None:
    """Change an array of the certificate of selections, and renew the checksum."""
    with np.load(directory / "selections.npz") as file:
        arrays = {key: file[key] for key in file.files}
    change(arrays[name])
    np.savez(directory / "selections.npz", **arrays)
    renew(directory)


def test_a_pack_carries_the_proof_of_its_selections(network, pack, copied, tmp_path):
    described = json.loads((pack / "manifest.json").read_text())["selections"]
    n_cell = sum(layer.source.n_remaining for layer in network.layers)
    assert described == {"file": "selections.npz", "cells": n_cell, "optimal": n_cell}
    assert read_pack(pack, certificates=check).die == network.die
    edit_certificate(copied, "least", lambda least: np.multiply(least, 1.01, out=least))
    assert read_pack(copied).die == network.die
    with pytest.raises(PackError, match="choices are nearer than `least`"):
        read_pack(copied, certificates=check)
    part = write_pack(network, tmp_path / "part", tiles=network.tiles[:2], tables=False)
    assert read_pack(part, certificates=check).die == network.die
    without = write_pack(network, tmp_path / "without", certificate=False)
    assert read_pack(without).die == network.die
    assert not (without / "selections.npz").exists()
    with pytest.raises(PackError, match="lists no certificate of selections; export the pack"):
        read_pack(without, certificates=check)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("closed", lambda a: np.bitwise_xor(a, 1, out=a), "has other closed than the network"),
        ("target", lambda a: np.multiply(a, 1.001, out=a), "has other target than the network"),
        ("optimal", lambda a: a.fill(False), "claims other selections than manifest.json says"),
    ],
)
def test_a_proof_of_other_selections_is_refused(copied, name, change, message):
    edit_certificate(copied, name, change)
    with pytest.raises(PackError, match=message):
        read_pack(copied)


@pytest.mark.parametrize("kind", ["missing", "edited", "cut short", "link"])
def test_altered_files_are_refused_and_named(copied, tmp_path, kind):
    path = next((copied / "bitstreams").glob("*.bin"))
    content = path.read_bytes()
    if kind == "missing":
        path.unlink()
    elif kind == "link":
        path.unlink()
        (tmp_path / "outside").write_bytes(content)
        path.symlink_to(tmp_path / "outside")
    else:
        path.write_bytes(
            content[:-1] if kind == "cut short" else bytes([content[0] ^ 1]) + content[1:]
        )
    with pytest.raises(PackError, match=path.name):
        read_pack(copied)


def test_the_pack_of_another_die_is_refused(network, pack):
    assert read_pack(pack, die=network.die).die == network.die
    with pytest.raises(PackError, match=f"got die {network.die.id}"):
        read_pack(pack, die=Die(network.die.bank, seed=4))


def test_what_is_not_a_pack(tmp_path, network, pack):
    with pytest.raises(PackError, match="is missing"):
        read_pack(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(PackError, match="not JSON"):
        read_pack(tmp_path)
    with pytest.raises(FileExistsError, match="exists"):
        write_pack(network, pack)


WRITE_ANOTHER = """
import os, resource, sys
from pathlib import Path
from mapping import MappedNetwork
from netlists import read_pack, write_pack
network, root = MappedNetwork.load(sys.argv[1]), Path(sys.argv[2])
write_pack(network, root / "first")
if len(sys.argv) > 3:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    write_pack(network, root / "second")
except OSError as error:
    print(error.errno)
read_pack(root / "first")
print(*os.listdir(root))
"""


def test_a_write_cut_short_leaves_the_previous_pack_alone(network, tmp_path):
    """The operating system refuses to let a file of the pack grow any further."""
    network.save(tmp_path / "network.npz")
    (tmp_path / "packs").mkdir()
    limit = (tmp_path / "network.npz").stat().st_size - 1
    names = [tmp_path / "network.npz", tmp_path / "packs", limit]
    command = [sys.executable, "-c", WRITE_ANOTHER, *map(str, names)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.split() == [str(errno.EFBIG), "first"], done.stderr


def test_a_full_disk_leaves_the_previous_pack_alone(network, pack, tmp_path):
    """On a disk of its own (tmpfs in a name space), with room for one and a half packs."""
    n_page = sum(1 + path.stat().st_size // 4096 for path in pack.rglob("*"))
    mount = f"mount -t tmpfs -o size={int(1.5 * n_page) * 4}k tmpfs {tmp_path / 'disk'}"
    (tmp_path / "disk").mkdir()
    space = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    if not shutil.which("unshare") or subprocess.run([*space, mount], check=False).returncode:
        pytest.skip("this system lets no name space mount a disk")
    network.save(tmp_path / "network.npz")
    write = f'{mount} && exec "$0" -c "$1" {tmp_path / "network.npz"} {tmp_path / "disk"}'
    command = [*space, write, sys.executable, WRITE_ANOTHER]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.split() == [str(errno.ENOSPC), "first"], done.stderr


def test_banks_with_perfect_switches_have_no_netlists(network, tmp_path):
    layers = PrunedNetwork(tuple(layer.source for layer in network.layers))
    die = Die(replace(network.die.bank, r_off=np.inf), seed=3)
    directory = write_pack(map_network(layers, die, TileConfig(4, 3)), tmp_path / "p")
    assert not (directory / "netlists").exists()
    assert read_pack(directory).die == die
