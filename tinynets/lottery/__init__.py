"""Lottery tickets: sparse networks that train from their initial weights, or need no training."""

from tinynets.lottery.winning_tickets import reinitialised, shuffled, tickets, train_from, trainer

__all__ = ["reinitialised", "shuffled", "tickets", "train_from", "trainer"]
