"""Many circuits on all cores: one ngspice process per core, so that a failure harms no other."""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from queue import SimpleQueue
from threading import Lock

import numpy as np

from crossbar_sim.ngspice.worker import NgspiceError, NgspiceWorker, solve_ngspice
from crossbar_sim.solvers.solution import Solution
from crossbar_sim.system.stopping import Stopped
from netlists.circuit import Circuit
from netlists.circuit.size import NetlistTooLarge

#: A name, the circuit to solve, and its input vectors (n_batch, n_word) [V].
Task = tuple[str, Circuit, np.ndarray]
#: The task's name, and its solution or the error.
Outcome = tuple[str, Solution | Exception]

_END = None


def solve_tiles(
    tasks: Iterable[Task],
    *,
    n_worker: int | None = None,
    time_limit: float = 300.0,
    library: str | None = None,
    most_nodes: int = 0,
) -> Iterator[Outcome]:
    """Solve circuits with several ngspice processes; yield each as soon as it is done.

    A circuit that ngspice fails, hangs or crashes on yields an NgspiceError, one too large for the
    machine a NetlistTooLarge; the other circuits go on.

    tasks: taken one by one as workers become free, so that an iterator keeps memory small. Circuits
    of one topology (tiles of one shape without pruned cells, one tile on several dies) should
    follow one another.
    n_worker: number of processes, by default one per core.
    time_limit [s]: of each circuit.
    library: as for `NgspiceWorker`.
    most_nodes: keep the voltages of all nodes unless they are more numbers than this.

    Raises NgspiceError without an ngspice library, and whatever the iterator of tasks raises.
    """
    n_worker = (os.cpu_count() or 1) if n_worker is None else n_worker
    if n_worker < 1:
        raise ValueError(f"n_worker must be >= 1; got {n_worker}")
    queue, done = _Queue(tasks), SimpleQueue()
    with ExitStack() as stack:
        workers = [NgspiceWorker(time_limit=time_limit, library=library) for _ in range(n_worker)]
        for worker in workers:
            stack.callback(worker.close)
        threads = stack.enter_context(ThreadPoolExecutor(n_worker))
        stack.callback(queue.stop)  # when nobody takes more results, each finishes its own
        running = [threads.submit(_serve, worker, queue, done, most_nodes) for worker in workers]
        try:
            for _ in running:
                yield from iter(done.get, _END)
        except Stopped:  # nobody waits for the running tasks
            queue.stop()
            for worker in workers:
                worker.close()
            raise
        for thread in running:
            thread.result()


class _Queue:
    """Tasks that several threads take, one at a time."""

    def __init__(self, tasks: Iterable[Task]) -> None:
        self._tasks, self._lock, self._stopped = iter(tasks), Lock(), False

    def take(self) -> Task | None:
        """Return the next task, or None when none is left."""
        with self._lock:
            return None if self._stopped else next(self._tasks, None)

    def stop(self) -> None:
        """Give out no more."""
        self._stopped = True


def _serve(worker: NgspiceWorker, queue: _Queue, done: SimpleQueue, most_nodes: int) -> None:
    """Solve tasks until none is left; put their outcomes, then the end mark, into `done`."""
    try:
        while task := queue.take():
            name, circuit, v_in = task
            nodes = circuit.elements.n_node * len(v_in) <= most_nodes
            try:
                done.put((name, solve_ngspice(circuit, v_in, worker=worker, nodes=nodes)))
            except (NgspiceError, NetlistTooLarge) as error:
                done.put((name, error))
    finally:
        done.put(_END)
