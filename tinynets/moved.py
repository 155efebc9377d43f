"""Old import paths that pages and examples showed: they lead to where the names are now.

The one place that knows of them. Each package imports this, so that `from tinynets.train import
accuracy` goes on working, with a DeprecationWarning that says what to write.
"""

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

#: Old module → the modules that have its names now, searched in this order.
MOVED = {
    "tinynets.crossbar_masks": ["tinynets.pruning.for_tiles"],
    "tinynets.layers": ["tinynets.networks.layers"],
    "tinynets.metrics": ["tinynets.pruning.metrics"],
    "tinynets.models": ["tinynets.networks.models"],
    "tinynets.networks.data": ["tinynets.data"],
    "tinynets.strong_lottery": ["tinynets.lottery.strong"],
    "tinynets.train": ["tinynets.networks.training"],
    "mapping.compact": ["mapping.tiling.compact"],
    "mapping.metrology": [
        "mapping.wafer.reading_plan",
        "mapping.wafer.survey",
        "mapping.wafer.meter",
    ],
    "netlists.kicad": ["netlists.fabrication.board"],
    "netlists.masks": ["netlists.layout.mask_set"],
    "netlists.plan": ["netlists.fabrication.plan_file"],
    "netlists.technology": ["netlists.layout.technology"],
    "crossbar_sim.exchange": [
        "crossbar_sim.jobs.wafer_loop",
        "crossbar_sim.pipeline.finished_run",
    ],
    "crossbar_sim.hashing": ["crossbar_sim.on_die.flyhash_projection"],
    "crossbar_sim.network": ["crossbar_sim.pipeline.steps"],
    "crossbar_sim.saved": ["crossbar_sim.on_die.saved_network"],
    "crossbar_sim.statistics": ["crossbar_sim.study.intervals"],
    "crossbar_sim.study_config": ["crossbar_sim.config.study"],
    "crossbar_sim.tune": ["crossbar_sim.calibration.tune"],
}


class _Moved(ModuleType):
    """A module that has only what its successors have."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        for successor in MOVED[self.__name__]:
            module = import_module(successor)
            if hasattr(module, name):
                message = f"{self.__name__}.{name} is now {successor}.{name}"
                warnings.warn(message, DeprecationWarning, stacklevel=2)
                return getattr(module, name)
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")


class _Finder(MetaPathFinder, Loader):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in MOVED else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Moved(spec.name, "Moved; see `tinynets.moved`.")

    def exec_module(self, module: ModuleType) -> None:
        pass


def install() -> None:
    """Let Python find the old paths, after everything that is really there."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
