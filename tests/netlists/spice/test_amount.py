"""What is going to be written is known beforehand, within a quarter."""

import errno
from pathlib import Path

import numpy as np
import pytest

from mapping import Die, MappedNetwork, ResistorBank, TileConfig, map_network
from netlists import Periphery, Wires, write_network, write_pack
from netlists.spice.amount import Amount
from tinynets.networks.layers import PrunedLayer, PrunedNetwork

pytest.importorskip("pyarrow")
pytest.importorskip("jsonschema")


def network(shape: tuple[int, int], density: float, lines: int, n: int) -> MappedNetwork:
    rng = np.random.default_rng(1)
    weight = rng.normal(size=shape) * (rng.random(shape) < density)
    layers = PrunedNetwork((PrunedLayer("fc", weight, weight != 0),))
    bank = ResistorBank(n=n, sigma_local=0.05, r_on=1e3, r_off=1e9)
    return map_network(layers, Die(bank, seed=2), TileConfig(lines, lines))


def size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("shape", "density", "lines", "n"),
    [
        ((60, 90), 1.0, 16, 5),
        ((150, 100), 0.1, 64, 6),
        ((40, 600), 0.03, 32, 7),
        ((100, 1800), 0.001, 64, 4),
    ],
)
@pytest.mark.parametrize("wires", [Wires(1.5, 2.5, 100.0), Wires()], ids=["wires", "ideal"])
def test_the_amount_is_that_of_the_files(shape, density, lines, n, wires, tmp_path):
    mapped, told = network(shape, density, lines, n), []
    directory = tmp_path / "n"
    options = {"wires": wires, "periphery": Periphery(tia_gain=1e4), "announce": told.append}
    for more in ({}, {"each_input": True}, {"tiles": mapped.tiles[:2]}):
        directory = tmp_path / f"n{len(told)}"
        write_network(mapped, directory=directory, **options, **more)
        assert 0.8 < told[-1].n_byte / size(directory) < 1.25
        assert told[-1].n_file == len([p for p in directory.rglob("*") if p.is_file()])
    for more in ({}, {"pictures": False, "tables": False}, {"tiles": mapped.tiles[:2]}):
        pack = write_pack(mapped, tmp_path / f"p{len(told)}", **options, **more)
        assert 0.75 < told[-1].n_byte / size(pack) < 1.3


def test_what_no_disk_holds_is_refused_in_one_line(tmp_path):
    with pytest.raises(OSError, match=r"needs about 1e\+09 GB, but its disk has only") as caught:
        Amount(1e18).require_disk(tmp_path / "a" / "b")
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(tmp_path / "a" / "b")
    Amount(1.0).require_disk(tmp_path / "a" / "b")
    assert str(Amount(2.1e9, 1234, 250)) == "about 2,100.0 MB in 1,234 files, about 250.0 s"
