"""Lottery tickets on MNIST: winning tickets, their random controls, and edge-popup.

LeNet-300-100, Adam 1.2e-3, batches of 60, as in Frankle and Carbin (ICLR 2019); 60,000
images for training, once each, and 10,000 for tests. In each round a layer loses 20 % of its
remaining weights, the last layer 10 %.

Run: python -m benchmarks.pruning.lottery [--seeds 4] [--quick]  (11 minutes on one core)
"""

import argparse
import time

import numpy as np
import torch
from torch import nn

from benchmarks.common import figure, machine, print_table, save_json
from tinynets.data import Data, mnist, mnist5000
from tinynets.lottery import reinitialised, shuffled, tickets, train_from, trainer
from tinynets.lottery.winning_tickets import Ticket, Trainer
from tinynets.networks.models import mlp
from tinynets.networks.training import accuracy
from tinynets.pruning.edge_popup import edge_popup

SIZES = (784, 300, 100, 10)
EPOCHS, ROUNDS, EVERY = 1, 18, 3
#: Training steps before the weights that the rewound ticket starts from: a tenth of an epoch.
REWIND = 100
POPUP_SPARSITIES = (0.1, 0.3, 0.5, 0.7, 0.9)
POPUP_EPOCHS, POPUP_RATE = 2, 3e-3
#: Learning rates of the dense networks compared with edge-popup: the tickets', and its own.
TRAINING_RATES = (1.2e-3, POPUP_RATE)
CURVES = ("ticket", "rewound ticket", "random re-initialisation", "random mask")


def network(seed: int) -> nn.Module:
    """Return LeNet-300-100 with its initial weights."""
    torch.manual_seed(seed)
    return mlp(SIZES)


def controls(model: nn.Module, ticket: Ticket, fit: Trainer, seed: int) -> dict[str, nn.Module]:
    """Train the ticket's masks with other weights, and its weights with other masks."""
    fresh = reinitialised(model, seed=seed + 1000)
    mixed = shuffled(ticket.masks, seed=seed)
    return {
        "random re-initialisation": train_from(model, fresh, ticket.masks, fit, seed=seed),
        "random mask": train_from(model, ticket.start, mixed, fit, seed=seed),
    }


def lottery_curves(data: Data, seed: int, epochs: int, rounds: int) -> dict:
    """Return the test accuracy by curve, and the shares of remaining weights as `remaining`."""
    model, fit = network(seed), trainer(data, epochs=epochs)
    curves: dict = {"remaining": [], **{name: [] for name in CURVES}}
    rewound = tickets(model, fit, rounds=rounds, rewind_step=REWIND, seed=seed)
    pairs = zip(tickets(model, fit, rounds=rounds, seed=seed), rewound)
    for k, (ticket, early) in enumerate(pairs):
        if k % EVERY:
            continue
        models = {"ticket": ticket.model, "rewound ticket": early.model}
        models |= controls(model, ticket, fit, seed)
        curves["remaining"].append(ticket.remaining)
        for name, trained in models.items():
            curves[name].append(accuracy(trained, data.x_test, data.y_test))
    return curves


def popup_and_training(data: Data, seed: int, epochs: int) -> dict[str, list[float]]:
    """Return the test accuracy of edge-popup, and of dense training for as many epochs."""
    scores: dict[str, list[float]] = {"edge-popup": [], "training": []}
    for sparsity in POPUP_SPARSITIES:
        options = {"epochs": epochs, "learning_rate": POPUP_RATE, "seed": seed}
        model = edge_popup(network(seed), data, sparsity=sparsity, **options)
        scores["edge-popup"].append(accuracy(model, data.x_test, data.y_test))
    for rate in TRAINING_RATES:
        model = network(seed)
        trainer(data, epochs=epochs, learning_rate=rate)(model, seed, None)
        scores["training"].append(accuracy(model, data.x_test, data.y_test))
    return scores


def statistics(values: list) -> dict:
    """Return the mean over seeds and its standard error, in per cent."""
    table = 100 * np.array(values)
    error = table.std(axis=0, ddof=1) / np.sqrt(len(table))
    return {"mean": table.mean(axis=0).tolist(), "error": error.tolist()}


