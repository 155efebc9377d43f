"""What every command of the command line shares: messages and progress bars, on stderr."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

#: Progress and messages go to stderr, so that stdout holds only what a pipe wants.
messages = Console(stderr=True)


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int], None]]:
    """Yield a function that shows the progress of each step as a bar."""
    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    bars, tasks = Progress(*columns, console=messages), {}

    def tell(step: str, done: int, total: int) -> None:
        if not tasks:
            bars.start()  # not before: even without a bar it would print a line
        if step not in tasks:
            tasks[step] = bars.add_task(step, total=total)
        bars.update(tasks[step], completed=done)

    try:
        yield tell
    finally:
        if tasks:
            bars.stop()
