"""The settings of a run as its report lists them, and what does the same run again."""

import re
from collections.abc import Iterator
from typing import Any

from crossbar_sim.config import RunConfig
from crossbar_sim.config.inputs import OBJECT, is_python
from crossbar_sim.config.schema import field_docs
from crossbar_sim.report.formats import NOTHING, plain, si

#: Units that take a prefix.
_WITH_PREFIX = ("V", "Hz", "s", "Ω", "F", "m", "S", "A", "J", "V/√Hz")
#: File of all settings beside a report.
FILE = "settings.toml"


def setting_rows(config: RunConfig) -> dict[str, list[dict[str, str]]]:
    """Return rows of key, value, default, meaning: "changed" from the default, and the "rest"."""
    default = dict(_flat(RunConfig(name=config.name).as_json()))
    rows: dict[str, list[dict[str, str]]] = {"changed": [], "rest": []}
    docs = _meanings(config)
    for key, value in _flat(config.as_json()):
        if key == "name" or key.endswith("sha256"):
            continue
        meaning = docs.get(key, "")
        said = (_shown(x, _unit(meaning)) for x in (value, default.get(key)))
        row = dict(zip(("value", "default"), said)) | {"key": key, "meaning": meaning}
        rows["rest" if value == default.get(key) else "changed"].append(row)
    return rows


def command(config: RunConfig) -> str | None:
    """Return the command that does the run again from `FILE`; None for objects given in Python."""
    sources = config.network.source, config.data.source
    if OBJECT in sources:
        return None
    named = (*sources, config.network.python, config.measure.metric)
    trust = any(name and is_python(name) for name in named)
    return f"crossbar-sim run {FILE}{' --trust' if trust else ''}"


def _flat(settings: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _meanings(config: RunConfig) -> dict[str, str]:
    """Return the first sentence on each key."""
    found = field_docs(type(config))
    for table in type(config).model_fields:
        value = getattr(config, table)
        if not isinstance(value, bool | int | float | str | None):
            found |= {f"{table}.{key}": text for key, text in field_docs(type(value)).items()}
    return {key: text.partition(". ")[0].partition("; ")[0] for key, text in found.items()}


def _unit(meaning: str) -> str:
    """Return the unit that a key's meaning names in brackets."""
    found = re.search(r"\[([^\]]+)\]", meaning)
    return found[1].replace("ohm", "Ω").replace("sqrt(Hz)", "√Hz") if found else ""


def _shown(value: Any, unit: str) -> str:
    """Return a value as people write it."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value == "Infinity":
        return "infinite"
    if isinstance(value, int | float):
        if unit.partition(" ")[0] in _WITH_PREFIX:
            return si(value, unit)
        return str(value) if isinstance(value, int) else f"{plain(value)} {unit}".rstrip()
    if isinstance(value, list):
        return ", ".join(_shown(item, unit) for item in value) or "none"
    return str(value)
