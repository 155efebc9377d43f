"""A run's directory: filled under a temporary name, and renamed when the run is complete."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crossbar_sim.config import ConfigError, RunConfig
from crossbar_sim.system.failures import naming
from tinynets.files.drafts import new_file


class Workspace:
    """The working directory of one run.

    The results of finished steps stay there, so that an interrupted run can continue from them. The
    final directory appears, complete, when `finish` renames it.
    """

    def __init__(self, root: Path, config: RunConfig, *, resume: bool) -> None:
        """Start a new run, or resume an interrupted one.

        Raises ConfigError for resuming a run with other or damaged settings, and if the final
        directory is not that of a run.
        """
        self.final = root / config.name
        self.directory = _partial(self.final)
        if self.final.exists() and not (self.final / "report.json").exists():
            raise ConfigError(f"{self.final} exists and is not a finished run; move it away")
        _complete_finish(self.final)
        settings = self.directory / "config.json"
        mine = config.as_json()
        if resume and settings.exists():
            theirs = _read_settings(settings)
            if theirs != mine:
                keys = [key for key in mine if theirs.get(key) != mine[key]]
                raise ConfigError(
                    f"the interrupted run in {self.directory} had other settings of {keys}; "
                    "restore them, or run without --resume"
                )
            return
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        write_json(settings, mine)

    def path(self, name: str) -> Path:
        """Return the path of a file of that name."""
        return self.directory / name

    def once(self, name: str, make: Callable[[Path], object]) -> Path:
        """Return the path of a file or directory, made now unless it exists.

        make: writes to the path that it is given.
        """
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
        """Rename the directory to its final name, in place of an older run; return its path."""
        write_json(self.directory / _FINISHED, True)
        _replace(self.final)
        return self.final


def left_behind(final: Path) -> str:
    """Return what a killed run of that name has left, as the end of a message; "" for nothing.

    Between the two renames of `Workspace.finish` the final directory does not exist.
    """
    kept = [path for path in (_old(final), _partial(final)) if path.exists()]
    if not kept:
        return ""
    names = " and ".join(str(path) for path in kept)
    return f"; an interrupted run has left {names}, which the same run with --resume continues"


#: Marks a directory that holds the complete run while it takes the place of the final one.
_FINISHED = "finished.json"


def _partial(final: Path) -> Path:
    return final.with_name(f".{final.name}.partial")


def _old(final: Path) -> Path:
    return final.with_name(f".{final.name}.old")


def _replace(final: Path) -> None:
    """Move the complete partial directory to the place of an older run."""
    partial, old = _partial(final), _old(final)
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        final.rename(old)
    partial.rename(final)
    (final / _FINISHED).unlink()
    shutil.rmtree(old, ignore_errors=True)


def _complete_finish(final: Path) -> None:
    """Complete a killed `finish`, so that its run, or the older one, is in place."""
    partial, old = _partial(final), _old(final)
    if (partial / _FINISHED).exists():
        _replace(final)
    elif old.exists() and not final.exists():
        old.rename(final)
    (final / _FINISHED).unlink(missing_ok=True)
    shutil.rmtree(old, ignore_errors=True)


def _read_settings(path: Path) -> dict[str, Any]:
    """Return the settings of an interrupted run."""
    try:
        settings = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is damaged: {str(error)[:100]}; run without --resume") from error
    if not isinstance(settings, dict):
        raise ConfigError(f"{path} is damaged: it is not a JSON object; run without --resume")
    return settings


def write_json(path: Path, value: Any) -> None:
    """Write JSON under a temporary name, then rename it."""
    with new_file(path) as draft:
        draft.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")
