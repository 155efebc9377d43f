"""A bank of imprecise resistors: what was ordered, and what one chip has of it."""

from mapping.bank.checks import NoEffectWarning
from mapping.bank.die import Branches, Cells, Die
from mapping.bank.ladders import LadderGapWarning
from mapping.bank.resistor_bank import ResistorBank

__all__ = ["Branches", "Cells", "Die", "LadderGapWarning", "NoEffectWarning", "ResistorBank"]