def draw(remaining: list, curves: dict, popup: dict, training: dict) -> None:
    """Plot tickets and controls, and edge-popup with training for as many epochs."""
    with figure("lottery", columns=2) as (left, right):
        for name in CURVES:
            mean, error = curves[name]["mean"], curves[name]["error"]
            left.errorbar(remaining, mean, error, capsize=3, label=name)
        left.set(xscale="log", xlabel="weights remaining [%]", ylabel="test accuracy [%]")
        left.set_title("LeNet-300-100 on MNIST")
        left.invert_xaxis()
        left.legend()
        kept = [100 * (1 - s) for s in POPUP_SPARSITIES]
        label = "edge-popup, weights never trained"
        right.errorbar(kept, popup["mean"], popup["error"], capsize=3, label=label)
        for rate, mean, style in zip(TRAINING_RATES, training["mean"], ("--", ":")):
            right.axhline(
                mean, color="black", linestyle=style, label=f"trained, dense, rate {rate}"
            )
        right.set(xlabel="weights remaining [%]", ylabel="test accuracy [%]")
        right.set_title(f"edge-popup, signed constant, {POPUP_EPOCHS} epochs each")
        right.legend()


def lead(runs: list[dict]) -> dict[str, dict]:
    """Return how far the ticket is above each control with the same seed, in points."""
    return {
        name: statistics([np.subtract(run["ticket"], run[name]) for run in runs])
        for name in CURVES[2:]
    }


def spread(curve: dict) -> list[str]:
    """Return mean ± standard error, as text."""
    return [f"{mean:.1f} ± {error:.1f}" for mean, error in zip(curve["mean"], curve["error"])]


def show(remaining: list, curves: dict, popup: dict, training: dict) -> None:
    """Print the tables."""
    columns = [spread(curves[name]) for name in CURVES]
    rows = [[f"{share:.1f}", *row] for share, *row in zip(remaining, *columns)]
    print_table("test accuracy [%], mean ± standard error", ["remaining %", *CURVES], rows)
    names = [f"edge-popup, {100 * (1 - s):.0f} % remain" for s in POPUP_SPARSITIES]
    names += [f"trained, dense, rate {rate}" for rate in TRAINING_RATES]
    rows = list(zip(names, spread(popup) + spread(training)))
    print_table("edge-popup beside training", ["network", "accuracy"], rows)


def main() -> None:
    """Run every seed, print, plot and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--quick", action="store_true", help="on mnist5000, few rounds; not kept")
    options = parser.parse_args()
    torch.set_num_threads(1)
    epochs, rounds, popup_epochs = (2, 3, 1) if options.quick else (EPOCHS, ROUNDS, POPUP_EPOCHS)
    host, start = machine() | {"threads": 1}, time.perf_counter()
    runs, popups = [], []
    data = (mnist5000 if options.quick else mnist)(seed=0, flat=True)
    for seed in range(options.seeds):
        runs.append(lottery_curves(data, seed, epochs, rounds))
        popups.append(popup_and_training(data, seed, popup_epochs))
        print(f"seed {seed}: {time.perf_counter() - start:.0f} s", flush=True)
    remaining = [100 * share for share in runs[0]["remaining"]]
    curves = {name: statistics([run[name] for run in runs]) for name in CURVES}
    popup, training = (statistics([p[name] for p in popups]) for name in popups[0])
    show(remaining, curves, popup, training)
    if options.quick:
        return
    draw(remaining, curves, popup, training)
    settings = {"sizes": SIZES, "epochs": epochs, "rounds": rounds, "rewind_step": REWIND}
    kept = [100 * (1 - s) for s in POPUP_SPARSITIES]
    results = {
        "machine": host,
        "data": data.name,
        "seconds": time.perf_counter() - start,
        "seeds": options.seeds,
        "settings": settings | {"popup_epochs": popup_epochs, "popup_rate": POPUP_RATE},
        "remaining_percent": remaining,
        "accuracy_percent": curves,
        "ticket_above_control_percent": lead(runs),
        "edge_popup": {"remaining_percent": kept, **popup},
        "training": {"learning_rate": TRAINING_RATES, **training},
    }
    save_json("lottery", results)


if __name__ == "__main__":
    main()
