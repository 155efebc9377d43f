"""Saved networks: what the transfer matrices that they keep take, and what they spare a reader.

ResNet-18 with random weights on 64 × 64 tiles with wires, dense and with 90 % zeros; wall time and
processor time of all threads.

Run: python -m benchmarks.networks.saved  (about three minutes)
"""

import tempfile
from pathlib import Path

import numpy as np
import torch

from benchmarks.common import machine, print_table, save_json, timed
from benchmarks.networks.forward import resnet18
from crossbar_sim.on_die.hardware import Hardware
from crossbar_sim.on_die.saved_network import load_network, save_network
from crossbar_sim.on_die.to_torch import to_torch
from mapping.bank import Die, ResistorBank
from mapping.network.map_network import map_network
from mapping.tiling.tiles import TileConfig
from netlists.circuit import Periphery, Wires
from tinynets.modules.unpacking import unpacked
from tinynets.networks.extraction import extract

HARDWARE = Hardware(Wires(r_word=1.0, r_bit=1.0), Periphery(tia_gain=1e4))
SHARES = {"dense": 1.0, "90 % zeros": 0.1}


def measure(share: float) -> dict[str, object]:
    """Return seconds and bytes of a network of whose weights a share is left."""
    torch.manual_seed(0)
    model, x = unpacked(resnet18().eval()), torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(torch.rand_like(weight) < share)
    bank = ResistorBank(n=3, sigma_local=0.05, r_on=1e3, r_off=1e9)
    mapped = map_network(extract(model, x), Die(bank, seed=1), TileConfig(64, 64))
    found, seconds = {}, {}
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        for step, act in (
            ("to_torch", lambda: to_torch(model, mapped, HARDWARE, calibration=x)),
            ("save", lambda: save_network(found["to_torch"], mapped, Path(folder) / "a")),
            ("load", lambda: load_network(model, Path(folder) / "a")[0]),
            ("save without", lambda: save_plain(found["to_torch"], mapped, Path(folder) / "b")),
            ("load without", lambda: load_network(model, Path(folder) / "b")[0]),
        ):
            found[step], *seconds[step] = timed(act)
        same = np.array_equal(found["load"](x).numpy(), found["load without"](x).numpy())
        size = {name: (Path(folder) / name).stat().st_size for name in _files(folder)}
    return {"tiles": len(mapped.tiles), "seconds": seconds, "bytes": size, "same": same}


def save_plain(on_die: torch.nn.Module, mapped: object, folder: Path) -> Path:
    """Save a network without its transfer matrices."""
    return save_network(on_die, mapped, folder, transfers=False)  # pyright: ignore[reportArgumentType]


def _files(folder: str) -> list[str]:
    return [f"a/{path.name}" for path in sorted((Path(folder) / "a").iterdir())]


def main() -> None:
    """Measure, print and keep."""
    found = {"machine": machine(), **{name: measure(share) for name, share in SHARES.items()}}
    save_json("saved", found)
    for name in SHARES:
        rows = [(step, *seconds) for step, seconds in found[name]["seconds"].items()]
        print_table(name, ("step", "s", "CPU s"), rows)


if __name__ == "__main__":
    main()
