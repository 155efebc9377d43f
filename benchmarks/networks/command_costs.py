"""Time and memory of commands of crossbar-sim, each in a process of its own."""

import resource
import subprocess
import sys
import threading
import time
from pathlib import Path


def timed(*words: object) -> tuple[dict[str, float], str]:
    """Run a command of crossbar-sim; return its time and memory, and its output.

    seconds: on the clock. cpu_seconds: of all its processes, whatever else the machine does.

    peak_bytes: of all its processes together, shared pages once, read every two seconds.
    """
    code = "from crossbar_sim.cli.entry import main; main()"
    start, before, peak = time.perf_counter(), cpu_seconds(resource.RUSAGE_CHILDREN), [0]
    with subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)], stdout=subprocess.PIPE, text=True
    ) as process:
        watch = threading.Thread(target=_watch, args=(process, peak))
        watch.start()
        text, _ = process.communicate()
        watch.join()
    if process.returncode:
        raise SystemExit(f"crossbar-sim {words[0]} failed: {text}")
    costs = {"seconds": time.perf_counter() - start, "peak_bytes": peak[0]}
    return costs | {"cpu_seconds": cpu_seconds(resource.RUSAGE_CHILDREN) - before}, text


def cpu_seconds(who: int) -> float:
    """Return the processor time so far of this process or its children [s]."""
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def _watch(process: subprocess.Popen, peak: list[int]) -> None:
    while process.poll() is None:
        peak[0] = max(peak[0], _memory(process.pid))
        time.sleep(2)


def _memory(pid: int) -> int:
    """Return the memory of a process and its children [bytes]."""
    here = Path(f"/proc/{pid}")
    try:
        lines = (here / "smaps_rollup").read_text().splitlines()
        children = (here / "task" / str(pid) / "children").read_text().split()
    except OSError:  # it has ended
        return 0
    own = sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return own + sum(_memory(int(child)) for child in children)
