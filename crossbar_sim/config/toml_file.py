"""Parse a TOML file that may be anything, in reasonable time and memory."""

import re
import tomllib
from pathlib import Path
from typing import Any

from crossbar_sim.config.problems import ConfigError, shortened
from tinynets.files.suffixes import FORMATS

#: Limits of a file that is parsed: its size, and the number of parts of a dotted key.
MAX_BYTES, MAX_PARTS = 1_000_000, 40


def parsed(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file; ConfigError for another file or a damaged one."""
    try:
        return tomllib.loads(_text(path))
    except RecursionError as error:
        raise ConfigError(f"{path}: not valid TOML (nested too deeply)") from error
    except ValueError as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path}: not valid TOML ({shortened(str(error), 200)})") from error


def _text(path: Path) -> str:
    """Return the text of a TOML file that can be parsed in reasonable time and memory."""
    _refuse_other_file(path)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:  # no path at all, such as one with a zero byte
        raise ConfigError(f"{str(path)!r}: cannot be read ({error})") from error
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{path}: a configuration has at most {MAX_BYTES:,} bytes; got more")
    text = content.decode().replace("\r\n", "\n")
    # The time and memory of tomllib grow as the square of the number of parts of a dotted key.
    if max(part.count(".") for part in re.split(r"[][,=#{}\n]", text)) > MAX_PARTS:
        raise ConfigError(f"{path}: not valid TOML (a key of more than {MAX_PARTS} parts)")
    return text


#: What a file that is not a configuration is, by suffix, and what takes it.
_OTHER = {
    **{suffix: format.text for suffix, format in FORMATS.items()},
    ".npz": "a file of arrays",
    ".py": "Python code",
    ".json": "a JSON file",
}


def _refuse_other_file(path: Path) -> None:
    """Raise ConfigError for a path that is something else than a TOML file by its name."""
    if path.is_dir():
        finished = (path / "report.json").exists()
        what = "a finished run, which verify, export and layout take" if finished else "a directory"
        raise ConfigError(f"{path} is {what}; expected a .toml")
    if path.suffix in _OTHER:
        table = {".npz": "data", ".json": ""}.get(path.suffix, "network")
        name = f"{path.name}:make" if path.suffix == ".py" else path.name
        remedy = f'; name it in one, under [{table}]: source = "{name}"' if table else ""
        also = "; `crossbar-sim prune` takes it as it is" if path.suffix in FORMATS else ""
        raise ConfigError(f"{path} is {_OTHER[path.suffix]}; expected a .toml{remedy}{also}")
