"""A bank of imprecise resistors: what was ordered, and what one chip has of it."""

from mapping.bank.bank import Branches, Die, LadderGapWarning, ResistorBank

__all__ = ["Branches", "Die", "LadderGapWarning", "ResistorBank"]
