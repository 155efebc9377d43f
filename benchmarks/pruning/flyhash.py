"""Finding neighbours by FlyHash, ideal and through circuits of unselected resistors.

Run: python -m benchmarks.pruning.flyhash     (8 minutes on one core)

Recall at 10 is the share of an image's ten nearest neighbours (Euclidean) that is among the ten
images whose codes agree in most bits. 300 test images search 1,347 digits and 60,000 MNIST images,
with five seeds. A fly code of k winners has 20 k units, each connected to a tenth of the inputs. It
is compared with random planes through the mean image: k planes, as in the publication; 20 k planes,
a code of as many bits; and about 5.6 k planes, which carry as many bits of information as k winners
of 20 k units.

Circuits, k = 32: each connection is one resistor of 100 kohm with a spread of its value. It is not
chosen, measured or programmed. Tiles are at most 128 × 128; three dies; wires in ohm per segment.
"""

import math
from functools import partial

import numpy as np
import torch

from benchmarks.common import figure, machine, print_table, save_json
from crossbar_sim.on_die.flyhash_projection import crossbar_projection
from mapping import Die, ResistorBank, TileConfig
from netlists import Wires
from tinynets.data import Data, digits, mnist
from tinynets.flyhash import (
    FlyHash,
    dense_hash,
    nearest_codes,
    nearest_exact,
    recall,
    sparse_projection,
)

K = 10
WINNERS = (4, 8, 16, 32, 64)
UNITS = 20  # for each winner
SEEDS = range(5)
DIES = range(3)
SPREADS = (0.0, 0.05, 0.1, 0.2, 0.3)
OHMS = (0.0, 1.0, 5.0, 20.0, 100.0)
N_QUERY = 300


class Search:
    """The images of a task, and the exact neighbours of the queries."""

    def __init__(self, data: Data) -> None:
        self.x = torch.from_numpy(data.x_train)
        self.queries = torch.from_numpy(data.x_test[:N_QUERY])
        self.exact = nearest_exact(self.x, self.queries, K)
        self.mean = self.x.mean(0)

    def recall(self, codes) -> float:
        return recall(nearest_codes(codes(self.x), codes(self.queries), K), self.exact)

    def planes(self, n_code: int, seed: int) -> float:
        return self.recall(lambda x: dense_hash(x - self.mean, n_code, seed=seed))

    def fly(self, n_winner: int, seed: int) -> float:
        projection = sparse_projection(self.x.shape[1], UNITS * n_winner, seed=seed)
        return self.recall(FlyHash(projection, n_winner))

    def circuit(self, n_winner: int, spread: float, ohm: float, seed: int) -> float:
        projection = sparse_projection(self.x.shape[1], UNITS * n_winner, seed=seed).numpy()
        die = Die(ResistorBank(n=1, r_min=100e3, sigma_local=spread), seed=seed)
        wires, tile = Wires(r_word=ohm, r_bit=ohm), TileConfig(128, 128)
        matrix = crossbar_projection(projection, die, wires, tile=tile)
        return self.recall(FlyHash(torch.from_numpy(matrix), n_winner))


def spread_of(call, seeds) -> dict:
    recalls = [call(seed) for seed in seeds]
    return {"recall": float(np.mean(recalls)), "std": float(np.std(recalls))}


def n_bit(n_winner: int) -> int:
    """Return the bits of information in which of 20 k units win."""
    return round(math.log2(math.comb(UNITS * n_winner, n_winner)))


def compare(search: Search) -> list[dict]:
    """Return the recall of fly codes and of planes, for each number of winners."""
    ways = {
        "fly": search.fly,
        "planes, k": search.planes,
        "planes, 20 k": lambda k, seed: search.planes(UNITS * k, seed),
        "planes, as informative": lambda k, seed: search.planes(n_bit(k), seed),
    }
    return [
        {"k": k, "way": way} | spread_of(partial(call, k), SEEDS)
        for k in WINNERS
        for way, call in ways.items()
    ]


def circuits(search: Search) -> dict:
    """Return the recall through circuits, by spread and by wire resistance, and the ideal one."""
    at = partial(search.circuit, 32)
    return {
        "ideal": spread_of(partial(search.fly, 32), DIES),
        "spread": [
            {"spread": s} | spread_of(lambda seed, s=s: at(s, 0.0, seed), DIES) for s in SPREADS
        ],
        "wires": [{"ohm": r} | spread_of(lambda seed, r=r: at(0.1, r, seed), DIES) for r in OHMS],
    }


def plot(tasks: dict) -> None:
    with figure("flyhash", columns=3) as axes:
        for (name, task), style in zip(tasks.items(), ("-", "--")):
            for colour, way in enumerate(dict.fromkeys(row["way"] for row in task["codes"])):
                same = [row for row in task["codes"] if row["way"] == way]
                k, y, std = zip(*((row["k"], row["recall"], row["std"]) for row in same))
                label = way if style == "-" else None
                axes[0].errorbar(k, y, std, fmt=f"o{style}", color=f"C{colour}", label=label)
            for axis, part, key in ((axes[1], "spread", "spread"), (axes[2], "wires", "ohm")):
                rows = task["circuits"][part]
                x, y, std = zip(*((row[key], row["recall"], row["std"]) for row in rows))
                axis.errorbar(x, y, std, fmt=f"o{style}", color="C0", label=name)
                axis.axhline(task["circuits"]["ideal"]["recall"], color="k", ls=":")
        axes[0].set(xscale="log", xlabel="k, winners of 20 k units")
        axes[0].set_xticks(WINNERS, map(str, WINNERS))
        axes[0].set_xticks([], minor=True)
        axes[1].set(xlabel="spread of resistors, wires ideal (dotted: ideal code)")
        axes[2].set(xlabel="ohm per wire segment, spread 10 %", xscale="symlog", xlim=(0, 150))
        axes[2].set_xticks(OHMS, [f"{ohm:g}" for ohm in OHMS])
        for axis in axes:
            axis.set(ylabel="recall at 10", ylim=(0, 1))
            axis.grid(alpha=0.3)
            axis.legend(fontsize=7)
        axes[0].legend(fontsize=7, title="solid: digits, dashed: MNIST", title_fontsize=7)


def main() -> None:
    about = machine()
    torch.set_num_threads(1)
    tasks = {}
    for data in (digits(seed=0, flat=True), mnist(seed=0, flat=True)):
        search = Search(data)
        found = {"codes": compare(search), "circuits": circuits(search)}
        tasks[data.name] = {"stored": len(search.x)} | found
        table = [list(row.values()) for row in tasks[data.name]["codes"]]
        print_table(f"{data.name}, recall at {K}", ("k", "code", "recall", "std"), table)
        parts = tasks[data.name]["circuits"]
        table = [["ideal", *parts["ideal"].values()]]
        table += [[f"spread {row['spread']}", *list(row.values())[1:]] for row in parts["spread"]]
        table += [[f"{row['ohm']} ohm", *list(row.values())[1:]] for row in parts["wires"]]
        print_table(f"{data.name}, k = 32 through circuits", ("circuit", "recall", "std"), table)
    plot(tasks)
    save_json("flyhash", {"machine": about, "tasks": tasks})


if __name__ == "__main__":
    main()
