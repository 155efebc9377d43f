"""A study with the bank, wires and amplifiers of a case, killed on its way and begun again."""

import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from crossbar_sim.config.schema import toml_value
from crossbar_sim.selftest.case import Case

#: Most time for a study [s].
_LIMIT = 300.0
_STUDY = 'name = "study"\nbase = "run.toml"\ndies = 3\n'


def compared_studies(case: Case, folder: Path) -> tuple[str, str]:
    """Return the tables that two studies of a case print: one left alone, one killed and resumed.

    The time of the kill is drawn from the case's seed as a fraction of the time of the first.

    Raises CalledProcessError where one of them fails, TimeoutExpired after five minutes.
    """
    _write(case, folder)
    start = time.monotonic()
    whole = _run(folder, "whole.sqlite")
    usual = time.monotonic() - start
    wait = usual * np.random.default_rng([case.seed, 1]).uniform()
    words = _words("killed.sqlite")
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(words, cwd=folder, **quiet) as process:
        try:
            process.wait(wait)
        except subprocess.TimeoutExpired:
            process.kill()
    return whole, _run(folder, "killed.sqlite")


def _words(store: str) -> list[str]:
    """Return the command of the study."""
    words = [sys.executable, "-m", "crossbar_sim", "study", "study.toml", "--jobs", "1"]
    return [*words, "--store", store]


def _run(folder: Path, store: str) -> str:
    """Return what the study prints."""
    how = {"capture_output": True, "encoding": "utf-8", "errors": "replace"}
    return subprocess.run(_words(store), cwd=folder, check=True, timeout=_LIMIT, **how).stdout


def _write(case: Case, folder: Path) -> None:
    """Write the configurations of a small perceptron and of a study of it."""
    tables = {
        "network": {"hidden": [6]},
        "train": {"epochs": 1},
        "prune": {"sparsity": 0.8, "rounds": 1, "epochs_per_round": 1},
        "die": {"seed": case.seed},
        "simulation": {"n_image": 1, "n_power": 1},
        **{name: asdict(getattr(case, name)) for name in ("bank", "tile", "wires", "periphery")},
    }
    tables["wires"]["source"] = "given"
    (folder / "run.toml").write_text('name = "run"\n' + _toml(tables), encoding="utf-8")
    (folder / "study.toml").write_text(_STUDY, encoding="utf-8")


def _toml(tables: dict[str, dict[str, Any]]) -> str:
    """Return tables as TOML, in which a value of None is left out."""
    lines = []
    for name, table in tables.items():
        lines.append(f"[{name}]")
        lines += [f"{key} = {toml_value(v)}" for key, v in table.items() if v is not None]
    return "\n".join([*lines, ""])
