"""A run's directory: filled under a temporary name, renamed when the run is complete."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crossbar_sim.config import ConfigError, RunConfig
from crossbar_sim.failures import naming


class Workspace:
    """The working directory of one run.

    What a finished step wrote stays there, so that an interrupted run can go on from it; the
    final directory appears, whole, when `finish` renames it.
    """

    def __init__(self, root: Path, config: RunConfig, *, resume: bool) -> None:
        """Start afresh, or resume.

        Raises ConfigError when asked to resume a run of other settings, or when the final
        directory holds something that is not a run.
        """
        self.final = root / config.name
        self.directory = root / f".{config.name}.partial"
        if self.final.exists() and not (self.final / "report.json").exists():
            raise ConfigError(f"{self.final} exists and is not a finished run; move it away")
        settings = self.directory / "config.json"
        mine = config.as_json()
        if resume and settings.exists():
            theirs = json.loads(settings.read_text(encoding="utf-8"))
            if theirs != mine:
                keys = [key for key in mine if theirs.get(key) != mine[key]]
                raise ConfigError(
                    f"the interrupted run in {self.directory} had other settings of {keys}; "
                    "give it those, or run without --resume"
                )
            return
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        write_json(settings, mine)

    def path(self, name: str) -> Path:
        """Return where a file of that name goes."""
        return self.directory / name

    def once(self, name: str, make: Callable[[Path], object]) -> Path:
        """Make a file or directory unless an earlier try has; `make` writes to the path given."""
        path = self.path(name)
        if not path.exists():
            draft = path.with_name(f"{path.name}.draft")
            if draft.is_dir():
                shutil.rmtree(draft)
            with naming(draft):
                make(draft)
            draft.rename(path)
        return path

    def finish(self) -> Path:
        """Give the directory its final name, in place of an older run's; return it."""
        old = self.final.with_name(f".{self.final.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        if self.final.exists():
            self.final.rename(old)
        self.directory.rename(self.final)
        shutil.rmtree(old, ignore_errors=True)
        return self.final


def write_json(path: Path, value: Any) -> None:
    """Write JSON to a temporary name, then rename it."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with naming(path):
        draft.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        draft.replace(path)
