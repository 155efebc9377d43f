"""One callback by which every long computation says how far it is."""

from collections.abc import Callable

#: Called with a step's name, the number of finished parts, and the number of all parts.
Progress = Callable[[str, int, int], None]


def silent(step: str, done: int, total: int) -> None:
    """Ignore progress."""
