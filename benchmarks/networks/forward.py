"""A forward pass on the die compared with the digital one: time and memory of networks by size.

ResNet-18, MobileNetV2 and a transformer block, with random weights, drawn wires, and amplifiers
with offsets and 1 V of swing. With 8-bit converters for each tile; with the noise of every read
besides; or with converters that pass all on and amplifiers that never clip. Processor time of one
core, all passes in turn in the same run.

Run: python -m benchmarks.networks.forward  (about 20 minutes)
"""

import itertools
import math
import time
from collections.abc import Callable
from dataclasses import replace

import numba
import numpy as np
import torch
from torch import nn

from benchmarks.common import machine, print_table, save_json
from crossbar_sim.on_die.circuit_layer import circuit_layers
from crossbar_sim.on_die.hardware import Hardware
from crossbar_sim.on_die.readout import respond_all
from crossbar_sim.on_die.to_torch import to_torch
from crossbar_sim.periphery.converters import Converters
from crossbar_sim.periphery.noise import Noise
from mapping.bank import Die, ResistorBank
from mapping.network.map_network import map_network
from mapping.tiling.tiles import TileConfig
from netlists.circuit import Periphery, Wires
from tinynets.modules.unpacking import unpacked
from tinynets.networks.extraction import extract

REPEATS = 3
SIDES = (64, 128)
BITS = Converters(dac_bits=8, adc_bits=8, auto_zero=True)
WIRES, ENDS = Wires(5.2, 1.8, 100.0), Periphery(tia_gain=1e4, v_offset_sigma=1e-4, v_swing=1.0)
NOISY = Hardware(WIRES, ENDS, BITS, Noise(bandwidth=1e6))
HARDWARE = {
    "DAC and ADC": replace(NOISY, noise=None),
    "with noise": NOISY,
    "ideal converters": Hardware(WIRES, replace(ENDS, v_swing=math.inf)),
}


class Residual(nn.Module):
    """A path beside a shortcut; ReLU after their sum if `after`."""

    def __init__(self, path: nn.Module, shortcut: nn.Module, *, after: bool) -> None:
        super().__init__()
        self.path, self.shortcut, self.after = path, shortcut, after

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the outputs."""
        y = self.path(x) + self.shortcut(x)
        return y.relu() if self.after else y


class Block(nn.Module):
    """A transformer's block: attention and a perceptron, each with a shortcut."""

    def __init__(self, width: int = 384, heads: int = 12) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the outputs."""
        x = self.first(x + self.attention(x, x, x, need_weights=False)[0])
        return self.second(x + self.mlp(x))


def conv(n_in: int, n_out: int, size: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """Return a convolution that keeps the size, but for its stride."""
    return nn.Conv2d(n_in, n_out, size, stride, size // 2, groups=groups)


def resnet18() -> nn.Module:
    """Return a network with the layers of ResNet-18, its normalisations folded."""
    layers = [conv(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    n_in = 64
    for n_out in (64, 128, 256, 512):
        for k in range(2):
            stride = 2 if k == 0 and n_out > 64 else 1
            path = nn.Sequential(conv(n_in, n_out, 3, stride), nn.ReLU(), conv(n_out, n_out, 3))
            side = conv(n_in, n_out, 1, stride) if n_in != n_out else nn.Identity()
            layers.append(Residual(path, side, after=True))
            n_in = n_out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000))


def mobilenet() -> nn.Module:
    """Return a network with the layers of MobileNetV2, its normalisations folded."""
    table = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1))
    layers, n_in = [conv(3, 32, 3, 2), nn.ReLU6()], 32
    for wider, n_out, n, stride in (*table, (6, 160, 3, 2), (6, 320, 1, 1)):
        for k in range(n):
            step, inner = stride if k == 0 else 1, wider * n_in
            path = [conv(n_in, inner, 1), nn.ReLU6()] if wider > 1 else []
            path += [conv(inner, inner, 3, step, inner), nn.ReLU6(), conv(inner, n_out, 1)]
            same = step == 1 and n_in == n_out
            body = nn.Sequential(*path)
            layers.append(Residual(body, nn.Identity(), after=False) if same else body)
            n_in = n_out
    layers += [conv(320, 1280, 1), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(1280, 1000))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "transformer block, 384 wide, 128 tokens": (Block, (8, 128, 384)),
    "MobileNetV2, 224 × 224": (mobilenet, (2, 3, 224, 224)),
    "ResNet-18, 224 × 224": (resnet18, (2, 3, 224, 224)),
}


def seconds_of(*networks: nn.Module, x: torch.Tensor) -> list[float]:
    """Return the least processor time of each network's pass [s], all in turn."""
    times: list[list[float]] = [[] for _ in networks]
    with torch.no_grad():
        for _ in range(1 + REPEATS):
            for network, own in zip(networks, times):
                start = time.process_time()
                network(x)
                own.append(time.process_time() - start)
    return [min(own[1:]) for own in times]


def held(network: nn.Module) -> int:
    """Return the bytes of a network's tensors and of what its layers keep besides, each once."""
    arrays = [x.detach().numpy() for x in (*network.parameters(), *network.buffers())]
    for layer in circuit_layers(network).values():
        if layer._shared is not None:
            groups = layer._shared.groups
            arrays += [x for x in (*groups, *groups.reach) if isinstance(x, np.ndarray)]
    # A stretch of a larger array lies within it, and is counted with it.
    n_byte, stop = 0, 0
    for start, size in sorted((x.ctypes.data, x.nbytes) for x in arrays):
        n_byte += max(start + size - max(start, stop), 0)
        stop = max(stop, start + size)
    return n_byte


def measure(name: str, side: int) -> dict:
    """Return time and memory of a network on tiles of a side, over those of its digital pass."""
    make, shape = NETWORKS[name]
    torch.manual_seed(0)
    digital, x = unpacked(make().eval()), torch.rand(shape)
    with torch.no_grad():
        network = extract(digital, x[:1])
        bank = ResistorBank(n=3, sigma_local=0.05, r_on=1e3, r_off=1e9)
        mapped = map_network(network, Die(bank, seed=1), TileConfig(side, side))
        options = {"calibration": x[:1], "responses": respond_all(mapped.tiles, NOISY)}
        on_dies = [to_torch(digital, mapped, hardware, **options) for hardware in HARDWARE.values()]
    first, *others = seconds_of(digital, *on_dies, x=x)
    row = {"network": name, "side": side, "n_tile": len(mapped.tiles), "digital_s": first}
    for key, seconds, on_die in zip(HARDWARE, others, on_dies):
        row[key] = {"ratio": seconds / first, "memory": held(on_die) / held(digital)}
    return row


def main() -> None:
    """Measure, print and keep."""
    numba.get_num_threads()  # its first call resets torch's threads
    torch.set_num_threads(1)
    rows: list[dict] = []
    for name, side in itertools.product(NETWORKS, SIDES):
        rows.append(measure(name, side))
        save_json("forward", {"machine": machine(), "rows": rows})
    shown = [
        [r["network"], r["side"], r["n_tile"], r["digital_s"], *(r[k]["ratio"] for k in HARDWARE)]
        for r in rows
    ]
    print_table("forward", ["network", "side", "tiles", "digital s", *HARDWARE], shown)


if __name__ == "__main__":
    main()
