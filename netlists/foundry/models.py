"""Find a process's models on this machine: in PDK_ROOT, or in the cache that a script fills."""

import hashlib
import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from netlists.foundry.technologies import Technology, technology

#: What a path may consist of, since it stands in a netlist.
_SAFE = re.compile(r"[A-Za-z0-9_./+~@-]+")


class ModelsMissing(ValueError):
    """A foundry's models are not on this machine."""


@dataclass(frozen=True)
class Models:
    """The models of a process as they lie on this machine.

    technology: the process.
    folder: of its libraries.
    compiled: OSDI files that ngspice loads first.
    """

    technology: Technology
    folder: Path
    compiled: tuple[Path, ...]

    @cached_property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that change with any file of the models."""
        found = hashlib.sha256()
        for path in (*sorted(self.folder.iterdir()), *self.compiled):
            if path.is_file():
                found.update(path.name.encode() + path.read_bytes())
        return found.hexdigest()[:16]

    @property
    def version(self) -> str:
        """What a report says of the models: where they come from, and their digest."""
        at_home = cache_folder() in self.folder.parents
        source = self.technology.package if at_home else f"PDK_ROOT, {self.folder}"
        return f"{source}, {self.digest}"

    def cards(self, corner: str, *, mismatch: bool = False) -> list[str]:
        """Return the cards that read the models of a corner.

        mismatch: devices differ from each other, drawn anew by ngspice for each run.

        Raises ValueError for a corner that does not exist.
        """
        corners = self.technology.corners
        if corner not in corners:
            raise ValueError(f"expected a corner of {', '.join(corners)}; got {corner!r}")
        return [
            f'.lib "{self.folder / part.file}" {part.mismatch if mismatch else part.section}'
            for part in corners[corner]
        ]

    @property
    def commands(self) -> list[str]:
        """The commands of a control section that come before the netlist is read."""
        return [f"pre_osdi {path}" for path in self.compiled]


def cache_folder() -> Path:
    """Return the folder of the user's cache for models, whether it exists or not."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return cache / "crossbar-sim" / "foundry"


def find_models(name: str) -> Models:
    """Return the models of a process, of PDK_ROOT before those of the cache.

    Raises ValueError for a process that does not exist, and for a path that cannot stand in a
    netlist; ModelsMissing, with what to do, where there are none.
    """
    process = technology(name)
    roots = [Path(root) for root in (os.environ.get("PDK_ROOT"), cache_folder()) if root]
    for root in roots:
        for place in process.places:
            folder = (root / place).absolute()
            if all((folder / file).is_file() for file in _files(process)):
                return Models(process, _checked(folder), _compiled(process, folder, root))
    looked = " or ".join(str(root) for root in roots)
    raise ModelsMissing(
        f"the models of {name} are not in {looked}; `scripts/foundry.sh {name}` fetches "
        f"{process.package} into the cache, or set PDK_ROOT to a folder that holds "
        f"{process.places[0]}"
    )


def _files(process: Technology) -> set[str]:
    return {part.file for corner in process.corners.values() for part in corner}


def _compiled(process: Technology, folder: Path, root: Path) -> tuple[Path, ...]:
    """Return the OSDI files of a process; ModelsMissing for one that is not compiled."""
    found = []
    for name in process.compiled:
        places = (folder.parent / "osdi", root / "osdi")
        files = [place / f"{name}.osdi" for place in places]
        there = next((file for file in files if file.is_file()), None)
        if there is None:
            raise ModelsMissing(
                f"{folder} has no compiled model {name}.osdi beside it; "
                f"`scripts/foundry.sh {process.name}` compiles it"
            )
        found.append(_checked(there.absolute()))
    return tuple(found)


def _checked(path: Path) -> Path:
    if not _SAFE.fullmatch(str(path)):
        raise ValueError(
            f"the path {str(path)!r} cannot stand in a netlist; move the models to one of letters, "
            "digits and . / _ + - @ ~"
        )
    return path
