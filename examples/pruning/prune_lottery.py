"""Find lottery tickets, and train two random controls for each."""

import torch

from tinynets.data import digits
from tinynets.lottery import reinitialised, shuffled, tickets, train_from, trainer
from tinynets.networks.models import mlp
from tinynets.networks.training import accuracy

torch.set_num_threads(1)  # for networks this small, threads cost more than they save
data = digits(seed=0, flat=True)
fit = trainer(data, epochs=6, learning_rate=5e-3)
torch.manual_seed(0)
model = mlp((64, 100, 30, 10))

print("remaining   ticket   re-initialised   random mask")
for k, ticket in enumerate(tickets(model, fit, rounds=6, rate=0.4)):
    if k % 2:
        continue
    fresh = train_from(model, reinitialised(model, seed=1), ticket.masks, fit, seed=0)
    mixed = train_from(model, ticket.start, shuffled(ticket.masks, seed=1), fit, seed=0)
    scores = [accuracy(m, data.x_test, data.y_test) for m in (ticket.model, fresh, mixed)]
    print(f"{ticket.remaining:9.1%}  {scores[0]:7.1%}  {scores[1]:15.1%}  {scores[2]:12.1%}")
