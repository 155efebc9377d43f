"""What a GPU takes for selection, matrices, derivatives and reads, against the CPU in the same run.

Both do the same work, and their results are compared, or the script fails. Weights are those of a
language model's shapes, 22 layers 2,048 wide with an MLP of 5,632, 1.13 billion in all: seeded, and
streamed through one layer's tiles at a time. Of them, all are read; selection, transfer matrices
and derivatives are measured on a part, and what all would take is that rate times their number.

Run: python -m benchmarks.circuits.gpu  (some minutes; without a GPU it says so and ends)
     python -m benchmarks.circuits.gpu --device cpu  (small sizes, nothing is kept: a test)
"""

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import torch
from rich.progress import track

from benchmarks.common import machine, print_table, save_json
from crossbar_sim import Converters, Hardware, TorchAmplifiers, TorchWires, solve_torch
from crossbar_sim.on_die.circuit_layer import CircuitLayer
from crossbar_sim.on_die.layer_inputs import InputRange
from crossbar_sim.on_die.readout import Response
from crossbar_sim.solvers.batched import transfer_matrices
from crossbar_sim.solvers.nodal import transfer_matrix
from crossbar_sim.transfer.elimination import one_blas_thread
from mapping.network.mapped_layer import MappedLayer
from mapping.tiling.tiles import Tile
from netlists import Periphery, Wires
from netlists.circuit import Circuit
from netlists.circuit.circuit import Grid
from tinynets.networks.layers import PrunedLayer
from tinynets.subset_sum import solve

TILE, N_BRANCH = 64, 8  # lines of a tile; branches of a bank, two of them to a cell
ADC_RANGE = 0.5  # [V]


@dataclass(frozen=True)
class Size:
    """How much is measured.

    width, mlp, n_layer: of the language model.
    n_cell, n_tile, n_vector: selected, eliminated and read.
    """

    width: int = 2048
    mlp: int = 5632
    n_layer: int = 22
    n_cell: int = 2**20
    n_tile: int = 1024
    n_vector: int = 256

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Outputs and inputs of a layer's matrices: four of attention, three of the MLP."""
        up, down = (self.mlp, self.width), (self.width, self.mlp)
        return [*[(self.width, self.width)] * 4, up, up, down]

    @property
    def n_weight(self) -> int:
        """Number of weights."""
        return self.n_layer * sum(n_out * n_in for n_out, n_in in self.shapes)


SMALL = Size(width=128, mlp=192, n_layer=2, n_cell=2000, n_tile=3, n_vector=16)


def seconds(call: Callable[[], Any], device: torch.device) -> tuple[float, Any]:
    """Return the time [s] of a call after a first one, and what it returns."""
    call()
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    found = call()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start, found


def selection(size: Size, device: torch.device) -> dict[str, float]:
    """Select cells of two banks; the masks must be the same."""
    rng = np.random.default_rng(1)
    values = 1e-5 * rng.lognormal(0, 0.1, (size.n_cell, 2 * N_BRANCH))
    values[:, N_BRANCH:] *= -1
    targets = rng.normal(0, 2e-5, size.n_cell)
    here, expected = seconds(lambda: solve(values, targets), torch.device("cpu"))
    there, found = seconds(lambda: solve(values, targets, device=device), device)
    assert np.array_equal(found.mask, expected.mask), "the masks differ"
    return _rates("cells", size.n_cell, size.n_weight, here, there) | {"difference": 0.0}


def transfer(size: Size, device: torch.device) -> dict[str, float]:
    """Find transfer matrices of tiles with wires and amplifiers of finite gain."""
    rng, wires, ends = np.random.default_rng(2), Wires(1.0, 1.0, 10.0), Periphery(tia_gain=1000.0)
    cells = rng.uniform(1e-6, 1e-4, (size.n_tile, 2, TILE, TILE))
    circuits = [Circuit(Grid(g, ("_p", "_n"), wires), ends) for g in cells]

    def on_cpu() -> list[np.ndarray]:
        with one_blas_thread(), ThreadPoolExecutor(numba.get_num_threads()) as pool:
            return list(pool.map(transfer_matrix, circuits))

    here, expected = seconds(on_cpu, torch.device("cpu"))
    there, found = seconds(lambda: transfer_matrices(circuits, device), device)
    off = max(float(np.abs(a - b).max() / b.max()) for a, b in zip(found, expected, strict=True))
    assert off < 1e-10, off
    n_all = size.n_weight // TILE**2
    return _rates("tiles", size.n_tile, n_all, here, there) | {"difference": off}


