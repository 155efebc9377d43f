"""The machine: figures may depend on it in their last digits, and training in more."""

import hashlib
import platform
from functools import cache
from pathlib import Path


@cache
def arithmetic() -> dict[str, str]:
    """Return what decides the order of sums; machines with equal entries give equal figures.

    Processor, instructions that torch uses, kernels of the linear algebra libraries, system.
    """
    import numpy
    import scipy.linalg
    import threadpoolctl
    import torch

    del numpy, scipy  # imported so that their libraries are loaded and seen
    kernels = {
        f"{pool['internal_api']} {pool['version']} {pool.get('architecture', '')}".strip()
        for pool in threadpoolctl.threadpool_info()
        if pool["user_api"] == "blas"
    }
    return {
        "processor": processor(),
        "instructions of torch": torch.backends.cpu.get_cpu_capability(),
        "BLAS": ", ".join(sorted(kernels)) or "unknown",
        "system": f"{platform.system()} {platform.machine()}",
    }


def described() -> dict[str, str]:
    """Return the machine as a report describes it: `arithmetic`, and the numbers of threads."""
    import numba
    import torch

    n_thread = f"torch {torch.get_num_threads()}, numba {numba.get_num_threads()}"
    return arithmetic() | {"threads": n_thread}


def summary() -> str:
    """Return `arithmetic` in one line."""
    return "; ".join(arithmetic().values())


def key() -> str:
    """Return eight hexadecimal digits that change with `arithmetic`."""
    return hashlib.sha256(summary().encode()).hexdigest()[:8]


def processor() -> str:
    """Return the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(names), "") or platform.processor() or platform.machine()
