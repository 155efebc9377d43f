"""Banks of known resistors."""

from typing import Any

from mapping.bank import ResistorBank


def bank_of(*ohms: float, **options: Any) -> ResistorBank:
    """Return a bank of these nominal values [ohm]; options are fields of `ResistorBank`."""
    return ResistorBank(n=len(ohms), ladder=ohms, **options)