def derivatives(size: Size, device: torch.device) -> dict[str, float]:
    """Find what tiles multiply by through their wires, and its derivative by each cell."""
    cells = torch.from_numpy(
        np.random.default_rng(4).uniform(1e-6, 1e-4, (size.n_tile, 2, TILE, TILE))
    )

    def slopes(where: torch.device) -> torch.Tensor:
        found = []
        for part in cells.split(64):
            g = part.to(where).requires_grad_()
            v_in = torch.eye(TILE, dtype=torch.float64, device=where)
            solved = solve_torch(g, v_in, TorchWires(1.0, 1.0, 10.0), TorchAmplifiers(tia_gain=1e3))
            found += torch.autograd.grad(solved.v_out.square().sum(), g)
        return torch.cat(found)

    here, expected = seconds(lambda: slopes(torch.device("cpu")), torch.device("cpu"))
    there, found = seconds(lambda: slopes(device).cpu(), device)
    off = float((found - expected).abs().max() / expected.abs().max())
    assert off < 1e-9, off
    n_all = size.n_weight // TILE**2
    return _rates("tiles", size.n_tile, n_all, here, there) | {"difference": off}


def _rates(what: str, n: int, n_all: int, here: float, there: float) -> dict[str, Any]:
    each = {"cpu_s": here, "device_s": there, "ratio": here / there}
    return {"what": what, "n": n, "n_all": n_all, **each, "device_s_all": there * n_all / n}


def layer_of(n_out: int, n_in: int) -> CircuitLayer:
    """Return a layer on tiles without a weight yet; its ADCs have 8 bits."""
    nothing, none = np.zeros((TILE, TILE)), np.zeros((TILE, TILE), np.uint32)
    tiles, responses = [], {}
    for i in range(n_in // TILE):
        for j in range(n_out // TILE):
            rows, columns = TILE * i + np.arange(TILE), TILE * j + np.arange(TILE)
            parts = (none.astype(bool), none, none, nothing, nothing)
            tile = Tile("layer", (j, i), rows, columns, *parts)
            names, at_rest = ((tile.name, TILE),), np.zeros(2 * TILE)
            volts = np.zeros((TILE, 2 * TILE))
            responses[tile.name] = Response(names, rows, columns, volts, at_rest, at_rest[:TILE])
            tiles.append(tile)
    weight = np.zeros((n_out, n_in))
    source = PrunedLayer("layer", weight, weight.astype(bool))
    mapped = MappedLayer(source, np.ones(n_out), weight, tuple(tiles))
    hardware = Hardware(converters=Converters(dac_bits=8, adc_bits=8, adc_range=ADC_RANGE))
    return CircuitLayer(mapped, hardware, InputRange(1.0, True), responses=responses)


def fill(layer: CircuitLayer, seed: int) -> None:
    """Put seeded weights on the tiles, drawn where the layer is."""
    made = torch.Generator(device=layer.bias.device).manual_seed(seed)
    for part in layer.parts:
        part.pairs.normal_(0.0, 0.02, generator=made)


def reads(size: Size, device: torch.device) -> dict[str, float]:
    """Read vectors by all layers on the device, and by the first one on the CPU."""
    x = torch.randn(size.n_vector, size.mlp, generator=torch.Generator().manual_seed(3)).clamp(
        -1, 1
    )
    cpu, there, here, off = torch.device("cpu"), 0.0, 0.0, 0.0
    with torch.no_grad():
        layers = {shape: layer_of(*shape) for shape in set(size.shapes)}
        for shape in size.shapes:
            layer, inputs = layers[shape], x[:, : shape[1]]
            fill(layer, 0)
            taken, expected = seconds(lambda: layer(inputs), cpu)  # noqa: B023
            here += taken
            layer.to(device)
            found = layer(inputs.to(device)).cpu()
            layer.to(cpu)
            off = max(off, float((found - expected).abs().mean() / expected.abs().mean()))
        for layer in layers.values():
            layer.to(device)
        on_device = x.to(device)
        for k in track(range(size.n_layer), "layers"):
            for m, shape in enumerate(size.shapes):
                layer, inputs = layers[shape], on_device[:, : shape[1]]
                fill(layer, 10 * k + m)
                there += seconds(lambda: layer(inputs), device)[0]  # noqa: B023
    assert off < 1e-3, off  # codes of an ADC may differ where a voltage lies between two
    each = {"cpu_s": size.n_layer * here, "device_s": there, "ratio": size.n_layer * here / there}
    return {"what": "weights", "n": size.n_weight, "n_all": size.n_weight, **each} | {
        "device_s_all": there,
        "difference": off,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    device = torch.device(parser.parse_args().device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("there is no GPU here: nothing was measured; --device cpu runs small sizes instead")
        return
    size = Size() if device.type == "cuda" else SMALL
    parts = {"selection": selection, "transfer matrices": transfer, "derivatives": derivatives}
    parts["reads"] = reads
    found = {name: part(size, device) for name, part in parts.items()}
    head = ["part", "of", "number", "CPU s", "device s", "CPU / device", "all on the device s"]
    keys = ("what", "n", "cpu_s", "device_s", "ratio", "device_s_all")
    print_table(
        f"{size.n_weight:,} weights", head, [[k, *(v[x] for x in keys)] for k, v in found.items()]
    )
    if device.type == "cuda":
        name = torch.cuda.get_device_name()
        save_json("gpu", {"machine": machine(), "device": name, "size": vars(size), **found})


if __name__ == "__main__":
    main()
