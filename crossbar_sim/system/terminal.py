"""Messages and progress bars on stderr, and checks of options, for every command."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich import progress as rich
from rich.console import Console

from tinynets.progress import Progress

#: Largest seed that every random function takes.
MAX_SEED = 2**31 - 1
#: Largest count that an option takes.
MAX_COUNT = 1_000_000
#: Help of --trust.
TRUST = "Run the Python that the configuration names; without this, none is run."


def within(low: float, high: float, *, ends: bool = True) -> Callable[[Any], Any]:
    """Return a check that an option's numbers lie in low … high, with or without the ends.

    Typer's own bounds let NaN pass.
    """

    def check(value: float | tuple[float, ...] | None) -> Any:
        for number in () if value is None else value if isinstance(value, tuple) else (value,):
            if not (low <= number <= high if ends else low < number < high):
                kind = "" if ends else ", ends excluded"
                raise typer.BadParameter(f"must be {low:g} … {high:g}{kind}; got {number:g}")
        return value

    return check


#: Progress and messages go to stderr, so that stdout holds only results.
messages = Console(stderr=True, highlight=False)


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """Yield a function that shows the progress of each step as a bar, with the time left.

    Where stderr is no terminal, each step that took a while is one plain line when it ends.
    """
    if not messages.is_terminal:
        yield _lines()
        return
    columns = (
        rich.TextColumn("{task.description:<10}"),
        rich.BarColumn(bar_width=None if messages.width < 80 else 40),
        rich.MofNCompleteColumn(),
        rich.TimeElapsedColumn(),
        rich.TimeRemainingColumn(),
    )
    bars, tasks = rich.Progress(*columns, console=messages), {}

    def tell(step: str, done: int, total: int) -> None:
        if not tasks:
            bars.start()  # not before: even without a bar it would print a line
        if step not in tasks:
            tasks[step] = bars.add_task(step, total=total)
        bars.update(tasks[step], completed=done, total=total)

    try:
        yield tell
    finally:
        if tasks:
            bars.stop()


def _lines() -> Progress:
    """Return a function that says in one line that a step has ended, and how long it took."""
    starts: dict[str, float] = {}
    ended = set[str]()

    def tell(step: str, done: int, total: int) -> None:
        start = starts.setdefault(step, time.monotonic())
        if done >= total and step not in ended:
            ended.add(step)
            seconds = time.monotonic() - start
            messages.print(f"{step} {done}/{total}, {seconds:.0f} s", markup=False)

    return tell
