"""Packs and networks that somebody has changed, checksums and all: refused, by one exception."""

import io
import json
import shutil
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.checks.forging import flip, forge, mutate, renew
from mapping import Die, MappedNetwork, ResistorBank, TileConfig, map_network
from netlists import Periphery, Wires, read_pack, write_pack
from netlists.fabrication import pack as pack_module
from netlists.fabrication.pack import PackError
from netlists.spice.deck_directory import network_files, write_network
from tinynets.networks.layers import ConvGeometry, PrunedLayer, PrunedNetwork

pytest.importorskip("pyarrow")
pytest.importorskip("jsonschema")

#: A change of the header and the arrays of a saved network.
Edit = Callable[[dict[str, Any], dict[str, np.ndarray]], object]


@pytest.fixture(scope="module")
def network() -> MappedNetwork:
    """A convolution and a dense layer."""
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=s) * (rng.random(s) < 0.6) for s in ((3, 8), (4, 3))]
    conv = PrunedLayer(
        "conv1",
        weights[0],
        weights[0] != 0,
        conv=ConvGeometry(2, (2, 2), (1, 1), (0, 0), (1, 1)),
        module="0",
        n_mvm=9,
    )
    dense = PrunedLayer("fc", weights[1], weights[1] != 0, bias=weights[1][:, 0], module="2")
    bank = ResistorBank(n=4, ratio=1.6, sigma_local=0.05, meter_error=1e-3, r_on=1e3, r_off=1e9)
    return map_network(PrunedNetwork((conv, dense)), Die(bank, seed=3), TileConfig(4, 3))


@pytest.fixture(scope="module")
def pack(network: MappedNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pack(network, tmp_path_factory.mktemp("pack") / "p")


@pytest.fixture
def copied(pack: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pack, tmp_path / "copy"))


def same(a: MappedNetwork, b: MappedNetwork, *, rounding: float = 0.0) -> bool:
    """Whether two networks are equal in all that a pack is for.

    rounding: of conductances, as a fraction, where another processor has made one of them.
    """
    parts = [(x.source.weight, x.source.mask, x.g_per_weight, x.predicted) for x in a.layers]
    others = [(x.source.weight, x.source.mask, x.g_per_weight, x.predicted) for x in b.layers]
    names = ("rows", "columns", "present", "chosen_pos", "chosen_neg")
    tiles = [[tuple(getattr(t, n) for n in names) for t in m.tiles] for m in (a, b)]
    facts = [
        [(x.name, x.source.module, x.source.conv, x.source.n_mvm, len(x.tiles)) for x in m.layers]
        for m in (a, b)
    ]
    pairs = [*zip(parts, others, strict=True), *zip(*tiles, strict=True)]
    each = [(p, q) for one, other in pairs for p, q in zip(one, other)]
    arrays = all(p.shape == q.shape and np.allclose(p, q, rtol=rounding, atol=0) for p, q in each)
    return arrays and facts[0] == facts[1] and a.die == b.die and a.tile == b.tile


CODE = "(3,3)\nimport os; os.system('touch pwned')\n#"
CARDS = "0_1.inc\n.control\nshell touch x\nquit\n.endc\n.end\n*"


def conv(**values: Any) -> Edit:
    return lambda header, arrays: header["layers"][0]["conv"].update(values)


def layer(**values: Any) -> Edit:
    return lambda header, arrays: header["layers"][0].update(values)


def bank(**values: Any) -> Edit:
    return lambda header, arrays: header["bank"].update(values)


def scaled(name: str, factor: float) -> Edit:
    return lambda header, arrays: arrays.update({name: arrays[name] * factor})


