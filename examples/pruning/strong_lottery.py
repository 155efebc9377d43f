"""Prune random networks until they compute the same as a trained one; no weight is trained.

Run: python examples/pruning/strong_lottery.py
"""

import torch

from tinynets.data import digits
from tinynets.lottery.strong import METHODS, error_bound, strong_ticket
from tinynets.networks.models import mlp
from tinynets.networks.training import accuracy, predict, train


def main() -> None:
    """Print how closely tickets of growing width approximate a network of 64-16-10."""
    data = digits(seed=0, flat=True)
    torch.manual_seed(0)
    model = train(mlp((64, 16, 10)), data, epochs=20)
    x, target = torch.from_numpy(data.x_test), torch.from_numpy(predict(model, data.x_test))
    print(f"trained: accuracy {accuracy(model, data.x_test, data.y_test):.1%}")
    for method in METHODS:
        for n in (4, 12) if method != "filters" else (4,):
            ticket = strong_ticket(model, n, method=method)
            logits = ticket(x)
            right = (logits.argmax(1).numpy() == data.y_test).mean()
            print(
                f"{method}, n = {n}: {ticket.depth} layers keep {ticket.n_kept} of "
                f"{ticket.n_random} random weights; accuracy {right:.1%}, largest error of a "
                f"logit {float((logits - target).abs().max()):.3g}, at most "
                f"{float(error_bound(model, ticket, x).max()):.3g}"
            )


if __name__ == "__main__":
    main()
