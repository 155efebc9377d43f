"""docs/reference/python: the public names of each package, with a mark for the site to put their docstrings at."""

import importlib
import inspect

PACKAGES = {
    "tinynets": "Data, training, import of networks, pruning, lottery tickets, and the subset-sum theory.",
    "mapping": "Banks of imprecise resistors, dies, selection of switches, tiles.",
    "netlists": "Circuits, SPICE text, fabrication packs; masks and boards are in `netlists.layout` and `netlists.fabrication`.",
    "crossbar_sim": "Solvers, the network on its die, studies, proofs, and the whole path of a run.",
}


def pages() -> dict[str, str]:
    """Return a page for each package by file name."""
    return {f"{name}.md": _page(name, about) for name, about in PACKAGES.items()}


def _page(name: str, about: str) -> str:
    package = importlib.import_module(name)
    parts = [f"# {name}", about, "Every name below can be imported from the package itself."]
    for public in sorted(package.__all__, key=str.lower):
        found = getattr(package, public)
        if inspect.ismodule(found):
            parts += [f"## `{name}.{public}`", (inspect.getdoc(found) or "").partition("\n\n")[0]]
        elif hasattr(found, "__module__"):
            parts += [f"## `{name}.{public}`", f"::: {found.__module__}.{found.__qualname__}"]
    return "\n\n".join(parts) + "\n"
