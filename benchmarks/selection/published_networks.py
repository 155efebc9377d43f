"""Published subset-sum experiments on networks, solved exactly and compared with the originals.

Run: python -m benchmarks.selection.published_networks [p1] [d1] [b1]  (ten minutes on two cores)

P1  Pensia et al., NeurIPS 2020, experiment 1: every weight of a 784-500-10 network replaced by a
    subset of 21 random values. Both: all of MNIST, with the same recipe. Training
    differs by seed and machine, so only before and after can be compared.
D1  da Cunha, Natale, Viennot, ICLR 2022: 2,572 parameters of LeNet-5's convolutions, n values
    each; max|p - p'| / max|p|, the largest of the four arrays. Theirs: one draw, trained on all of
    MNIST and Fashion-MNIST. Ours: many draws, trained on all of MNIST.
B1  Burkholz, LT-existence: 100,000 targets, 15 values, subsets by size until one is within 0.01.
    Same distributions; the order of subsets within a size is not published, ours is lexicographic.
"""

import argparse
import json
from copy import deepcopy
from itertools import combinations

import numpy as np
import torch

from benchmarks.common import RESULTS, figure, machine, print_table, save_json, timed
from tinynets.data import mnist
from tinynets.subset_sum import solve

EPSILON = 0.01

# ---- P1 -----------------------------------------------------------------------------------------


def mnist_tensors(*, flat: bool) -> tuple[torch.Tensor, ...]:
    """Return training and test images, (n, 784) or (n, 1, 28, 28), and their labels."""
    data = mnist(seed=0, flat=flat)
    parts = data.x_train, data.x_test, data.y_train, data.y_test
    return tuple(torch.from_numpy(part) for part in parts)


