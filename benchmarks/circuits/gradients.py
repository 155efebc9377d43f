"""Derivatives of an array's outputs: what they cost beside the outputs, and how right they are.

Pairs of bit lines with all cells present, 64 vectors, one thread, the fastest of several. The error
is that of the derivative by one wire resistance, against a difference of two solutions.

Run: python -m benchmarks.circuits.gradients  (half a minute)
"""

import time
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import torch

from benchmarks.common import machine, print_table, save_json
from crossbar_sim import TorchAmplifiers, TorchWires, solve_torch

SIZES = (16, 32, 64, 128)
N_VECTOR = 64
#: By how much the wires are changed on either side, as a fraction.
STEP = 1e-3


def fastest(call: Callable[[], object]) -> float:
    """Return the shortest processor time [s] of several calls after a first one."""
    call()
    times, start = [], time.perf_counter()
    while len(times) < 3 or time.perf_counter() - start < 1.0:
        begin = time.process_time()
        call()
        times.append(time.process_time() - begin)
    return min(times)


def measured(n: int) -> dict[str, Any]:
    """Return times without and with derivatives [s], and the error of one derivative."""
    rng = np.random.default_rng(n)
    g = torch.tensor(10 ** rng.uniform(-6, -4, size=(2, n, n)), requires_grad=True)
    v_in = torch.tensor(rng.uniform(0, 0.2, size=(N_VECTOR, n)), requires_grad=True)
    r_word = torch.tensor(5.2, dtype=torch.float64, requires_grad=True)

    def loss(ohm: torch.Tensor) -> torch.Tensor:
        ends = TorchAmplifiers(tia_gain=1e4)
        return solve_torch(g, v_in, TorchWires(ohm, 1.8, 100.0), ends).v_out.square().sum()

    def both() -> None:
        loss(r_word).backward()

    with torch.no_grad():
        up, down = (loss(r_word * (1 + sign * STEP)).item() for sign in (1, -1))
        forward = fastest(lambda: loss(r_word))
    r_word.grad = None
    both()
    assert r_word.grad is not None
    difference = (up - down) / (2 * STEP * r_word.item())
    error = abs(r_word.grad.item() / difference - 1)
    with_all = fastest(both)
    return {"n": n, "forward_s": forward, "both_s": with_all, "difference": error}


def main() -> None:
    """Measure all sizes, print the table and keep it."""
    start = machine()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    rows = [measured(n) for n in SIZES]
    print_table(
        "Derivatives by everything, 64 vectors",
        ["n", "outputs [s]", "with derivatives [s]", "ratio", "difference"],
        [
            [r["n"], r["forward_s"], r["both_s"], r["both_s"] / r["forward_s"], r["difference"]]
            for r in rows
        ],
    )
    save_json("gradients", {"machine": start, "n_vector": N_VECTOR, "rows": rows})


if __name__ == "__main__":
    main()