def doubled_row(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    rows = arrays["0/tiles/rows"].copy()
    rows[1] = rows[0]
    arrays["0/tiles/rows"] = rows


def without_the_last_tile(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    entry = header["layers"][0]
    entry["tiles"].pop()
    n_word, n_bit = entry["sizes"].pop()
    for name in [name for name in arrays if name.startswith("0/tiles/")]:
        n = {"0/tiles/rows": n_word, "0/tiles/columns": n_bit}.get(name, n_word * n_bit)
        arrays[name] = arrays[name][:-n]


def sizes(change: Callable[[list[list[int]]], object]) -> Edit:
    return lambda header, arrays: change(header["layers"][0]["sizes"])


def filled(name: str, value: Any) -> Edit:
    return lambda header, arrays: arrays.update({name: np.full_like(arrays[name], value)})


FORGED = {
    "code as kernel": (conv(kernel=CODE), "kernel"),
    "code in a pair": (conv(stride=[1, CODE]), "stride"),
    "code as channels": (conv(in_channels=CODE), "in_channels"),
    "a padding below zero": (conv(padding=[-1, 0]), "padding must be a whole number from 0"),
    "a stride of true": (conv(stride=[True, 1]), "stride"),
    "groups that do not divide": (conv(groups=5), "5 groups do not divide 2 channels"),
    "another kernel": (conv(kernel=[3, 3]), "does not go with 2 channels"),
    "a field of the future": (conv(mode="circular"), "does not know"),
    "cards as index": (layer(tiles=[[CARDS, 0]] * 3), "tiles.0.0: Input should be a valid integer"),
    "an index below zero": (layer(tiles=[[-1, 0]] * 3), "greater than or equal to 0"),
    "an index of three": (layer(tiles=[[0, 0, 0]] * 3), "tiles.0"),
    "cards as name": (layer(name=CARDS), "not safe in a netlist"),
    "a path as name": (layer(name="../x"), "not safe in a netlist"),
    "one name twice": (layer(name="fc"), "layer names must differ"),
    "NUL in a module": (layer(module="a\0b"), "without control characters"),
    "half a product": (layer(n_mvm=0.5), "n_mvm"),
    "no product": (layer(n_mvm=0), "n_mvm must be a whole number from 1"),
    "conductances times three": (scaled("0/tiles/g_pos", 3), "its die and switches give"),
    "a tile dropped": (without_the_last_tile, "0 times; expected 1"),
    "a row twice": (doubled_row, "each above the last"),
    "a row out of range": (scaled("0/tiles/rows", 100), "its lines go to input"),
    "no scale": (filled("0/g_per_weight", np.nan), "finite values above zero"),
    "a scale of zero": (filled("0/g_per_weight", 0), "finite values above zero"),
    "no prediction": (filled("0/predicted", np.nan), "predicted must be"),
    "devices where none remain": (filled("0/mask", True), "times; expected 1"),
    "numbers as masks": (filled("0/tiles/present", 1), "where the layer has no weight"),
    "branches that are not": (filled("0/tiles/chosen_pos", 2**31), "is not zero|does not have"),
    "text as weights": (lambda h, a: a.update({"0/weight": np.array(["x"])}), "is of <U1"),
    "a size too few": (sizes(lambda given: given.pop()), "2 tiles and 1 sizes"),
    "no sizes": (layer(sizes=None), "2 tiles and None sizes"),
    "sizes in an old file": (lambda h, a: h.update(version=1), "2 tiles and 2 sizes"),
    "a tile too large": (sizes(lambda given: given[0].reverse()), "the sizes of its tiles make"),
    "a size too many": (sizes(lambda given: given.insert(0, [1, 1])), "3 sizes"),
    "endless tiles in the file": (
        sizes(lambda given: given.__setitem__(0, [10**12, 10**12])),
        "the sizes of its tiles make|less than or equal",
    ),
    "a size of text": (sizes(lambda given: given.__setitem__(0, ["4", 3])), "sizes.0.0"),
    "a tile of nothing": (sizes(lambda given: given.__setitem__(0, [0, 3])), "of its tiles make"),
    "no rows": (lambda h, a: a.pop("0/tiles/rows"), "do not match: '0/tiles/rows'"),
    "an array too many": (lambda h, a: a.update(more=np.ones(1)), "do not match: 'more'"),
    "a bank of text": (bank(r_min="1e5"), "r_min: Input should be a valid number"),
    "a bank of lists": (bank(r_on=[1]), "r_on: Input should be a valid number"),
    "an age below zero": (bank(age=-1.0), "bank: age: Input should be greater"),
    "a temperature beyond numbers": (bank(temperature=1e300), "temperature: Input should be less"),
    "a key of the future": (bank(novel=1), "'novel', which this program does not know"),
    "another seed": (lambda h, a: h.update(seed=4), "its die and switches give"),
    "a seed of text": (lambda h, a: h.update(seed="3"), "seed: Input should be a valid integer"),
    "no layers": (lambda h, a: h.update(layers=[]), "layers"),
    "tiles too small": (lambda h, a: h.update(tile={"n_word": 1, "n_bit": 1}), "the largest of"),
    "endless tiles": (
        lambda h, a: h.update(tile={"n_word": 10**12, "n_bit": 3}),
        "n_word: Input should be less",
    ),
}


@pytest.mark.parametrize("kind", FORGED)
def test_a_forged_network_is_refused_and_named(network, copied, tmp_path, kind):
    change, message = FORGED[kind]
    network.save(tmp_path / "m.npz")
    forge(tmp_path / "m.npz", change)
    with pytest.raises(ValueError, match=rf"(?s)m\.npz.*(?:{message})"):
        MappedNetwork.load(tmp_path / "m.npz")
    forge(copied / "network.npz", change)
    renew(copied)
    with pytest.raises(PackError, match=rf"(?s)network\.npz.*(?:{message})"):
        read_pack(copied)


#: The same network as version 1 saved it, with each array of each tile alone.
OLD = Path(__file__).parents[2] / "golden" / "mapped_version_1.npz"


def test_a_file_of_version_1_is_read(network):
    found = MappedNetwork.load(OLD)
    assert same(found, network, rounding=1e-12)
    assert len(found.tiles) > 1
    for tile, other in zip(found.tiles, network.tiles, strict=True):
        assert (tile.name, tile.rows.dtype) == (other.name, other.rows.dtype)
        np.testing.assert_allclose(tile.g_pos, other.g_pos, rtol=1e-12)
        np.testing.assert_allclose(tile.g_neg, other.g_neg, rtol=1e-12)


FORGED_OLD = {
    "conductances times three": (scaled("0/0/g_pos", 3), "its die and switches give"),
    "a row out of range": (scaled("0/0/rows", 100), "its lines go to input"),
    "numbers as masks": (filled("0/0/present", 1), "where the layer has no weight"),
    "branches that are not": (filled("0/0/chosen_pos", 2**31), "is not zero|does not have"),
    "no rows": (lambda h, a: a.pop("0/0/rows"), "do not match: '0/0/rows'"),
    "an array too many": (lambda h, a: a.update({"0/tiles/rows": np.ones(1)}), "'0/tiles/rows'"),
    "a tile too few": (lambda h, a: h["layers"][0]["tiles"].pop(), "do not match: '0/1/"),
    "sizes": (layer(sizes=[[4, 3], [4, 3]]), "2 tiles and 2 sizes"),
    "a newer version": (lambda h, a: h.update(version=2), "2 tiles and None sizes"),
}


@pytest.mark.parametrize("kind", FORGED_OLD)
def test_a_forged_file_of_version_1_is_refused(tmp_path, kind):
    change, message = FORGED_OLD[kind]
    forge(Path(shutil.copy(OLD, tmp_path / "m.npz")), change)
    with pytest.raises(ValueError, match=rf"(?s)m\.npz.*(?:{message})"):
        MappedNetwork.load(tmp_path / "m.npz")


#: What a network says of itself that nothing else in it could contradict; a pack's manifest does.
TOLD_TWICE = {
    "another padding": conv(padding=[1, 1]),
    "a square turned": conv(dilation=[2, 1]),
    "more products": layer(n_mvm=10**6),
    "another module": layer(module="9"),
    "larger tiles": lambda h, a: h.update(tile={"n_word": 64, "n_bit": 64}),
    "another meter": bank(meter_error=0.002),
    "other weights": scaled("0/weight", 1.01),
    "another scale": scaled("0/g_per_weight", 1.01),
    "other predictions": scaled("0/predicted", 1.01),
}


@pytest.mark.parametrize("kind", TOLD_TWICE)
def test_what_manifest_and_tables_contradict_is_refused(copied, kind):
    forge(copied / "network.npz", TOLD_TWICE[kind])
    renew(copied)
    with pytest.raises(PackError, match=r"manifest\.json says|another die|cells\.csv: row"):
        read_pack(copied)


def changed_text(name: str, old: str, new: str, count: int = 1) -> Callable[[Path], None]:
    def change(pack):
        text = (pack / name).read_text()
        assert old in text
        (pack / name).write_text(text.replace(old, new, count))

    return change


def changed_manifest(edit: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def change(pack):
        manifest = json.loads((pack / "manifest.json").read_text())
        edit(manifest)
        (pack / "manifest.json").write_text(json.dumps(manifest))

    return change


def longer_bits(pack: Path) -> None:
    for path in sorted((pack / "bitstreams").glob("*.bin")):
        content = path.read_bytes()
        path.write_bytes(content + b"\0")
        path.with_suffix(".hex").write_text((content + b"\0").hex() + "\n")


def other_switch(pack: Path) -> None:
    path = sorted((pack / "bitstreams").glob("*.bin"))[0]
    content = bytearray(path.read_bytes())
    content[0] ^= 0x80
    path.write_bytes(content)
    path.with_suffix(".hex").write_text(content.hex() + "\n")


def without(pack: Path) -> None:
    (pack / "branches.csv").unlink()
    changed_manifest(lambda m: m["files"].pop("branches.csv"))(pack)


def last_line(name: str, edit: Callable[[str], list[str]]) -> Callable[[Path], None]:
    def change(pack):
        *lines, last = (pack / name).read_text().splitlines()
        (pack / name).write_text("\n".join([*lines, *edit(last)]) + "\n")

    return change


ALTERED = {
    "huge counts": (changed_manifest(lambda m: m["counts"].update(cells=10**12)), "counts.cells"),
    "more bits": (changed_manifest(lambda m: m["tiles"][0].update(n_bit=1)), "tiles.0.n_bit"),
    "other inputs": (changed_manifest(lambda m: m["tiles"][0]["inputs"].reverse()), "tiles.0.inp"),
    "other units": (changed_manifest(lambda m: m["units"].update(resistance="kohm")), "units.res"),
    "another bank": (changed_manifest(lambda m: m["die"]["bank"].update(r_min=1.0)), "r_min = 1.0"),
    "a tile twice": (changed_manifest(lambda m: m["tiles"].append(m["tiles"][0])), "lists 5 tiles"),
    "another bitstream": (
        changed_manifest(lambda m: m["tiles"][0].update(bitstream=m["tiles"][1]["bitstream"])),
        "tiles.0.bitstream",
    ),
    "another plan": (
        changed_manifest(lambda m: m["plan"].update(n_reading=3)),
        "is not the plan",
    ),
    "a file gone with its entry": (without, "no checksum for branches.csv"),
    "deep JSON": (lambda p: (p / "manifest.json").write_text("[" * 10**5), "not JSON"),
    "NaN": (changed_manifest(lambda m: m["counts"].update(cells=float("nan"))), "not JSON: NaN"),
    "a byte too many": (longer_bits, r"\.bin: the bitstream must have"),
    "another switch": (other_switch, r"\.bin closes other switches than network\.npz"),
    "other hex": (
        lambda p: next((p / "bitstreams").glob("*.hex")).write_text("00\n"),
        "has other bits than",
    ),
    "another reading": (changed_text("branches.csv", "pos", "neg"), "row 1 has side = neg"),
    "another pin": (changed_text("pins.csv", "in_0", "in_1"), "pins.csv: row 1 has pin = in_1"),
    "another part": (changed_text("bom.csv", "resistor", "switch"), "bom.csv: row 1 has part"),
    "a row too many": (last_line("cells.csv", lambda x: [x, x]), "more rows than the"),
    "a row too few": (last_line("cells.csv", lambda x: []), "cells.csv has fewer rows"),
    "an empty table": (lambda p: (p / "pins.csv").write_bytes(b""), "pins.csv cannot be read"),
    "no parquet": (lambda p: (p / "branches.parquet").write_bytes(b"x"), "parquet cannot be read"),
}


@pytest.mark.parametrize("kind", ALTERED)
def test_an_altered_pack_is_refused_and_named(copied, kind):
    change, message = ALTERED[kind]
    change(copied)
    try_to_renew(copied)
    with pytest.raises(PackError, match=message):
        read_pack(copied)


def test_an_array_that_claims_too_much_is_refused_before_memory_is(network, tmp_path):
    path = tmp_path / "m.npz"
    network.save(path)
    with zipfile.ZipFile(path) as file:
        content = {name: file.read(name) for name in file.namelist()}
    claimed = io.BytesIO()
    entry = {"descr": "<f8", "fortran_order": False, "shape": (10**12, 8)}
    np.lib.format.write_array_header_1_0(claimed, entry)
    content["0/weight.npy"] = claimed.getvalue() + bytes(192)
    with zipfile.ZipFile(path, "w") as file:
        for name, text in content.items():
            file.writestr(name, text)
    with pytest.raises(ValueError, match=r"m\.npz is damaged .* its arrays take"):
        MappedNetwork.load(path)


def test_loops_of_links_and_long_names_are_refused(copied):
    (copied / "loop").symlink_to(copied / "loop")
    for name in ("loop", "n" * 5000, "a\0b"):
        changed_manifest(lambda m, name=name: m["files"].update({name: "0" * 64}))(copied)
        with pytest.raises(PackError):
            read_pack(copied)


def test_an_older_manifest_without_layers_is_read(network, copied):
    def older(manifest):
        del manifest["layers"], manifest["tile_size"]
        for name in ("drift", "drift_sigma", "age"):
            del manifest["die"]["bank"][name]

    changed_manifest(older)(copied)
    assert same(read_pack(copied), network)


def test_a_pack_that_does_not_come_back_never_has_its_name(network, tmp_path, monkeypatch):
    """The disk gives back another bit than was written."""
    written = pack_module.bitstream
    monkeypatch.setattr(pack_module, "bitstream", lambda t, n: bytes(len(written(t, n))))
    with pytest.raises(PackError, match="closes other switches"):
        write_pack(network, tmp_path / "p")
    assert list(tmp_path.iterdir()) == []


def test_a_network_whose_parts_do_not_belong_together_is_not_saved(network, tmp_path):
    first = network.layers[0]
    tile = replace(first.tiles[0], g_pos=first.tiles[0].g_pos * 3)
    forged = replace(first, tiles=(tile, *first.tiles[1:]))
    other = replace(network, layers=(forged, *network.layers[1:]))
    for write in (other.save, lambda path: write_pack(other, path)):
        with pytest.raises(ValueError, match="its die and switches give"):
            write(tmp_path / "p")
    assert list(tmp_path.iterdir()) == []


def test_the_files_of_netlists_are_known(network, tmp_path):
    made = write_network(network, Wires(), Periphery(), tmp_path / "net")
    found = {path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file()}
    assert found == network_files(network)
    assert (
        "KERNEL, STRIDE, PADDING, DILATION = (2, 2), (1, 1), (0, 0), (1, 1)"
        in (made / "conv1" / "run.py").read_text()
    )


def test_any_mutation_is_refused_or_changes_nothing(network, pack, tmp_path):
    """Values of both headers, and bytes of any file, with every checksum renewed."""
    rng = np.random.default_rng(0)
    names = sorted(path.relative_to(pack).as_posix() for path in pack.rglob("*") if path.is_file())
    refused = 0
    for k in range(90):
        copy = Path(shutil.copytree(pack, tmp_path / str(k)))
        kind = ("header", "manifest", "bytes")[k % 3]
        if kind == "header":
            forge(copy / "network.npz", lambda header, arrays: mutate(header, rng))
        elif kind == "manifest":
            changed_manifest(lambda manifest: mutate(manifest, rng))(copy)
        else:
            flip(copy / names[rng.integers(len(names))], rng)
        if kind != "manifest":  # whose own checksums may be what was changed
            try_to_renew(copy)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of ladders with gaps
            try:
                assert same(read_pack(copy), network), k
            except PackError:
                refused += 1
        shutil.rmtree(copy)
    assert refused > 45


def try_to_renew(pack: Path) -> None:
    try:
        renew(pack)
    except (ValueError, RecursionError):
        return  # it is the manifest that is damaged
