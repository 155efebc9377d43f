"""Diagnosis of what is installed, and whether a run can work."""

import base64
import hashlib
import importlib.metadata
import os
import platform
from dataclasses import dataclass
from pathlib import Path

from crossbar_sim.ngspice.worker import INSTALL_HELP, NgspiceError, NgspiceWorker, find_library
from crossbar_sim.system.own_packages import HOME
from netlists.foundry.models import ModelsMissing, find_models
from netlists.foundry.rule_files import find_rules
from netlists.foundry.technologies import TECHNOLOGIES
from tinynets.version import VERSION

_REQUIRED = (
    "numpy",
    "scipy",
    "networkx",
    "numba",
    "torch",
    "scikit-learn",
    "PySpice",
    "safetensors",
)
_OPTIONAL = {
    "onnx": "onnx",
    "torch-pruning": "prune",
    "mlxtend": "data",
    "klayout": "layout",
    "distributed": "cluster",
    "pandas": "study",
    "optuna": "optimise",
    "jsonschema": "fab",
    "badcrossbar": "bench",
}


@dataclass(frozen=True)
class Finding:
    """One line of the diagnosis.

    what: part that was looked at.
    status: what was found of it.
    ok: whether a run can work with that.
    remedy: what to do when it is not ok.
    """

    what: str
    status: str
    ok: bool = True
    remedy: str = ""


def diagnose() -> list[Finding]:
    """Return every finding; a run can work when all are ok."""
    system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    findings = [Finding("Python", platform.python_version()), Finding("machine", system)]
    packages = dict.fromkeys(_REQUIRED, "") | _OPTIONAL
    findings += [_package(name, extra) for name, extra in packages.items()]
    rules = [name for name, process in TECHNOLOGIES.items() if process.rules]
    findings.insert(2, _own_files())
    return [*findings, _threads(), *_ngspice(), *map(_models, TECHNOLOGIES), *map(_rules, rules)]


def _own_files() -> Finding:
    """Compare the files of this program with the checksums that its wheel came with.

    A clone has none. Files that another package overwrote before any of ours was imported are
    refused when `crossbar_sim` is; this also finds those deeper down.
    """
    status, changed = f"{VERSION}, {HOME}", []
    try:
        files = importlib.metadata.files("crossbar-sim") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        path = file.locate()
        if file.hash is None or not str(file).endswith(".py") or HOME not in Path(path).parents:
            continue
        found = hashlib.new(file.hash.mode, Path(path).read_bytes() if Path(path).exists() else b"")
        text = base64.urlsafe_b64encode(found.digest()).rstrip(b"=").decode()
        changed += [str(path)] if text != file.hash.value else []
    if not changed:
        return Finding("crossbar-sim", status)
    more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
    remedy = (
        f"{changed[0]}{more} is not as it was installed; another package may have been installed "
        "over it: pip install --force-reinstall --no-deps crossbar-sim"
    )
    return Finding("crossbar-sim", f"{status}: {len(changed)} files changed", False, remedy)


def _package(name: str, extra: str) -> Finding:
    """Look for a package, which an extra brings, or which every run needs (extra "")."""
    what = f"{name} (extra {extra})" if extra else name
    try:
        return Finding(what, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        if not extra:
            return Finding(what, "missing", False, f"pip install {name}")
        return Finding(what, f"not installed; optional: pip install 'crossbar-sim[{extra}]'")


def _models(technology: str) -> Finding:
    """Look for the models of a foundry's process, which only the table [foundry] needs."""
    what = f"models of {technology}"
    try:
        return Finding(what, find_models(technology).version)
    except ModelsMissing:
        return Finding(what, f"not here; optional: scripts/foundry.sh {technology}")
    except ValueError as error:
        return Finding(what, str(error))


def _rules(technology: str) -> Finding:
    """Look for the design rules of a foundry's process, which only its layouts need."""
    what = f"design rules of {technology}"
    try:
        return Finding(what, str(find_rules(technology).folder))
    except ModelsMissing:
        return Finding(what, f"not here; optional: scripts/foundry.sh {technology}")
    except ValueError as error:
        return Finding(what, str(error))


def _threads() -> Finding:
    import numba
    import torch

    return Finding("threads", f"torch {torch.get_num_threads()}, numba {numba.get_num_threads()}")


def _ngspice() -> list[Finding]:
    """Find the library and let it solve a circuit."""
    try:
        library = find_library()
    except NgspiceError as error:
        return [Finding("ngspice library", "not found", False, str(error))]
    source = "NGSPICE_LIBRARY_PATH" if os.environ.get("NGSPICE_LIBRARY_PATH") else "found"
    findings = [Finding("ngspice library", f"{library} ({source})")]
    try:
        with NgspiceWorker(time_limit=60, library=library, require_klu=False) as worker:
            result = worker.probe()
    except NgspiceError as error:
        return [*findings, Finding("ngspice run", "failed", False, f"{error}; {INSTALL_HELP}")]
    findings.append(Finding("ngspice version", str(result.version)))
    solver = Finding("ngspice solver", "KLU" if result.klu else "Sparse", result.klu, INSTALL_HELP)
    return [*findings, solver]
