"""Certified selections: how many are proved nearest, at what cost, and is anything wrong accepted?

All pairs of banks of both examples with their shipped networks, the first one also by other rules
of selection, and random weights on larger banks. Every certificate goes through the checker, a
sample of it also in whole numbers of any size. So do corrupted ones.

Run: python -m benchmarks.selection.certified_selections  (two minutes)
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import ROOT, machine, print_table, save_json
from crossbar_sim import load_config
from crossbar_sim.certificates.selection_checker import Refused, check
from crossbar_sim.pipeline.deployment import Deployment
from crossbar_sim.pipeline.kept import Kept
from mapping import Die, MappedNetwork, ResistorBank, SelectionRule, TileConfig, map_network
from mapping.bank import Branches
from mapping.network.certified import certify_selections
from mapping.selection.certificate import SelectionCertificate
from mapping.selection.select import select
from tinynets import PrunedLayer, PrunedNetwork

#: Number of corrupted certificates, and of pairs that are checked in whole numbers of any size.
N_CORRUPTED, N_EXACT = 5000, 200
RULES = {
    "digits, least power": SelectionRule(objective="power"),
    "digits, program-verify": SelectionRule(n_candidate=8),
    "digits, at most 3 closed": SelectionRule(max_closed=3),
}
#: Weights of the random layers by branches of a bank.
RANDOM = {6: 100_000, 8: 20_000, 10: 5_000, 12: 1_000}


def example(name: str) -> MappedNetwork:
    """Return an example's network on its die."""
    return Deployment(load_config(ROOT / "examples" / "runs" / f"{name}.toml"), Kept()).mapped


def random_layer(n: int, n_weight: int) -> MappedNetwork:
    """Return a layer of so many normal weights on banks of n branches."""
    weight = np.random.default_rng(n).normal(size=(n_weight // 100, 100))
    bank = ResistorBank(n=n, sigma_local=0.05, meter_error=1e-3, r_on=1e3, r_off=1e9)
    network = PrunedNetwork((PrunedLayer("random", weight, weight != 0),))
    return map_network(network, Die(bank, seed=1), TileConfig(64, 64))


def networks() -> Iterator[tuple[str, MappedNetwork]]:
    """Yield what is certified, by name."""
    digits = example("digits")
    yield "digits", digits
    yield "digits_cnn", example("digits_cnn")
    sources = PrunedNetwork(tuple(layer.source for layer in digits.layers))
    for name, rule in RULES.items():
        yield name, map_network(sources, digits.die, digits.tile, rule=rule)
    for n, n_weight in RANDOM.items():
        yield f"random, {n} branches", random_layer(n, n_weight)


def cost(call: Callable[[], object]) -> float:
    """Return the processor time [s] of a call."""
    start = time.process_time()
    call()
    return time.process_time() - start


def measured(mapped: MappedNetwork) -> dict[str, Any]:
    """Return the claims about a network's selections, and what they cost beside the selections."""
    proof = certify_selections(mapped)
    branches = Branches(proof.g_closed, proof.g_open)
    error = np.abs(select(branches, proof.target).predicted - proof.target)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "c.npz"
        proof.save(path)
        return {
            "n": int(proof.g_closed.shape[-1]),
            "pairs": len(proof.target),
            "optimal": int(proof.optimal.sum()),
            "width": proof.width,
            "least_off": float(((error - proof.least) / proof.g_closed.sum(axis=(1, 2))).max()),
            "select_s": cost(lambda: select(branches, proof.target)),
            "certify_s": cost(lambda: certify_selections(mapped)),
            "check_s": cost(lambda: check(path)),
            "exact_s_a_pair": cost(lambda: check(path, exact=True, sample=N_EXACT))
            / min(N_EXACT, len(proof.target)),
            "bytes_a_pair": path.stat().st_size / len(proof.target),
        }


def corrupted(right: SelectionCertificate, rng: np.random.Generator) -> SelectionCertificate:
    """Return a certificate with one thing wrong, in a cell whose choice is claimed nearest."""
    k, side, sign = int(rng.integers(len(right.target))), int(rng.integers(2)), rng.choice([-1, 1])
    name = str(rng.choice(["closed", "target", "least", "low", "high", "branch", "place"]))
    j, by = int(rng.integers(right.g_closed.shape[-1])), 1 + sign * rng.uniform(1e-6, 0.5)
    if name == "branch":
        name = "g_closed" if int(right.closed[k, side]) >> j & 1 else "g_open"
    values = getattr(right, name).copy()
    if name == "closed":
        values[k, side] ^= np.uint32(1 << j)
    elif name == "place":
        values = np.delete(values, k, axis=0)
    elif name in ("g_closed", "g_open"):
        values[k, side, j] *= by
    elif name in ("target", "least"):
        values[k] *= by
    else:
        values[k, side] += (1 if name == "low" else -1) * (right.high - right.low)[k, side]
    return replace(right, **{name: values})


def n_refused(right: SelectionCertificate) -> int:
    """Return how many of N_CORRUPTED corrupted certificates are refused."""
    rng, count = np.random.default_rng(0), 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "c.npz"
        for _ in range(N_CORRUPTED):
            corrupted(right, rng).save(path)
            try:
                check(path)
            except Refused:
                count += 1
    return count


def main() -> None:
    """Certify and check everything, print the table and keep it."""
    start = machine()
    measured(random_layer(6, 2000))  # what is compiled at its first use is not counted
    rows = {name: measured(mapped) for name, mapped in networks()}
    columns = ("n", "pairs", "optimal", "width", "least_off", "select_s", "certify_s", "check_s")
    print_table(
        "Certified selections",
        ["set", *columns],
        [[name, *(row[key] for key in columns)] for name, row in rows.items()],
    )
    small = certify_selections(random_layer(6, 200))
    tried = {"corrupted": N_CORRUPTED, "refused": n_refused(small)}
    print(tried)
    save_json("certified_selections", {"machine": start, "sets": rows, **tried})


if __name__ == "__main__":
    main()
