"""Make the golden set, or check the one of the package: every array and every interval.

Run: python -m benchmarks.golden.make [--check]     (two minutes on one core)

--check makes the arrays anew and compares them to the bit, proves every interval of the file, lets
`certify` prove wider ones where it can, which must meet them, and solves the small arrays in
rational numbers by the equations of crossbar_sim/golden/README.md, without any code of the package.
"""

import sys
import time
from dataclasses import replace
from fractions import Fraction

import numpy as np

from benchmarks.common import machine, save_json
from benchmarks.golden.by_hand import exact_currents
from benchmarks.golden.generator import generated
from benchmarks.golden.prover import holds, proved
from crossbar_sim import certify, solve
from crossbar_sim.golden.arrays import FILE, VERSION, GoldenArray, digest, golden_arrays, packed
from crossbar_sim.solvers.solution import SolverError
from tinynets.files.drafts import new_file

#: Cells of the arrays that are solved in rational numbers.
_SMALL = 40


def make() -> None:
    """Write the file; its hash goes into crossbar_sim/golden/arrays.py by hand."""
    arrays = []
    for array in generated():
        low, high = proved(array)
        arrays.append(replace(array, low=low, high=high))
    columns = packed(arrays)
    with new_file(FILE) as draft, draft.open("wb") as file:
        np.savez_compressed(file, version=np.array(VERSION), **columns)
    print(f"{len(arrays)} arrays, {FILE.stat().st_size:,} bytes, SHA-256 {digest(columns)}")


def check() -> None:
    """Check the file of the package and keep what it took."""
    at, begun = machine(), time.process_time()
    arrays = golden_arrays()
    assert len(arrays) == 1000
    assert same_questions(arrays), "the generator makes other arrays"
    wrong = [array.name for array in arrays if not holds(array)]
    proved_s = time.process_time() - begun
    certified = [array for array in arrays if meets_certificate(array)]
    small = [array for array in arrays if array.ohm.size <= _SMALL]
    wrong += [array.name for array in small if not holds_by_hand(array)]
    assert not wrong, f"not proved: {', '.join(wrong)}"
    low, high = (
        np.concatenate([getattr(a, end).ravel() for a in arrays]) for end in ("low", "high")
    )
    wide = np.concatenate([((a.high - a.low) / a.scale).ravel() for a in arrays])
    found = {
        "machine": at,
        "arrays": len(arrays),
        "cells": sum(array.ohm.size for array in arrays),
        "currents": low.size,
        "exact_zeros": int(((low == 0) & (high == 0)).sum()),
        "bytes": FILE.stat().st_size,
        "widest": float(wide.max()),
        "certified_by_certify": len(certified),
        "solved_in_rational_numbers": len(small),
        "prove_s": proved_s,
        "all_s": time.process_time() - begun,
    }
    save_json("golden_set", found)
    print(found)


def same_questions(arrays: list[GoldenArray]) -> bool:
    """Return whether the generator makes these arrays, to the bit."""
    blank = [packed([x.question() for x in each]) for each in (arrays, list(generated()))]
    return digest(blank[0]) == digest(blank[1])


def meets_certificate(array: GoldenArray) -> bool:
    """Return whether `certify` finds intervals; an assertion fails where they miss the file's."""
    try:
        other = certify(solve(array.circuit(), array.v_in, nodes=True))
    except SolverError:
        return False
    # The circuit of the package rounds 1 / ohm twice: 2^-52 of each device's current and more.
    slack = 1e-15 * array.scale * max(array.ohm.shape)
    assert (other.low - slack <= array.high).all(), array.name
    assert (array.low <= other.high + slack).all(), array.name
    return True


def holds_by_hand(array: GoldenArray) -> bool:
    """Return whether the intervals hold the currents in rational numbers."""
    exact = exact_currents(array)
    ends = zip(exact, array.low.tolist(), array.high.tolist())
    return all(Fraction(a) <= i <= Fraction(b) for row in ends for i, a, b in zip(*row))


if __name__ == "__main__":
    check() if sys.argv[1:] == ["--check"] else make()
