"""Prune random networks until they compute what a trained one does; no random weight changes.

Run: python examples/strong_lottery.py
"""

import torch

from tinynets.data import digits
from tinynets.models import mlp
from tinynets.strong_lottery import error_bound, strong_ticket
from tinynets.train import accuracy, train


def main() -> None:
    """Print how near tickets come to a network of 64-32-10 as they get wider."""
    data = digits(seed=0, flat=True)
    torch.manual_seed(0)
    model = train(mlp((64, 32, 10)), data, epochs=20)
    x = torch.from_numpy(data.x_test)
    print(f"trained: accuracy {accuracy(model, data.x_test, data.y_test):.1%}")
    for method in ("one_weight", "subset_sum", "one_extra_layer"):
        for n in (4, 8, 16):
            ticket = strong_ticket(model, n, method=method)
            off = (ticket(x) - model.double()(x.double())).abs().max()
            model.float()
            print(
                f"{method}, n = {n}: {ticket.depth} layers keep {ticket.n_kept} of "
                f"{ticket.n_random} random weights; accuracy "
                f"{accuracy(ticket, data.x_test, data.y_test):.1%}, largest error of a logit "
                f"{float(off):.3g}, bound {float(error_bound(model, ticket, x).max()):.3g}"
            )


if __name__ == "__main__":
    main()
