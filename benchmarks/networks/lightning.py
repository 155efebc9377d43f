"""A layer on the die beside aihwkit-lightning, both over the digital layer, in the same run.

Both have 8-bit DACs and an 8-bit ADC for each tile of 128 inputs. Ours multiplies by the transfer
matrices of arrays with wires, selected on a die; aihwkit-lightning multiplies by the weights
themselves: it has no wires, resistors or die. Processor time of one core, all passes in turn.

Run: pip install --no-deps aihwkit-lightning==2.1.0 tqdm
     python -m benchmarks.networks.lightning  (about a minute)
"""

import importlib.metadata
import time
from collections.abc import Callable

import numba
import torch
from torch import nn

from benchmarks.common import machine, print_table, save_json
from benchmarks.networks.forward import BITS, held, seconds_of
from crossbar_sim.on_die.hardware import Hardware
from crossbar_sim.on_die.to_torch import to_torch
from mapping.bank import Die, ResistorBank
from mapping.network.map_network import map_network
from mapping.tiling.tiles import TileConfig
from netlists.circuit import Periphery, Wires
from tinynets.networks.extraction import extract

SIDE = 128
HARDWARE = Hardware(Wires(5.2, 1.8, 100.0), Periphery(tia_gain=1e4, v_swing=1.0), BITS)
#: Layer, shape of its input, and whether the input has both signs.
LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], bool]] = {
    "dense 384 → 1536, 4,096 rows": (lambda: nn.Linear(384, 1536), (4096, 384), False),
    "dense 384 → 1536, 4,096 rows, signed": (lambda: nn.Linear(384, 1536), (4096, 384), True),
    "dense 1536 → 384, 4,096 rows": (lambda: nn.Linear(1536, 384), (4096, 1536), False),
    "convolution 3 × 3, 256 → 256, 8 × 14 × 14": (
        lambda: nn.Conv2d(256, 256, 3, padding=1),
        (8, 256, 14, 14),
        False,
    ),
}


def by_lightning(digital: nn.Module, x: torch.Tensor) -> nn.Module:
    """Return the layer by aihwkit-lightning, with as many bits and tiles as large."""
    from aihwkit_lightning.nn.conversion import convert_to_analog
    from aihwkit_lightning.simulator.configs import TorchInferenceRPUConfig

    config = TorchInferenceRPUConfig()
    config.forward.inp_res = config.forward.out_res = 2**8 - 2
    config.forward.out_bound = 12.0
    config.mapping.max_input_size = SIDE
    ranges = config.pre_post.input_range
    ranges.enable, ranges.init_from_data = True, 0
    ranges.init_value = float(x.abs().max())
    return convert_to_analog(digital, config).eval()


def measure(name: str) -> dict:
    """Return the times of a layer's three passes, and the memory that each holds."""
    make, shape, signed = LAYERS[name]
    torch.manual_seed(0)
    digital, x = nn.Sequential(make()).eval(), torch.rand(shape)
    x = 2 * x - 1 if signed else x
    with torch.no_grad():
        start = time.process_time()
        bank = ResistorBank(n=3, r_min=1e6, sigma_local=0.05, r_on=1e3, r_off=1e10)
        mapped = map_network(extract(digital, x[:1]), Die(bank, seed=1), TileConfig(SIDE, SIDE))
        ours = to_torch(digital, mapped, HARDWARE, calibration=x)
        made = time.process_time() - start
        theirs = by_lightning(digital, x)
        exact = digital(x)
        off = [float((net(x) - exact).norm() / exact.norm()) for net in (ours, theirs)]
    first, own, other = seconds_of(digital, ours, theirs, x=x)
    return {
        "layer": name,
        "n_tile": len(mapped.tiles),
        "digital_s": first,
        "made_s": made,
        "ours": {"ratio": own / first, "memory": held(ours) / held(digital), "error": off[0]},
        "lightning": {
            "ratio": other / first,
            "memory": held(theirs) / held(digital),
            "error": off[1],
        },
    }


def main() -> None:
    """Measure, print and keep."""
    numba.get_num_threads()  # its first call resets torch's threads
    torch.set_num_threads(1)
    about = machine()
    rows = [measure(name) for name in LAYERS]
    version = importlib.metadata.version("aihwkit_lightning")
    save_json("lightning", {"machine": about, "version": version, "rows": rows})
    shown = [
        [r["layer"], r["digital_s"], r["ours"]["ratio"], r["lightning"]["ratio"]] for r in rows
    ]
    print_table("lightning", ["layer", "digital s", "ours", "aihwkit-lightning"], shown)


if __name__ == "__main__":
    main()