def train(images: torch.Tensor, labels: torch.Tensor) -> torch.nn.Sequential:
    """Train 784-500-10 without biases as published: SGD 0.1, momentum 0.9, decay 5e-4."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(784, 500, bias=False),
        torch.nn.ReLU(),
        torch.nn.Linear(500, 10, bias=False),
    )
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    for _ in range(10):
        for batch in torch.randperm(len(images)).split(64):
            loss = torch.nn.functional.cross_entropy(model(images[batch]), labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return model


def accuracy(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    with torch.no_grad():
        return float((model(images).argmax(1) == labels).float().mean() * 100)


def replace_weights(model: torch.nn.Sequential, *, share_rows: bool) -> dict:
    """Replace each weight by the nearest subset sum of 21 values; return a summary."""
    random = np.random.default_rng(0)
    weights = [p.detach().numpy().astype(float) for p in model.parameters()]
    low, high = min(w.min() for w in weights), max(w.max() for w in weights)
    errors, kept = [], 0
    for parameter, weight in zip(model.parameters(), weights):
        if share_rows:
            sums = [solve(random.uniform(low, high, 21), row) for row in weight]
        else:
            sums = [solve(random.uniform(low, high, (weight.size, 21)), weight.ravel())]
        new = np.concatenate([f.value for f in sums]).reshape(weight.shape)
        kept += sum(int(np.bitwise_count(f.mask).sum()) for f in sums)
        errors.append(np.abs(new - weight).ravel())
        parameter.data = torch.tensor(new, dtype=torch.float32)
    error = np.concatenate(errors)
    return {
        "range": (low, high),
        "kept": kept,
        "mean_error": float(error.mean()),
        "max_error": float(error.max()),
        "above_epsilon": int((error > EPSILON).sum()),
    }


def pensia() -> dict:
    x_train, x_test, y_train, y_test = mnist_tensors(flat=True)
    trained, results = train(x_train, y_train), {}
    before = accuracy(trained, x_test, y_test)
    for name, share_rows in (("a bank per row", True), ("a bank per weight", False)):
        model = deepcopy(trained)
        summary, wall, _ = timed(lambda m=model, s=share_rows: replace_weights(m, share_rows=s))
        after = accuracy(model, x_test, y_test)
        results[name] = {"before": before, "after": after, "seconds": wall} | summary
    row, own = results.values()
    print_table(
        "P1: Pensia et al., 397,000 weights x 21 values",
        ("", "a bank per row", "a bank per weight", "published (per row)"),
        [
            ("accuracy before %", row["before"], own["before"], 97.19),
            ("accuracy after %", row["after"], own["after"], 97.19),
            ("values kept", row["kept"], own["kept"], 3_725_871),
            ("mean error", row["mean_error"], own["mean_error"], "-"),
            ("max error", row["max_error"], own["max_error"], "<= 0.01"),
            ("errors above 0.01", row["above_epsilon"], own["above_epsilon"], 0),
            ("seconds", row["seconds"], own["seconds"], "77266 on 36 cores"),
        ],
    )
    return results


# ---- D1 -----------------------------------------------------------------------------------------

D1_MNIST = {5: 0.892, 10: 0.566, 15: 1.79e-2, 20: 7.33e-4, 25: 7.69e-5, 30: 7.73e-6}
D1_FASHION = {5: 0.793, 10: 0.771, 15: 0.512, 20: 2.63e-3, 25: 1.51e-5, 30: 2.24e-5}
D1_DRAWS = 20


def lenet_convolutions() -> dict[str, np.ndarray]:
    """Return W1, b1, W2, b2 of LeNet-5's convolutions (2,572), after 2 epochs of Adam at 1e-3."""
    x_train, x_test, y_train, y_test = mnist_tensors(flat=False)
    torch.manual_seed(0)
    layers = torch.nn
    convolutions = layers.Sequential(
        layers.Conv2d(1, 6, 5, padding="same"),
        layers.ReLU(),
        layers.MaxPool2d(2),
        layers.Conv2d(6, 16, 5, padding="same"),
        layers.ReLU(),
        layers.MaxPool2d(2),
    )
    dense = [layers.Flatten(), layers.Linear(784, 120), layers.ReLU(), layers.Linear(120, 84)]
    model = layers.Sequential(convolutions, *dense, layers.ReLU(), layers.Linear(84, 10))
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(2):
        for batch in torch.randperm(len(x_train)).split(64):
            loss = layers.functional.cross_entropy(model(x_train[batch]), y_train[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    print(f"  LeNet-5 on 10,000 test images: {accuracy(model, x_test, y_test):.2f} %")
    arrays = [p.detach().numpy().ravel().astype(float) for p in convolutions.parameters()]
    return dict(zip(("W1", "b1", "W2", "b2"), arrays))


def relative_error(arrays: dict[str, np.ndarray], n: int, seed: int) -> tuple[float, float]:
    """Return the published statistic, and the share of exact parameters.

    The statistic is the largest max|p - p'| / max|p| of the arrays. A parameter is exact if its
    nearest subset sum rounds to it in single precision.
    """
    random = np.random.default_rng([seed, n])
    worst, exact = [], 0
    for p in arrays.values():
        sums = solve(random.uniform(-1, 1, (len(p), n)), p)
        worst.append(np.abs(sums.value - p).max() / np.abs(p).max())
        exact += int((sums.value.astype(np.float32) == p.astype(np.float32)).sum())
    return max(worst), exact / sum(map(len, arrays.values()))


def da_cunha() -> list[dict]:
    """Return the worst relative error, which is heavy-tailed, over many draws of the values."""
    arrays, records = lenet_convolutions(), []
    for n in D1_MNIST:
        runs = [relative_error(arrays, n, seed) for seed in range(D1_DRAWS)]
        worst, exact = np.array(runs).T
        low, median, high = np.quantile(worst, [0.05, 0.5, 0.95])
        records.append(
            {
                "n": n,
                "draws": D1_DRAWS,
                "max": float(median),
                "max_5": float(low),
                "max_95": float(high),
                "exact": float(exact.mean()),
                "mnist": D1_MNIST[n],
                "fashion": D1_FASHION[n],
            }
        )
    header = ("n", "draws", "ours, median", "5 %", "95 %", "exact share", "MNIST", "Fashion")
    title = "D1: da Cunha et al., max|p - p'| / max|p| of the worst array; published at the right"
    print_table(title, header, [list(r.values()) for r in records])
    draw_da_cunha(records)
    return records


def draw_da_cunha(records: list[dict]) -> None:
    with figure("published_d1") as axes:
        n = [r["n"] for r in records]
        axes.semilogy(n, [r["max"] for r in records], "o-", label="exact, median draw")
        low, high = ([r[end] for r in records] for end in ("max_5", "max_95"))
        axes.fill_between(n, low, high, alpha=0.2, label=f"5 … 95 % of {D1_DRAWS} draws")
        axes.semilogy(n, list(D1_MNIST.values()), "s--", label="published, MNIST")
        axes.semilogy(n, list(D1_FASHION.values()), "^--", label="published, Fashion-MNIST")
        axes.set(xlabel="random values per parameter", ylabel="max|p - p'| / max|p|, worst array")
        axes.set_title("LeNet-5 convolutions by subset sums")
        axes.grid(alpha=0.3)
        axes.legend()


# ---- B1 -----------------------------------------------------------------------------------------

B1 = {"uniform (L + 1)": (5.45e-3, 0.404, 2.30), "product of two (2L)": (1.21e-2, 3.55, 2.46)}


def subsets_of_size(n: int, k: int) -> np.ndarray:
    """Return all subsets of k out of n, in lexicographic order, as columns of 0 and 1."""
    chosen = np.array(list(combinations(range(n), k)))
    members = np.zeros((n, len(chosen)))
    members[chosen.T, np.arange(len(chosen))] = 1
    return members


def first_subsets(values: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return error and size of the first subset, by size, within EPSILON; else of the best."""
    error, size = np.full(len(targets), np.inf), np.zeros(len(targets))
    waiting = np.arange(len(targets))
    for k in range(1, values.shape[1] + 1):
        miss = np.abs(
            values[waiting] @ subsets_of_size(values.shape[1], k) - targets[waiting, None]
        )
        within = (miss <= EPSILON).any(axis=1)
        first = np.where(within, (miss <= EPSILON).argmax(axis=1), miss.argmin(axis=1))
        miss = miss[np.arange(len(miss)), first]
        better = waiting[miss < error[waiting]]
        error[waiting] = np.minimum(error[waiting], miss)
        size[better] = k
        waiting = waiting[~within]
    return error, size


def burkholz() -> list[dict]:
    random = np.random.default_rng(0)
    count, n = 100_000, 15
    records = []
    for name, published in B1.items():
        values = random.uniform(-1, 1, (count, n))
        if name.startswith("product"):
            values *= random.uniform(-1, 1, (count, n))
        targets = random.uniform(-1, 1, count)
        error, size = first_subsets(values, targets)
        exact = np.abs(solve(values, targets).error)
        ours = (float(error.mean()), float((error > EPSILON).mean() * 100), float(size.mean()))
        optimum = (float(exact.mean()), float((exact > EPSILON).mean() * 100))
        records.append({"values": name, "ours": ours, "exact": optimum, "published": published})
    rows = []
    for r in records:
        quantities = ("mean error", "failed %", "mean size")
        for k, quantity in enumerate(quantities):
            exact = r["exact"][k] if k < 2 else "-"
            rows.append((r["values"], quantity, r["ours"][k], r["published"][k], exact))
    header = ("values", "", "first within 0.01", "published", "exact optimum")
    print_table("B1: Burkholz, 100,000 targets, 15 values", header, rows)
    return records


def main() -> None:
    parts = {"p1": pensia, "d1": da_cunha, "b1": burkholz}
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "parts", nargs="*", help="parts to run: p1, d1, b1; the results of others are kept"
    )
    path = RESULTS / "published_networks.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    for name in parser.parse_args().parts or parts:
        results[name], wall, _ = timed(parts[name])
        print(f"  [{wall:.1f} s]")
    save_json("published_networks", results | {"machine": machine(), "data": "mnist"})


if __name__ == "__main__":
    main()
