"""Results of steps, kept under everything they depend on, so that each step is done once."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from crossbar_sim.pipeline.workspace import Workspace

T = TypeVar("T")

#: Number of results of one step that stay in memory.
SIZE = 4


@dataclass(frozen=True)
class OnDisk(Generic[T]):
    """How a run's directory keeps the result of a step.

    name: of the file or folder.
    save: writes a value to a path.
    load: reads it back.
    """

    name: str
    save: Callable[[T, Path], object]
    load: Callable[[Path], T]


class Kept:
    """The results of steps, in memory and, for a run, in its directory.

    The configurations of a study differ in few keys, so most share a network, many a selection, and
    some all circuits. An interrupted run continues from the content of its directory.
    """

    def __init__(self, work: Workspace | None = None) -> None:
        self.work = work
        self._results: dict[str, OrderedDict[Hashable, Any]] = {}

    def once(
        self,
        step: str,
        depends_on: Hashable,
        make: Callable[[], T],
        on_disk: OnDisk[T] | None = None,
    ) -> T:
        """Return the result of a step, made now unless it is kept already.

        step: name of the step.
        depends_on: everything that the result depends on.
        make: does the step.
        on_disk: how the run's directory keeps the result; None for in memory alone.
        """
        results = self._results.setdefault(step, OrderedDict())
        if depends_on not in results:
            results[depends_on] = self._made(make, on_disk)
        results.move_to_end(depends_on)
        while len(results) > SIZE:
            results.popitem(last=False)
        return results[depends_on]

    def _made(self, make: Callable[[], T], on_disk: OnDisk[T] | None) -> T:
        if self.work is None or on_disk is None:
            return make()
        return on_disk.load(self.work.once(on_disk.name, lambda draft: on_disk.save(make(), draft)))

    def trim(self, n: int) -> None:
        """Forget all but the last n results of each step."""
        for results in self._results.values():
            while len(results) > n:
                results.popitem(last=False)

    def clear(self) -> None:
        """Forget all results in memory."""
        self._results.clear()
